"""Test the attributes of the log records of the timer (the first half of the module)."""

import logging

import pytest

from conftest import FakeContext, call_pre_hook, invoke
from python_worker_extension_timer import TimerExtension

NAMES = ("timed_function", "elapsed_seconds", "exception_type")


class List(logging.Handler):
    """A handler that keeps the records."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def handler():
    return List()


def make_logger(handler, logger_class=logging.Logger):
    """Return a logger with this handler alone."""
    logger = logger_class("timer")
    logger.addHandler(handler)
    return logger


def attributes(record):
    """Return the attributes that the timer has set on the record."""
    return {name: getattr(record, name) for name in NAMES if hasattr(record, name)}


def fail(error, clock):
    """Simulate an invocation that raises after a second."""
    context = FakeContext("HttpTrigger")
    call_pre_hook(context)
    clock.now += 1
    TimerExtension.post_invocation_app_level(None, context, {}, None, exception=error)


def test_the_record_of_the_elapsed_time_has_the_function_and_the_seconds(handler, clock):
    TimerExtension.configure(logger=make_logger(handler))

    invoke(clock=clock, seconds=1.5)

    start, time = handler.records
    assert attributes(start) == {}
    assert attributes(time) == {"timed_function": "HttpTrigger", "elapsed_seconds": 1.5}
    assert (time.msg, time.args) == ("Time taken to execute HttpTrigger is 1.5 sec", ())


class FalseError(Exception):
    """An exception that is false."""

    def __bool__(self):
        return False


@pytest.mark.parametrize("error_type", [ValueError, FalseError])
def test_the_record_of_a_failure_has_the_type_of_the_exception(error_type, handler, clock):
    TimerExtension.configure(logger=make_logger(handler), log_min_seconds=0)

    fail(error_type("mine"), clock)

    (record,) = handler.records
    name = error_type.__name__
    assert record.getMessage() == f"Time taken to execute HttpTrigger is 1.0 sec (raised {name})"
    assert attributes(record)["exception_type"] == name


def set_attribute(name, record):
    setattr(record, name, "the app's")
    return record


@pytest.fixture
def set_record_factory():
    """A function that sets a record factory for the test."""
    before = logging.getLogRecordFactory()
    yield logging.setLogRecordFactory
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("name", ["function_name", *NAMES])
def test_the_line_is_logged_if_the_apps_record_factory_sets_an_attribute(
    name, set_record_factory, handler, clock
):
    TimerExtension.configure(logger=make_logger(handler), log_min_seconds=0)
    set_record_factory(lambda *args: set_attribute(name, logging.LogRecord(*args)))

    fail(ValueError("mine"), clock)

    (record,) = handler.records
    assert getattr(record, name) == "the app's"
    assert record.getMessage().startswith("Time taken to execute HttpTrigger is 1.0 sec")
    assert len(attributes(record)) == (3 if name == "function_name" else 1)


def test_the_attributes_stay_if_a_filter_of_the_app_sets_the_function_name(handler, clock):
    logger = make_logger(handler)
    logger.addFilter(lambda record: set_attribute("function_name", record))
    TimerExtension.configure(logger=logger, log_min_seconds=0)

    fail(ValueError("mine"), clock)

    (record,) = handler.records
    assert record.timed_function == "HttpTrigger"


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
        (lambda handler: KeepsExtra(make_logger(handler), {}), 2),
        (lambda handler: logging.LoggerAdapter(make_logger(handler), {}), 0),
        (lambda handler: make_logger(handler, WithoutExtra), 0),
    ],
    ids=["adapter that keeps extra", "adapter", "without extra"],
)
def test_an_adapter_or_a_logger_that_drops_the_attributes_logs_the_line(make, count, handler):
    TimerExtension.configure(logger=make(handler), log_min_seconds=0)

    invoke()

    (record,) = handler.records
    assert record.getMessage().startswith("Time taken to execute HttpTrigger is ")
    assert len(attributes(record)) == count


def test_a_logger_outside_the_standard_library_gets_the_message_alone(clock):
    messages = []
    logger = type("Logger", (), {"info": messages.append})
    TimerExtension.configure(logger=logger, log_min_seconds=0)

    fail(ValueError("mine"), clock)

    assert messages == ["Time taken to execute HttpTrigger is 1.0 sec (raised ValueError)"]
