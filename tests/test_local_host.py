"""The local host: it behaves as the worker and the Functions host do, and fails in one line."""

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref

import azure.functions as func
import pytest
from azure.functions import HttpResponse

import local_host
from conftest import (
    APP_SETTING,
    APPS,
    at_once,
    get,
    host_command,
    host_environment,
    needs_v2,
    run_host,
    running_host,
)
from local_host import HttpFunction
from python_worker_extension_timer import TimerExtension


def hello(req):
    return HttpResponse("hello")


@pytest.fixture
def calls(extensions, hooks_on):
    """What the hooks of two extensions are called with, in order."""
    calls = []

    def register(name):
        class Recording(func.AppExtensionBase):
            @classmethod
            def post_function_load_app_level(
                cls, function_name, function_directory, *args, **kwargs
            ):
                calls.append((name, "load", function_name))

            @classmethod
            def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
                calls.append((name, "pre", logger.name))

            @classmethod
            def post_invocation_app_level(
                cls, logger, context, func_args=None, func_ret=None, *args, **kwargs
            ):
                calls.append((name, "post", func_ret.status_code))

    register("first")
    register("second")
    return calls


@pytest.fixture
def function_level(calls, monkeypatch, tmp_path):
    """A function-level extension of the function ``hello`` beside those two."""
    monkeypatch.setenv("AzureWebJobsScriptRoot", str(tmp_path))

    class Recording(func.FuncExtensionBase):
        def __init__(self, file_path):
            super().__init__(file_path)

        def pre_invocation(self, logger, context, func_args=None, *args, **kwargs):
            calls.append(("function level", "pre", logger.name))

        def post_invocation(self, logger, context, func_args=None, func_ret=None, *args, **kwargs):
            calls.append(("function level", "post", func_ret.status_code))

    Recording(str(tmp_path / "hello" / "__init__.py"))
    yield
    for registered in func.ExtensionMeta.get_function_hooks("hello"):
        registered.clear()


def test_hooks_run_in_the_workers_order_with_its_logger_names(calls, serve):
    get(serve(hello) + "/api/hello")

    logger = "azure_functions_worker.extension.Recording"
    assert calls == [
        ("first", "load", "hello"),
        ("second", "load", "hello"),
        ("first", "pre", logger),
        ("second", "pre", logger),
        ("first", "post", 200),
        ("second", "post", 200),
    ]


def test_function_level_hooks_run_inside_the_application_level_ones(calls, function_level, serve):
    get(serve(hello) + "/api/hello")

    assert [(name, hook) for name, hook, _ in calls if hook != "load"] == [
        ("first", "pre"),
        ("second", "pre"),
        ("function level", "pre"),
        ("function level", "post"),
        ("first", "post"),
        ("second", "post"),
    ]


@pytest.mark.parametrize("value", ["0", "off", ""])
def test_no_hook_runs_where_the_setting_is_off(value, calls, serve, monkeypatch):
    monkeypatch.setenv(APP_SETTING, value)

    assert get(serve(hello) + "/api/hello").status == 200
    assert calls == []


def test_no_hook_runs_on_python_3_13(calls, serve, python):
    python(3, 13)

    assert get(serve(hello) + "/api/hello").status == 200
    assert calls == []


def test_no_post_hook_runs_for_a_function_that_raises_and_the_answer_is_500(calls, serve):
    def fails(req):
        raise ValueError("mine")

    answer = get(serve(fails) + "/api/fails")

    assert (answer.status, answer.body) == (500, b"")
    assert [hook for _, hook, _ in calls] == ["load", "load", "pre", "pre"]


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
def test_a_hook_that_raises_is_logged_and_stops_nothing(hook, serve, hooks_on, extensions, caplog):
    def raises(cls, *args, **kwargs):
        raise RuntimeError("another extension's")

    type("Broken", (func.AppExtensionBase,), {hook: classmethod(raises)})
    TimerExtension.configure(append_to_http_response=True)

    answer = get(serve(hello) + "/api/hello")

    assert answer.body.startswith(b"hello (TimeElapsed: ")
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.name == "azure_functions_worker.extension.Broken"
    assert "another extension's" in error.getMessage()


def test_a_running_invocation_holds_its_context_and_a_failed_one_lets_go(
    serve, hooks_on, extensions, caplog
):
    caplog.set_level(logging.CRITICAL)  # what caplog keeps holds the context
    contexts, held = [], []

    class Watching(func.AppExtensionBase):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            contexts.append(weakref.ref(context))

    def fails(req):
        gc.collect()
        held.append(contexts[-1]() is not None)
        raise ValueError("mine")

    url = serve(fails)
    get(url + "/api/fails")
    get(url + "/api/fails")
    gc.collect()

    assert held == [True, True]
    assert contexts[0]() is None


def test_a_thousand_invocations_that_raise_over_http_leave_few_starts(
    serve, hooks_on, monkeypatch, caplog
):
    monkeypatch.setattr("python_worker_extension_timer._UNWATCHED_STARTS", 50)
    monkeypatch.setattr("python_worker_extension_timer._GONE_STARTS_KEPT", 50)
    caplog.set_level(logging.CRITICAL)  # what caplog keeps holds the context
    running, done = threading.Event(), threading.Event()

    def waits(req):
        running.set()
        done.wait(30)
        return HttpResponse("hello")

    def fails(req):
        raise ValueError("mine")

    TimerExtension.configure(append_to_http_response=True)
    url = serve(waits, fails)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(get(url + "/api/waits")))
    waiting.start()
    running.wait(30)

    at_once(*[lambda: [get(url + "/api/fails") for _ in range(125)]] * 8)
    left = len(TimerExtension.start_timestamps)
    done.set()
    waiting.join()

    assert left < 200
    assert b"TimeElapsed" in answers[0].body


def test_overlapping_requests_on_threads_each_get_their_own_time(serve, hooks_on, clock):
    TimerExtension.configure(append_to_http_response=True)
    both_run, long_may_end = threading.Barrier(2), threading.Event()

    def short(req):
        both_run.wait(30)
        return HttpResponse("short")

    def long(req):
        both_run.wait(30)
        long_may_end.wait(30)
        return HttpResponse("long")

    url = serve(short, long)
    bodies = {}

    def request_short():
        bodies["short"] = get(f"{url}/api/short").body
        clock.now += 5
        long_may_end.set()

    def request_long():
        bodies["long"] = get(f"{url}/api/long").body

    at_once(request_short, request_long)

    assert bodies == {
        "short": b"short (TimeElapsed: 0.0 sec)",
        "long": b"long (TimeElapsed: 5.0 sec)",
    }


def test_overlapping_requests_on_the_event_loop_each_get_their_own_time(serve, hooks_on, clock):
    TimerExtension.configure(append_to_http_response=True)
    long_runs, threads, events = threading.Event(), set(), []

    async def long(req):
        threads.add(threading.current_thread())
        events.append(asyncio.Event())
        long_runs.set()
        await events[0].wait()
        return HttpResponse("long")

    async def short(req):
        threads.add(threading.current_thread())
        return HttpResponse("short")

    async def end_long(req):
        events[0].set()
        return HttpResponse("ended")

    url = serve(long, short, end_long)
    bodies = {}

    def request_long():
        bodies["long"] = get(f"{url}/api/long").body

    def request_short():
        long_runs.wait(30)
        bodies["short"] = get(f"{url}/api/short").body
        clock.now += 5
        get(f"{url}/api/end_long")

    at_once(request_long, request_short)

    assert len(threads) == 1
    assert bodies == {
        "short": b"short (TimeElapsed: 0.0 sec)",
        "long": b"long (TimeElapsed: 5.0 sec)",
    }


def test_a_function_gets_the_request_and_its_context(serve):
    def echo(req, context):
        return HttpResponse(
            json.dumps(
                {
                    "method": req.method,
                    "url": req.url,
                    "name": req.params.get("name"),
                    "route": dict(req.route_params),
                    "body": req.get_body().decode(),
                    "function": context.function_name,
                    "directory": context.function_directory,
                }
            )
        )

    url = serve(HttpFunction("echo", echo, "items/{id:int}/{rest?}", directory="/app"))

    answer = get(f"{url}/api/items/7?name=J%C3%BCrg%26", "POST", b"text")

    assert json.loads(answer.body) == {
        "method": "POST",
        "url": f"{url}/api/items/7?name=J%C3%BCrg%26",
        "name": "Jürg&",
        "route": {"id": "7"},
        "body": "text",
        "function": "echo",
        "directory": "/app",
    }


@pytest.mark.parametrize(
    "route, path, params",
    [
        ("hello", "/api/hello", {}),
        ("hello", "/api/HELLO/", {}),
        ("a.b", "/api/aXb", None),
        ("items/{id}", "/api/items/7", {"id": "7"}),
        ("items/{id}", "/api/items", None),
        ("items/{id?}", "/api/items", {}),
        ("items/{id:int?}", "/api/items/7", {"id": "7"}),
        ("items/{id}-{part}", "/api/items/7-b", {"id": "7", "part": "b"}),
        ("files/{*path}", "/api/files/a/b", {"path": "a/b"}),
    ],
)
def test_routes_are_templates_as_in_function_json(route, path, params):
    match = local_host.route_pattern("/api/" + route).fullmatch(path)

    found = match and {name: value for name, value in match.groupdict().items() if value}
    assert found == params


def test_a_literal_route_goes_before_one_with_a_parameter(serve):
    url = serve(
        HttpFunction("any", lambda req: "any", "items/{id}"),
        HttpFunction("one", lambda req: "one", "items/one"),
    )

    assert get(url + "/api/items/one").body == b"one"
    assert get(url + "/api/items/two").body == b"any"


def test_an_unknown_route_is_404(serve):
    assert get(serve(hello) + "/api/other").status == 404
    assert get(serve(hello) + "/hello").status == 404


def test_a_method_that_is_not_declared_is_405(serve):
    answer = get(
        serve(HttpFunction("hello", hello, "hello", methods=("GET",))) + "/api/hello", "POST"
    )

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET"


def test_an_empty_route_prefix_serves_at_the_top():
    with local_host.LocalHost([HttpFunction("hello", hello, "hello")], prefix="") as host:
        assert get(host.url + "/hello").status == 200


def test_text_is_an_answer_and_none_is_an_error(serve):
    url = serve(
        HttpFunction("text", lambda req: "text", "text"),
        HttpFunction("none", lambda req: None, "none"),
    )

    assert get(url + "/api/text").body == b"text"
    assert get(url + "/api/none").status == 500


def test_a_head_request_gets_the_headers_alone(serve):
    answer = get(serve(hello) + "/api/hello", "HEAD")

    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "5")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_body_on_a_status_that_has_none_is_refused(status, serve, caplog):
    answer = get(
        serve(HttpFunction("f", lambda req: HttpResponse("body", status_code=status), "f"))
        + "/api/f"
    )

    assert answer.status == 500
    assert f"a response of status {status} has no body" in caplog.text


@pytest.mark.parametrize("length", ["3", "9", "many"])
def test_a_content_length_that_is_not_the_bodys_is_refused(length, serve, caplog):
    def wrong(req):
        return HttpResponse("hello", headers={"Content-Length": length})

    assert get(serve(wrong) + "/api/wrong").status == 500
    assert f"Content-Length is {length}, the body has 5 bytes" in caplog.text


@pytest.mark.parametrize(
    "response",
    [
        lambda: HttpResponse(status_code=204),
        lambda: HttpResponse(status_code=304, headers={"ETag": '"1"'}),
        lambda: HttpResponse("hello", headers={"content-length": "5"}),
        lambda: HttpResponse("naïve", charset="utf-16", headers={"Content-Length": "12"}),
        lambda: HttpResponse(
            b"\x1f\x8b", headers={"Content-Encoding": "gzip", "Content-Length": "2"}
        ),
    ],
    ids=["204", "304", "Content-Length", "UTF-16", "gzip"],
)
def test_with_every_option_on_no_response_is_refused(response, serve, hooks_on):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    expected = response()

    answer = get(serve(HttpFunction("f", lambda req: response(), "f")) + "/api/f")

    assert answer.status == expected.status_code
    assert "Server-Timing" in answer.headers


def test_the_hooks_lines_are_system_logs_and_those_of_a_configured_logger_user_logs(
    serve, hooks_on, caplog
):
    caplog.set_level(logging.INFO)
    url = serve(hello)

    get(url + "/api/hello")
    TimerExtension.configure(logger=logging.getLogger("timer"))
    get(url + "/api/hello")

    names = [record.name for record in caplog.records if record.name != "asyncio"]
    assert names == ["azure_functions_worker.extension.TimerExtension"] * 2 + ["timer"] * 2


USER_LOGS = """
import logging
import azure.functions as func
from python_worker_extension_timer import TimerExtension

TimerExtension.configure(logger=logging.getLogger("timer"))
logging.getLogger("timer").info("logged at import")
app = func.FunctionApp()

@app.route(route="hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    logging.info("logged in the invocation")
    return func.HttpResponse("hello")
"""


@needs_v2
def test_user_logs_are_shown_of_an_invocation_alone(make_app):
    result = run_host(make_app(USER_LOGS))

    assert "INFO root: logged in the invocation\n" in result.stdout
    assert "logged at import" not in result.stdout + result.stderr
    assert ("INFO timer: Recording start time of hello\n" in result.stdout) == (
        sys.version_info < (3, 13)
    )


@needs_v2
def test_a_v2_app_has_its_settings_its_prefix_and_its_folder(make_app):
    app = make_app(
        """
import os
import azure.functions as func
from python_worker_extension_timer import TimerExtension
app = func.FunctionApp()

@app.route(route="where", methods=["GET"])
@TimerExtension.timed
def where(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    values = context.function_directory, os.environ["GREETING"], os.environ["KEPT"]
    return func.HttpResponse(" ".join(values))
""",
        GREETING="from settings",
        KEPT="from settings",
        **{APP_SETTING: "0"},
    )
    (app / "host.json").write_text('{"extensions": {"http": {"routePrefix": "v1/app"}}}')

    result = run_host(app, KEPT="from environment")

    assert f"\n{app.resolve()} from settings from environment\n" in result.stdout
    assert "where: [GET] http://localhost:" in result.stdout
    assert "/v1/app/where\n" in result.stdout


@needs_v2
def test_functions_with_route_parameters_or_without_get_are_listed_and_not_called(make_app):
    result = run_host(
        make_app(
            """
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
"""
        )
    )

    assert "/api/items/{id}\n" in result.stdout
    assert "post: [POST]" in result.stdout
    assert "called" not in result.stdout
    assert "tick" not in result.stdout
    assert result.returncode == 0


@needs_v2
def test_a_function_that_raises_is_shown_with_its_traceback_and_the_host_goes_on(make_app):
    result = run_host(
        make_app(
            """
import azure.functions as func
app = func.FunctionApp()

@app.route(route="fails")
def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("mine")
"""
        )
    )

    assert "ERROR local_host: fails failed: mine" in result.stdout
    assert "HTTP/1.1 500 Internal Server Error" in result.stdout
    assert result.returncode == 0


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
    assert "Traceback" not in errors
