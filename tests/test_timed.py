"""The decorator, for where the worker calls no hooks: Python 3.13 and later, or the setting off."""

import asyncio
import functools
import inspect
import io
import logging
import sys
import traceback
import typing
from pathlib import Path
from unittest import mock

import azure.functions as func
import pytest
from azure.functions import HttpResponse

from conftest import (
    APP_SETTING,
    WORKER_RUNTIME,
    FakeContext,
    FakeLogger,
    FullDisk,
    at_once,
    call,
    elapsed,
    get,
    names,
    needs_v2,
    overlap,
    passes_on,
)
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def no_hooks(timer, python):
    python(3, 13)


@pytest.fixture
def logger(timer):
    logger = FakeLogger()
    TimerExtension.configure(logger=logger)
    return logger


def hello(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    await asyncio.sleep(0)
    return HttpResponse("hello")


def with_context(req: func.HttpRequest, context: func.Context) -> HttpResponse:
    return HttpResponse("hello")


async def with_context_async(req: func.HttpRequest, context: func.Context) -> HttpResponse:
    return HttpResponse("hello")


def failing(error):
    def fails(req):
        raise error

    return fails


def failing_async(error):
    async def fails(req):
        raise error

    return fails


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


@sync_and_async
def test_it_logs_both_lines_and_returns_what_the_function_returns(function, logger):
    response = call(TimerExtension.timed(function), req=None)

    first, second = logger.messages
    assert first == f"Recording start time of {function.__name__}"
    assert second.startswith(f"Time taken to execute {function.__name__} is ")
    assert response.get_body() == b"hello"


@sync_and_async
def test_it_lengthens_the_body_and_adds_the_header_as_the_hooks_do(function, clock):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)

    response = call(TimerExtension.timed(function), req=None)

    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == f"{function.__name__};dur=0.000"


def test_it_measures_an_async_function_to_its_end(logger, clock):
    @TimerExtension.timed
    async def works(req):
        clock.now += 1
        await asyncio.sleep(0)
        clock.now += 2

    call(works, req=None)

    assert logger.messages[1] == "Time taken to execute works is 3.0 sec"


def test_options_set_after_the_decoration_count(clock):
    decorated = TimerExtension.timed(hello)
    TimerExtension.configure(append_to_http_response=True)

    assert call(decorated, req=None).get_body() == b"hello (TimeElapsed: 0.0 sec)"


@sync_and_async
def test_without_a_configured_logger_the_lines_are_user_logs_of_the_package(function, caplog):
    caplog.set_level(logging.INFO)

    call(TimerExtension.timed(function), req=None)

    loggers = {
        (record.name, record.levelname) for record in caplog.records if record.name != "asyncio"
    }
    assert loggers == {("python_worker_extension_timer", "INFO")}


@pytest.mark.parametrize("function", [with_context, with_context_async], ids=["sync", "async"])
def test_a_function_that_takes_context_goes_by_the_name_in_it(function, logger):
    decorated = TimerExtension.timed(function)

    call(decorated, req=None, context=FakeContext("as the worker calls it"))
    call(decorated, None, FakeContext("as a unit test may"))

    assert logger.messages[::2] == [
        "Recording start time of as the worker calls it",
        "Recording start time of as a unit test may",
    ]


class Unreadable:
    @property
    def function_name(self):
        raise RuntimeError("not in this test")


@pytest.mark.parametrize("context", ["an orchestration's, say", None, Unreadable(), mock.Mock()])
def test_a_context_without_a_readable_name_leaves_the_functions_own(context, logger):
    response = call(TimerExtension.timed(with_context), req=None, context=context)

    assert response.get_body() == b"hello"
    assert names(logger.messages) == ["with_context"]


def test_only_a_parameter_called_context_is_looked_at(logger):
    @TimerExtension.timed
    def variadic(req, *rest):
        context = rest[0]
        return context

    call(variadic, None, FakeContext("no parameter"))

    assert names(logger.messages) == ["variadic"]


def test_a_function_of_the_v1_model_goes_by_the_name_of_its_folder(logger, make_v1_function):
    main = make_v1_function("HttpTrigger")

    call(main, req=None)

    assert names(logger.messages) == ["HttpTrigger"]


def test_the_folder_is_that_of_the_function_itself_not_of_another_decorator(
    logger, make_v1_function
):
    source = """
from conftest import passes_on
@TimerExtension.timed
@passes_on
def main(req): ...
"""

    call(make_v1_function("HttpTrigger", source), req=None)

    assert names(logger.messages) == ["HttpTrigger"]


def test_in_the_v1_model_too_the_name_in_context_goes_first(logger, make_v1_function):
    source = "@TimerExtension.timed\ndef main(req, context): ..."
    main = make_v1_function("HttpTrigger", source)

    call(main, req=None, context=FakeContext("as the worker says"))

    assert names(logger.messages) == ["as the worker says"]


def test_the_name_is_found_once_at_decoration(logger, make_v1_function):
    main = make_v1_function("HttpTrigger")
    Path(inspect.getfile(main)).with_name("function.json").unlink()

    call(main, req=None)

    assert names(logger.messages) == ["HttpTrigger"]


class Greeter:
    def greet(self, req):
        return HttpResponse("hello")

    async def greet_async(self, req: func.HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


@pytest.mark.parametrize("name", ["greet", "greet_async"])
def test_a_bound_method_is_timed(name, logger):
    method = getattr(Greeter(), name)
    decorated = TimerExtension.timed(method)

    assert call(decorated, req=None).get_body() == b"hello"
    assert inspect.signature(decorated) == inspect.signature(method)
    assert inspect.iscoroutinefunction(decorated) == inspect.iscoroutinefunction(method)
    assert inspect.getfile(decorated) == __file__
    assert names(logger.messages) == [name]


def greet_in_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def test_the_main_of_a_wsgi_middleware_goes_by_the_name_in_context(logger, make_v1_function):
    source = """
import azure.functions as func
from test_timed import greet_in_wsgi
main = TimerExtension.timed(func.WsgiMiddleware(greet_in_wsgi).main)
"""
    main = make_v1_function("HttpTrigger", source)
    request = func.HttpRequest("GET", "http://localhost/api/HttpTrigger", body=b"")

    response = call(main, req=request, context=FakeContext("HttpTrigger"))

    assert response.get_body() == b"hello"
    assert names(logger.messages) == ["HttpTrigger"]


@sync_and_async
def test_a_function_that_is_decorated_twice_logs_one_pair(function, logger):
    call(TimerExtension.timed(TimerExtension.timed(function)), req=None)

    assert names(logger.messages) == [function.__name__]


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
@sync_and_async
def test_a_hook_of_a_subclass_that_raises_does_not_fail_the_function(
    hook, function, extensions, capsys
):
    def raises(cls, *args, **kwargs):
        raise RuntimeError("the author's own")

    MyTimer = type("MyTimer", (TimerExtension,), {hook: classmethod(raises)})
    decorated = MyTimer.timed(function)

    for _ in range(2):
        assert call(decorated, req=None).get_body() == b"hello"
    assert capsys.readouterr().err.count("RuntimeError: the author's own") == 2


def test_a_logger_that_calls_a_timed_function_is_part_of_the_invocation():
    calls = []

    @TimerExtension.timed
    def helper(req):
        calls.append(req)

    class Logger:
        def info(self, message):
            helper(message)

    TimerExtension.configure(logger=Logger())

    helper(None)

    assert [call and call.split()[0] for call in calls] == ["Recording", None, "Time"]


def test_a_decorated_function_that_another_calls_is_part_of_its_invocation(logger, clock):
    helper = TimerExtension.timed(hello)

    @TimerExtension.timed
    def outer(req):
        clock.now += 1
        helper(req)
        clock.now += 1

    call(outer, req=None)
    call(helper, req=None)

    assert names(logger.messages) == ["outer", "hello"]
    assert elapsed(logger.messages[1]) == "2.0"


def test_what_a_function_started_and_left_running_is_no_part_of_its_invocation(logger):
    helper = TimerExtension.timed(hello_async)
    tasks = []

    @TimerExtension.timed
    async def starts(req):
        tasks.append(asyncio.ensure_future(later()))

    async def later():
        await ended.wait()
        await helper(req=None)

    async def both():
        nonlocal ended
        ended = asyncio.Event()
        await starts(req=None)
        ended.set()
        await tasks[0]

    ended = None
    asyncio.run(both())

    assert names(logger.messages) == ["starts", "hello_async"]


@pytest.mark.parametrize(
    "make, error",
    [
        (failing, ValueError("mine")),
        (failing, KeyboardInterrupt()),
        (failing, asyncio.CancelledError()),
        (failing_async, ValueError("mine")),
    ],
)
def test_a_function_that_raises_is_logged_and_its_own_exception_goes_through(make, error, logger):
    decorated = TimerExtension.timed(make(error))

    with pytest.raises(type(error)) as caught:
        call(decorated, req=None)

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert logger.messages[1].startswith("Time taken to execute fails is ")


def test_a_cancelled_invocation_is_logged_and_stays_cancelled(logger):
    @TimerExtension.timed
    async def sleeps(req):
        await asyncio.sleep(60)

    async def cancel():
        task = asyncio.ensure_future(sleeps(req=None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancel())
    assert logger.messages[1].startswith("Time taken to execute sleeps is ")


def test_a_traceback_shows_the_function_in_its_own_file():
    decorated = TimerExtension.timed(failing(ValueError("mine")))

    with pytest.raises(ValueError) as caught:
        decorated(req=None)

    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].line == "raise error"
    assert frames[1].filename == __file__
    assert frames[1].line == "def fails(req):"


@sync_and_async
def test_wrong_arguments_raise_what_they_raise_without_the_decorator(function):
    with pytest.raises(
        TypeError, match=f"{function.__name__}.*missing 1 required positional argument"
    ):
        call(TimerExtension.timed(function))


@sync_and_async
@pytest.mark.parametrize("stderr_is", ["open", "closed"])
def test_a_logger_that_fails_does_not_fail_the_function(function, stderr_is, monkeypatch):
    stderr = io.StringIO()
    if stderr_is == "closed":
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    TimerExtension.configure(logger=FullDisk())

    assert call(TimerExtension.timed(function), req=None).get_body() == b"hello"
    if stderr_is == "open":
        assert "No space left on device" in stderr.getvalue()


@pytest.mark.parametrize("function", [hello, hello_async, with_context, with_context_async])
def test_the_worker_takes_it_for_the_function_itself(function):
    decorated = TimerExtension.timed(function)

    assert decorated is not function
    assert inspect.isfunction(decorated)
    assert inspect.signature(decorated) == inspect.signature(function)
    assert typing.get_type_hints(decorated) == typing.get_type_hints(function)
    assert inspect.iscoroutinefunction(decorated) == inspect.iscoroutinefunction(function)
    assert inspect.getfile(decorated) == inspect.getfile(function) == __file__
    assert inspect.getsource(decorated) == inspect.getsource(function)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(decorated, attribute) == getattr(function, attribute)


def test_type_hints_written_as_strings_are_read_where_the_function_stands():
    def later(req: "func.HttpRequest") -> "HttpResponse":
        return HttpResponse()

    hints = typing.get_type_hints(TimerExtension.timed(later))

    assert hints == {"req": func.HttpRequest, "return": HttpResponse}


def test_type_hints_that_a_default_makes_optional_are_read_the_same():
    def optional(req, name: str = None, *, other: int = None):
        return HttpResponse()

    decorated = TimerExtension.timed(optional)

    assert typing.get_type_hints(decorated) == typing.get_type_hints(optional)
    assert decorated(req=None).get_body() == b""


def test_a_function_that_another_decorator_wrapped_is_timed_too(logger):
    call(TimerExtension.timed(passes_on(hello)), req=None)

    assert len(logger.messages) == 2


@pytest.mark.parametrize("version", [(3, 7), (3, 9), (3, 12)])
@sync_and_async
def test_where_the_worker_calls_the_hooks_the_function_stays_as_it_is(
    function, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    assert TimerExtension.timed(function) is function


def test_where_the_setting_is_off_the_function_is_timed_on_any_python(python, logger):
    python(3, 11)

    call(TimerExtension.timed(hello), req=None)

    assert len(logger.messages) == 2


def test_on_python_3_9_too_it_is_timed_outside_a_worker_where_the_setting_is_not_on(
    python, monkeypatch
):
    python(3, 9)
    assert TimerExtension.timed(hello) is not hello

    monkeypatch.setenv(APP_SETTING, "1")
    assert TimerExtension.timed(hello) is hello

    monkeypatch.delenv(APP_SETTING)
    monkeypatch.setenv(WORKER_RUNTIME, "python")
    assert TimerExtension.timed(hello) is hello


def orchestrator(context):
    yield


async def async_generator(context):
    yield


@pytest.mark.parametrize("function", [orchestrator, async_generator])
@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_a_generator_function_raises_a_type_error_that_says_what_times_it(
    function, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    with pytest.raises(
        TypeError,
        match=f"^only sync and async functions .* {function.__name__}: "
        r"TimerExtension.configure\(app=app\) times orchestrators$",
    ):
        TimerExtension.timed(function)


@pytest.mark.parametrize(
    "thing",
    [
        "hello",
        None,
        HttpResponse,
        functools.partial(hello),
        functools.partial(orchestrator),
        functools.lru_cache()(hello),
    ],
)
@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_what_is_no_function_raises_a_type_error_that_says_the_order(
    thing, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    with pytest.raises(
        TypeError,
        match=r"^@TimerExtension.timed goes right above the def, below @app.route\(\.\.\.\) and "
        "any other decorator of the SDK: it takes a function, not ",
    ):
        TimerExtension.timed(thing)


@needs_v2
def test_above_the_trigger_decorator_it_raises_a_type_error_that_says_the_order():
    app = func.FunctionApp()

    with pytest.raises(TypeError, match="below .* not FunctionBuilder$"):

        @TimerExtension.timed
        @app.route(route="hello")
        def hello(req: func.HttpRequest) -> HttpResponse:
            return HttpResponse("hello")


@needs_v2
@pytest.mark.parametrize("make_app", ["FunctionApp", "Blueprint"])
@sync_and_async
def test_below_a_trigger_decorator_it_is_what_the_worker_calls(make_app, function, logger):
    app = getattr(func, make_app)()
    builder = app.route(route="hello")(TimerExtension.timed(function))

    call(builder._function.get_user_function(), req=None)

    assert builder._function.get_function_name() == function.__name__
    assert len(logger.messages) == 2


def test_sync_functions_on_sixteen_threads_each_get_their_own_lines(logger):
    decorated = TimerExtension.timed(hello)

    at_once(*[lambda: [decorated(req=None) for _ in range(100)]] * 16)

    assert len(logger.messages) == 16 * 100 * 2


def test_async_functions_on_one_event_loop_each_get_their_own_time(logger, clock):
    @TimerExtension.timed
    async def waits(name, may_end):
        await may_end.wait()

    overlap(waits, clock)

    assert [elapsed(message) for message in logger.messages[2:]] == ["2.0", "7.0"]


@sync_and_async
def test_it_is_timed_over_http(function, serve):
    TimerExtension.configure(append_to_http_response=True)

    answer = get(f"{serve(TimerExtension.timed(function))}/api/{function.__name__}")

    assert answer.status == 200
    assert answer.body.startswith(b"hello (TimeElapsed: ")


def test_a_function_that_raises_is_logged_over_http_and_answers_500(serve, logger):
    answer = get(serve(TimerExtension.timed(failing(ValueError("mine")))) + "/api/fails")

    assert answer.status == 500
    assert logger.messages[1].startswith("Time taken to execute fails is ")
