"""The timer's readme.md: its commands, output, code and tables are correct."""

import inspect
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import textwrap

import azure.functions
import pytest
from azure.functions import AppExtensionBase, HttpResponse

from commands import copy_project, host_environment, run, run_host, run_python
from conftest import (
    APP_SETTING, ROOT, FakeContext, FakeLogger, call, exchange, invoke, load_functions, needs_v2
)
from python_worker_extension_timer import TimerExtension

README = (ROOT / "readme.md").read_text(encoding="utf-8")
TEXT = " ".join(README.split())
NAME = TimerExtension.__module__

RUN = (
    "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python tests/stand_in_host.py"
)
TEST = "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/python -m pytest"


def section(title):
    title = re.escape(title)
    return re.search(rf"^##+ {title}\n(.*?)(?=^##+ |\Z)", README, re.MULTILINE | re.DOTALL).group(1)


def blocks(language, text=README):
    """The code blocks of a language, in order."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def follow(commands, cwd):
    """Run the readme's commands unchanged, using the current Python as ``python3``."""
    if sys.platform == "win32":
        pytest.skip("these commands are for sh")
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    return run(f"set -e\n{commands}", cwd, PATH=path)


def table(title):
    """The rows of the one table in a section, by column title."""
    (lines,) = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines.splitlines()
    ]
    return [dict(zip(rows[0], row)) for row in rows[2:]]


def test_the_run_and_test_commands_are_blocks_within_the_first_30_lines():
    first_screen = "\n".join(README.splitlines()[:30])

    assert blocks("sh", first_screen + "\n```") == [RUN + "\n", TEST + "\n"]


def test_every_anchor_has_a_heading():
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([^)]*)\)", README)) <= anchors


def test_links_to_other_pages_are_absolute_so_that_they_work_on_a_package_index():
    targets = re.findall(r"\]\(([^)]*)\)|^\[.*\]: (.*)", README, re.MULTILINE)

    assert [t for t in map("".join, targets) if not t.startswith(("https://", "#"))] == []


def test_every_file_mentioned_exists():
    mentioned = re.findall(r"tests[/\\][\w./\\*-]+", README)

    paths = [path.replace("\\", "/").rstrip("./") for path in mentioned]
    assert [path for path in paths if not list(ROOT.glob(path))] == []


def test_every_python_block_parses():
    for code in blocks("python"):
        compile(code, "readme.md", "exec")


def shape(output):
    """The output with run-dependent values replaced by placeholders."""
    output = re.sub(r"\d+\.\d+(e-\d+)? sec", "<elapsed> sec", output)
    return re.sub(r"localhost:\d+", "localhost:<port>", output).strip()


@needs_v2
def test_the_run_command_prints_the_output_shown():
    (shown,) = blocks("text")
    pattern = ".*".join(re.escape(part) for part in shape(shown).split("…"))

    assert re.fullmatch(pattern, shape(run_host().stdout), re.DOTALL)
    assert shown.count("…") == 5


def test_the_tutorials_timer_has_the_faults_listed_in_the_readme(
    serve, worker_with_hooks, empty_registry, caplog, python
):
    class TutorialsTimer(AppExtensionBase):
        """The tutorial's hooks, abridged."""

        append_to_http_response = False
        start_timestamps = {}

        @classmethod
        def pre_invocation_app_level(cls, logger, context, *args, **kwargs):
            cls.start_timestamps[context.invocation_id] = 0.0

        @classmethod
        def post_invocation_app_level(cls, logger, context, func_args, func_ret, *args, **kwargs):
            cls.start_timestamps.pop(context.invocation_id)
            if cls.append_to_http_response:
                func_ret._HttpResponse__body += b" (TimeElapsed: 1.0 sec)"

    def responds(req):
        return HttpResponse(**json.loads(req.params["with"]))

    url = serve(responds)

    def request(with_):
        line = f"GET /api/responds?with={with_} HTTP/1.1"
        return exchange(url, *[f"{line}\r\nHost: localhost\r\n\r\n".encode()] * 2)

    def works(with_):
        first, second = request(with_)
        text = first.body.decode("utf-16" if "utf-16" in with_ else "utf-8", "replace")
        shows_time = not first.body or "TimeElapsed" in text
        return first.status < 500 and second is not None and shows_time

    broken = ['{"body":"a","charset":"utf-16"}', '{"body":"a","headers":{"Content-Length":"1"}}']
    broken += [f'{{"status_code":{status}}}' for status in (204, 205, 304)]
    for with_ in broken:
        assert request(with_)[1].status < 500
    request("raises")
    assert len(TutorialsTimer.start_timestamps) == 2
    TutorialsTimer.append_to_http_response = True
    assert works('{"body":"a"}')
    assert [with_ for with_ in broken if works(with_)] == []
    python(3, 13)
    assert request('{"body":"a"}')[0].body == b"a"


YET, ADD = section("No app yet?"), section("Add the extension to your app")
PUBLISH = section("Publish to Azure")
(MAKE,), (INSTALL, SERVE), (BUILD,) = blocks("sh", YET), blocks("sh", ADD), blocks("sh", PUBLISH)
LINES_FOR_V2, V1_FUNCTION, FOR_PRODUCTION = blocks("python", ADD)
(V2_FUNCTION,) = blocks("python", YET)
(WHEEL,) = re.findall(r"`(\./\S+\.whl)`", PUBLISH)


@pytest.fixture(scope="module")
def folder(package_index, tmp_path_factory):
    """A folder with a clone and, next to it, an app with the extension, made by the readme's steps.

    Both share the environment created by the run command.
    """
    folder = tmp_path_factory.mktemp("folder")
    clone = copy_project(folder / "python-worker-extension-timer")
    (folder / "printed").write_text(follow(RUN + " --once --port 0", clone), encoding="utf-8")
    new_environment = "python3 -m venv .venv"
    assert new_environment in MAKE
    follow(MAKE.replace(new_environment, f"ln -s ../{clone.name}/.venv .venv"), folder)
    follow(INSTALL, folder / "my-app")
    return folder


def test_the_run_command_works_in_a_fresh_clone(folder):
    printed = (folder / "printed").read_text(encoding="utf-8")

    assert "HTTP/1.1 200 OK" in printed
    assert "(TimeElapsed: " in printed


@pytest.fixture(params=["v1", pytest.param("v2", marks=needs_v2)])
def source(request, folder):
    """The readme's sample function for one programming model, with the readme's lines added."""
    app = folder / "my-app"
    if request.param == "v2":
        file = app / "function_app.py"
        app_line = "app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"
        assert app_line in V2_FUNCTION
        file.write_text(V2_FUNCTION.replace(app_line, app_line + LINES_FOR_V2))
        yield file
        file.unlink()
    else:
        shutil.copytree(str(ROOT / "tests" / "apps" / "v1" / "HttpTrigger"), str(app / "HttpTrigger"))
        file = app / "HttpTrigger" / "__init__.py"
        file.write_text(V1_FUNCTION)
        yield file
        shutil.rmtree(str(file.parent))


def run_stand_in_host(folder):
    """The output of the readme's command for the stand-in host, which calls each function once."""
    return follow(SERVE.strip() + " --once --port 0", folder / "my-app")


def test_the_first_steps_append_the_elapsed_time(source, folder):
    printed = run_stand_in_host(folder)

    assert "/api/HttpTrigger\n" in printed
    assert printed.count("Hello! (TimeElapsed: ") == 1
    assert "Warning" not in printed


def test_the_production_step_logs_one_line_adds_the_header_and_keeps_the_body(source, folder):
    production = FOR_PRODUCTION.strip()
    if source.name != "function_app.py":
        production = production.replace("app=app, ", "")
    lines = source.read_text().splitlines()
    lines = [production if line.startswith("TimerExtension.configure(") else line for line in lines]
    source.write_text("\n".join(lines))

    printed = run_stand_in_host(folder)

    assert f"INFO {NAME}: Time taken to execute HttpTrigger is " in printed
    assert "Recording start" not in printed
    assert "Server-Timing: HttpTrigger;dur=" in printed
    assert "\nHello!\n" in printed


def test_changes_in_the_clone_take_effect_at_the_next_start(source, folder):
    module = folder / "python-worker-extension-timer" / NAME / "__init__.py"
    code = module.read_text(encoding="utf-8")
    assert "Recording start" in code
    module.write_text(code.replace("Recording start", "Noting the start"), encoding="utf-8")

    try:
        printed = run_stand_in_host(folder)
    finally:
        module.write_text(code, encoding="utf-8")

    assert "Noting the start time of HttpTrigger" in printed


def test_the_editable_install_is_a_path_entry(folder):
    (site_packages,) = (folder / "my-app" / ".venv" / "lib").glob("*/site-packages")
    lines = [line for file in site_packages.glob("*.pth") for line in file.read_text().split()]

    assert str((folder / "python-worker-extension-timer").resolve()) in lines
    assert list(site_packages.glob("__editable__*finder*")) == []


def test_the_build_command_makes_the_wheel_shown_and_pip_installs_the_app_with_it(
    folder, tmp_path, setup_arguments
):
    app = folder / "published-app"
    shutil.copytree(str(folder / "my-app"), str(app), symlinks=True)
    before = {path.name: path.read_bytes() for path in app.iterdir() if path.is_file()}

    follow(BUILD, app)

    (wheel,) = app.glob("*.whl")
    assert WHEEL == f"./{wheel.name}" == f"./{NAME}-{setup_arguments['version']}-py3-none-any.whl"
    files_after = [path for path in app.iterdir() if path.is_file() and path != wheel]
    assert {path.name: path.read_bytes() for path in files_after} == before
    (app / "requirements.txt").write_bytes(before["requirements.txt"] + WHEEL.encode())
    install = "-m pip install -r requirements.txt --target"
    run_python(*install.split(), tmp_path / "there", cwd=app)
    assert (tmp_path / "there" / NAME / "__init__.py").is_file()
    assert (tmp_path / "there" / "azure" / "functions" / "__init__.py").is_file()


def test_the_sample_apps_do_not_list_the_package_by_name():
    for requirements in ROOT.glob("tests/apps/*/requirements.txt"):
        text = requirements.read_text(encoding="utf-8")
        assert NAME.replace("_", "-") not in text
        (title,) = re.findall(r'"(.*)"', text)
        assert section(title)


def test_requirements_can_list_a_repository_instead_of_the_wheel(package_index, tmp_path):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    repository = copy_project(tmp_path / "repository")
    git = ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    for command in (["init"], ["add", "--all"], ["commit", "--message=all"]):
        run([*git, *command], repository)
    (line,) = re.findall(r"`(git\+https://\S+)`", PUBLISH)
    line = line.replace("https://<HOST>/<YOU>/python-worker-extension-timer", repository.as_uri())
    (tmp_path / "requirements.txt").write_text(line, encoding="utf-8")

    run_python(*"-m pip install --no-deps --target there -r requirements.txt".split(), cwd=tmp_path)

    assert (tmp_path / "there" / NAME / "__init__.py").is_file()


def api_in_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def api_in_asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


REQUEST = azure.functions.HttpRequest("GET", "http://localhost/api/HttpTrigger", body=b"")


def shown_code(start):
    """The code in the table that starts with ``start``."""
    (code,) = re.findall(rf"`({re.escape(start)}.*?)`", section("How to time each kind of app"))
    return code


@needs_v2
@pytest.mark.parametrize("kind, api", [("Asgi", api_in_asgi), ("Wsgi", api_in_wsgi)])
def test_a_v2_web_framework_app_is_timed_as_one_function(kind, api):
    logger = FakeLogger()
    names = {"func": azure.functions, "api": api}
    exec(shown_code(f"app = func.{kind}FunctionApp"), names)

    TimerExtension.configure(app=names["app"], logger=logger)
    (function,) = load_functions(names["app"]).values()
    response = call(function, req=REQUEST, context=FakeContext("http_app_func"))
    names["app"].startup_task_done = False  # Otherwise, the SDK uses a closed event loop.

    assert response.get_body() == b"hello"
    assert logger.messages[0] == "Recording start time of http_app_func"


@pytest.mark.parametrize(
    "shown, api",
    [
        ("main = TimerExtension.timed", api_in_wsgi),
        pytest.param("func.AsgiMiddleware", api_in_asgi, marks=needs_v2),
    ],
    ids=["Flask", "FastAPI"],
)
def test_the_main_function_of_a_v1_web_framework_app_is_timed(shown, api):
    logger = FakeLogger()
    TimerExtension.configure(logger=logger)
    names = {"func": azure.functions, "api": api, "TimerExtension": TimerExtension}
    code = shown_code(shown)
    if not code.startswith("main"):
        code = f"@TimerExtension.timed\nasync def main(req, context): return await {code}"
    exec(code, names)

    response = call(names["main"], req=REQUEST, context=FakeContext("HttpTrigger"))

    assert response.get_body() == b"hello"
    assert logger.messages[0] == "Recording start time of HttpTrigger"


WORKERS_HANDLER = "logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))\n"
KEEP, DICT_CONFIG = "handlers = logging.getLogger().handlers[:]\n", "logging.config.dictConfig({})\n"
PUT_BACK = "[*map(logging.getLogger().addHandler, handlers)]\n"
WITH_ROOT = '{"version": 1, "disable_existing_loggers": False, "root": {"level": "INFO"}}'


@pytest.mark.parametrize(
    "set_up, fix_in_readme, fix",
    [
        (
            "",
            f"Set the level of the logger `{NAME}` to `INFO`",
            f"logging.getLogger('{NAME}').setLevel('INFO')",
        ),
        (
            "logging.getLogger().setLevel('INFO')\nlogging.config.dictConfig({'version': 1})",
            "in the `dictConfig`, set `disable_existing_loggers` to `False`",
            "logging.getLogger().setLevel('INFO')\n"
            "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False})",
        ),
        (
            f"logging.config.dictConfig({WITH_ROOT})",
            "keep `logging.getLogger().handlers[:]` before the call, and add these handlers again",
            f"{KEEP}logging.config.dictConfig({WITH_ROOT})\n{PUT_BACK}",
        ),
        (
            "logging.basicConfig(force=True, level='INFO', stream=sys.stderr)",
            "Leave out `root` or `force`",
            "logging.getLogger().setLevel('INFO')\n"
            "logging.basicConfig(level='INFO', stream=sys.stderr)",
        ),
    ],
    ids=["root at WARNING", "dictConfig", "dictConfig with root", "basicConfig with force"],
)
def test_an_app_that_sets_up_logging_needs_the_fix_in_the_readme(
    set_up, fix_in_readme, fix, tmp_path
):
    def run_app(set_up):
        # The worker adds a handler to the root logger before it imports the app.
        module = f"import logging.config, sys\n{WORKERS_HANDLER}from {NAME} import TimerExtension\n"
        call_function = "\nTimerExtension.timed(lambda req: None)(req=1)"
        (tmp_path / "app.py").write_text(module + set_up + call_function)
        command = [sys.executable, "app.py"]
        return subprocess.check_output(
            command, cwd=str(tmp_path), env=host_environment(), encoding="utf-8"
        )

    assert fix_in_readme in section("Nothing shows up?")
    assert "Time taken" not in run_app(set_up)
    assert "Time taken" in run_app(fix)


def test_the_options_table_has_every_option_with_its_default():
    options = {
        name: parameter.default
        for name, parameter in inspect.signature(TimerExtension.configure).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }

    shown = {row["Option"].strip("`"): row["Default"].strip("`") for row in table("Options")}

    assert shown == {name: repr(default) for name, default in options.items()}


def test_nothing_is_appended_with_the_headers_and_statuses_in_the_readme():
    TimerExtension.configure(append_to_http_response=True)
    headers = TEXT[TEXT.index("one of the headers `") : TEXT.index(", or a strong `ETag`")]
    names = re.findall(r"`([\w-]+)`", headers)
    responses = [HttpResponse("hello", headers={name: "value"}) for name in names]
    statuses = TEXT.split("isn't appended** if the status is 1xx, ")[1].split(";")[0]
    responses += [HttpResponse("hello", status_code=int(s)) for s in re.findall(r"\d+", statuses)]
    assert len(responses) == 6 + 4

    for response in responses:
        invoke(response)

    assert {response.get_body() for response in responses} == {b"hello"}


QUERY, ENDINGS = blocks("kusto")


@pytest.mark.parametrize("seconds", [1.5, 0.0, 9.8e-05, 123456.789])
@pytest.mark.parametrize("before, after", [("", ""), ('{"message": "', '", "level": "INFO"}')])
def test_the_query_parses_the_line_of_the_elapsed_time_alone(seconds, before, after, clock):
    clock.now = 0.0
    start, time = invoke(clock=clock, seconds=seconds)
    (clause,) = re.findall(r"^\| parse message with (.*)$", QUERY, re.MULTILINE)
    begins, is_, sec = re.findall(r'"(.*?)"', clause)
    assert clause == f'* "{begins}" function "{is_}" elapsed "{sec}" *'

    _, found, rest = f"{before}{time}{after}".partition(begins)
    function, _, rest = rest.partition(is_)
    elapsed, _, _ = rest.partition(sec)

    assert (found, function, float(elapsed)) == (begins, "HttpTrigger", seconds)
    assert begins not in start


def test_the_query_ending_for_paths_replaces_ids_in_the_paths():
    pattern, replacement = re.findall(r'"([^"]*)"', ENDINGS)
    path = "/v1/users/17/posts/0f8fad5b-d9cb-469f-a165-70867728950e"

    assert re.sub(pattern, replacement, path) == "/v1/users/{id}/posts/{id}"


class JsonFormatter(logging.Formatter):
    """Keeps what was passed as ``extra``, as JSON formatters do."""

    def format(self, record):
        usual = vars(logging.LogRecord("", 0, "", 0, "", (), None))
        extra = {name: value for name, value in vars(record).items() if name not in usual}
        return json.dumps({"message": record.getMessage(), **extra})


@needs_v2
def test_the_handler_shown_feeds_the_histogram_and_the_host_gets_no_line(caplog, clock, capsys):
    caplog.set_level(logging.INFO)
    measured = []
    histogram = type("Histogram", (), {"record": lambda *args: measured.append(args)})
    app = azure.functions.FunctionApp()
    names = {"logging": logging, "TimerExtension": TimerExtension, "histogram": histogram}
    (code,) = blocks("python", section("Log records as data"))
    exec(code, {**names, "app": app})
    with_json = logging.StreamHandler(sys.stdout)
    with_json.setFormatter(JsonFormatter())
    logging.getLogger("myapp.timer").addHandler(with_json)

    @app.route(route="Orders")
    def Orders(req):
        clock.now += 0.25
        if req:
            raise ValueError

    (function,) = load_functions(app).values()
    function(req=None)
    with pytest.raises(ValueError):
        function(req="raise")
    logging.getLogger("myapp.timer").handlers.clear()

    assert measured == [
        (0.25, {"function": "Orders"}),
        (0.25, {"function": "Orders", "error.type": "ValueError"}),
    ]
    assert caplog.messages == []
    (shown,) = re.findall(r'A JSON log line then has `(.*?)`', TEXT)
    assert shown.replace("0.2", "0.25") in capsys.readouterr().out.splitlines()[1]


def test_a_decorated_function_in_a_unit_test_appends_but_the_wrapped_one_does_not():
    TimerExtension.configure(append_to_http_response=True)

    @TimerExtension.timed
    def main(req):
        return HttpResponse("hello")

    assert b"TimeElapsed" in main(None).get_body()
    assert main.__wrapped__(None).get_body() == b"hello"
    assert "`main.__wrapped__(req)`" in README


def test_the_server_timing_header_is_as_shown(clock):
    TimerExtension.configure(server_timing_header=True)
    response = HttpResponse()

    invoke(response, clock=clock, seconds=0.012345)

    assert f"`Server-Timing: {response.headers['Server-Timing']}`" in README


def test_the_hook_signatures_are_as_shown():
    for name in ("pre_invocation_app_level", "post_invocation_app_level"):
        parameters = inspect.signature(getattr(TimerExtension, name)).parameters.values()
        given = [str(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert f"`{name}({', '.join(given)})`" in TEXT
