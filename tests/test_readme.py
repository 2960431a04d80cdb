"""The timer's page: its commands, output, code and tables are what they claim to be."""

import inspect
import json
import os
import re
import shutil
import sys
import tempfile
import textwrap
import zipfile
from pathlib import Path

import pytest
from azure.functions import AppExtensionBase, HttpResponse

import local_host
import python_worker_extension_timer
from conftest import (
    APP_SETTING,
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


def write(folder, path, text):
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")


def follow(commands, cwd):
    """Run commands of the page as they stand, with this Python for ``python3``."""
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
    (shown,) = blocks("text")
    pattern = ".*".join(re.escape(part) for part in shape(shown).split("…"))

    assert re.fullmatch(pattern, shape(run_host(**{APP_SETTING: setting}).stdout), re.DOTALL)
    assert shown.count("…") == 5


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


YET, ADD = section("No app yet?"), section("Add it to your app")
MAKE, (INSTALL, SERVE, BUILD) = blocks("sh", YET)[0], blocks("sh", ADD)
LINES_FOR_V2, LINES_FOR_V1 = blocks("python", ADD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a clone, and beside it an app that has the extension, by the page's steps."""
    folder = tmp_path_factory.mktemp("folder")
    copy_project(folder / "python-worker-extension-timer")
    follow(MAKE, folder)
    write(folder / "my-app", "local.settings.json", files(YET)["local.settings.json"])
    follow(INSTALL, folder / "my-app")
    return folder


@pytest.fixture
def clone(folder):
    """The clone, which is afterwards as it was."""
    clone = folder / "python-worker-extension-timer"
    files_of_it = clone / "setup.py", clone / TimerExtension.__module__ / "__init__.py"
    sources = [file.read_text(encoding="utf-8") for file in files_of_it]
    yield clone
    for file, source in zip(files_of_it, sources):
        file.write_text(source, encoding="utf-8")


@pytest.fixture
def v2_app(folder):
    """The app with the function of the v2 model that is shown, and the two lines added to it."""
    app = folder / "my-app"
    source = files(YET)["function_app.py"]
    (made,) = re.findall(r"^app = func.FunctionApp\(.*\n", source, re.MULTILINE)
    write(app, "function_app.py", source.replace(made, made + LINES_FOR_V2))
    yield app
    (app / "function_app.py").unlink()


@pytest.fixture
def v1_app(folder):
    """The app with the function of the v1 model that is shown, decorated and configured."""
    app = folder / "my-app"
    shown = files(YET)
    write(app, "HttpTrigger/function.json", shown["HttpTrigger/function.json"])
    imports, main = shown["HttpTrigger/__init__.py"].split("\n\n", 1)
    assert main in LINES_FOR_V1
    write(app, "HttpTrigger/__init__.py", f"{imports}\n{LINES_FOR_V1}")
    yield app
    shutil.rmtree(str(app / "HttpTrigger"))


def serve_by_the_page(app):
    """What the command for where Core Tools are not installed prints."""
    return follow(SERVE.strip() + " --once --port 0", app)


@needs_sh
@needs_v2
def test_the_steps_to_an_app_of_the_v2_model_end_in_an_elapsed_time(index_is_reached, v2_app):
    printed = serve_by_the_page(v2_app)

    assert "/api/HttpTrigger\n" in printed
    assert printed.count("Hello! (TimeElapsed: ") == 1
    assert "Warning" not in printed


@needs_sh
def test_the_steps_to_an_app_of_the_v1_model_end_in_an_elapsed_time(index_is_reached, v1_app):
    printed = serve_by_the_page(v1_app)

    assert "/api/HttpTrigger\n" in printed
    assert printed.count("Hello! (TimeElapsed: ") == 1
    assert "Warning" not in printed


@needs_sh
def test_the_environment_of_a_new_app_is_not_published(index_is_reached, folder):
    assert (folder / "my-app" / ".funcignore").read_text().split() == [".venv"]


@needs_sh
def test_the_steps_to_a_new_app_touch_nothing_where_its_folder_exists(index_is_reached, folder):
    beside = sorted(folder.iterdir())

    with pytest.raises(AssertionError, match="File exists"):
        follow(MAKE, folder)

    assert sorted(folder.iterdir()) == beside


def change(clone, new):
    """Change what the extension of the clone logs."""
    module = clone / TimerExtension.__module__ / "__init__.py"
    source = module.read_text(encoding="utf-8")
    assert "Recording start" in source
    module.write_text(source.replace("Recording start", new), encoding="utf-8")


@needs_sh
def test_a_change_in_the_clone_shows_at_the_apps_next_start(index_is_reached, v1_app, clone):
    assert "Recording start time of HttpTrigger" in serve_by_the_page(v1_app)

    change(clone, "Noting the start")

    assert "Noting the start time of HttpTrigger" in serve_by_the_page(v1_app)


@needs_sh
def test_an_existing_app_keeps_its_own_lines_and_names_the_wheel_once(index_is_reached, folder):
    app = folder / "existing"
    app.mkdir()
    (app / "requirements.txt").write_text("azure-functions\nrequests")  # with no newline at its end
    (app / ".funcignore").write_text(".git*\n.venv")
    follow("python3 -m venv .venv", app)

    follow(INSTALL + BUILD + BUILD, app)

    (wheel,) = app.glob("*.whl")
    lines = (app / "requirements.txt").read_text().split()
    assert lines == ["azure-functions", "requests", f"./{wheel.name}"]
    assert sorted(path.name for path in app.iterdir()) == sorted(
        [".funcignore", ".venv", "requirements.txt", wheel.name]
    )
    assert (app / ".funcignore").read_text() == ".git*\n.venv"


@needs_sh
def test_the_publishing_steps_done_again_bring_a_change_of_the_source_and_a_new_version(
    index_is_reached, folder, clone, declared, tmp_path
):
    app, version = folder / "my-app", declared["version"]

    def published():
        follow(BUILD, app)
        # As Azure's build does: into a folder that is new each time.
        into = tempfile.mkdtemp(dir=str(tmp_path))
        install = "-m pip install --no-deps -r requirements.txt --target".split()
        run([sys.executable, *install, into], app)
        (wheel,) = app.glob("*.whl")
        module = Path(into) / TimerExtension.__module__ / "__init__.py"
        return wheel.name.split("-")[1], "Noting the start" in module.read_text(encoding="utf-8")

    assert published() == (version, False)

    change(clone, "Noting the start")
    assert published() == (version, True)

    declare(clone / "setup.py", version="2.3.4")
    assert published() == ("2.3.4", True)


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
    (line,) = re.findall(r"`(git\+https://\S+)`", ADD)
    line = line.replace("https://<HOST>/<YOU>/python-worker-extension-timer", repository.as_uri())
    (tmp_path / "requirements.txt").write_text(line, encoding="utf-8")

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


def rewrite(module):
    """What an author makes of the first half: hooks that count, and no option of the timer."""
    half, divider, kept = module.read_text(encoding="utf-8").partition("# " + "-" * 98)

    def replace(pattern, new=""):
        nonlocal half
        half, count = re.subn(pattern, new, half, flags=re.DOTALL | re.MULTILINE)
        assert count, pattern

    replace(r"^# A response of one of these.*?(?=^_Function = )")
    replace(r"^def _lengthen_body.*\Z")
    replace(r"^ +(append_to_http_response|server_timing_header): bool.*?\n")
    replace(r'^ +logger: "Optional\[_InfoLogger\]".*?\n')
    replace(r"^        for option, value in .*?(?=^        app_type)")
    replace(r"^        cls.(append_to_http_response|logger) = \w+\n")
    replace(r"^        cls.server_timing_header = \w+\n", "        cls.limit = limit\n")
    replace("cls.app = cls.logger = None", "cls.app, cls.counts = None, {}")
    replace("cls.append_to_http_response = cls.server_timing_header = False", "cls.limit = 0")
    replace(r"(?<=^        \*args: object,\n)(?=        app:)", "        limit: int = 0,\n")
    for hook in ("pre", "post"):
        replace(
            rf'(def {hook}_invocation_app_level\(.*?"""[^"]*"""\n).*?(?=^    @classmethod)',
            rf'\1        key = "{hook}", context.function_name\n'
            "        cls.counts[key] = cls.counts.get(key, 0) + 1\n\n",
        )
    module.write_text(half + divider + kept, encoding="utf-8")


@needs_sh
@needs_git
@pytest.mark.skipif(
    TimerExtension.__module__ == "my_extension", reason="the example's names are taken here"
)
def test_the_steps_to_an_extension_of_ones_own_end_in_a_wheel_and_green_tests(
    index_is_reached, tmp_path
):
    rename, remove, build, _ = blocks("sh", section("Make your own extension"))
    clone = copy_project(tmp_path / "clone")
    git("init", "--quiet", cwd=clone)
    git("add", "--all", cwd=clone)
    git("commit", "--quiet", "--message=all", cwd=clone)
    licence = (clone / "LICENSE").read_text(encoding="utf-8")
    run([sys.executable, "setup.py", "-q", "sdist", "bdist_wheel"], clone)  # leaves much behind

    follow(rename + remove, clone)
    rewrite(clone / "my_extension" / "__init__.py")
    declare(
        clone / "setup.py",
        version="2.3.4",
        description="Does something else",
        license="Apache-2.0",
        author="Somebody",
        url="https://example.com/mine",
    )
    printed = follow(build.replace("-m pytest", "-m pytest -q"), clone)

    (wheel,) = (clone / "dist").glob("*.whl")
    assert wheel.name == "my_extension-2.3.4-py3-none-any.whl"
    (sdist,) = (clone / "dist").glob("*.tar.gz")
    if sys.version_info >= (3, 8):  # no setuptools for Python 3.7 names it as the index wants
        assert sdist.name == "my_extension-2.3.4.tar.gz"
    with zipfile.ZipFile(str(wheel)) as archive:
        top_level = {name.split("/")[0] for name in archive.namelist()}
    assert top_level == {"my_extension", "my_extension-2.3.4.dist-info"}
    assert re.search(r"^\d+ passed", printed, re.MULTILINE) and " failed" not in printed
    assert printed.count("PASSED") == 2
    assert "DeprecationWarning" not in printed
    assert (clone / "LICENSE").read_text(encoding="utf-8") == licence
    for path in git("ls-files", cwd=clone).split():
        assert "timer" not in path
        for name in THREE_NAMES:
            assert path == "LICENSE" or name not in (clone / path).read_text(encoding="utf-8"), path


def python_versions(text):
    """The minor versions of Python 3 in a range such as "3.7 to 3.12"."""
    first, _, last = text.partition(" to ")
    return range(int(first[2:]), int(last[2:]) + 1)


def test_the_hooks_run_on_the_pythons_and_by_the_setting_that_are_shown(python, monkeypatch):
    text = " ".join(section("What to write").split())
    on = re.search(rf"`{APP_SETTING}` is on for (.*?), on Python 3.9 also where", text).group(1)
    (versions,) = re.findall(r"the worker of Python (3.\d+ to 3.\d+) itself calls", text)
    assert f"any, on Python {versions} | the import, with the app setting on |" in text
    monkeypatch.setenv(WORKER_RUNTIME, "python")
    for minor in range(7, 15):
        python(3, minor)
        runs = {}
        for value in (*re.findall("`(.*?)`", on), "0", None):
            if value is None:
                monkeypatch.delenv(APP_SETTING)
            else:
                monkeypatch.setenv(APP_SETTING, value)
            runs[value] = python_worker_extension_timer._worker_calls_hooks()

        assert (runs.pop("0"), runs.pop(None)) == (False, minor == 9)
        assert set(runs) == {"1", "true", "t", "yes", "y"}
        assert set(runs.values()) == {minor in python_versions(versions)}


@needs_v2
def test_the_web_framework_apps_that_are_shown_are_timed():
    import azure.functions as func

    def api(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]

    text = section("What to write")
    (make_asgi,) = re.findall(r"`app = (func.AsgiFunctionApp\(api\))`", text)
    (make_wsgi,) = re.findall(r"`app = (func.WsgiFunctionApp\(api\))`", text)
    (main,) = re.findall(r"`main = (.*?)`", text)
    for make in (make_asgi, make_wsgi):
        app = eval(make, {"func": func, "api": api})
        TimerExtension.configure(app=app)
        (function,) = app.get_functions()
        assert function.get_function_name() == "http_app_func"
        app.startup_task_done = False
    eval(main, {"func": func, "api": api, "TimerExtension": TimerExtension})


def test_the_smallest_app_leaves_the_app_setting_out_and_azure_is_told_it_as_it_is_called():
    values = json.loads(files(YET)["local.settings.json"])["Values"]

    assert values == {WORKER_RUNTIME: "python"}
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


QUERY, TAILS = blocks("kusto")


@pytest.mark.parametrize("seconds", [1.5, 0.0, 9.8e-05, 123456.789])
def test_the_query_parses_the_very_lines_that_are_logged(seconds, clock):
    context, logger = FakeContext("HttpTrigger"), FakeLogger()
    clock.now = 0.0
    start(context, logger)
    clock.now = seconds
    finish(context, logger=logger)
    first, second = logger.messages

    parsed = re.fullmatch(parse_clause(QUERY), second)

    assert parsed["function"] == "HttpTrigger"
    assert float(parsed["elapsed"]) == seconds
    assert re.fullmatch(parse_clause(QUERY), first) is None


def test_the_tails_take_only_columns_that_the_query_has():
    columns = {"timestamp", "function", "seconds", "itemCount", "operation_Id"}

    assert QUERY.splitlines()[0] == "traces"
    assert len(TAILS.split("\n\n")) == 2
    for column in ("function", "seconds", "itemCount"):
        assert column in QUERY.splitlines()[-1]
    assert columns <= set(re.findall(r"\w+", TAILS))


def test_the_server_timing_header_is_the_one_that_is_shown(clock):
    TimerExtension.configure(server_timing_header=True)
    context, response = FakeContext("HttpTrigger"), HttpResponse()
    clock.now = 0.0
    start(context)
    clock.now = 0.012345
    finish(context, response)

    assert f"`Server-Timing: {response.headers['Server-Timing']}`" in README


def test_the_hooks_are_named_with_the_parameters_that_they_have():
    for name in ("pre_invocation_app_level", "post_invocation_app_level"):
        parameters = inspect.signature(getattr(TimerExtension, name)).parameters.values()
        given = [str(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert f"`{name}({', '.join(given)})`" in section("Make your own extension")


def test_a_response_returned_at_the_same_time_shows_the_last_time_and_the_log_each_ones(clock):
    TimerExtension.configure(append_to_http_response=True)
    response, logger = HttpResponse("hello"), FakeLogger()
    contexts = [FakeContext(), FakeContext()]
    for context in contexts:
        start(context, FakeLogger())
        clock.now += 1

    for context in contexts:
        finish(context, response, logger)

    assert response.get_body() == b"hello (TimeElapsed: 1.0 sec)"
    assert [line.split(" is ")[1] for line in logger.messages] == ["2.0 sec", "1.0 sec"]


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
    for path in re.findall(r"tests[/\\][\w./\\*-]+", README):
        assert list(ROOT.glob(re.sub(r"\\", "/", path.rstrip("./")))), path
