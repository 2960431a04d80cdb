"""The timer's readme.md: its commands, output, code and tables are correct."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import azure.functions
import pytest
from azure.functions import AppExtensionBase, HttpResponse

import python_worker_extension_timer
from commands import copy_project, host_environment, run, run_host, run_python
from conftest import (
    APP_SETTING, ROOT, WORKER_RUNTIME, FakeContext, FakeLogger, call, exchange, invoke, needs_v2
)
from python_worker_extension_timer import TimerExtension

README = (ROOT / "readme.md").read_text(encoding="utf-8")

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


def files(text):
    """The files shown in a section: a path in backticks, a colon, and a code block."""
    found = re.findall(r"`([\w./]+)`:\n\n *```\w+\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return {path: textwrap.dedent(code) for path, code in found}


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


def test_code_lines_and_the_readme_are_not_too_long():
    lines = [line for code in blocks(r"\w+") for line in code.splitlines()]

    assert [line for line in lines if len(line) > 88] == [RUN]
    assert len(README.splitlines()) < 420


def test_every_anchor_has_a_heading():
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([^)]*)\)", README)) <= anchors


def test_links_to_other_pages_are_absolute_so_that_they_work_on_a_package_index():
    targets = re.findall(r"\]\(([^)]*)\)", README)

    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert "![" not in README and "<img" not in README


def test_every_file_mentioned_exists():
    mentioned = re.findall(r"tests[/\\][\w./\\*-]+", README)

    paths = [path.replace("\\", "/").rstrip("./") for path in mentioned]
    assert [path for path in paths if not list(ROOT.glob(path))] == []


def test_python_and_json_blocks_parse():
    for code in blocks("python"):
        compile(code, "readme.md", "exec")
    for code in blocks("json"):
        json.loads(code)


def test_shell_blocks_contain_no_comment_and_no_glob_that_zsh_would_expand():
    for code in blocks("sh"):
        unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", code)
        assert not re.search(r"[*?\[#]", unquoted)


def shape(output):
    """The output with run-dependent values replaced by placeholders."""
    output = re.sub(r"\d+\.\d+(e-\d+)? sec", "<elapsed> sec", output)
    return re.sub(r"localhost:\d+", "localhost:<port>", output).strip()


@needs_v2
@pytest.mark.parametrize("setting", ["1", "0"])
def test_the_run_command_prints_the_output_shown_whether_or_not_the_worker_calls_the_hooks(setting):
    shown, _ = blocks("text")
    pattern = ".*".join(re.escape(part) for part in shape(shown).split("…"))

    assert re.fullmatch(pattern, shape(run_host(**{APP_SETTING: setting}).stdout), re.DOTALL)
    assert shown.count("…") == 5


def test_the_tutorials_timer_has_the_bugs_listed_in_the_readme(
    serve, worker_with_hooks, empty_registry, caplog, python
):
    class TutorialsTimer(AppExtensionBase):
        """The tutorial's hooks, abridged."""

        start_timestamps = {}

        @classmethod
        def pre_invocation_app_level(cls, logger, context, *args, **kwargs):
            cls.start_timestamps[context.invocation_id] = 0.0

        @classmethod
        def post_invocation_app_level(cls, logger, context, func_args, func_ret, *args, **kwargs):
            cls.start_timestamps.pop(context.invocation_id)
            func_ret._HttpResponse__body += b" (TimeElapsed: 1.0 sec)"

    def responds(req):
        return HttpResponse(**json.loads(req.params["with"]))

    url = serve(responds)

    def request(with_):
        line = f"GET /api/responds?with={with_} HTTP/1.1"
        return exchange(url, *[f"{line}\r\nHost: localhost\r\n\r\n".encode()] * 2)

    utf_16, _ = request('{"charset":"utf-16"}')
    assert "TimeElapsed" not in utf_16.body.decode("utf-16", "replace")
    for status in (204, 205, 304):
        first, next_on_the_connection = request(f'{{"status_code":{status}}}')
        assert (first.status, next_on_the_connection) == (status, None)
    first, _ = request('{"body":"a","headers":{"Content-Length":"1"}}')
    assert first.status == 500
    request("raises")
    assert len(TutorialsTimer.start_timestamps) == 2
    python(3, 13)
    first, _ = request("{}")
    assert first.body == b""


YET, ADD = section("No app yet?"), section("Add the extension to your app")
PUBLISH = section("Publish to Azure")
(MAKE,), (INSTALL, SERVE), (BUILD,) = blocks("sh", YET), blocks("sh", ADD), blocks("sh", PUBLISH)
LINES_FOR_V2, LINES_FOR_V1, FOR_PRODUCTION = blocks("python", ADD)
(WHEEL_LINE,) = blocks("text", PUBLISH)
NAME = TimerExtension.__module__


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
        shown = files(YET)[file.name]
        (made,) = re.findall(r"^app = func.FunctionApp\(.*\n", shown, re.MULTILINE)
        file.write_text(shown.replace(made, made + LINES_FOR_V2))
    else:
        file = app / "HttpTrigger" / "__init__.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(LINES_FOR_V1)
        file.with_name("function.json").write_text(files(YET)["HttpTrigger/function.json"])
    yield file
    file.unlink()


def run_stand_in_host(folder):
    """The output of the readme's command for the stand-in host, which calls each function once."""
    return follow(SERVE.strip() + " --once --port 0", folder / "my-app")


def test_the_first_steps_append_the_elapsed_time(source, folder):
    printed = run_stand_in_host(folder)

    assert "/api/HttpTrigger\n" in printed
    assert printed.count("Hello! (TimeElapsed: ") == 1
    assert "Warning" not in printed


def test_the_production_step_logs_one_line_adds_the_header_and_keeps_the_body(source, folder):
    in_v2 = source.name == "function_app.py"
    production = FOR_PRODUCTION if in_v2 else FOR_PRODUCTION.replace("app=app, ", "")
    first_look = r"^TimerExtension.configure\(.*append_to_http_response.*\n"
    lines = source.read_text(encoding="utf-8")
    source.write_text(re.sub(first_look, production, lines, flags=re.MULTILINE), encoding="utf-8")

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
    assert WHEEL_LINE == f"./{wheel.name}\n"
    assert wheel.name == f"{NAME}-{setup_arguments['version']}-py3-none-any.whl"
    files_after = [path for path in app.iterdir() if path.is_file() and path != wheel]
    assert {path.name: path.read_bytes() for path in files_after} == before
    (app / "requirements.txt").write_bytes(before["requirements.txt"] + WHEEL_LINE.encode())
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


def git(*arguments, cwd):
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    return run(["git", *identity, *arguments], cwd)


def declare(setup_py, **arguments):
    """Edit the arguments of ``setup()`` in setup.py.

    Values are Python source; None removes the argument.
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
        _set_up_hooks(cls, app, cls.watched, args, kwargs)

    @classmethod
    def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
        cls.count += 1

    @classmethod
    def watched(cls, function):
        return _decorate(cls, function)


"""


def rewrite(module):
    """Replace the first half as an author would, keeping what the second half needs."""
    half, divider, second_half = module.read_text(encoding="utf-8").partition("# " + "-" * 98)

    (imports_to_all,) = re.findall(r"^from __future__.*?^__all__ = .*?\n\n", half, re.S | re.M)
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
    """A new Git repository with a copy of the project."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    repository = copy_project(tmp_path / "repository")
    git("init", "--quiet", cwd=repository)
    git("add", "--all", cwd=repository)
    git("commit", "--quiet", "--message=all", cwd=repository)
    return repository


def test_requirements_can_list_a_repository_instead_of_the_wheel(
    package_index, repository, tmp_path
):
    (line,) = re.findall(r"`(git\+https://\S+)`", PUBLISH)
    line = line.replace("https://<HOST>/<YOU>/python-worker-extension-timer", repository.as_uri())
    (tmp_path / "requirements.txt").write_text(line, encoding="utf-8")

    run_python(*"-m pip install --no-deps --target there -r requirements.txt".split(), cwd=tmp_path)

    assert (tmp_path / "there" / NAME / "__init__.py").is_file()


NAMES = [NAME.replace("_", "-"), NAME, TimerExtension.__name__]


@pytest.mark.skipif(NAME == "my_extension", reason="this package has the names of the example")
def test_making_your_own_extension_ends_with_a_wheel_and_passing_tests(package_index, repository):
    rename, remove, build = blocks("sh", section("Make your own extension"))
    license_text = (repository / "LICENSE").read_text(encoding="utf-8")
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
    # The stand-in host's tests don't depend on the extension.
    quick = "-m pytest -q -m 'not installs' --ignore-glob='*test_stand_in_host*'"
    printed = follow(build.replace("-m pytest", quick), repository)
    declare(repository / "setup.py", keywords='["one", "two-words"]')
    metadata = "-m pytest -q -k metadata tests/test_package.py".split()
    printed += run_python(*metadata, cwd=repository)

    (wheel,) = (repository / "dist").glob("*.whl")
    assert wheel.name == "my_extension-2.3.4-py3-none-any.whl"
    (sdist,) = (repository / "dist").glob("*.tar.gz")
    if sys.version_info >= (3, 8):  # setuptools for Python 3.7 doesn't normalize the name
        assert sdist.name == "my_extension-2.3.4.tar.gz"
    assert re.search(r"^\d+ passed", printed, re.MULTILINE) and " failed" not in printed
    assert printed.count("PASSED") == 2
    assert "DeprecationWarning" not in printed
    assert unused_imports(repository / "tests" / "conftest.py") == set()
    assert (repository / "LICENSE").read_text(encoding="utf-8") == license_text
    for path in git("ls-files", cwd=repository).split():
        text = (repository / path).read_text(encoding="utf-8")
        assert "timer" not in path
        assert path == "LICENSE" or not re.search("|".join([*NAMES, r"\btimed\b"]), text), path


def test_a_required_argument_of_configure_is_reported_as_a_single_error(repository):
    module = repository / NAME / "__init__.py"
    source = module.read_text(encoding="utf-8")
    module.write_text(source.replace("header: bool = False,", "header: bool,"), encoding="utf-8")

    command = [sys.executable, "-m", "pytest", "-q", "tests/test_hooks.py"]
    result = subprocess.run(command, cwd=str(repository), capture_output=True, encoding="utf-8")

    assert result.returncode != 0
    assert (result.stdout + result.stderr).strip() == (
        "ERROR: TimerExtension.configure() requires server_timing_header. Give the option a "
        "default: an app may never call configure()."
    )


@pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="an unpacked sdist has no .ci")
def test_ci_run_takes_the_test_command_from_the_readme_and_fails_without_one(repository):
    (repository / "readme.md").write_text("# no command here\n")
    git("commit", "--quiet", "--all", "--message=no command", cwd=repository)

    command = ["bash", ".ci/run"]
    result = subprocess.run(command, cwd=str(repository), capture_output=True, timeout=60)

    assert result.returncode == 1
    assert b"no test command" in result.stdout


def test_the_readme_lists_all_values_that_turn_the_app_setting_on():
    text = " ".join(section("What is timed").split())
    on = re.search(r"is on if its value is (.*?); on Python 3.9, also if it isn't set", text)

    assert set(re.findall("`(.*?)`", on.group(1))) == python_worker_extension_timer._ON


def api_in_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def api_in_asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


def shown_code(start):
    """The code in the table that starts with ``start``."""
    (code,) = re.findall(rf"`({re.escape(start)}.*?)`", section("What is timed"))
    return code


@needs_v2
@pytest.mark.parametrize("kind, api", [("Asgi", api_in_asgi), ("Wsgi", api_in_wsgi)])
def test_a_v2_web_framework_app_is_wrapped_as_one_function(kind, api, python):
    python(3, 13)
    names = {"func": azure.functions, "api": api}
    exec(shown_code(f"app = func.{kind}FunctionApp"), names)

    TimerExtension.configure(app=names["app"])

    (function,) = names["app"].get_functions()
    assert function.get_user_function().__code__.co_name == "wrapper"
    names["app"].startup_task_done = False  # Otherwise, the SDK uses a closed event loop.


@pytest.mark.parametrize(
    "shown, api",
    [
        ("main = TimerExtension.timed", api_in_wsgi),
        pytest.param("func.AsgiMiddleware", api_in_asgi, marks=needs_v2),
    ],
    ids=["Flask", "FastAPI"],
)
def test_the_main_function_of_a_v1_web_framework_app_is_timed(shown, api, python):
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


def test_the_minimal_app_does_not_have_the_app_setting(folder):
    settings = (folder / "my-app" / "local.settings.json").read_text(encoding="utf-8")

    assert json.loads(settings)["Values"] == {WORKER_RUNTIME: "python"}


def test_the_az_command_uses_the_name_of_the_app_setting():
    assert f"--settings {APP_SETTING}=0" in README


def test_the_host_json_shown_excludes_the_log_lines_from_sampling_and_sets_no_log_level():
    (shown,) = blocks("json", section("See the times in Application Insights"))
    logging_settings = json.loads(shown)["logging"]

    excluded = logging_settings["applicationInsights"]["samplingSettings"]["excludedTypes"]
    assert "Trace" in excluded.split(";")
    assert "logLevel" not in logging_settings


ROOT_AT_WARNING = "logging.basicConfig(stream=sys.stdout)"
DICT_CONFIG = """
handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
root = {"level": "INFO", "handlers": ["handler"]}
config = {"version": 1, "handlers": {"handler": handler}, "root": root}
logging.config.dictConfig(config)
"""


@pytest.mark.parametrize(
    "set_up, fix_in_readme, fix",
    [
        (
            ROOT_AT_WARNING,
            f"Set the level of the logger `{NAME}` to `INFO`",
            ROOT_AT_WARNING + f"; logging.getLogger('{NAME}').setLevel('INFO')",
        ),
        (
            DICT_CONFIG,
            "in the `dictConfig`, set `disable_existing_loggers` to `False`",
            DICT_CONFIG.replace('"version": 1', '"version": 1, "disable_existing_loggers": False'),
        ),
    ],
    ids=["root logger", "dictConfig"],
)
def test_an_app_that_sets_up_logging_needs_the_fix_in_the_readme(
    set_up, fix_in_readme, fix, tmp_path
):
    def run_app(set_up):
        module = f"import logging.config, sys\nfrom {NAME} import TimerExtension\n{set_up}\n"
        (tmp_path / "app.py").write_text(module + "TimerExtension.timed(lambda req: None)(req=1)")
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


def test_the_readme_lists_the_headers_and_statuses_used_in_the_code():
    text = " ".join(section("Options").split())
    headers = text[text.index("has a header `") : text.index(" or a strong `ETag`")]

    assert {name.lower() for name in re.findall(r"`([\w-]+)`", headers)} == (
        python_worker_extension_timer._BODY_DESCRIBING_HEADERS
    )
    assert "status is 1xx, 204, 205, 206 or 304" in text
    statuses = {*range(100, 200), 204, 205, 206, 304}
    assert python_worker_extension_timer._FIXED_BODY_STATUSES == statuses


def parse_clause(query):
    """The query's parse clause as a regular expression.

    Quoted text matches itself, each column becomes a group, and an asterisk matches any text.
    """
    (clause,) = re.findall(r"^\| parse message with (.*)$", query, re.MULTILINE)
    parts = re.findall(r'"([^"]*)"|(\w+)|\*', clause)
    return "".join(
        re.escape(text) if text else f"(?P<{column}>.*?)" if column else ".*"
        for text, column in parts
    )


QUERY, *ENDINGS = blocks("kusto")


@pytest.mark.parametrize("seconds", [1.5, 0.0, 9.8e-05, 123456.789])
@pytest.mark.parametrize("before, after", [("", ""), ('{"message": "', '", "level": "INFO"}')])
def test_the_query_parses_the_logged_lines(seconds, before, after, clock):
    clock.now = 0.0
    first, second = invoke(clock=clock, seconds=seconds)

    parsed = re.fullmatch(parse_clause(QUERY), before + second + after)

    assert parsed["function"] == "HttpTrigger"
    assert float(parsed["elapsed"]) == seconds
    assert re.fullmatch(parse_clause(QUERY), before + first + after) is None


def test_the_query_joins_each_line_with_the_request_of_its_span():
    assert "| join kind=leftouter (" in QUERY
    assert ") on $left.operation_ParentId == $right.id" in QUERY
    assert "project id, " in QUERY


def test_the_query_ending_for_paths_replaces_ids_in_the_paths():
    pattern, replacement = re.findall(r'"([^"]*)"', ENDINGS[0])
    path = "/v1/users/17/posts/0f8fad5b-d9cb-469f-a165-70867728950e"

    assert re.sub(pattern, replacement, path) == "/v1/users/{id}/posts/{id}"


def test_each_query_ending_uses_only_columns_of_the_query():
    columns = {"timestamp", "itemCount", "operation_Id", "cloud_RoleInstance"}  # in traces
    columns |= set(re.findall(r"(\w+) = ", QUERY)) | {"function", "success", "url"}
    keywords = {"extend", "summarize", "by", "render", "timechart", "top", "desc", "project"}
    keywords |= {"Path", "5m"}

    assert len(ENDINGS) == 3
    for ending in ENDINGS:
        names = set(re.findall(r"\b(?!\d+\b)\w+\b(?!\(| =)", re.sub('@?"[^"]*"', "", ending)))
        assert names - keywords - set(re.findall(r"(\w+) = ", ending)) <= columns


def test_the_server_timing_header_is_as_shown(clock):
    TimerExtension.configure(server_timing_header=True)
    response = HttpResponse()

    invoke(response, clock=clock, seconds=0.012345)

    assert f"`Server-Timing: {response.headers['Server-Timing']}`" in README


def test_the_hook_signatures_are_as_shown():
    for name in ("pre_invocation_app_level", "post_invocation_app_level"):
        parameters = inspect.signature(getattr(TimerExtension, name)).parameters.values()
        given = [str(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert f"`{name}({', '.join(given)})`" in " ".join(README.split())
