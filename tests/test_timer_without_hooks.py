"""The timer where no worker calls its hooks: a decorated function, and one of a handed-over app."""

import asyncio
import logging

import pytest
from azure.functions import HttpResponse

from conftest import FakeLogger, call, either_way
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def no_hooks(extension, python):
    python(3, 13)


def hello(req):
    return HttpResponse("hello")


async def hello_async(req):
    return HttpResponse("hello")


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


@either_way
@sync_and_async
def test_the_lines_the_body_and_the_header_are_as_the_options_say(way, function, clock):
    logger = FakeLogger()
    options = {"append_to_http_response": True, "logger": logger, "server_timing_header": True}

    response = call(way(TimerExtension, function, **options), req=None)

    assert logger.messages == [
        f"Recording start time of {function.__name__}",
        f"Time taken to execute {function.__name__} is 0.0 sec",
    ]
    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == f"{function.__name__};dur=0.000"


@either_way
def test_without_a_configured_logger_the_lines_are_user_logs_of_the_package(way, caplog):
    caplog.set_level(logging.INFO)

    way(TimerExtension, hello)(req=None)

    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("python_worker_extension_timer", "INFO")
    ] * 2


@either_way
def test_an_async_function_is_measured_to_its_end(way, clock):
    async def works(req):
        clock.now += 1
        await asyncio.sleep(0)
        clock.now += 2

    logger = FakeLogger()
    call(way(TimerExtension, works, logger=logger), req=None)

    assert logger.messages[1] == "Time taken to execute works is 3.0 sec"


@either_way
def test_the_time_of_a_function_that_raises_is_logged(way, clock):
    def fails(req):
        clock.now += 1
        raise ValueError("mine")

    logger = FakeLogger()
    with pytest.raises(ValueError, match="mine"):
        way(TimerExtension, fails, logger=logger)(req=None)

    assert logger.messages[1] == "Time taken to execute fails is 1.0 sec"
