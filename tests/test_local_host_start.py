"""The local host's command: the apps that it loads, what it prints and calls, and how it fails."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading

import azure.functions as func
import pytest

import local_host
from commands import host_command, host_environment, run_host, running_host
from conftest import APPS, TESTS, get, needs_v2

HTTP = {"type": "httpTrigger", "direction": "in", "name": "req"}
ANSWER = {"type": "http", "direction": "out", "name": "$return"}
TIMER = {"type": "timerTrigger", "direction": "in", "name": "timer"}
QUEUE = {"type": "queue", "direction": "out", "name": "message"}


def v1_app(folder, *bindings, name="hello", source="def main(req): return 'hello'", **definition):
    """The folder of a v1 app, with one more function in it."""
    (folder / name).mkdir()
    (folder / name / "function.json").write_text(json.dumps({"bindings": bindings, **definition}))
    (folder / name / "__init__.py").write_text(source)
    return folder


def test_with_once_the_host_shows_what_a_function_answers_and_stops(tmp_path):
    result = run_host(v1_app(tmp_path, HTTP, ANSWER))

    assert re.search(r"\nGET http://localhost:\d+/api/hello\nHTTP/1.1 200 OK\n", result.stdout)
    assert result.stdout.endswith("\nContent-Length: 5\n\nhello\n")
    assert result.returncode == 0


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What is printed with ``--once`` of an app with a function of every kind."""
    app = tmp_path_factory.mktemp("app")
    v1_app(app, HTTP, name="any")
    v1_app(app, {**HTTP, "methods": ["get", "post"]}, name="get")
    v1_app(app, {**HTTP, "route": "items/{id}"}, name="item")
    v1_app(app, name="none")
    v1_app(app, {**HTTP, "methods": ["post"]}, name="post")
    v1_app(app, HTTP, QUEUE, {**QUEUE, "type": "blob"}, name="puts")
    v1_app(app, HTTP, {**ANSWER, "name": "res"}, name="res")
    v1_app(app, TIMER, QUEUE, name="tick")
    return re.sub(r"localhost:\d+", "localhost", run_host(app).stdout)


def test_each_function_is_listed_with_its_url_or_why_it_is_not_served(printed):
    assert re.findall("^    (.*)", printed, re.MULTILINE) == [
        "any: http://localhost/api/any",
        "get: [GET,POST] http://localhost/api/get",
        "none is not served: it has no trigger.",
        "post: [POST] http://localhost/api/post",
        "puts is not served: the local host has no binding of type blob, queue.",
        "res is not served: the local host has no binding of type http.",
        "tick is not served: the local host has no trigger of type timerTrigger.",
        "item: http://localhost/api/items/{id} (has a parameter: call it yourself)",
    ]


def test_with_once_the_host_calls_each_function_that_answers_get_and_has_no_parameter(printed):
    called = re.findall("^GET http://localhost(.*)", printed, re.MULTILINE)

    assert called == ["/api/any", "/api/get"]


def test_without_once_the_host_calls_no_function_of_an_app(tmp_path):
    source = "calls = []\ndef main(req): calls.append(req); return str(len(calls))"

    with running_host(v1_app(tmp_path, HTTP, source=source)) as (_, url):
        assert get(url + "/api/hello").body == b"1"


@needs_v2
def test_without_an_app_the_host_says_that_it_serves_the_sample_app_and_calls_its_functions():
    with subprocess.Popen(
        host_command("--port", 0), env=host_environment(), stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        lines = list(itertools.takewhile("Serving until Ctrl-C.\n".__ne__, process.stdout))
        watchdog.cancel()
        process.kill()

    assert lines[:2] == ["No APP given: serving the sample app.\n", "Functions:\n"]
    assert "HTTP/1.1 200 OK\n" in lines


def test_a_function_without_an_http_trigger_has_no_url(serve):
    tick = local_host.read_function("tick", print, [TIMER], TESTS)

    assert get(serve(tick) + "/api").status == 404


def v2_functions():
    """What the host finds in a v2 app of a timer and an orchestrator."""
    app = func.FunctionApp()

    @app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
    def tick(timer):
        pass

    @app.generic_trigger(arg_name="context", type="orchestrationTrigger")
    def orchestrate(context):
        pass

    return list(local_host.functions_of(app))


@needs_v2
def test_a_v2_function_has_the_folder_of_its_file():
    assert {function.directory for function in v2_functions()} == {str(TESTS)}


@needs_v2
def test_a_v2_function_without_an_http_trigger_is_not_served():
    assert [function.refusal for function in v2_functions()] == [
        "tick is not served: the local host has no trigger of type timerTrigger.",
        "orchestrate is not served: the local host has no trigger of type orchestrationTrigger.",
    ]


def test_an_app_has_its_settings_but_for_those_that_are_set_and_its_route_prefix(tmp_path):
    source = "from os import environ\ndef main(req): return environ['ONE'] + environ['TWO']"
    app = v1_app(tmp_path, HTTP, source=source)
    settings = {"Values": {"ONE": "one of the app, ", "TWO": "two of the app"}}
    (app / "local.settings.json").write_text(json.dumps(settings))
    (app / "host.json").write_text('{"extensions": {"http": {"routePrefix": "v1/app"}}}')

    result = run_host(app, TWO="two of the environment")

    assert result.stdout.endswith("\none of the app, two of the environment\n")
    assert "/v1/app/hello\n" in result.stdout


def test_an_app_without_its_settings_files_starts_and_the_host_says_what_it_assumed(tmp_path):
    source = "from os import environ\ndef main(req): return environ['FUNCTIONS_WORKER_RUNTIME']"

    result = run_host(v1_app(tmp_path, HTTP, source=source))

    assert result.stdout.startswith(
        'No host.json: the route prefix is "api".\n'
        "No local.settings.json: all app settings are in the environment.\n"
    )
    assert result.stdout.endswith("\npython\n")


def test_the_script_of_a_v1_function_may_lie_in_another_folder(tmp_path):
    app = v1_app(tmp_path, HTTP, scriptFile="../shared/main.py", entryPoint="greet")
    (app / "shared").mkdir()
    (app / "shared" / "main.py").write_text("def greet(req): return 'from elsewhere'")

    assert run_host(app).stdout.endswith("\nfrom elsewhere\n")


def test_a_function_that_raises_is_shown_with_its_traceback_and_as_500(tmp_path):
    source = "def main(req): raise ValueError('mine')"

    result = run_host(v1_app(tmp_path, HTTP, source=source))

    assert "ERROR local_host: hello failed: mine\nTraceback " in result.stdout
    assert "HTTP/1.1 500 Internal Server Error" in result.stdout


def test_user_logs_are_shown_of_an_invocation_alone(tmp_path):
    source = "from logging import error\nerror('at import')\ndef main(req): error('called')"

    result = run_host(v1_app(tmp_path, HTTP, source=source))

    assert "ERROR root: called\n" in result.stdout
    assert "at import" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "file, text, said",
    [
        ("function.json", "{", "JSONDecodeError"),
        ("__init__.py", "import missing", "ModuleNotFoundError: No module named 'missing'"),
        ("__init__.py", "raise SystemExit('two\\nlines')", "SystemExit: two lines"),
        ("__init__.py", "", "has no attribute 'main'"),
        ("__init__.py", "\n\n1 / 0\n", f"(hello{os.sep}__init__.py, line 3)"),
    ],
)
def test_an_app_that_fails_to_load_ends_in_one_line_and_status_1(file, text, said, tmp_path):
    app = v1_app(tmp_path, HTTP).resolve()
    (app / "hello" / file).write_text(text)

    result = run_host(app)

    (line,) = result.stderr.splitlines()
    assert line.startswith(f"local_host: cannot load {app}: ")
    assert said in line.replace(f"({app}{os.sep}", "(")
    assert (result.returncode, result.stdout) == (1, "")


@pytest.mark.parametrize("folder", [".", "missing"])
def test_a_folder_that_is_no_function_app_ends_in_one_line_and_status_1(folder, tmp_path):
    result = run_host(tmp_path / folder)

    (line,) = result.stderr.splitlines()
    assert line.startswith(f"local_host: {(tmp_path / folder).resolve()} is no function app: ")
    assert result.returncode == 1


def test_a_port_in_use_ends_in_one_line_and_status_1():
    with local_host.LocalHost([]) as other:
        command = host_command(APPS / "v1", "--port", other.port)
        result = subprocess.run(
            command, env=host_environment(), capture_output=True, encoding="utf-8", timeout=60
        )

    assert result.returncode == 1
    said = result.stderr.splitlines()[-1]
    assert said.startswith(f"local_host: cannot listen on port {other.port}: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_ends_in_the_usage_and_status_2(port):
    result = run_host(f"--port={port}")

    assert result.returncode == 2
    assert f"argument --port: invalid port_number value: '{port}'" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_the_host_serves_until_ctrl_c():
    with running_host(APPS / "v1") as (process, url):
        answer = get(url + "/api/HttpTrigger")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert answer.status == 200
    assert process.returncode == 0
    assert "KeyboardInterrupt" not in errors
