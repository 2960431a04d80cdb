"""Test the options of the timer (the first half of the module)."""

import logging
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from azure.functions import HttpResponse

from conftest import FakeLogger, invoke
from python_worker_extension_timer import TimerExtension


@pytest.mark.parametrize(
    "log_min_seconds, seconds, line_count",
    [
        (None, 0.0, 2),
        (0, 0.0, 1),
        (1, 1.0, 1),
        (1, 0.999, 0),
        (0.25, 0.25, 1),
        (math.inf, 1e9, 0),
    ],
)
def test_log_min_seconds_limits_the_log_lines_but_not_the_body_and_the_header(
    log_min_seconds, seconds, line_count, clock
):
    clock.now = 0.0
    logger, response = FakeLogger(), HttpResponse("hello")
    TimerExtension.configure(
        append_to_http_response=True,
        log_min_seconds=log_min_seconds,
        logger=logger,
        server_timing_header=True,
    )

    assert invoke(response, clock=clock, seconds=seconds) == []
    both_lines = [
        "Recording start time of HttpTrigger",
        f"Time taken to execute HttpTrigger is {seconds} sec",
    ]
    assert logger.messages == both_lines[2 - line_count :]
    assert response.get_body() == f"hello (TimeElapsed: {seconds} sec)".encode()
    assert response.headers["Server-Timing"] == f"HttpTrigger;dur={seconds * 1000:.3f}"


def configure_every_option():
    TimerExtension.configure(
        append_to_http_response=True,
        log_min_seconds=math.inf,
        logger=FakeLogger(),
        server_timing_header=True,
    )


def test_configure_resets_the_options_that_are_left_out():
    configure_every_option()
    response = HttpResponse("hello")

    TimerExtension.configure()

    assert len(invoke(response)) == 2
    assert response.get_body() == b"hello"
    assert dict(response.headers) == {}


def test_a_subclass_has_the_defaults_until_it_is_configured(empty_registry):
    configure_every_option()

    class MyTimer(TimerExtension):
        pass

    response = HttpResponse("hello")
    assert len(invoke(response, timers=[MyTimer])) == 2
    assert response.get_body() == b"hello"
    assert dict(response.headers) == {}


@pytest.mark.parametrize("option", ["append_to_http_response", "server_timing_header"])
@pytest.mark.parametrize("value", ["yes", 1, None])
def test_configure_raises_a_type_error_if_a_bool_option_is_not_a_bool(option, value):
    with pytest.raises(TypeError, match=f"^{option} must be True or False, not {value!r}$"):
        TimerExtension.configure(**{option: value})


@pytest.mark.parametrize("value", [True, False, -1, math.nan, "1", Decimal(1), Fraction(1)])
def test_a_wrong_log_min_seconds_raises_a_type_error(value):
    with pytest.raises(TypeError) as caught:
        TimerExtension.configure(log_min_seconds=value)

    assert str(caught.value) == f"log_min_seconds must be int or float >= 0, not {value!r}"


@pytest.mark.parametrize("value", ["timer", 20, type("NoLogger", (), {"info": "text"})])
def test_a_logger_without_an_info_method_raises_a_type_error(value):
    with pytest.raises(TypeError) as caught:
        TimerExtension.configure(logger=value)

    assert str(caught.value) == f"logger must have an info() method; got {value!r}"


@pytest.mark.parametrize("wrong", [{"log_min_seconds": -1}, {"logger": "timer"}, {"app": "app"}])
def test_a_call_of_configure_that_raises_changes_nothing(wrong):
    TimerExtension.configure(append_to_http_response=True, log_min_seconds=1)

    with pytest.raises(TypeError):
        TimerExtension.configure(append_to_http_response=False, **wrong)

    assert TimerExtension.append_to_http_response is True
    assert TimerExtension.log_min_seconds == 1


def test_known_options_are_set_even_if_another_argument_is_unknown():
    with pytest.warns(UserWarning, match="misspelt"):
        TimerExtension.configure(misspelt=1, server_timing_header=True)

    assert TimerExtension.server_timing_header is True


@pytest.mark.parametrize(
    "make_logger",
    [logging.getLogger, lambda name: logging.LoggerAdapter(logging.getLogger(name), {})],
    ids=["Logger", "LoggerAdapter"],
)
def test_a_logger_of_the_standard_library_logs_both_lines_at_level_info(make_logger, caplog):
    caplog.set_level(logging.INFO)
    TimerExtension.configure(logger=make_logger("timer"))

    invoke()

    assert [(record.name, record.levelname) for record in caplog.records] == [("timer", "INFO")] * 2
