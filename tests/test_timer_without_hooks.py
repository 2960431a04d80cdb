"""The timer where no worker calls its hooks: decorated functions, and those of a handed-over app."""

import asyncio
import io
import json
import logging
import sys

import azure.functions as func
import pytest
from azure.functions import HttpResponse

import local_host
from conftest import (
    APP_SETTING,
    FakeLogger,
    FullDisk,
    at_once,
    call,
    durable_entity,
    durable_orchestrator,
    elapsed,
    get,
    names,
    needs_v2,
    overlap,
    take_in,
)
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def no_hooks(extension, python):
    python(3, 13)


def handed_over(function):
    """The function, as the worker takes it from an app that is handed over."""
    app = func.FunctionApp()
    app.route(route="hello")(function)
    (function,) = take_in(hand_over(app)).values()
    return function


def hand_over(app):
    options = ("append_to_http_response", "logger", "server_timing_header")
    kept = {option: getattr(TimerExtension, option) for option in options}
    TimerExtension.configure(app=app, **kept)
    return app


decorated_and_handed_over = pytest.mark.parametrize(
    "time", [TimerExtension.timed, pytest.param(handed_over, marks=needs_v2)]
)


@pytest.fixture
def logger(extension):
    logger = FakeLogger()
    TimerExtension.configure(logger=logger)
    return logger


def hello(req):
    return HttpResponse("hello")


async def hello_async(req):
    await asyncio.sleep(0)
    return HttpResponse("hello")


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


@decorated_and_handed_over
@sync_and_async
def test_both_lines_are_logged(time, function, logger):
    call(time(function), req=None)

    first, second = logger.messages
    assert first == f"Recording start time of {function.__name__}"
    assert second.startswith(f"Time taken to execute {function.__name__} is ")


@decorated_and_handed_over
@sync_and_async
def test_the_body_and_the_header_are_as_configured(time, function, clock):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)

    response = call(time(function), req=None)

    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == f"{function.__name__};dur=0.000"


def test_options_set_after_the_decoration_count(clock):
    decorated = TimerExtension.timed(hello)
    TimerExtension.configure(append_to_http_response=True)

    assert decorated(req=None).get_body() == b"hello (TimeElapsed: 0.0 sec)"


@decorated_and_handed_over
@sync_and_async
def test_without_a_configured_logger_the_lines_are_user_logs_of_the_package(time, function, caplog):
    caplog.set_level(logging.INFO)

    call(time(function), req=None)

    lines = [record for record in caplog.records if record.name not in ("asyncio", "root")]
    assert [(record.name, record.levelname) for record in lines] == [
        ("python_worker_extension_timer", "INFO")
    ] * 2


def test_a_generator_function_raises_a_type_error_that_says_what_times_it():
    def orchestrator(context):
        yield

    with pytest.raises(
        TypeError,
        match="^only sync and async functions can be timed, not a generator function such as "
        r"orchestrator: TimerExtension.configure\(app=app\) times orchestrators$",
    ):
        TimerExtension.timed(orchestrator)


@decorated_and_handed_over
def test_an_async_function_is_measured_to_its_end(time, logger, clock):
    async def works(req):
        clock.now += 1
        await asyncio.sleep(0)
        clock.now += 2

    call(time(works), req=None)

    assert logger.messages[1] == "Time taken to execute works is 3.0 sec"


@decorated_and_handed_over
def test_async_functions_on_one_event_loop_each_get_their_own_time(time, logger, clock):
    async def waits(name, may_end):
        await may_end.wait()

    overlap(time(waits), clock)

    assert [elapsed(message) for message in logger.messages[2:]] == ["2.0", "7.0"]


@decorated_and_handed_over
def test_sync_functions_on_sixteen_threads_each_get_their_own_lines(time, logger):
    timed = time(hello)

    at_once(*[lambda: [timed(req=None) for _ in range(100)]] * 16)

    assert names(logger.messages) == ["hello"] * 1600
    assert TimerExtension.start_timestamps == {}


def test_what_a_timed_function_calls_is_part_of_its_time(logger, clock):
    @TimerExtension.timed
    def helper(req):
        clock.now += 1

    @TimerExtension.timed
    def outer(req):
        helper(req=req)
        helper(req=req)

    outer(req=None)

    assert names(logger.messages) == ["outer"]
    assert elapsed(logger.messages[1]) == "2.0"


@decorated_and_handed_over
def test_the_time_of_a_function_that_raises_is_logged(time, logger, clock):
    def fails(req):
        clock.now += 1
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        time(fails)(req=None)

    assert logger.messages[1] == "Time taken to execute fails is 1.0 sec"


def test_a_logger_that_calls_a_timed_function_is_part_of_the_invocation():
    calls = []

    @TimerExtension.timed
    def helper(req):
        calls.append(req)

    class Logger:
        def info(self, message):
            helper(req=message)

    TimerExtension.configure(logger=Logger())

    helper(req=None)

    assert [call and call.split()[0] for call in calls] == ["Recording", None, "Time"]


@decorated_and_handed_over
@sync_and_async
@pytest.mark.parametrize("stderr_is", ["open", "closed"])
def test_a_logger_that_fails_does_not_fail_the_function(time, function, stderr_is, monkeypatch):
    stderr = io.StringIO()
    if stderr_is == "closed":
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    TimerExtension.configure(append_to_http_response=True, logger=FullDisk())

    assert b"TimeElapsed" in call(time(function), req=None).get_body()
    if stderr_is == "open":
        assert stderr.getvalue().count("OSError: No space left on device") == 2


@needs_v2
def test_the_time_of_an_orchestrator_is_that_of_the_episode(logger, clock):
    def works(context):
        clock.now += 0.25
        yield "a task"

    app = func.FunctionApp()
    trigger = app.generic_trigger(arg_name="context", type="orchestrationTrigger")
    trigger(durable_orchestrator(works))

    said = take_in(hand_over(app))["works"](context="[]")

    assert json.loads(said)["isDone"] is False
    assert logger.messages[1] == "Time taken to execute works is 0.25 sec"


@needs_v2
@pytest.mark.parametrize("decorate", [lambda function: function, TimerExtension.timed])
def test_the_time_of_an_entity_is_that_of_its_batch(decorate, logger, clock):
    def counter(operation):
        clock.now += 1
        return operation

    app = func.FunctionApp()
    trigger = app.generic_trigger(arg_name="context", type="entityTrigger")
    trigger(durable_entity(decorate(counter)))

    take_in(hand_over(app))["counter"](context="[1, 2, 3]")

    assert logger.messages[1:] == ["Time taken to execute counter is 3.0 sec"]


@decorated_and_handed_over
@sync_and_async
def test_it_is_timed_over_http(time, function, serve):
    TimerExtension.configure(append_to_http_response=True)

    answer = get(f"{serve(time(function))}/api/{function.__name__}")

    assert answer.status == 200
    assert answer.body.startswith(b"hello (TimeElapsed: ")


@needs_v2
@pytest.mark.parametrize("setting", ["1", "0"])
def test_the_app_of_a_web_framework_shows_the_time_by_the_hooks_or_without(
    setting, python, monkeypatch
):
    def greet(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    python(3, 11)
    monkeypatch.setenv(APP_SETTING, setting)
    app = func.WsgiFunctionApp(greet)
    TimerExtension.configure(app=app, append_to_http_response=True)

    with local_host.LocalHost(list(local_host.functions_of(app)), prefix="") as host:
        answer = get(host.url + "/any/path")

    assert answer.body.startswith(b"hello (TimeElapsed: ")
    assert answer.body.count(b"TimeElapsed") == 1


@needs_v2
def test_a_later_configure_that_names_no_app_ends_the_timing(logger):
    timed = handed_over(hello)

    TimerExtension.configure(logger=logger)
    timed(req=None)

    assert logger.messages == []


@needs_v2
def test_a_subclass_beside_it_times_the_same_app_too(logger, extensions):
    class MyTimer(TimerExtension):
        pass

    app, own = func.FunctionApp(), FakeLogger()
    app.route(route="hello")(hello)
    MyTimer.configure(app=app, logger=own)

    take_in(hand_over(app))["hello"](req=None)

    assert names(own.messages) == names(logger.messages) == ["hello"]
