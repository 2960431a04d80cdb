"""The readme: its commands, output, code blocks and tables are what they claim to be."""

import inspect
import json
import os
import re
import shutil
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from azure.functions import AppExtensionBase, HttpResponse

import local_host
import python_worker_extension_timer
from conftest import (
    APP_SETTING,
    APPS,
    ROOT,
    WORKER_RUNTIME,
    FakeContext,
    FakeLogger,
    copy_project,
    finish,
    get,
    needs_v2,
    run,
    run_host,
    start,
)
from python_worker_extension_timer import TimerExtension

README = (ROOT / "readme.md").read_text(encoding="utf-8")

RUN = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python tests/local_host.py"
TEST = "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/python -m pytest"

needs_sh = pytest.mark.skipif(sys.platform == "win32", reason="these commands are for sh")


def section(title):
    return re.search(rf"^##+ {title}\n(.*?)(?=^##+ |\Z)", README, re.MULTILINE | re.DOTALL).group(1)


def blocks(language, text=README):
    """The code blocks of a language, in order."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def files(text):
    """The files that a section gives: a path in backticks, a colon, and the block below it."""
    found = re.findall(r"`([\w./]+)`:\n\n *```\w+\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return {path: textwrap.dedent(code) for path, code in found}


def write(folder, path, text):
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")


def follow(commands, cwd):
    """Run commands of the page as they stand, with this Python for ``python3``."""
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    return run(f"set -e\n{commands}", cwd, PATH=path)


def table(title, number=0):
    """The rows of a table in a section, by column title."""
    tables = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in tables[number].splitlines()
    ]
    return [dict(zip(rows[0], row)) for row in rows[2:]]


def test_both_commands_stand_in_the_first_screen_each_on_a_line_of_its_own():
    first_screen = README.splitlines()[:25]

    assert RUN in first_screen
    assert TEST in first_screen


def test_the_page_fits_a_narrow_window_but_for_the_run_command():
    lines = [line for code in blocks(r"\w+") for line in code.splitlines()]

    assert [line for line in lines if len(line) > 88] == [RUN]
    assert len(README.splitlines()) < 400


@needs_sh
@needs_v2
def test_the_run_command_works_in_an_empty_folder(index_is_reached, tmp_path):
    output = follow(RUN + " --once --port 0", copy_project(tmp_path / "clone"))

    assert "HTTP/1.1 200 OK" in output
    assert "(TimeElapsed: " in output


def shape(output):
    """The output without what differs from run to run."""
    output = re.sub(r"\d+(\.\d+)?(e-\d+)? sec", "<elapsed> sec", output)
    output = re.sub(r"Content-Length: \d+", "Content-Length: <n>", output)
    return re.sub(r"localhost:\d+", "localhost:<port>", output).strip()


@needs_v2
@pytest.mark.parametrize("setting", ["1", "0"])
def test_the_run_command_prints_the_output_that_is_shown_with_hooks_or_without(setting):
    shown = blocks("text")[0].replace("Serving until Ctrl-C.\n", "")
    pattern = ".*".join(re.escape(part) for part in shape(shown).split("…"))

    assert re.fullmatch(pattern, shape(run_host(**{APP_SETTING: setting}).stdout), re.DOTALL)
    assert shown.count("…") == 4


def test_the_tutorials_timer_gets_wrong_what_the_page_says(serve, hooks_on, extensions, caplog):
    class TutorialsTimer(AppExtensionBase):
        """What the tutorial's hooks do, in short."""

        start_timestamps = {}

        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            cls.start_timestamps[context.invocation_id] = 0.0

        @classmethod
        def post_invocation_app_level(
            cls, logger, context, func_args=None, func_ret=None, *args, **kwargs
        ):
            cls.start_timestamps.pop(context.invocation_id)
            func_ret._HttpResponse__body += b" (TimeElapsed: 1.0 sec)"

    def utf_16(req):
        return HttpResponse("hello", charset="utf-16")

    def no_content(req):
        return HttpResponse(status_code=204)

    def raises(req):
        raise ValueError("mine")

    url = serve(utf_16, no_content, raises) + "/api/"
    get(url + "raises")

    assert "TimeElapsed" not in get(url + "utf_16").body.decode("utf-16", "replace")
    assert get(url + "no_content").status == 500
    assert len(TutorialsTimer.start_timestamps) == 1


@pytest.fixture(scope="module")
def own_app(index_is_reached, tmp_path_factory):
    """The app's folder, after the steps of the page that both programming models share."""
    beside = tmp_path_factory.mktemp("beside")
    copy_project(beside / "python-worker-extension-timer")
    make, install, *_ = blocks("sh", section("Time your own app"))
    follow(make, beside)
    app = beside / "my-app"
    for path in ("host.json", "local.settings.json"):
        write(app, path, files(section("Time your own app"))[path])
    follow(install, app)
    return app


def serve_by_the_page(app):
    """What the command for where Core Tools are not installed prints."""
    (command,) = [c for c in blocks("sh", section("Time your own app")) if "local_host.py" in c]
    return follow(command.strip() + " --once --port 0", app)


@needs_sh
@needs_v2
def test_the_steps_to_an_app_of_the_v2_model_end_in_an_elapsed_time(own_app):
    write(own_app, "function_app.py", files(section("Time your own app"))["function_app.py"])

    printed = serve_by_the_page(own_app)
    (own_app / "function_app.py").unlink()

    assert "/api/HttpTrigger\n" in printed
    assert printed.count("Hello! (TimeElapsed: ") == 1


@needs_sh
def test_the_steps_to_an_app_of_the_v1_model_end_in_an_elapsed_time(own_app):
    for path, text in files(section("Time your own app")).items():
        if path.startswith("HttpTrigger/"):
            write(own_app, path, text)

    printed = serve_by_the_page(own_app)
    shutil.rmtree(str(own_app / "HttpTrigger"))

    assert "/api/HttpTrigger\n" in printed
    assert printed.count("Hello! (TimeElapsed: ") == 1


@needs_sh
def test_the_environment_of_the_app_is_not_published(own_app):
    assert (own_app / ".funcignore").read_text().split() == [".venv"]


def git(*arguments, cwd):
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    return run(["git", *identity, *arguments], cwd)


needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


@needs_sh
@needs_git
def test_the_app_can_depend_on_a_repository_too(index_is_reached, tmp_path):
    repository = copy_project(tmp_path / "repository")
    git("init", "--quiet", cwd=repository)
    git("add", "--all", cwd=repository)
    git("commit", "--quiet", "--message=all", cwd=repository)
    (requirements,) = [code for code in blocks("text") if "git+" in code]
    address = re.search(r"git\+https://\S+", requirements).group()
    requirements = requirements.replace(address, f"git+{repository.as_uri()}")
    (tmp_path / "requirements.txt").write_text(requirements, encoding="utf-8")

    run([sys.executable, *"-m pip install --target there -r requirements.txt".split()], tmp_path)

    assert (tmp_path / "there" / TimerExtension.__module__ / "__init__.py").is_file()


THREE_NAMES = [
    TimerExtension.__module__.replace("_", "-"),
    TimerExtension.__module__,
    TimerExtension.__name__,
]


def declare(setup_py, **metadata):
    """Change what setup.py declares, as a person would: one line for each."""
    declares = setup_py.read_text(encoding="utf-8")
    for name, value in metadata.items():
        declares = re.sub(rf"^    {name}=.*\n", "", declares, flags=re.MULTILINE)
        declares = declares.replace("\nsetup(\n", f'\nsetup(\n    {name}="{value}",\n')
    setup_py.write_text(declares, encoding="utf-8")


@needs_sh
@needs_git
@pytest.mark.skipif(
    TimerExtension.__module__ == "my_extension", reason="the example's names are taken here"
)
def test_the_steps_to_an_extension_of_ones_own_end_in_a_wheel_and_green_tests(
    index_is_reached, tmp_path
):
    rename, build, _ = blocks("sh", section("Make your own extension"))
    clone = copy_project(tmp_path / "clone")
    git("init", "--quiet", cwd=clone)
    git("add", "--all", cwd=clone)
    run([sys.executable, "setup.py", "-q", "sdist", "bdist_wheel"], clone)  # leaves much behind

    follow(rename, clone)
    declare(
        clone / "setup.py",
        version="2.3.4",
        description="Does something else",
        license="Apache-2.0",
        author="Somebody",
        url="https://example.com/mine",
    )
    (clone / "LICENSE").write_text("Apache License, Version 2.0", encoding="utf-8")
    tests = " ".join(
        f"tests/test_{concern}.py" for concern in ("hooks", "response_body", "configure", "package")
    )
    printed = follow(build.replace("-m pytest", f"-m pytest -q {tests}"), clone)

    (wheel,) = (clone / "dist").glob("*.whl")
    assert wheel.name == "my_extension-2.3.4-py3-none-any.whl"
    (sdist,) = (clone / "dist").glob("*.tar.gz")
    if sys.version_info >= (3, 8):  # no setuptools for Python 3.7 names it as the index wants
        assert sdist.name == "my_extension-2.3.4.tar.gz"
    with zipfile.ZipFile(str(wheel)) as archive:
        top_level = {name.split("/")[0] for name in archive.namelist()}
    assert top_level == {"my_extension", "my_extension-2.3.4.dist-info"}
    assert re.search(r"\d+ passed", printed) and " failed" not in printed
    assert printed.count("PASSED") == 2
    for path in git("ls-files", cwd=clone).split():
        for name in THREE_NAMES:
            assert name not in path
            assert name not in (clone / path).read_text(encoding="utf-8"), path


def python_versions(text):
    """The minor versions of Python 3 in a range such as "3.7 to 3.12"."""
    first, _, last = text.partition(" to ")
    return range(int(first[2:]), int(last[2:]) + 1)


def test_the_hooks_run_on_the_pythons_and_by_the_setting_that_are_shown(python, monkeypatch):
    hooks, app, timed = table("Which scope")
    assert (hooks["Setting"], app["Setting"], timed["Setting"]) == ("on", "any", "any")
    assert (app["Python"], timed["Python"]) == ("all", "all")
    rule = f"`{APP_SETTING}`: on where it is `1`, on Python 3.9 also where it is missing."
    assert rule in " ".join(README.split())
    monkeypatch.setenv(WORKER_RUNTIME, "python")
    for minor in range(7, 15):
        python(3, minor)
        runs = {}
        for value in ("1", "0", None):
            if value is None:
                monkeypatch.delenv(APP_SETTING)
            else:
                monkeypatch.setenv(APP_SETTING, value)
            runs[value] = python_worker_extension_timer._worker_calls_hooks()

        assert runs["1"] == (minor in python_versions(hooks["Python"]))
        assert runs["0"] is False
        assert runs[None] == (minor == 9)


@needs_v2
def test_the_decorated_function_that_is_shown_shows_an_elapsed_time(make_app):
    app = files(section("Time your own app"))["function_app.py"].split("@app.route")[0]
    (decorated,) = [code for code in blocks("python") if code.startswith("@app.route")]

    printed = run_host(make_app(app.replace("app=app, ", "") + decorated)).stdout

    assert printed.count("Hello! (TimeElapsed: ") == 1


@needs_v2
def test_the_web_framework_apps_that_are_shown_are_timed():
    import azure.functions as func

    def api(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]

    rows = {row["Your app"]: row["What to write"] for row in table("Which scope", 1)}
    (make_asgi,) = re.findall(r"`app = (func.AsgiFunctionApp\(api\))`", rows["FastAPI"])
    (make_wsgi,) = re.findall(r"`(func.WsgiFunctionApp\(api\))`", rows["Flask"])
    (main,) = re.findall(r"`main = (.*?)`", rows["Flask"])
    for make in (make_asgi, make_wsgi):
        app = eval(make, {"func": func, "api": api})
        TimerExtension.configure(app=app)
        (function,) = app.get_functions()
        assert function.get_function_name() == "http_app_func"
        app.startup_task_done = False
    eval(main, {"func": func, "api": api, "TimerExtension": TimerExtension})


def test_the_settings_are_those_of_the_sample_apps():
    shown = json.loads(files(section("Time your own app"))["local.settings.json"])

    for app in ("v1", "v2"):
        assert json.loads((APPS / app / "local.settings.json").read_text()) == shown
    assert f"--settings {APP_SETTING}=1" in README


def test_the_host_settings_let_the_lines_through():
    (shown,) = blocks("json", section("See the times in Application Insights"))
    logging_settings = json.loads(shown)["logging"]

    assert logging_settings["logLevel"]["Function"] == "Information"
    assert "Trace" in logging_settings["applicationInsights"]["samplingSettings"]["excludedTypes"]


def test_every_json_block_is_json():
    for code in blocks("json"):
        json.loads(code)


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


def test_the_two_lines_for_application_insights_make_both_lines_user_logs(serve, hooks_on, caplog):
    caplog.set_level("INFO")
    (code,) = blocks("python", section("See the times in Application Insights"))
    exec(code, {"TimerExtension": TimerExtension, "app": None})

    get(serve(local_host.HttpFunction("f", lambda req: "hello", "f")) + "/api/f")

    assert [r.name for r in caplog.records if r.name != "asyncio"] == ["timer", "timer"]


def parse_clause(query):
    """The query's parse clause as a regular expression: text between quotes, columns between it."""
    (clause,) = re.findall(r"^\| parse message with (.*)$", query, re.MULTILINE)
    parts = re.findall(r'"([^"]*)"|(\w+)', clause)
    return "".join(re.escape(text) if text else f"(?P<{column}>.*?)" for text, column in parts)


@pytest.mark.parametrize("query", blocks("kusto"), ids=["percentiles", "time chart", "slowest"])
@pytest.mark.parametrize("seconds", [1.5, 0.0, 9.8e-05, 123456.789])
def test_each_query_parses_the_very_lines_that_are_logged(query, seconds, clock):
    context, logger = FakeContext("HttpTrigger"), FakeLogger()
    clock.now = 0.0
    start(context, logger)
    clock.now = seconds
    finish(context, logger=logger)
    first, second = logger.messages

    parsed = re.fullmatch(parse_clause(query), second)

    assert parsed["function"] == "HttpTrigger"
    assert float(parsed["elapsed"]) == seconds
    assert re.fullmatch(parse_clause(query), first) is None


def test_there_are_three_queries_over_traces():
    assert [query.splitlines()[0] for query in blocks("kusto")] == ["traces"] * 3


def test_the_server_timing_header_is_the_one_that_is_shown(clock):
    TimerExtension.configure(server_timing_header=True)
    context, response = FakeContext("HttpTrigger"), HttpResponse()
    clock.now = 0.0
    start(context)
    clock.now = 0.012345
    finish(context, response)

    assert f"`Server-Timing: {response.headers['Server-Timing']}`" in README


def test_the_diagram_names_the_hooks_with_the_parameters_that_they_have():
    for name in ("pre_invocation_app_level", "post_invocation_app_level"):
        parameters = inspect.signature(getattr(TimerExtension, name)).parameters.values()
        given = [str(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert f"{name}({', '.join(given)})" in blocks("text", section("How it works"))[0]


def test_every_link_within_the_page_has_its_heading():
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([^)]*)\)", README)) <= anchors


def test_every_other_link_is_absolute_so_that_an_index_page_keeps_it():
    for target in re.findall(r"\]\(([^)]*)\)", README):
        assert target.startswith(("https://", "#"))
    assert "![" not in README and "<img" not in README


def test_every_python_block_compiles():
    for code in blocks("python"):
        compile(code, "readme.md", "exec")


def test_every_file_that_is_named_is_there():
    for path in re.findall(r"tests[/\\][\w./\\-]+", README):
        assert (ROOT / Path(*re.split(r"[/\\]", path.rstrip("./")))).exists(), path
