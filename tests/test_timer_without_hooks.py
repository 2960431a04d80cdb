"""Test the timer (the first half of the module) when the worker doesn't call the hooks."""

import asyncio
import contextlib
import logging
import math

import pytest
from azure.functions import HttpResponse

from conftest import FakeLogger, both_ways, call
from python_worker_extension_timer import TimerExtension

pytestmark = pytest.mark.usefixtures("worker_without_hooks")


def hello(req):
    return HttpResponse("hello")


async def hello_async(req):
    return HttpResponse("hello")


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


@both_ways
@sync_and_async
def test_the_options_apply_to_the_log_lines_the_body_and_the_header(way, function, clock):
    logger = FakeLogger()
    options = {"append_to_http_response": True, "logger": logger, "server_timing_header": True}

    response = call(way(TimerExtension, function, **options), req=None)

    assert logger.messages == [
        f"Recording start time of {function.__name__}",
        f"Time taken to execute {function.__name__} is 0.0 sec",
    ]
    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == f"{function.__name__};dur=0.000"


@both_ways
def test_log_lines_go_to_the_logger_of_the_package_by_default(way, caplog):
    caplog.set_level(logging.INFO)

    way(TimerExtension, hello)(req=None)

    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("python_worker_extension_timer", "INFO")
    ] * 2


@both_ways
def test_an_async_function_is_timed_until_it_returns(way, clock):
    async def works(req):
        clock.now += 1
        await asyncio.sleep(0)
        clock.now += 2

    logger = FakeLogger()
    call(way(TimerExtension, works, logger=logger), req=None)

    assert logger.messages[1] == "Time taken to execute works is 3.0 sec"


START = "Recording start time of works"
TIME = "Time taken to execute works is 1.0 sec"


@both_ways
@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
@pytest.mark.parametrize(
    "log_min_seconds, lines",
    [(None, [START, TIME]), (0, [TIME]), (1, [TIME]), (1.1, []), (math.inf, [])],
)
def test_log_min_seconds_limits_the_log_lines_whether_the_function_returns_or_raises(
    way, raises, log_min_seconds, lines, clock
):
    def works(req):
        clock.now += 1
        if raises:
            raise ValueError("mine")

    logger = FakeLogger()
    function = way(TimerExtension, works, log_min_seconds=log_min_seconds, logger=logger)
    with pytest.raises(ValueError, match="mine") if raises else contextlib.nullcontext():
        function(req=None)

    assert logger.messages == lines
