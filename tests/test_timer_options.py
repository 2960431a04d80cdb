"""Test the options of the timer (the first half of the module)."""

import math

import pytest
from azure.functions import HttpResponse

from conftest import FakeLogger, invoke
from python_worker_extension_timer import TimerExtension

BODY_AND_HEADER = {"append_to_http_response": True, "server_timing_header": True}


@pytest.mark.parametrize(
    "log_min_seconds, seconds, line_count",
    [(None, 0.0, 2), (0, 0.0, 1), (1, 1.0, 1), (1, 0.999, 0), (math.inf, 1e9, 0)],
)
def test_log_min_seconds_limits_the_log_lines_but_not_the_body_and_the_header(
    log_min_seconds, seconds, line_count, clock
):
    clock.now = 0.0
    logger, response = FakeLogger(), HttpResponse("hello")
    TimerExtension.configure(log_min_seconds=log_min_seconds, logger=logger, **BODY_AND_HEADER)

    assert invoke(response, clock=clock, seconds=seconds) == []
    both_lines = [
        "Recording start time of HttpTrigger",
        f"Time taken to execute HttpTrigger is {seconds} sec",
    ]
    assert logger.messages == both_lines[2 - line_count :]
    assert response.get_body() == f"hello (TimeElapsed: {seconds} sec)".encode()
    assert response.headers["Server-Timing"] == f"HttpTrigger;dur={seconds * 1000:.3f}"


def configure_every_option():
    TimerExtension.configure(log_min_seconds=math.inf, logger=FakeLogger(), **BODY_AND_HEADER)


def never_configured():
    return TimerExtension


def configured_again():
    configure_every_option()
    TimerExtension.configure()
    return TimerExtension


def subclass():
    configure_every_option()
    return type("MyTimer", (TimerExtension,), {})


@pytest.mark.parametrize("make_timer", [never_configured, configured_again, subclass])
def test_by_default_both_lines_are_logged_and_the_response_is_unchanged(make_timer, empty_registry):
    timer, response = make_timer(), HttpResponse("hello")

    messages = invoke(response, timers=[timer])

    assert len(messages) == 2
    assert (response.get_body(), dict(response.headers)) == (b"hello", {})


BOOL = "{} must be True or False, not {!r}"
SECONDS = "{} must be int or float >= 0, not {!r}"
LOGGER = "{} must have an info() method; got {!r}"


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("append_to_http_response", "yes", BOOL),
        ("server_timing_header", 1, BOOL),
        ("log_min_seconds", True, SECONDS),
        ("log_min_seconds", -1, SECONDS),
        ("log_min_seconds", math.nan, SECONDS),
        ("log_min_seconds", "1", SECONDS),
        ("logger", "timer", LOGGER),
        ("logger", type("Logger", (), {"info": "text"}), LOGGER),
        ("app", "app", "app must be a function app"),
    ],
)
def test_a_wrong_option_raises_a_type_error_and_changes_nothing(option, value, message, clock):
    TimerExtension.configure(append_to_http_response=True, log_min_seconds=1)

    with pytest.raises(TypeError) as caught:
        TimerExtension.configure(**{"append_to_http_response": False, option: value})

    assert str(caught.value).startswith(message.format(option, value))
    response = HttpResponse("hello")
    assert invoke(response) == []
    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"


def test_known_options_are_set_even_if_another_argument_is_unknown():
    with pytest.warns(UserWarning, match="misspelt"):
        TimerExtension.configure(misspelt=1, server_timing_header=True)

    assert TimerExtension.server_timing_header is True
