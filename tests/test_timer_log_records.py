"""Test the attributes of the log records of the timer (the first half of the module)."""

import functools
import logging
from unittest import mock

import pytest

from conftest import FakeContext, call_pre_hook, invoke
from python_worker_extension_timer import TimerExtension

FAILURE = "Time taken to execute HttpTrigger is 1.0 sec (raised FalseError)"


class FalseError(Exception):
    """An exception that counts as false."""

    def __len__(self):
        return 0


def make_logger(caplog, logger_class=logging.Logger):
    """Return a logger whose records are in ``caplog``."""
    logger = logger_class("timer")
    logger.addHandler(caplog.handler)
    return logger


def attributes(record):
    """Return the attributes that the timer has set on the record."""
    names = ("timed_function", "elapsed_seconds", "exception_type")
    return {name: getattr(record, name) for name in names if hasattr(record, name)}


def fail(clock):
    """Simulate an invocation that raises after a second."""
    context, error = FakeContext("HttpTrigger"), FalseError("mine")
    call_pre_hook(context)
    clock.now += 1
    TimerExtension.post_invocation_app_level(None, context, {}, None, exception=error)


def test_the_record_of_the_elapsed_time_has_the_function_and_the_seconds(caplog, clock):
    TimerExtension.configure(logger=make_logger(caplog))

    invoke(clock=clock, seconds=1.5)

    start, time = caplog.records
    assert attributes(start) == {}
    assert attributes(time) == {"timed_function": "HttpTrigger", "elapsed_seconds": 1.5}
    assert (time.msg, time.args) == ("Time taken to execute HttpTrigger is 1.5 sec", ())


def test_the_record_of_a_failure_has_the_type_of_the_exception(caplog, clock):
    TimerExtension.configure(logger=make_logger(caplog), log_min_seconds=0)

    fail(clock)

    (record,) = caplog.records
    assert record.getMessage() == FAILURE
    assert attributes(record)["exception_type"] == "FalseError"


@pytest.mark.parametrize("name, count", [("function_name", 3), ("elapsed_seconds", 1)])
def test_the_line_is_logged_if_the_apps_record_factory_sets_an_attribute(
    name, count, request, caplog, clock
):
    def factory(*args):
        record = logging.LogRecord(*args)
        setattr(record, name, "the app's")
        return record

    TimerExtension.configure(logger=make_logger(caplog), log_min_seconds=0)
    default = logging.getLogRecordFactory()
    request.addfinalizer(functools.partial(logging.setLogRecordFactory, default))
    logging.setLogRecordFactory(factory)

    fail(clock)

    (record,) = caplog.records
    assert record.getMessage() == FAILURE
    assert getattr(record, name) == "the app's"
    assert len(attributes(record)) == count


class WithoutExtra(logging.Logger):
    """A logger whose info() takes a message alone."""

    def info(self, message):
        super().info(message)


class KeepsExtra(logging.LoggerAdapter):
    def process(self, message, keywords):
        return message, keywords


@pytest.mark.parametrize(
    "make, count",
    [
        (lambda caplog: KeepsExtra(make_logger(caplog), {}), 2),
        (lambda caplog: logging.LoggerAdapter(make_logger(caplog), {}), 0),
        (lambda caplog: make_logger(caplog, WithoutExtra), 0),
    ],
    ids=["adapter that keeps extra", "adapter", "without extra"],
)
def test_an_adapter_or_a_logger_that_drops_the_attributes_logs_the_line(make, count, caplog, clock):
    TimerExtension.configure(logger=make(caplog), log_min_seconds=0)

    invoke()

    (record,) = caplog.records
    assert record.getMessage() == "Time taken to execute HttpTrigger is 0.0 sec"
    assert len(attributes(record)) == count


def test_a_logger_outside_the_standard_library_gets_the_message_alone(clock):
    logger = mock.Mock()
    TimerExtension.configure(logger=logger, log_min_seconds=0)

    fail(clock)

    logger.info.assert_called_once_with(FAILURE)
