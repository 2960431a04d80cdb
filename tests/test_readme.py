"""The readme: its commands, output, code blocks and tables are what they claim to be."""

import inspect
import json
import re
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
from azure.functions import HttpResponse

import local_host
import python_worker_extension_timer
from conftest import (
    APP_SETTING,
    PYTHON_WITH_HOOKS,
    ROOT,
    FakeContext,
    FakeLogger,
    finish,
    get,
    needs_hooks,
    needs_v2,
    run,
    run_host,
    start,
)
from python_worker_extension_timer import TimerExtension

README = (ROOT / "readme.md").read_text(encoding="utf-8")

RUN = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python tests/local_host.py"
TEST = "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/python -m pytest"


def blocks(language):
    """The code blocks of a language, in order."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def section(title):
    return re.search(rf"^##+ {title}\n(.*?)(?=^##+ |\Z)", README, re.MULTILINE | re.DOTALL).group(1)


def table(title):
    """The rows of the table in a section, by column title."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in section(title).splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(rows[0], row)) for row in rows[2:]]


def test_both_commands_stand_in_the_first_screen_each_on_a_line_of_its_own():
    first_screen = README.splitlines()[:25]

    assert RUN in first_screen
    assert TEST in first_screen


@pytest.mark.skipif(sys.platform == "win32", reason="there the command is another one")
def test_the_run_command_works_in_an_empty_folder(project, index_is_reached, tmp_path):
    shutil.copytree(str(project), str(tmp_path / "clone"))
    command = RUN.replace("python3", sys.executable, 1) + " tests/apps/v1 --once --port 0"

    output = run(command, cwd=tmp_path / "clone")

    assert "HTTP/1.1 200 OK" in output
    assert ("(TimeElapsed: " in output) == PYTHON_WITH_HOOKS


def shape(output):
    """The output with what differs from run to run taken out."""
    output = re.sub(r"\d+(\.\d+)?(e-\d+)? sec", "<elapsed> sec", output)
    output = re.sub(r"Content-Length: \d+", "Content-Length: <n>", output)
    return re.sub(r"localhost:\d+", "localhost:<port>", output)


@needs_v2
@needs_hooks
def test_the_run_command_prints_the_output_that_is_shown():
    shown = blocks("text")[0]

    assert shown.endswith("\n\nServing until Ctrl-C.\n")
    assert shape(run_host().stdout) == shape(shown)[: -len("\nServing until Ctrl-C.\n")]


def test_the_lengths_that_are_shown_are_those_of_the_bodies_shown():
    answers = re.findall(r"Content-Length: (\d+)\n\n(.*)\n", blocks("text")[0])

    assert len(answers) == 3
    for length, body in answers:
        assert int(length) == len(body)


@needs_v2
@pytest.mark.parametrize(
    "number, timed", [(0, PYTHON_WITH_HOOKS), (2, True)], ids=["hooks", "decorator"]
)
def test_the_apps_of_the_v2_model_run_and_show_an_elapsed_time(number, timed, make_app):
    stdout = run_host(make_app(blocks("python")[number])).stdout

    assert "Hello!" in stdout
    assert ("Hello! (TimeElapsed: " in stdout) == timed


def test_the_app_of_the_v1_model_runs_and_shows_an_elapsed_time(tmp_path):
    folder = tmp_path / "HttpTrigger"
    folder.mkdir()
    (folder / "__init__.py").write_text(blocks("python")[1], encoding="utf-8")
    bindings = [{"type": "httpTrigger", "direction": "in", "name": "req"}]
    (folder / "function.json").write_text(json.dumps({"bindings": bindings}), encoding="utf-8")
    (tmp_path / "local.settings.json").write_text(blocks("json")[0], encoding="utf-8")

    stdout = run_host(tmp_path).stdout

    assert ("Hello! (TimeElapsed: " in stdout) == PYTHON_WITH_HOOKS


def test_the_settings_are_those_of_the_sample_apps():
    for app in ("v1", "v2"):
        settings = ROOT / "tests" / "apps" / app / "local.settings.json"
        assert json.loads(blocks("json")[0]) == json.loads(settings.read_text())
    assert f"--settings {APP_SETTING}=1" in README


def test_the_host_settings_let_the_lines_through():
    logging_settings = json.loads(blocks("json")[1])["logging"]

    assert logging_settings["logLevel"]["Function"] == "Information"
    assert "Trace" in logging_settings["applicationInsights"]["samplingSettings"]["excludedTypes"]


def test_the_requirements_are_those_of_the_sample_apps():
    for app in ("v1", "v2"):
        requirements = ROOT / "tests" / "apps" / app / "requirements.txt"
        assert requirements.read_text() == blocks("text")[1]


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
    headers = text[text.index("; a `Content-Encoding`") : text.index(" header;")]

    assert {name.lower() for name in re.findall(r"`([\w-]+)`", headers)} == (
        python_worker_extension_timer._BODY_DESCRIBING_HEADERS
    )
    assert "status 1xx, 204, 205, 206 or 304" in text
    statuses = {*range(100, 200), 204, 205, 206, 304}
    assert python_worker_extension_timer._FIXED_BODY_STATUSES == statuses


@pytest.mark.parametrize("row", table("Python versions"), ids=lambda row: row["Python"])
def test_the_versions_table_says_where_hooks_run_and_by_which_setting(row, python, monkeypatch):
    for version in row["Python"].split(", "):
        python(*map(int, version.split(".")))

        without = python_worker_extension_timer._worker_calls_hooks()
        monkeypatch.setenv(APP_SETTING, "1")
        with_setting = python_worker_extension_timer._worker_calls_hooks()
        monkeypatch.delenv(APP_SETTING)

        assert with_setting == (row["Hooks run"] == "yes")
        assert without == (with_setting and row["Setting needed"].startswith("none"))
        assert ("timed" in row["What to write"]) == (not with_setting)


def test_the_versions_table_has_the_versions_that_the_package_declares():
    declared = re.findall(r"Python :: (3\.\d+)", (ROOT / "setup.py").read_text())
    shown = ", ".join(row["Python"] for row in table("Python versions")).split(", ")

    assert sorted(shown) == sorted(declared)


def test_the_two_lines_for_application_insights_make_both_lines_user_logs(serve, hooks_on, caplog):
    caplog.set_level("INFO")
    exec(blocks("python")[3], {"TimerExtension": TimerExtension})

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
        assert f"{name}({', '.join(given)})" in blocks("text")[2]


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
