"""Test the timer (the first half of the module) in functions that the extension wraps."""

import asyncio
import logging

import pytest
from azure.functions import HttpResponse

from conftest import APP_SETTING, FakeLogger, both_ways, get
from python_worker_extension_timer import TimerExtension


def hello(req):
    return HttpResponse("hello")


async def hello_async(req):
    await asyncio.sleep(0)
    return HttpResponse("hello")


@both_ways
@pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])
@pytest.mark.parametrize("setting", ["1", "0"])
def test_lines_body_and_header_are_the_same_whether_the_app_setting_is_on_or_off(
    setting, way, function, clock, serve, python, monkeypatch
):
    python(3, 11)
    monkeypatch.setenv(APP_SETTING, setting)
    logger = FakeLogger()
    options = {"append_to_http_response": True, "logger": logger, "server_timing_header": True}
    name = function.__name__

    response = get(f"{serve(way(TimerExtension, function, **options))}/api/{name}")

    assert logger.messages == [
        f"Recording start time of {name}",
        f"Time taken to execute {name} is 0.0 sec",
    ]
    assert response.body == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == f"{name};dur=0.000"


@both_ways
def test_log_lines_go_to_the_logger_of_the_package_by_default(way, caplog):
    caplog.set_level(logging.INFO)

    way(TimerExtension, hello)(req=None)

    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("python_worker_extension_timer", "INFO")
    ] * 2


START = "Recording start time of fails"
TIME = "Time taken to execute fails is 1.0 sec (raised ValueError)"


@both_ways
@pytest.mark.parametrize("log_min_seconds, lines", [(None, [START, TIME]), (1, [TIME]), (1.1, [])])
def test_the_line_of_a_failure_says_what_was_raised_and_obeys_log_min_seconds(
    way, log_min_seconds, lines, clock
):
    def fails(req):
        clock.now += 1
        raise ValueError("mine")

    logger = FakeLogger()
    function = way(TimerExtension, fails, log_min_seconds=log_min_seconds, logger=logger)

    with pytest.raises(ValueError, match="mine"):
        function(req=None)

    assert logger.messages == lines
