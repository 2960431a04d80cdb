"""The timer's page: its commands, output, code and tables are what they claim to be."""

import ast
import inspect
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile

import azure.functions
import pytest
from azure.functions import AppExtensionBase, HttpResponse

import python_worker_extension_timer
from commands import copy_project, run, run_host, run_python
from conftest import (
    APP_SETTING, ROOT, WORKER_RUNTIME, FakeContext, FakeLogger, call, get, invoke, needs_v2
)
from python_worker_extension_timer import TimerExtension

README = (ROOT / "readme.md").read_text(encoding="utf-8")

RUN = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python tests/local_host.py"
TEST = "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/python -m pytest"


def section(title):
    title = re.escape(title)
    return re.search(rf"^##+ {title}\n(.*?)(?=^##+ |\Z)", README, re.MULTILINE | re.DOTALL).group(1)


def blocks(language, text=README):
    """The code blocks of a language, in order."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def files(text):
    """The files that a section gives: a path in backticks, a colon, and the block below it."""
    found = re.findall(r"`([\w./]+)`:\n\n *```\w+\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return {path: textwrap.dedent(code) for path, code in found}


def follow(commands, cwd):
    """Run commands of the page as they stand, with this Python for ``python3``."""
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


def test_both_commands_stand_in_the_first_screen_each_on_a_line_of_its_own():
    first_screen = README.splitlines()[:25]

    assert RUN in first_screen
    assert TEST in first_screen


def test_the_page_fits_a_narrow_window_but_for_the_run_command():
    lines = [line for code in blocks(r"\w+") for line in code.splitlines()]

    assert [line for line in lines if len(line) > 88] == [RUN]
    assert len(README.splitlines()) < 340


def test_every_link_within_the_page_has_its_heading():
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([^)]*)\)", README)) <= anchors


def test_every_other_link_is_absolute_so_that_an_index_page_keeps_it():
    targets = re.findall(r"\]\(([^)]*)\)", README)

    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert "![" not in README and "<img" not in README


def test_every_file_that_is_named_is_there():
    named = re.findall(r"tests[/\\][\w./\\*-]+", README)

    assert [p for p in named if not list(ROOT.glob(p.replace("\\", "/").rstrip("./")))] == []


def test_every_block_of_python_and_of_json_can_be_read():
    for code in blocks("python"):
        compile(code, "readme.md", "exec")
    for code in blocks("json"):
        json.loads(code)


def shape(output):
    """The output without what differs from run to run."""
    output = re.sub(r"\d+\.\d+(e-\d+)? sec", "<elapsed> sec", output)
    output = re.sub(r"Content-Length: \d+", "Content-Length: <n>", output)
    return re.sub(r"localhost:\d+", "localhost:<port>", output).strip()


@needs_v2
@pytest.mark.parametrize("setting", ["1", "0"])
def test_the_run_command_prints_the_output_that_is_shown_with_hooks_or_without(setting):
    (shown,) = blocks("text")
    pattern = ".*".join(re.escape(part) for part in shape(shown).split("…"))

    assert re.fullmatch(pattern, shape(run_host(**{APP_SETTING: setting}).stdout), re.DOTALL)
    assert shown.count("…") == 5


def test_the_tutorials_timer_gets_wrong_what_the_page_says(serve, hooks_on, extensions, caplog):
    class TutorialsTimer(AppExtensionBase):
        """What the tutorial's hooks do, in short."""

        start_timestamps = {}

        @classmethod
        def pre_invocation_app_level(cls, logger, context, *args, **kwargs):
            cls.start_timestamps[context.invocation_id] = 0.0

        @classmethod
        def post_invocation_app_level(cls, logger, context, func_args, func_ret, *args, **kwargs):
            cls.start_timestamps.pop(context.invocation_id)
            func_ret._HttpResponse__body += b" (TimeElapsed: 1.0 sec)"

    def answers(req):
        return HttpResponse(**json.loads(req.params["with"]))

    url = serve(answers) + "/api/answers?with="

    assert "TimeElapsed" not in get(url + '{"charset":"utf-16"}').body.decode("utf-16", "replace")
    assert get(url + '{"status_code":204}').status == 500
    assert get(url + "raises").status == 500
    assert len(TutorialsTimer.start_timestamps) == 1


YET, ADD = section("No app yet?"), section("Add it to your app")
MAKE, (INSTALL, SERVE, BUILD) = blocks("sh", YET)[0], blocks("sh", ADD)
LINES_FOR_V2, LINES_FOR_V1, FOR_PRODUCTION = blocks("python", ADD)
NAME = TimerExtension.__module__


@pytest.fixture(scope="module")
def folder(index_is_reached, tmp_path_factory):
    """A folder with a clone, and beside it an app that has the extension, by the page's steps.

    Both have the environment that the page's run command makes.
    """
    folder = tmp_path_factory.mktemp("folder")
    clone = copy_project(folder / "python-worker-extension-timer")
    (folder / "printed").write_text(follow(RUN + " --once --port 0", clone), encoding="utf-8")
    new_environment = "python3 -m venv .venv"
    assert new_environment in MAKE
    follow(MAKE.replace(new_environment, f"ln -s ../{clone.name}/.venv .venv"), folder)
    settings = folder / "my-app" / "local.settings.json"
    settings.write_text(files(YET)[settings.name], encoding="utf-8")
    follow(INSTALL, folder / "my-app")
    return folder


def test_the_run_command_works_in_a_fresh_clone(folder):
    printed = (folder / "printed").read_text(encoding="utf-8")

    assert "HTTP/1.1 200 OK" in printed
    assert "(TimeElapsed: " in printed


@pytest.fixture
def clone(folder):
    """The clone, which is afterwards as it was."""
    clone = folder / "python-worker-extension-timer"
    files_of_it = clone / "setup.py", clone / NAME / "__init__.py"
    sources = [file.read_text(encoding="utf-8") for file in files_of_it]
    yield clone
    for file, source in zip(files_of_it, sources):
        file.write_text(source, encoding="utf-8")


@pytest.fixture(params=["v1", pytest.param("v2", marks=needs_v2)])
def source(request, folder):
    """The file with the function that is shown for a model, and with the lines added to it."""
    shown, app = files(YET), folder / "my-app"
    if request.param == "v2":
        file = app / "function_app.py"
        (made,) = re.findall(r"^app = func.FunctionApp\(.*\n", shown[file.name], re.MULTILINE)
        file.write_text(shown[file.name].replace(made, made + LINES_FOR_V2))
    else:
        file = app / "HttpTrigger" / "__init__.py"
        file.parent.mkdir(exist_ok=True)
        imports, main = shown["HttpTrigger/__init__.py"].split("\n\n", 1)
        assert main in LINES_FOR_V1
        file.write_text(f"{imports}\n{LINES_FOR_V1}")
        file.with_name("function.json").write_text(shown["HttpTrigger/function.json"])
    yield file
    file.unlink()


def serve_by_the_page(folder):
    """What the command for where Core Tools are not installed prints, with each function called."""
    return follow(SERVE.strip() + " --once --port 0", folder / "my-app")


def test_the_steps_of_the_first_look_end_in_an_elapsed_time(source, folder):
    printed = serve_by_the_page(folder)

    assert "/api/HttpTrigger\n" in printed
    assert printed.count("Hello! (TimeElapsed: ") == 1
    assert "Warning" not in printed


def test_the_step_to_production_leaves_the_body_and_brings_log_and_header(source, folder):
    in_v2 = source.name == "function_app.py"
    production = FOR_PRODUCTION if in_v2 else FOR_PRODUCTION.replace("app=app, ", "")
    first_look = r"^TimerExtension.configure\(.*append_to_http_response.*\n"
    lines = source.read_text(encoding="utf-8")
    source.write_text(re.sub(first_look, production, lines, flags=re.MULTILINE), encoding="utf-8")

    printed = serve_by_the_page(folder)

    assert "INFO timer: Time taken to execute HttpTrigger is " in printed
    assert "Server-Timing: HttpTrigger;dur=" in printed
    assert "\nHello!\n" in printed


def change(clone, new):
    """Change what the extension of the clone logs."""
    module = clone / NAME / "__init__.py"
    lines = module.read_text(encoding="utf-8")
    assert "Recording start" in lines
    module.write_text(lines.replace("Recording start", new), encoding="utf-8")


def test_a_change_in_the_clone_shows_at_the_apps_next_start(source, folder, clone):
    change(clone, "Noting the start")

    assert "Noting the start time of HttpTrigger" in serve_by_the_page(folder)


def test_the_filter_drops_the_line_at_each_start(caplog):
    caplog.set_level(logging.INFO)
    (add_filter,) = re.findall(r"`(logging.getLogger.*?addFilter\(.*?\))`", ADD)
    eval(add_filter.replace("timer", "filtered"), {"logging": logging})
    TimerExtension.configure(logger=logging.getLogger("filtered"))

    invoke()

    assert [line.split()[0] for line in caplog.messages] == ["Time"]


def test_what_is_installed_from_the_clone_is_a_path_that_editors_follow(folder):
    (site_packages,) = (folder / "my-app" / ".venv" / "lib").glob("*/site-packages")
    lines = [line for file in site_packages.glob("*.pth") for line in file.read_text().split()]

    assert str((folder / "python-worker-extension-timer").resolve()) in lines
    assert list(site_packages.glob("__editable__*finder*")) == []


OWN_LINES = """\
azure-functions
python-worker-extension-timer==1.0.0
git+https://example.com/me/python-worker-extension-timer
python_worker_extension_timer @ file:///somewhere/else
requests"""  # with no newline at its end


@pytest.fixture
def existing_app(folder):
    """An app that was there before, with what the steps before the last have installed."""
    app = folder / "existing"
    app.mkdir()
    (app / ".venv").symlink_to(folder / "my-app" / ".venv")
    (app / "requirements.txt").write_text(OWN_LINES)
    yield app
    shutil.rmtree(str(app))


def test_publishing_names_the_wheel_beside_the_apps_own_lines_and_azure_installs_it(
    existing_app, tmp_path
):
    follow(BUILD, existing_app)

    (wheel,) = existing_app.glob("*.whl")
    lines = (existing_app / "requirements.txt").read_text().split()
    assert lines == ["azure-functions", "requests", f"./{wheel.name}"]
    others = {".venv", "requirements.txt"}
    assert {path.name for path in existing_app.iterdir()} == {wheel.name, *others}
    install = f"-m pip install --no-deps {lines[-1]} --target"
    run_python(*install.split(), tmp_path / "there", cwd=existing_app)
    assert (tmp_path / "there" / NAME / "__init__.py").is_file()


def test_publishing_again_brings_a_change_of_the_source_in_the_place_of_every_old_wheel(
    existing_app, clone, declared
):
    for version in ("0.9", declared["version"]):
        (existing_app / f"{NAME}-{version}-py3-none-any.whl").write_text("published before")
    change(clone, "Noting the start")

    follow(BUILD, existing_app)

    (wheel,) = existing_app.glob("*.whl")
    assert f"./{wheel.name}\n" in (existing_app / "requirements.txt").read_text()
    with zipfile.ZipFile(str(wheel)) as archive:
        assert "Noting the start" in archive.read(f"{NAME}/__init__.py").decode()


def test_publishing_stops_where_the_build_fails_and_leaves_the_old_wheel_and_its_line(
    existing_app, clone
):
    old_wheel = existing_app / f"{NAME}-0.9-py3-none-any.whl"
    old_wheel.write_text("published before")
    (clone / "setup.py").unlink()

    with pytest.raises(AssertionError, match="setup.py"):
        run(BUILD, existing_app)  # as pasted into a shell, which goes on after an error

    assert (existing_app / "requirements.txt").read_text() == OWN_LINES
    assert list(existing_app.glob("*.whl")) == [old_wheel]


def git(*arguments, cwd):
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    return run(["git", *identity, *arguments], cwd)


def declare(setup_py, **arguments):
    """Change what setup.py declares, as a person would: one argument of ``setup()`` after another.

    The new value is Python source; None takes the argument out.
    """
    source = setup_py.read_text(encoding="utf-8")
    for name, value in arguments.items():
        argument = rf"(?m)^    {name}=.*(\n        .*)*(\n    [\])}}],)?\n"
        source = re.sub(argument, "", source)
        if value is not None:
            source = source.replace("\nsetup(\n", f"\nsetup(\n    {name}={value},\n")
    setup_py.write_text(source, encoding="utf-8")


AN_AUTHORS_HALF = """\
class MyExtension(AppExtensionBase):
    \"\"\"Counts invocations.\"\"\"

    @classmethod
    def init(cls):
        cls.count = cls.limit = 0

{block_of_init}
    @classmethod
    def configure(cls, *args, limit=0, app=None, **kwargs):
        _check_app(app)
        cls.limit = limit
        _hand_over(cls, app, cls.watched, args, kwargs)

    @classmethod
    def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
        cls.count += 1

    @classmethod
    def watched(cls, function):
        return _decorate(cls, function)


"""


def rewrite(module):
    """What an author makes of the first half, and what they keep of it."""
    half, divider, second_half = module.read_text(encoding="utf-8").partition("# " + "-" * 98)

    (imports_to_all,) = re.findall(r"^import codecs\n.*?^__all__ = .*?\n\n", half, re.S | re.M)
    (block,) = re.findall(r"^        # For the second half.*?\n\n", half, re.S | re.M)
    own = AN_AUTHORS_HALF.format(block_of_init=block)
    module.write_text(f'"""Counts."""\n\n{imports_to_all}\n{own}{divider}{second_half}', "utf-8")


def unused_imports(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    imported = {(a.asname or a.name).split(".")[0] for node in imports for a in node.names}
    return imported - {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.fixture
def repository(tmp_path):
    """The project in a repository of its own."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    repository = copy_project(tmp_path / "repository")
    git("init", "--quiet", cwd=repository)
    git("add", "--all", cwd=repository)
    git("commit", "--quiet", "--message=all", cwd=repository)
    return repository


def test_an_app_can_name_a_repository_instead_of_the_wheel(index_is_reached, repository, tmp_path):
    (line,) = re.findall(r"`(git\+https://\S+)`", ADD)
    line = line.replace("https://<HOST>/<YOU>/python-worker-extension-timer", repository.as_uri())
    (tmp_path / "requirements.txt").write_text(line, encoding="utf-8")

    run_python(*"-m pip install --no-deps --target there -r requirements.txt".split(), cwd=tmp_path)

    assert (tmp_path / "there" / NAME / "__init__.py").is_file()


ITS_NAMES = [NAME.replace("_", "-"), NAME, TimerExtension.__name__]


@pytest.mark.skipif(NAME == "my_extension", reason="the example's names are taken here")
def test_the_steps_to_an_extension_of_ones_own_end_in_a_wheel_and_green_tests(
    index_is_reached, repository
):
    rename, remove, build, _ = blocks("sh", section("Make your own extension"))
    licence = (repository / "LICENSE").read_text(encoding="utf-8")
    for left_behind in ("build", "dist", f"{NAME}.egg-info"):
        (repository / left_behind).mkdir()
        (repository / left_behind / "of_the_timer.whl").touch()

    follow(rename + remove, repository)
    rewrite(repository / "my_extension" / "__init__.py")
    (repository / "my_extension" / "more.py").write_text("")
    declare(
        repository / "setup.py",
        **dict.fromkeys(["url", "project_urls", "keywords", "classifiers"]),
        **{"version": '"2.3.4"', "license": '"Apache-2.0"', "author": '"Somebody"'},
        python_requires='">=3.7.1"',
        install_requires='["azure-functions", "six >= 1.16"]',
        extras_require='{"dev": ["pytest", "setuptools", "wheel", "twine", "iniconfig"]}',
    )
    # The tests of the local host know no extension.
    quick = "-m pytest -q -m 'not installs' --ignore-glob='*test_local_host*'"
    printed = follow(build.replace("-m pytest", quick), repository)
    declare(repository / "setup.py", keywords='["one", "two-words"]')
    metadata = "-m pytest -q -k metadata tests/test_package.py".split()
    printed += run_python(*metadata, cwd=repository)

    (wheel,) = (repository / "dist").glob("*.whl")
    assert wheel.name == "my_extension-2.3.4-py3-none-any.whl"
    (sdist,) = (repository / "dist").glob("*.tar.gz")
    if sys.version_info >= (3, 8):  # no setuptools for Python 3.7 names it as the index wants
        assert sdist.name == "my_extension-2.3.4.tar.gz"
    assert re.search(r"^\d+ passed", printed, re.MULTILINE) and " failed" not in printed
    assert printed.count("PASSED") == 2
    assert "DeprecationWarning" not in printed
    assert unused_imports(repository / "tests" / "conftest.py") == set()
    assert (repository / "LICENSE").read_text(encoding="utf-8") == licence
    for path in git("ls-files", cwd=repository).split():
        text = (repository / path).read_text(encoding="utf-8")
        assert "timer" not in path
        assert path == "LICENSE" or not re.search("|".join([*ITS_NAMES, r"\btimed\b"]), text), path


def test_an_extension_whose_configure_needs_an_argument_fails_its_tests_once(repository):
    module = repository / NAME / "__init__.py"
    source = module.read_text(encoding="utf-8")
    module.write_text(source.replace("header: bool = False,", "header: bool,"), encoding="utf-8")

    command = [sys.executable, "-m", "pytest", "-q", "tests/test_hooks.py"]
    result = subprocess.run(command, cwd=str(repository), capture_output=True, encoding="utf-8")

    assert result.returncode != 0
    assert (result.stdout + result.stderr).strip() == (
        "ERROR: TimerExtension.configure() needs server_timing_header: give it a default, since an "
        "app may never call configure()"
    )


@pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="an unpacked sdist has no .ci")
def test_ci_run_takes_the_test_command_from_the_page_and_fails_without_one(repository):
    (repository / "readme.md").write_text("# no command here\n")
    git("commit", "--quiet", "--all", "--message=no command", cwd=repository)

    command = ["bash", ".ci/run"]
    result = subprocess.run(command, cwd=str(repository), capture_output=True, timeout=60)

    assert result.returncode == 1
    assert b"no test command" in result.stdout


def test_the_app_setting_is_on_for_the_values_that_are_shown():
    text = " ".join(section("What is timed").split())
    on = re.search(rf"`{APP_SETTING}` is on for (.*?), on Python 3.9 also where it is", text)

    assert set(re.findall("`(.*?)`", on.group(1))) == python_worker_extension_timer._ON


def api_in_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def api_in_asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


def shown_code(start):
    """The one piece of code in the table that begins so."""
    (code,) = re.findall(rf"`({re.escape(start)}.*?)`", section("What is timed"))
    return code


@needs_v2
@pytest.mark.parametrize("kind, api", [("Asgi", api_in_asgi), ("Wsgi", api_in_wsgi)])
def test_the_web_framework_apps_of_the_v2_model_that_are_shown_are_one_function(kind, api, python):
    python(3, 13)
    names = {"func": azure.functions, "api": api}
    exec(shown_code(f"app = func.{kind}FunctionApp"), names)

    TimerExtension.configure(app=names["app"])

    (function,) = names["app"].get_functions()
    assert function.get_user_function().__code__.co_name == "wrapper"
    names["app"].startup_task_done = False  # or the SDK tells it of its end on a closed loop


@pytest.mark.parametrize(
    "shown, api",
    [
        ("main = TimerExtension.timed", api_in_wsgi),
        pytest.param("func.AsgiMiddleware", api_in_asgi, marks=needs_v2),
    ],
    ids=["Flask", "FastAPI"],
)
def test_the_main_that_is_shown_for_a_web_framework_in_the_v1_model_is_timed(shown, api, python):
    python(3, 13)
    logger = FakeLogger()
    TimerExtension.configure(logger=logger)
    names = {"func": azure.functions, "api": api, "TimerExtension": TimerExtension}
    code = shown_code(shown)
    if not code.startswith("main"):
        code = f"@TimerExtension.timed\nasync def main(req, context): return await {code}"
    exec(code, names)
    request = azure.functions.HttpRequest("GET", "http://localhost/api/HttpTrigger", body=b"")

    response = call(names["main"], req=request, context=FakeContext("HttpTrigger"))

    assert response.get_body() == b"hello"
    assert logger.messages[0] == "Recording start time of HttpTrigger"


def test_the_smallest_app_leaves_the_app_setting_out_and_azure_is_told_it_as_it_is_called():
    values = json.loads(files(YET)["local.settings.json"])["Values"]

    assert values == {WORKER_RUNTIME: "python"}
    assert f"--settings {APP_SETTING}=1" in README


def test_the_host_settings_let_the_lines_through():
    (shown,) = blocks("json", section("See the times in Application Insights"))
    logging_settings = json.loads(shown)["logging"]

    assert logging_settings["logLevel"]["Function"] == "Information"
    assert "Trace" in logging_settings["applicationInsights"]["samplingSettings"]["excludedTypes"]


def test_the_options_table_has_every_option_with_its_default():
    options = {
        name: parameter.default
        for name, parameter in inspect.signature(TimerExtension.configure).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }

    shown = {row["Option"].strip("`"): row["Default"].strip("`") for row in table("Options")}

    assert shown == {name: repr(default) for name, default in options.items()}


def test_the_headers_and_statuses_that_leave_a_body_alone_are_those_of_the_code():
    text = " ".join(section("Options").split())
    headers = text[text.index("with a header `") : text.index(" or a strong `ETag`")]

    assert {name.lower() for name in re.findall(r"`([\w-]+)`", headers)} == (
        python_worker_extension_timer._BODY_DESCRIBING_HEADERS
    )
    assert "of status 1xx, 204, 205, 206 or 304" in text
    statuses = {*range(100, 200), 204, 205, 206, 304}
    assert python_worker_extension_timer._FIXED_BODY_STATUSES == statuses


def parse_clause(query):
    """The query's parse clause as a regular expression: text between quotes, columns between it."""
    (clause,) = re.findall(r"^\| parse message with (.*)$", query, re.MULTILINE)
    parts = re.findall(r'"([^"]*)"|(\w+)', clause)
    return "".join(re.escape(text) if text else f"(?P<{column}>.*?)" for text, column in parts)


QUERY, TAILS = blocks("kusto")


@pytest.mark.parametrize("seconds", [1.5, 0.0, 9.8e-05, 123456.789])
def test_the_query_parses_the_very_lines_that_are_logged(seconds, clock):
    clock.now = 0.0
    first, second = invoke(clock=clock, seconds=seconds)

    parsed = re.fullmatch(parse_clause(QUERY), second)

    assert parsed["function"] == "HttpTrigger"
    assert float(parsed["elapsed"]) == seconds
    assert re.fullmatch(parse_clause(QUERY), first) is None


def test_the_query_joins_both_tables_by_what_both_have_of_an_invocation():
    assert QUERY.count("id = tostring(customDimensions.InvocationId)") == 2
    assert "kind=inner" in QUERY  # without a kind Kusto drops lines of the same id


def test_each_tail_uses_only_columns_that_the_query_has():
    columns = {"timestamp", "itemCount", "operation_Id", "cloud_RoleInstance"}  # of traces
    columns |= set(re.findall(r"(\w+) = ", QUERY)) | {"function", "success", "url"}
    keywords = {"summarize", "by", "render", "timechart", "top", "desc", "project", "Path", "5m"}
    names = set(re.findall(r"\b(?!\d+\b)\w+\b(?!\(| =)", TAILS))

    assert len(TAILS.split("\n\n")) == 3
    assert names - keywords <= columns


def test_the_server_timing_header_is_the_one_that_is_shown(clock):
    TimerExtension.configure(server_timing_header=True)
    response = HttpResponse()

    invoke(response, clock=clock, seconds=0.012345)

    assert f"`Server-Timing: {response.headers['Server-Timing']}`" in README


def test_the_hooks_are_named_with_the_parameters_that_they_have():
    for name in ("pre_invocation_app_level", "post_invocation_app_level"):
        parameters = inspect.signature(getattr(TimerExtension, name)).parameters.values()
        given = [str(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert f"`{name}({', '.join(given)})`" in " ".join(README.split())
