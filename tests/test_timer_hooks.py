"""Test the hooks of the timer (the first half of the module)."""

import itertools
import logging
import runpy
import time
import types

import pytest
from azure.functions import HttpResponse

import python_worker_extension_timer
from conftest import FakeContext, FakeLogger, call_post_hook, call_pre_hook, elapsed, get, invoke
from python_worker_extension_timer import TimerExtension

BODY_AND_HEADER = {"append_to_http_response": True, "server_timing_header": True}


@pytest.mark.parametrize("seconds", [1.5, 9.8e-05])
def test_the_hooks_log_that_the_invocation_starts_and_how_many_seconds_it_took(seconds, clock):
    clock.now = 0.0

    messages = invoke(clock=clock, seconds=seconds)

    assert messages == [
        "Recording start time of HttpTrigger",
        f"Time taken to execute HttpTrigger is {seconds} sec",
    ]


def test_the_elapsed_time_is_in_real_seconds_even_if_the_system_clock_is_set_back(
    monkeypatch, empty_registry
):
    system_clock = itertools.count(1e9, -1)
    monkeypatch.setattr(time, "time", lambda: next(system_clock))
    # Run the module again, because its import of a clock gives that clock another name.
    timer = runpy.run_path(python_worker_extension_timer.__file__)["TimerExtension"]
    before = time.perf_counter()

    _, message = invoke(timers=[timer])

    assert 0 < float(elapsed(message)) <= time.perf_counter() - before


def test_the_start_time_is_stored_under_the_invocation_id_until_the_post_hook(clock):
    call_pre_hook(FakeContext(invocation_id="1"))
    assert TimerExtension.start_timestamps == {"1": clock.now}

    # The context may be another object with the same id.
    call_post_hook(FakeContext(invocation_id="1"))
    assert TimerExtension.start_timestamps == {}


def test_overlapping_invocations_are_timed_separately(clock):
    first, second, logger = FakeContext("first"), FakeContext("second"), FakeLogger()
    call_pre_hook(first)
    clock.now += 1
    call_pre_hook(second)
    clock.now += 2

    call_post_hook(first, logger=logger)
    call_post_hook(second, logger=logger)

    assert logger.messages == [
        "Time taken to execute first is 3.0 sec",
        "Time taken to execute second is 2.0 sec",
    ]


def test_a_post_hook_without_a_pre_hook_does_nothing(capsys):
    response, logger = HttpResponse("hello"), FakeLogger()
    TimerExtension.configure(**BODY_AND_HEADER)

    call_post_hook(FakeContext(), response, logger)

    assert (logger.messages, response.get_body(), dict(response.headers)) == ([], b"hello", {})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments, keywords",
    [((), {}), (({}, None, "new"), {"new": True})],
    ids=["fewest", "a future worker's"],
)
def test_the_hooks_need_only_a_logger_and_a_context_and_accept_any_other_argument(
    arguments, keywords
):
    context, logger = types.SimpleNamespace(function_name="f", invocation_id="1"), FakeLogger()

    TimerExtension.pre_invocation_app_level(logger, context, *arguments, **keywords)
    TimerExtension.post_invocation_app_level(logger, context, *arguments, **keywords)

    assert len(logger.messages) == 2


def test_a_failure_to_log_is_shown_on_stderr_and_affects_neither_body_nor_header(capsys, clock):
    class FullDisk:
        def info(self, message):
            raise OSError("No space left on device")

    TimerExtension.configure(logger=FullDisk(), **BODY_AND_HEADER)
    response = HttpResponse("hello")

    invoke(response)

    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == "HttpTrigger;dur=0.000"
    assert capsys.readouterr().err.count("OSError: No space left on device") == 2


def test_a_failure_to_change_the_response_is_shown_on_stderr_and_does_not_affect_the_log_lines(
    capsys,
):
    class WithoutItems(HttpResponse):
        headers = type("Headers", (dict,), {"items": None})()

    TimerExtension.configure(**BODY_AND_HEADER)

    messages = invoke(WithoutItems("hello"))

    assert len(messages) == 2
    assert capsys.readouterr().err.count("TypeError: ") == 2


def test_the_log_lines_go_to_the_workers_logger_if_neither_app_nor_decorator_is_used(
    serve, worker_with_hooks, caplog
):
    caplog.set_level(logging.INFO)
    TimerExtension.configure(append_to_http_response=True)

    def hello(req):
        return HttpResponse("hello")

    body = get(serve(hello) + "/api/hello").body.decode()

    name = "azure_functions_worker.extension.TimerExtension"
    assert [record.getMessage() for record in caplog.records if record.name == name] == [
        "Recording start time of hello",
        f"Time taken to execute hello is {elapsed(body)} sec",
    ]
