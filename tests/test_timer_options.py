"""The timer's options, and what configure() says of wrong ones."""

import logging
import warnings

import pytest
from azure.functions import HttpResponse

from conftest import FakeLogger, invoke
from python_worker_extension_timer import TimerExtension


def test_each_call_states_the_whole_configuration():
    TimerExtension.configure(
        append_to_http_response=True, server_timing_header=True, logger=FakeLogger()
    )

    TimerExtension.configure()

    assert TimerExtension.append_to_http_response is False
    assert TimerExtension.server_timing_header is False
    assert TimerExtension.logger is None


def test_a_subclass_has_the_defaults_until_it_is_configured_itself(extensions):
    TimerExtension.configure(
        append_to_http_response=True, server_timing_header=True, logger=FakeLogger()
    )

    class MyTimer(TimerExtension):
        pass

    response = HttpResponse("hello")
    assert len(invoke(response, timers=[MyTimer])) == 2
    assert response.get_body() == b"hello"
    assert dict(response.headers) == {}


@pytest.mark.parametrize("option", ["append_to_http_response", "server_timing_header"])
@pytest.mark.parametrize("value", ["yes", 1, None])
def test_an_option_that_is_no_bool_raises_a_type_error_that_names_it(option, value):
    with pytest.raises(TypeError, match=f"^{option} must be True or False, not {value!r}$"):
        TimerExtension.configure(**{option: value})


@pytest.mark.parametrize("value", ["timer", 20, object(), type("NoLogger", (), {"info": "text"})()])
def test_a_logger_without_a_callable_info_raises_a_type_error_that_names_the_option(value):
    with pytest.raises(TypeError, match="^logger must be"):
        TimerExtension.configure(logger=value)


def test_a_call_that_raises_changes_nothing():
    TimerExtension.configure(append_to_http_response=True)

    with pytest.raises(TypeError):
        TimerExtension.configure(append_to_http_response=False, logger="timer")

    assert TimerExtension.append_to_http_response is True


def test_an_unknown_option_is_warned_about_by_name_at_the_callers_line():
    with pytest.warns(UserWarning, match="does not know append_to_http_respons;") as caught:
        TimerExtension.configure(append_to_http_respons=True, server_timing_header=True)

    (warning,) = caught
    assert warning.filename == __file__
    assert "append_to_http_response, logger and server_timing_header" in str(warning.message)
    assert TimerExtension.server_timing_header is True


def test_all_that_is_unknown_is_named_in_one_sentence():
    with pytest.warns(UserWarning) as caught:
        TimerExtension.configure(True, misspelt=1)

    (warning,) = caught
    assert str(warning.message) == (
        "TimerExtension.configure() does not know True, misspelt; its options are app, "
        "append_to_http_response, logger and server_timing_header, given by name"
    )


def test_a_positional_argument_is_warned_about_at_the_callers_line():
    with pytest.warns(UserWarning, match="does not know True") as caught:
        TimerExtension.configure(True)

    (warning,) = caught
    assert warning.filename == __file__
    assert TimerExtension.append_to_http_response is False


def test_known_options_are_not_warned_about():
    with warnings.catch_warnings(record=True) as caught:
        TimerExtension.configure(
            append_to_http_response=True,
            logger=logging.getLogger("timer"),
            server_timing_header=True,
        )

    assert caught == []


def test_a_configured_logger_gets_both_lines_instead_of_the_workers():
    logger = FakeLogger()
    TimerExtension.configure(logger=logger)

    assert invoke() == []
    assert len(logger.messages) == 2


def test_a_configured_logger_may_be_falsy():
    class EmptyLogger(FakeLogger):
        def __len__(self) -> int:
            return 0

    logger = EmptyLogger()
    TimerExtension.configure(logger=logger)

    invoke()

    assert len(logger.messages) == 2


@pytest.mark.parametrize(
    "make", [logging.getLogger, lambda name: logging.LoggerAdapter(logging.getLogger(name), {})]
)
def test_a_logger_of_the_standard_library_writes_both_lines_at_info(make, caplog):
    caplog.set_level(logging.INFO)
    TimerExtension.configure(logger=make("timer"))

    invoke()

    assert [(record.name, record.levelname) for record in caplog.records] == [("timer", "INFO")] * 2


def test_all_options_work_together(clock):
    logger, response = FakeLogger(), HttpResponse("hello")
    TimerExtension.configure(append_to_http_response=True, logger=logger, server_timing_header=True)

    invoke(response)

    assert logger.messages[1] == "Time taken to execute HttpTrigger is 0.0 sec"
    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == "HttpTrigger;dur=0.000"
