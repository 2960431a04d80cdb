"""The timer's hooks: what is logged, what is stored, and for how long."""

import asyncio
import io
import logging
import sys
import threading
import time
import types

import azure.functions
import pytest
from azure.functions import HttpResponse

from conftest import (
    FakeContext,
    FakeLogger,
    FullDisk,
    at_once,
    elapsed,
    finish,
    get,
    invoke,
    overlap,
    start,
)
import python_worker_extension_timer
from python_worker_extension_timer import TimerExtension


def test_the_sdk_registers_both_hooks_when_the_extension_is_imported():
    hooks = azure.functions.ExtensionMeta.get_application_hooks()

    for registered, hook in (
        (hooks.pre_invocation_app_level, TimerExtension.pre_invocation_app_level),
        (hooks.post_invocation_app_level, TimerExtension.post_invocation_app_level),
    ):
        assert ("TimerExtension", hook) in registered


def test_the_class_is_never_instantiated():
    with pytest.raises(azure.functions.FunctionExtensionException):
        TimerExtension()


def test_the_pre_hook_logs_that_the_invocation_starts():
    logger = FakeLogger()

    start(FakeContext("HttpTrigger"), logger)

    assert logger.messages == ["Recording start time of HttpTrigger"]


def test_the_post_hook_logs_the_elapsed_seconds(clock):
    context, logger = FakeContext("HttpTrigger"), FakeLogger()
    start(context)
    clock.now += 1.5

    finish(context, logger=logger)

    assert logger.messages == ["Time taken to execute HttpTrigger is 1.5 sec"]


def test_the_elapsed_time_is_a_float_of_seconds_by_a_clock_that_goes_forward():
    assert time.get_clock_info("perf_counter").monotonic
    assert python_worker_extension_timer.perf_counter is time.perf_counter
    before = time.perf_counter()

    _, message = invoke()

    assert 0 < float(elapsed(message)) <= time.perf_counter() - before


def test_a_very_short_time_is_logged_in_exponent_form(clock):
    context, logger = FakeContext(), FakeLogger()
    clock.now = 0.0
    start(context)
    clock.now = 9.8e-05

    finish(context, logger=logger)

    assert logger.messages == ["Time taken to execute HttpTrigger is 9.8e-05 sec"]


def test_the_start_is_stored_from_the_pre_hook_to_the_post_hook(clock):
    context = FakeContext(invocation_id="1")

    start(context)
    assert TimerExtension.start_timestamps == {"1": clock.now}

    finish(context)
    assert TimerExtension.start_timestamps == {}


def test_a_post_hook_without_a_pre_hook_does_nothing(capsys):
    response, logger = HttpResponse("hello"), FakeLogger()
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)

    finish(FakeContext(), response, logger)

    assert logger.messages == []
    assert response.get_body() == b"hello"
    assert dict(response.headers) == {}
    assert capsys.readouterr().err == ""


def test_a_second_post_hook_of_one_invocation_does_nothing():
    context, logger = FakeContext(), FakeLogger()
    start(context)
    finish(context)

    finish(context, logger=logger)

    assert logger.messages == []


def test_the_post_hook_may_be_handed_another_context_of_the_same_invocation():
    logger = FakeLogger()
    start(FakeContext("HttpTrigger", invocation_id="1"))

    finish(FakeContext("HttpTrigger", invocation_id="1"), logger=logger)

    assert len(logger.messages) == 1


def test_a_context_of_just_a_name_and_an_id_is_enough():
    context, logger = types.SimpleNamespace(function_name="f", invocation_id="1"), FakeLogger()

    start(context, logger)
    finish(context, None, logger)

    assert len(logger.messages) == 2


def test_func_args_and_func_ret_may_be_left_out():
    context, logger = FakeContext(), FakeLogger()

    TimerExtension.pre_invocation_app_level(logger, context)
    TimerExtension.post_invocation_app_level(logger, context)

    assert len(logger.messages) == 2


def test_the_hooks_accept_arguments_that_a_later_worker_may_add():
    context, logger = FakeContext(), FakeLogger()

    TimerExtension.pre_invocation_app_level(logger, context, {}, "new", new=True)
    TimerExtension.post_invocation_app_level(logger, context, {}, None, "new", new=True)

    assert len(logger.messages) == 2


def test_each_of_two_overlapping_invocations_gets_its_own_time(clock):
    first, second, logger = FakeContext("first"), FakeContext("second"), FakeLogger()
    start(first)
    clock.now += 1
    start(second)
    clock.now += 2

    finish(first, logger=logger)
    finish(second, logger=logger)

    assert logger.messages == [
        "Time taken to execute first is 3.0 sec",
        "Time taken to execute second is 2.0 sec",
    ]


def test_each_invocation_on_the_event_loop_gets_its_own_time(clock):
    logger = FakeLogger()

    async def invocation(name: str, may_end: asyncio.Event) -> None:
        context = FakeContext(name)
        start(context)
        await may_end.wait()
        finish(context, None, logger)

    overlap(invocation, clock)

    assert logger.messages == [
        "Time taken to execute short is 2.0 sec",
        "Time taken to execute long is 7.0 sec",
    ]


def test_sixteen_threads_at_once_each_get_their_own_times():
    counts = []

    def hammer() -> None:
        response = HttpResponse("hello")
        logger = FakeLogger()
        for _ in range(500):
            context = FakeContext()
            start(context, logger)
            finish(context, response, logger)
        counts.append(len(logger.messages))

    at_once(*[hammer] * 16)

    assert counts == [1000] * 16
    assert TimerExtension.start_timestamps == {}


@pytest.mark.parametrize(
    "function_name", ["", "%s %d", "{name}", "naïve", "\ud800", "a\r\nb: c", None]
)
def test_any_function_name_is_logged_as_it_is(function_name):
    context, logger = FakeContext(function_name), FakeLogger()

    start(context, logger)
    finish(context, HttpResponse("hello"), logger)

    assert logger.messages[0] == f"Recording start time of {function_name}"
    assert logger.messages[1].startswith(f"Time taken to execute {function_name} is ")


def test_a_logger_that_fails_is_shown_on_stderr_and_not_raised(capsys):
    context = FakeContext()

    start(context, FullDisk())
    finish(context, None, FullDisk())

    assert capsys.readouterr().err.count("OSError: No space left on device") == 2
    assert TimerExtension.start_timestamps == {}


def test_a_logger_that_fails_takes_neither_the_body_nor_the_header_along(capsys, clock):
    TimerExtension.configure(
        append_to_http_response=True, logger=FullDisk(), server_timing_header=True
    )
    response = HttpResponse("hello")

    invoke(response)

    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == "HttpTrigger;dur=0.000"


def test_a_body_that_fails_takes_neither_the_line_nor_the_header_along(capsys):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    response = HttpResponse("hello", status_code="teapot")

    messages = invoke(response)

    assert len(messages) == 2
    assert response.headers["Server-Timing"].startswith("HttpTrigger;dur=")
    assert "ValueError: invalid literal for int() with base 10: 'teapot'" in capsys.readouterr().err


def test_a_header_that_fails_takes_neither_the_line_nor_the_body_along(capsys):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    response = HttpResponse("hello")

    messages = invoke(response, function_name=5)

    assert len(messages) == 2
    assert b"TimeElapsed" in response.get_body()
    assert capsys.readouterr().err.count("TypeError: ") == 1


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_what_fails_with_no_stderr_to_show_it_on_fails_in_silence(stderr, monkeypatch, capsys):
    if stderr:
        stderr = io.StringIO()
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    TimerExtension.configure(append_to_http_response=True, logger=FullDisk())
    response = HttpResponse("hello")

    invoke(response)

    assert b"TimeElapsed" in response.get_body()
    assert capsys.readouterr().out == ""


def test_an_app_that_never_calls_configure_gets_the_lines_and_an_untouched_response(
    other_extension,
):
    response = HttpResponse("hello")

    messages = invoke(response, timers=[other_extension.TimerExtension])

    assert len(messages) == 2
    assert response.get_body() == b"hello"
    assert dict(response.headers) == {}


def test_a_subclass_keeps_starts_of_its_own(extensions):
    class MyTimer(TimerExtension):
        pass

    MyTimer.pre_invocation_app_level(FakeLogger(), FakeContext(invocation_id="1"), {})

    assert list(MyTimer.start_timestamps) == ["1"]
    assert TimerExtension.start_timestamps == {}


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


def test_the_hooks_lines_are_system_logs_and_those_of_a_configured_logger_user_logs(
    serve, hooks_on, caplog
):
    caplog.set_level(logging.INFO)

    def hello(req):
        return HttpResponse("hello")

    url = serve(hello)
    get(url + "/api/hello")
    TimerExtension.configure(logger=logging.getLogger("timer"))
    get(url + "/api/hello")

    names = [record.name for record in caplog.records if record.name != "asyncio"]
    assert names == ["azure_functions_worker.extension.TimerExtension"] * 2 + ["timer"] * 2
