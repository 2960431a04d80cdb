"""The local host's command: the apps that it loads, what it prints, and how it fails."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from conftest import (
    APPS,
    TESTS,
    get,
    host_command,
    host_environment,
    needs_v2,
    run,
    run_host,
    running_host,
)


@needs_v2
def test_a_v2_app_has_its_settings_its_prefix_and_its_folder(make_app):
    app = make_app(
        """
import os
import azure.functions as func
app = func.FunctionApp()

@app.route(route="where", methods=["GET"])
def where(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    values = context.function_directory, os.environ["GREETING"], os.environ["KEPT"]
    return func.HttpResponse(" ".join(values))
""",
        GREETING="from settings",
        KEPT="from settings",
    )
    (app / "host.json").write_text('{"extensions": {"http": {"routePrefix": "v1/app"}}}')

    result = run_host(app, KEPT="from environment")

    assert f"\n{app.resolve()} from settings from environment\n" in result.stdout
    assert "where: [GET] http://localhost:" in result.stdout
    assert "/v1/app/where\n" in result.stdout


@needs_v2
def test_functions_with_route_parameters_or_without_get_are_listed_and_not_called(make_app):
    result = run_host(make_app("""
import azure.functions as func
app = func.FunctionApp()

@app.route(route="items/{id}")
def item(req: func.HttpRequest) -> func.HttpResponse:
    raise SystemError("called")

@app.route(route="post", methods=["POST"])
async def post(req: func.HttpRequest) -> func.HttpResponse:
    raise SystemError("called")

@app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
def tick(timer: func.TimerRequest) -> None:
    raise SystemError("called")
"""))

    assert "/api/items/{id}\n" in result.stdout
    assert "post: [POST]" in result.stdout
    assert "called" not in result.stdout
    assert "tick" not in result.stdout
    assert result.returncode == 0


WITH_FURTHER_BINDINGS = """
import azure.functions as func
app = func.FunctionApp()

@app.route(route="starter", methods=["GET"])
@app.generic_input_binding(arg_name="client", type="durableClient")
def starter(req: func.HttpRequest, client: str) -> func.HttpResponse:
    raise SystemError("called")

@app.route(route="puts")
@app.queue_output(arg_name="message", queue_name="queue", connection="")
@app.blob_input(arg_name="blob", path="a/b", connection="")
def puts(req: func.HttpRequest, message: func.Out[str], blob: func.InputStream) -> str:
    raise SystemError("called")

@app.route(route="plain")
def plain(req: func.HttpRequest) -> str:
    return "plain"
"""


@needs_v2
def test_a_function_with_a_binding_that_cannot_be_fed_is_listed_as_not_served(make_app):
    result = run_host(make_app(WITH_FURTHER_BINDINGS))

    refusal = "is not served: the local host has no binding of type"
    assert f"    starter {refusal} durableClient.\n" in result.stdout
    assert f"    puts {refusal} blob, queue.\n" in result.stdout
    assert "/api/starter" not in result.stdout and "called" not in result.stdout
    assert result.stdout.endswith("\nplain\n")


@needs_v2
def test_it_answers_501_with_the_same_sentence(make_app):
    with running_host(make_app(WITH_FURTHER_BINDINGS)) as (_, url):
        answer = get(url + "/api/starter")

    assert answer.status == 501
    assert answer.body == (
        b"starter is not served: the local host has no binding of type durableClient."
    )


def test_a_v1_function_whose_answer_is_an_output_binding_is_not_served_either(tmp_path):
    file = v1_app(tmp_path) / "HttpTrigger" / "function.json"
    bindings = json.loads(file.read_text())["bindings"]
    bindings.append({"type": "http", "direction": "out", "name": "res"})
    file.write_text(json.dumps({"bindings": bindings}))

    assert "has no binding of type http.\n" in run_host(tmp_path).stdout


@needs_v2
def test_a_function_that_raises_is_shown_with_its_traceback_and_the_host_goes_on(make_app):
    result = run_host(make_app("""
import azure.functions as func
app = func.FunctionApp()

@app.route(route="fails")
def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("mine")
"""))

    assert "ERROR local_host: fails failed: mine" in result.stdout
    assert "HTTP/1.1 500 Internal Server Error" in result.stdout
    assert result.returncode == 0


@needs_v2
def test_methods_are_listed_where_the_function_declares_them_as_func_start_does(make_app):
    result = run_host(make_app("""
import azure.functions as func
app = func.FunctionApp()

@app.route(route="any")
def any_method(req: func.HttpRequest) -> str:
    return "any"

@app.route(route="some", methods=["GET", "POST"])
def some_methods(req: func.HttpRequest) -> str:
    return "some"
"""))

    assert "    any_method: http://localhost:" in result.stdout
    assert "    some_methods: [GET,POST] http://localhost:" in result.stdout


def v1_app(tmp_path):
    folder = tmp_path / "HttpTrigger"
    folder.mkdir()
    bindings = [{"type": "httpTrigger", "direction": "in", "name": "req"}]
    (folder / "function.json").write_text(json.dumps({"bindings": bindings}))
    source = "import os\ndef main(req): return os.environ['FUNCTIONS_WORKER_RUNTIME']"
    (folder / "__init__.py").write_text(source)
    return tmp_path


def test_an_app_without_its_settings_files_starts_and_the_host_says_what_it_assumed(tmp_path):
    result = run_host(v1_app(tmp_path))

    assert result.stdout.startswith(
        'No host.json: the route prefix is "api".\n'
        "No local.settings.json: all app settings are in the environment.\n"
    )
    assert "/api/HttpTrigger\n" in result.stdout
    assert result.stdout.endswith("\npython\n")
    assert result.returncode == 0


def test_the_script_of_a_v1_function_may_lie_in_another_folder(tmp_path):
    shared = v1_app(tmp_path) / "shared"
    shared.mkdir()
    (shared / "main.py").write_text("def greet(req): return 'from elsewhere'")
    file = tmp_path / "HttpTrigger" / "function.json"
    definition = dict(json.loads(file.read_text()), scriptFile="../shared/main.py")
    file.write_text(json.dumps(dict(definition, entryPoint="greet")))

    assert run_host(tmp_path).stdout.endswith("\nfrom elsewhere\n")


def test_of_files_that_are_there_nothing_is_said():
    assert run_host(APPS / "v1").stdout.startswith("Functions:\n")


def test_it_serves_the_app_in_the_folder_that_one_is_in(tmp_path):
    host = os.path.relpath(str(TESTS / "local_host.py"), str(tmp_path))
    command = [sys.executable, host, ".", "--once", "--port", "0"]

    said = run(command, v1_app(tmp_path))

    assert "HTTP/1.1 200 OK" in said


def broken_v1_app(tmp_path, definition, source=""):
    folder = tmp_path / "Broken"
    folder.mkdir()
    (folder / "function.json").write_text(definition)
    (folder / "__init__.py").write_text(source)
    return tmp_path


@pytest.mark.parametrize(
    "definition, source, said",
    [
        ("{", "", "JSONDecodeError"),
        ("[]", "", "AttributeError"),
        (
            '{"bindings": []}',
            "import no_such_module",
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ('{"bindings": []}', "def main(:", "SyntaxError"),
        ('{"bindings": []}', "raise SystemExit(3)", "SystemExit: 3"),
        ('{"bindings": []}', "", "has no attribute 'main'"),
    ],
)
def test_an_app_that_fails_to_load_ends_in_one_line_and_status_1(
    definition, source, said, tmp_path
):
    result = run_host(broken_v1_app(tmp_path, definition, source))

    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"local_host: cannot load {tmp_path.resolve()}: ")
    assert said in line


def test_the_line_names_the_file_and_the_line_that_failed(tmp_path):
    result = run_host(broken_v1_app(tmp_path, '{"bindings": []}', "\n\n1 / 0\n"))

    expected = os.path.join(str(tmp_path.resolve()), "Broken", "__init__.py")
    assert result.stderr.endswith(f"ZeroDivisionError: division by zero ({expected}, line 3)\n")


def test_a_folder_that_is_no_function_app_ends_in_one_line_and_status_1(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        result = run_host(folder)

        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"local_host: {folder.resolve()} is no function app: ")


def test_a_port_in_use_ends_in_one_line_and_status_1():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(
            host_command(APPS / "v1", "--once", "--port", port),
            env=host_environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"local_host: cannot listen on port {port}: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_ends_in_the_usage_and_status_2(port):
    result = subprocess.run(
        host_command(APPS / "v1", f"--port={port}"),
        env=host_environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )

    assert result.returncode == 2
    assert f"argument --port: invalid port_number value: '{port}'" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_it_serves_until_ctrl_c():
    with running_host(APPS / "v1") as (process, url):
        answer = get(url + "/api/HttpTrigger")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert answer.status == 200
    assert process.returncode == 0
    assert "KeyboardInterrupt" not in errors
