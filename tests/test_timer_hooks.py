"""Test the hooks of the timer (the first half of the module)."""

import logging
import time
import types

import pytest
from azure.functions import HttpResponse

from conftest import FakeContext, FakeLogger, call_post_hook, call_pre_hook, elapsed, get, invoke
from python_worker_extension_timer import TimerExtension


class FailingLogger:
    """A logger that raises an exception."""

    def info(self, message):
        raise OSError("No space left on device")


def test_the_pre_hook_logs_that_the_invocation_starts():
    logger = FakeLogger()

    call_pre_hook(FakeContext("HttpTrigger"), logger)

    assert logger.messages == ["Recording start time of HttpTrigger"]


@pytest.mark.parametrize("seconds", [1.5, 9.8e-05])
def test_the_post_hook_logs_the_elapsed_seconds(seconds, clock):
    clock.now = 0.0

    _, message = invoke(clock=clock, seconds=seconds)

    assert message == f"Time taken to execute HttpTrigger is {seconds} sec"


def test_the_elapsed_time_is_in_real_seconds():
    before = time.perf_counter()

    _, message = invoke()

    assert 0 < float(elapsed(message)) <= time.perf_counter() - before


def test_an_app_that_never_calls_configure_gets_both_log_lines_and_an_unchanged_response():
    response = HttpResponse("hello")

    messages = invoke(response)

    assert len(messages) == 2
    assert response.get_body() == b"hello"
    assert dict(response.headers) == {}


def test_the_pre_hook_stores_the_start_time_and_the_post_hook_removes_it(clock):
    context = FakeContext(invocation_id="1")

    call_pre_hook(context)
    assert TimerExtension.start_timestamps == {"1": clock.now}

    call_post_hook(context)
    assert TimerExtension.start_timestamps == {}


def test_a_post_hook_without_a_pre_hook_does_nothing(capsys):
    response, logger = HttpResponse("hello"), FakeLogger()
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)

    call_post_hook(FakeContext(), response, logger)

    assert logger.messages == []
    assert response.get_body() == b"hello"
    assert dict(response.headers) == {}
    assert capsys.readouterr().err == ""


def test_the_post_hook_may_get_another_context_with_the_same_invocation_id():
    logger = FakeLogger()
    call_pre_hook(FakeContext("HttpTrigger", invocation_id="1"))

    call_post_hook(FakeContext("HttpTrigger", invocation_id="1"), logger=logger)

    assert len(logger.messages) == 1


def test_the_hooks_need_only_a_logger_and_a_context_with_a_name_and_an_id():
    context, logger = types.SimpleNamespace(function_name="f", invocation_id="1"), FakeLogger()

    TimerExtension.pre_invocation_app_level(logger, context)
    TimerExtension.post_invocation_app_level(logger, context)

    assert len(logger.messages) == 2


def test_the_hooks_accept_arguments_that_a_future_worker_may_add():
    context, logger = FakeContext(), FakeLogger()

    TimerExtension.pre_invocation_app_level(logger, context, {}, "new", new=True)
    TimerExtension.post_invocation_app_level(logger, context, {}, None, "new", new=True)

    assert len(logger.messages) == 2


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


def test_a_failure_to_log_is_shown_on_stderr_and_affects_neither_body_nor_header(capsys, clock):
    TimerExtension.configure(
        append_to_http_response=True, logger=FailingLogger(), server_timing_header=True
    )
    response = HttpResponse("hello")

    invoke(response)

    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == "HttpTrigger;dur=0.000"
    assert capsys.readouterr().err.count("OSError: No space left on device") == 2


def test_a_failure_to_append_is_shown_on_stderr_and_affects_neither_log_lines_nor_header(capsys):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    response = HttpResponse("hello", status_code="teapot")

    messages = invoke(response)

    assert len(messages) == 2
    assert response.headers["Server-Timing"].startswith("HttpTrigger;dur=")
    assert "ValueError: invalid literal for int() with base 10: 'teapot'" in capsys.readouterr().err


def test_a_failure_to_add_the_header_is_shown_on_stderr_and_does_not_affect_the_log_lines(capsys):
    TimerExtension.configure(server_timing_header=True)
    headers = type("NoMapping", (dict,), {"items": None})()

    messages = invoke(types.SimpleNamespace(status_code=200, headers=headers))

    assert len(messages) == 2
    assert capsys.readouterr().err.count("TypeError: ") == 1


@pytest.mark.parametrize("configured", [None, logging.getLogger("timer")])
def test_lines_go_to_the_logger_of_the_worker_by_default_if_neither_app_nor_decorator_is_used(
    configured, serve, worker_with_hooks, caplog
):
    caplog.set_level(logging.INFO)
    TimerExtension.configure(append_to_http_response=True, logger=configured)

    def hello(req):
        return HttpResponse("hello")

    def fails(req):
        raise ValueError("mine")

    url = serve(hello, fails)
    body = get(url + "/api/hello").body
    get(url + "/api/fails")

    name = "timer" if configured else "azure_functions_worker.extension.TimerExtension"
    lines = [record.getMessage() for record in caplog.records if record.name == name]
    assert lines == [
        "Recording start time of hello",
        f"Time taken to execute hello is {elapsed(body.decode())} sec",
        "Recording start time of fails",
    ]
