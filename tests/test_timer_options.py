"""The timer's options, and what configure() says of wrong ones."""

import logging

import pytest
from azure.functions import HttpResponse

from conftest import FakeLogger, invoke
from python_worker_extension_timer import TimerExtension


def test_all_options_work_together(clock):
    logger, response = FakeLogger(), HttpResponse("hello")
    TimerExtension.configure(append_to_http_response=True, logger=logger, server_timing_header=True)

    assert invoke(response) == []
    assert logger.messages == [
        "Recording start time of HttpTrigger",
        "Time taken to execute HttpTrigger is 0.0 sec",
    ]
    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == "HttpTrigger;dur=0.000"


def test_each_call_states_the_whole_configuration():
    TimerExtension.configure(
        append_to_http_response=True, server_timing_header=True, logger=FakeLogger()
    )
    response = HttpResponse("hello")

    TimerExtension.configure()

    assert len(invoke(response)) == 2
    assert response.get_body() == b"hello"
    assert dict(response.headers) == {}


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


@pytest.mark.parametrize("value", ["timer", 20, type("NoLogger", (), {"info": "text"})])
def test_a_logger_without_a_callable_info_raises_a_type_error_that_names_the_option(value):
    with pytest.raises(TypeError) as caught:
        TimerExtension.configure(logger=value)

    assert str(caught.value) == f"logger must be a logger, or have a callable info, not {value!r}"


@pytest.mark.parametrize("wrong", [{"logger": "timer"}, {"app": "app"}])
def test_a_call_that_raises_changes_nothing(wrong):
    TimerExtension.configure(append_to_http_response=True)

    with pytest.raises(TypeError):
        TimerExtension.configure(append_to_http_response=False, **wrong)

    assert TimerExtension.append_to_http_response is True


def test_all_that_is_unknown_is_named_in_one_sentence_and_what_is_known_is_set():
    with pytest.warns(UserWarning) as caught:
        TimerExtension.configure(True, misspelt=1, server_timing_header=True)

    (warning,) = caught
    assert warning.filename == __file__
    assert str(warning.message) == (
        "TimerExtension.configure() does not know True, misspelt, only app=, "
        "append_to_http_response=, logger=, server_timing_header="
    )
    assert TimerExtension.server_timing_header is True


@pytest.mark.parametrize(
    "make", [logging.getLogger, lambda name: logging.LoggerAdapter(logging.getLogger(name), {})]
)
def test_a_logger_of_the_standard_library_writes_both_lines_at_info(make, caplog):
    caplog.set_level(logging.INFO)
    TimerExtension.configure(logger=make("timer"))

    invoke()

    assert [(record.name, record.levelname) for record in caplog.records] == [("timer", "INFO")] * 2
