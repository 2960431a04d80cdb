"""The stand-in host's command: it loads an app, prints and calls the functions, or fails."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import types

import azure.functions as func
import pytest

import stand_in_host
from commands import host_command, run_host, running_host
from conftest import TESTS, get, needs_v2

HTTP = {"type": "httpTrigger", "direction": "in", "name": "req"}
OUTPUT = {"type": "http", "direction": "out", "name": "$return"}
TIMER = {"type": "timerTrigger", "direction": "in", "name": "timer"}
QUEUE = {"type": "queue", "direction": "out", "name": "message"}


def v1_app(folder, *bindings, name="hello", source="def main(req): return 'hello'", **definition):
    """Add a function to the v1 app in a folder, and return the folder."""
    (folder / name).mkdir()
    (folder / name / "function.json").write_text(json.dumps({"bindings": bindings, **definition}))
    (folder / name / "__init__.py").write_text(source)
    return folder


@pytest.mark.parametrize("optimize", ["", "2"])
def test_the_once_option_works_without_settings_files_and_docstrings(optimize, tmp_path):
    source = "from os import environ\ndef main(req): return environ['FUNCTIONS_WORKER_RUNTIME']"

    result = run_host(v1_app(tmp_path, HTTP, OUTPUT, source=source), PYTHONOPTIMIZE=optimize)

    assert result.stdout.startswith(
        'No host.json: the route prefix is "api".\n'
        "No local.settings.json: all app settings are in the environment.\n"
    )
    assert re.search(r"\nGET http://localhost:\d+/api/hello\nHTTP/1.1 200 OK\n", result.stdout)
    assert result.stdout.endswith("\nTransfer-Encoding: chunked\n\npython\n")
    assert result.returncode == 0


def test_once_lists_all_functions_and_calls_those_with_get_and_no_route_parameter(tmp_path):
    app = v1_app(tmp_path, HTTP, name="any")
    v1_app(app, {**HTTP, "methods": ["get", "post"]}, name="get")
    v1_app(app, {**HTTP, "route": "items/{id}"}, name="item")
    v1_app(app, name="none")
    v1_app(app, HTTP, name="off", disabled=True)
    v1_app(app, HTTP, name="off_too")
    v1_app(app, {**HTTP, "methods": ["post"]}, name="post")
    v1_app(app, HTTP, QUEUE, {**QUEUE, "type": "blob"}, name="puts")
    v1_app(app, HTTP, {**OUTPUT, "name": "res"}, name="res")
    v1_app(app, TIMER, QUEUE, name="tick")
    v1_app(app, {**HTTP, "route": "größe"}, name="unicode")
    (app / "local.settings.json").write_text('{"Values": {"AzureWebJobs.off_too.Disabled": true}}')

    printed = re.sub(r"localhost:\d+", "localhost", run_host(app).stdout)

    assert re.findall("^    (.*)", printed, re.MULTILINE) == [
        "any: http://localhost/api/any",
        "get: [GET,POST] http://localhost/api/get",
        "item: http://localhost/api/items/{id}",
        "none is not served (no trigger).",
        "off is disabled.",
        "off_too is disabled.",
        "post: [POST] http://localhost/api/post",
        "puts is not served (unsupported binding: blob, queue).",
        "res is not served (unsupported binding: http).",
        "tick is not served (unsupported trigger: timerTrigger).",
        "unicode: http://localhost/api/größe",
    ]
    called = re.findall("GET http://localhost(.*)\nHTTP/1.1 200 OK\n", printed)
    assert called == ["/api/any", "/api/get", "/api/gr%C3%B6%C3%9Fe"]
    assert printed.count("HTTP/1.1") == 3


@needs_v2
def test_without_an_app_the_host_serves_the_sample_app_and_calls_its_functions():
    with running_host() as (_, _, output):
        assert output.startswith("No APP given: serving the sample app.\nFunctions:\n")
        assert "HTTP/1.1 200 OK\n" in output


@pytest.mark.parametrize(
    "binding, setting", [(TIMER, "0"), (HTTP, "1"), ({**HTTP, "route": "{"}, "TRUE")]
)
def test_a_function_that_is_disabled_or_has_no_http_trigger_has_no_url(
    binding, setting, serve, monkeypatch
):
    monkeypatch.setenv("AzureWebJobs.f.Disabled", setting)
    function = stand_in_host.read_function("f", print, [binding], TESTS)

    assert get(serve(function) + "/api/f").status == 404


def test_functions_of_http_streams_are_not_served(serve, monkeypatch):
    package = "azurefunctions.extensions.http.fastapi"
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    function = stand_in_host.read_function("f", print, [HTTP, OUTPUT], TESTS)

    response = get(serve(function) + "/api/f")

    assert response.status == 501
    assert response.body == b"f is not served (unsupported binding: HTTP streams)."


@needs_v2
def test_the_directory_of_a_v2_function_is_the_folder_of_its_file():
    app = func.FunctionApp()
    app.route(route="f")(lambda req: "f")

    (function,) = stand_in_host.functions_of(app)

    assert function.directory == str(TESTS)


def test_the_host_uses_the_apps_route_prefix_and_settings_that_the_environment_lacks(tmp_path):
    source = "from os import environ\ndef main(req): return environ['ONE'] + environ['TWO']"
    app = v1_app(tmp_path, HTTP, source=source)
    settings = '\ufeff// A\n{"Values": {"ONE": "/* \\" */ //,}", /* 2,\n */ "TWO": "no",\n},}'
    (app / "local.settings.json").write_text(settings, encoding="utf-8")
    (app / "host.json").write_text('{"extensions": {"http": {"routePrefix": "v1/app"}}} // Prefix')

    result = run_host(app, TWO=" two")

    assert result.stdout.endswith('\n/* " */ //,} two\n')
    assert "/v1/app/hello\n" in result.stdout


@pytest.mark.parametrize("http", ["null", '{"http": null}', '{"http": {"routePrefix": null}}'])
def test_null_in_a_settings_file_stands_for_the_default(http, tmp_path):
    app = v1_app(tmp_path, HTTP)
    (app / "local.settings.json").write_text('{"Values": null}')
    (app / "host.json").write_text('{"extensions": %s}' % http)

    assert "/api/hello\nHTTP/1.1 200 OK\n" in run_host(app).stdout


def test_the_script_of_a_v1_function_can_be_in_another_folder(tmp_path):
    app = v1_app(tmp_path, HTTP, scriptFile="../shared/main.py", entryPoint="greet")
    (app / "shared").mkdir()
    (app / "shared" / "main.py").write_text("def greet(req): return 'from another folder'")

    assert run_host(app).stdout.endswith("\nfrom another folder\n")


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_exceptions_and_user_logs_are_printed_if_they_belong_to_an_invocation(keyword, tmp_path):
    source = "from logging import error\nerror('at import')\n%s main(req): error('called'); 1 / 0"

    result = run_host(v1_app(tmp_path, HTTP, source=source % keyword))

    printed = "ERROR root: called\nERROR stand_in_host: hello failed: division by zero\nTraceback "
    assert printed in result.stdout
    assert "HTTP/1.1 500 Internal Server Error" in result.stdout
    assert "at import" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "file, text, expected",
    [
        ("function.json", "{", "APP/hello/function.json is not a JSON object: Expecting "),
        ("function.json", "[]", "APP/hello/function.json is not a JSON object: "),
        ("__init__.py", "raise KeyboardInterrupt", "cannot load APP: KeyboardInterrupt:  (APP/"),
        ("__init__.py", "raise SystemExit('a\\nb')", "cannot load APP: SystemExit: a b (APP/"),
        ("__init__.py", "", "cannot load APP: AttributeError: module '__app__.hello' has no "),
        ("__init__.py", "\n\n1 / 0", "cannot load APP: ZeroDivisionError: division by zero (APP/"),
    ],
)
def test_an_app_that_fails_to_load_ends_the_host_with_one_line_and_status_1(
    file, text, expected, tmp_path
):
    app = v1_app(tmp_path, HTTP).resolve()
    (app / "hello" / file).write_text(text)

    result = run_host(app)

    (line,) = result.stderr.replace(str(app), "APP").replace(os.sep, "/").splitlines()
    assert line.startswith(f"stand_in_host: {expected}")
    assert ("line 3)" in line) == ("1 / 0" in text)
    assert (result.returncode, result.stdout) == (1, "")


@pytest.mark.parametrize("folder", [".", "missing"])
def test_a_folder_without_an_app_ends_the_host_with_one_line_and_status_1(folder, tmp_path):
    result = run_host(tmp_path / folder)

    message = "stand_in_host: .* has neither function_app.py nor a folder with function.json\n"
    assert re.fullmatch(message, result.stderr)
    assert result.returncode == 1


def test_a_port_in_use_ends_the_host_with_one_line_and_status_1(tmp_path):
    with stand_in_host.StandInHost([]) as other:
        command = host_command(v1_app(tmp_path, HTTP), "--port", other.port)
        result = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", timeout=60)

    (line,) = result.stderr.splitlines()
    assert line.startswith(f"stand_in_host: cannot listen on port {other.port}: ")
    assert result.returncode == 1


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_an_invalid_port_ends_the_host_with_the_usage_and_status_2(port):
    result = run_host(f"--port={port}")

    assert result.returncode == 2
    assert f"argument --port: invalid port_number value: '{port}'" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows can't send Ctrl-C to one process")
@pytest.mark.parametrize(
    "keyword, sleep", [("def", "time"), ("async def", "time"), ("async def", "await asyncio")]
)
def test_the_host_calls_no_function_unasked_and_ctrl_c_ends_it_during_a_call(
    keyword, sleep, tmp_path
):
    source = "import asyncio, time\n{} main(req): print('called', flush=True); {}.sleep(600)"
    source = source.format(keyword, sleep)

    with running_host(v1_app(tmp_path, HTTP, source=source)) as (process, url, _):
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(b"GET /api/hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
            printed = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)

    assert (printed, process.returncode, errors) == ("called\n", 0, "")
