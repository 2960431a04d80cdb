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
from unittest import mock

import azure.functions
import pytest
from azure.functions import AppExtensionBase, HttpResponse

from commands import copy_project, host_environment, run, run_python
from conftest import (
    APPS, ROOT, FakeContext, FakeLogger, call, exchange, greet_in_asgi, greet_in_wsgi, invoke,
    load_functions, needs_v2
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


def test_the_run_and_test_commands_are_blocks_within_the_first_30_lines():
    first_screen = "\n".join(README.splitlines()[:30])

    assert blocks("sh", first_screen + "\n```") == [RUN + "\n", TEST + "\n"]


def test_every_link_and_every_file_mentioned_exists():
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in headings}
    targets = {"".join(found) for found in re.findall(r"\]\((.*?)\)|\]: (\S+)", README)}
    mentioned = {path.rstrip("./") for path in re.findall(r"tests/[\w./*-]+", README)}

    assert [target for target in targets - anchors if not target.startswith("https://")] == []
    assert [path for path in mentioned if not list(ROOT.glob(path))] == []


def shape(output):
    """The output with run-dependent values replaced by placeholders."""
    output = re.sub(r"\d+\.\d+(e-\d+)? sec", "<elapsed> sec", output)
    return re.sub(r"localhost:\d+", "localhost:<port>", output).strip()


@needs_v2
def test_the_run_command_prints_the_output_shown(folder):
    (shown,) = blocks("text")
    pattern = ".*".join(re.escape(part) for part in shape(shown).split("…"))

    printed = (folder / "printed").read_text(encoding="utf-8")

    assert re.fullmatch(pattern, shape(printed), re.DOTALL)
    assert shown.count("…") == 5


def test_the_tutorials_timer_has_the_faults_listed_in_the_readme(
    serve, worker_with_hooks, empty_registry, python
):
    class Timer(AppExtensionBase):
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

    url = serve(lambda req: HttpResponse(**json.loads(req.params["with"])))
    shown = " (TimeElapsed: 1.0 sec)"

    def responds_with(text, options):
        line = f"GET /api/<lambda>?with={options} HTTP/1.1"
        first, second = exchange(url, *[f"{line}\r\nHost: localhost\r\n\r\n".encode()] * 2)
        body = first.body.decode("utf-16" if "utf-16" in options else "utf-8", "replace")
        return first.status < 500 and second is not None and body == text

    broken = ['{"body":"a","charset":"utf-16"}', '{"body":"a","headers":{"Content-Length":"1"}}']
    no_body = [f'{{"status_code":{status}}}' for status in (204, 205, 304)]
    assert all(responds_with("a", options) for options in broken)
    assert all(responds_with("", options) for options in no_body)
    responds_with("", "raises")
    assert len(Timer.start_timestamps) == 2
    Timer.append_to_http_response = True
    assert responds_with(f"a{shown}", '{"body":"a"}')
    assert not any(responds_with(f"a{shown}", options) for options in broken)
    assert not any(responds_with("", options) for options in no_body)
    python(3, 13)
    assert responds_with("a", '{"body":"a"}')


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


@pytest.fixture(params=["v1", pytest.param("v2", marks=needs_v2)])
def source(request, folder):
    """The readme's sample function for one programming model, with the readme's lines added."""
    app = folder / "my-app"
    if request.param == "v2":
        source = app / "function_app.py"
        app_line = "app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"
        source.write_text(V2_FUNCTION.replace(app_line, app_line + LINES_FOR_V2))
        yield source
        source.unlink()
    else:
        v1_folder = app / "HttpTrigger"
        shutil.copytree(str(APPS / "v1" / v1_folder.name), str(v1_folder))
        (v1_folder / "__init__.py").write_text(V1_FUNCTION)
        yield v1_folder / "__init__.py"
        shutil.rmtree(str(v1_folder))


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


def test_the_editable_install_is_a_path_entry(folder):
    (site_packages,) = (folder / "my-app" / ".venv" / "lib").glob("*/site-packages")
    lines = [line for file in site_packages.glob("*.pth") for line in file.read_text().split()]

    assert str((folder / "python-worker-extension-timer").resolve()) in lines
    assert list(site_packages.glob("__editable__*finder*")) == []


def test_the_build_command_makes_the_wheel_shown_and_pip_installs_the_requirements(
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


@pytest.mark.parametrize(
    "shown, api",
    [
        pytest.param("app = func.AsgiFunctionApp", greet_in_asgi, marks=needs_v2),
        pytest.param("app = func.WsgiFunctionApp", greet_in_wsgi, marks=needs_v2),
        pytest.param("func.AsgiMiddleware", greet_in_asgi, marks=needs_v2),
        ("main = TimerExtension.timed", greet_in_wsgi),
    ],
)
def test_a_web_framework_app_is_timed_as_one_function(shown, api):
    logger = FakeLogger()
    names = {"func": azure.functions, "api": api, "TimerExtension": TimerExtension}
    (code,) = re.findall(rf"`({re.escape(shown)}.*?)`", section("How to time each kind of app"))
    if "Middleware(api).handle" in code:
        code = f"@TimerExtension.timed\nasync def main(req, context): return await {code}"
    exec(code, names)

    TimerExtension.configure(app=names.get("app"), logger=logger)
    main = names.get("main") or load_functions(names["app"])["http_app_func"]
    request = azure.functions.HttpRequest("GET", "http://localhost/api/HttpTrigger", body=b"")
    response = call(main, req=request, context=FakeContext("name"))
    if "app" in names:
        names["app"].startup_task_done = False  # Otherwise, the SDK uses a closed event loop.

    assert response.get_body() == b"hello"
    assert logger.messages[0] == "Recording start time of name"


# The worker adds a handler to the root logger before it imports the app.
APP_WITH_LOGGING = """
import logging.config, sys
from python_worker_extension_timer import TimerExtension
logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))
logging.getLogger().setLevel("{level}")
{set_up}
TimerExtension.timed(lambda req: None)(req=1)
"""
DICT_CONFIG = 'logging.config.dictConfig({{"version": 1, {}}})'.format
KEPT = '"disable_existing_loggers": False, '
WITH_ROOT = KEPT + '"root": {"level": "INFO"}'


@pytest.mark.parametrize(
    "level, set_up, fixed, fix_in_readme",
    [
        (
            "WARNING",
            "",
            f"logging.getLogger('{NAME}').setLevel('INFO')",
            f"Set the level of the logger `{NAME}` to `INFO`",
        ),
        ("INFO", DICT_CONFIG(""), DICT_CONFIG(KEPT), "Set `disable_existing_loggers` to `False`"),
        (
            "INFO",
            DICT_CONFIG(WITH_ROOT),
            "handlers = logging.getLogger().handlers[:]\n"
            + DICT_CONFIG(WITH_ROOT)
            + "\nfor handler in handlers: logging.getLogger().addHandler(handler)",
            "save `logging.getLogger().handlers[:]` before the call, and add each again with "
            "`addHandler` after the call.",
        ),
        ("INFO", DICT_CONFIG(WITH_ROOT), DICT_CONFIG(KEPT), "Leave out `root` or `force`"),
    ],
)
def test_an_app_that_sets_up_logging_needs_the_fix_in_the_readme(
    level, set_up, fixed, fix_in_readme
):
    def run_app(set_up):
        code = APP_WITH_LOGGING.format(level=level, set_up=set_up)
        command = [sys.executable, "-c", code]
        return subprocess.check_output(command, env=host_environment(), encoding="utf-8")

    assert fix_in_readme in section("Nothing shows up?")
    assert "Time taken" not in run_app(set_up)
    assert "Time taken" in run_app(fixed)


def test_the_options_table_has_every_option_with_its_default():
    shown = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section("Options"), re.MULTILINE)

    defaults = TimerExtension.configure.__kwdefaults__
    assert dict(shown) == {name: repr(default) for name, default in defaults.items()}


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


@pytest.mark.parametrize("seconds", [1.5, 9.8e-05])
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


@needs_v2
def test_the_handler_shown_feeds_the_histogram_and_the_host_gets_no_line(
    caplog, clock, monkeypatch
):
    caplog.set_level(logging.INFO)
    measured, records = [], []
    opentelemetry = mock.MagicMock()
    histogram = opentelemetry.metrics.get_meter("myapp").create_histogram("duration", unit="s")
    histogram.record = lambda *args: measured.append(args)
    monkeypatch.setitem(sys.modules, "opentelemetry", opentelemetry)
    app = azure.functions.FunctionApp()
    (code,) = blocks("python", section("Log records as data"))
    exec(code, {"TimerExtension": TimerExtension, "app": app})
    logging.getLogger("myapp.timer").addFilter(lambda record: records.append(record) or True)

    @app.route(route="Orders")
    def Orders(req):
        clock.now += 0.25
        if req == "raises":
            raise ValueError

    (function,) = load_functions(app).values()
    function(req="returns")
    with pytest.raises(ValueError):
        function(req="raises")
    logging.getLogger("myapp.timer").handlers.clear()

    error = {"error.type": "ValueError"}
    assert measured == [(0.25, {"function": "Orders"}), (0.25, {"function": "Orders", **error})]
    assert caplog.messages == []
    (shown,) = re.findall(r"A JSON log line then has `(.*?)`", TEXT)
    shown = json.loads(f"{{{shown}}}".replace("0.2", "0.25"))
    assert shown.items() <= vars(records[-1]).items()


def test_in_a_unit_test_a_decorated_function_appends_but_the_original_does_not():
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
