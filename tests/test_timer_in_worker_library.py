"""Test the timer in Microsoft's worker library for Python 3.13 and later."""

import json
import sys

import pytest

from conftest import APP_SETTING, APPS

FOLDER = APPS / "worker_library"

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="azure-functions-runtime needs Python 3.13"
)


@pytest.fixture(scope="module")
def loaded_app():
    # If azure-functions-runtime is missing, this import fails, so that the tests fail.
    from worker_library import loaded_app

    return loaded_app


@pytest.fixture(scope="module", params=["app", "decorator"])
def invoke(loaded_app, request):
    """Invoke functions of an app that is timed in one of the two ways."""
    with loaded_app(FOLDER, TIMED_BY=request.param, **{APP_SETTING: "1"}) as invoke:
        yield invoke


def assert_lines(result, name, ending=""):
    """Assert that an invocation logged two lines, and return the elapsed seconds."""
    start, end = result.logged
    assert start.getMessage() == f"Recording start time of {name}"
    seconds = end.elapsed_seconds
    assert end.getMessage() == f"Time taken to execute {name} is {seconds} sec{ending}"
    return seconds


@pytest.mark.parametrize("name", ["greet", "greet_async", "greet_from_blueprint"])
def test_an_http_function_logs_its_time_and_shows_it_in_the_body_and_a_header(invoke, name):
    (result,) = invoke(name)

    seconds = assert_lines(result, name)
    assert result.returned["body"].decode() == f"hello (TimeElapsed: {seconds} sec)"
    assert result.returned["headers"] == {
        "Server-Timing": f"{name};dur={seconds * 1000:.3f}",
        "content-type": "text/plain; charset=utf-8",
    }


def test_a_function_that_raises_fails_and_logs_its_time_and_its_exception(invoke):
    (result,) = invoke("fail")

    assert result.exception == "ValueError('no greeting')"
    assert_lines(result, "fail", ending=" (raised ValueError)")
    assert result.logged[1].exception_type == "ValueError"


def test_a_function_and_the_hooks_get_the_context_of_the_worker(invoke):
    (result,) = invoke("ShowContext")

    assert json.loads(result.returned) == {
        "function_name": "ShowContext",
        "function_directory": str(FOLDER),
        "invocation_id": result.invocation_id,
        "timed_ids": [result.invocation_id],
    }
    assert_lines(result, "ShowContext")


def test_a_timer_trigger_logs_its_time(invoke):
    (result,) = invoke("tick", timer=("json", '{"IsPastDue": true}'))

    assert result.exception is None
    assert_lines(result, "tick")


def test_a_queue_trigger_logs_its_time_and_sets_its_output_binding(invoke):
    (result,) = invoke("copy_message", message=("string", "text"))

    assert result.outputs == {"copy": "text"}
    assert_lines(result, "copy_message")


def test_the_lines_are_user_logs_of_the_invocation_and_the_second_is_data_as_well(invoke):
    (result,) = invoke("greet")

    for record in result.logged:
        assert record.name == "python_worker_extension_timer"
        assert record.invocation_id == result.invocation_id
    start, end = result.logged
    assert not hasattr(start, "timed_function")
    assert (end.timed_function, type(end.elapsed_seconds)) == ("greet", float)
    assert not hasattr(end, "exception_type")


def test_the_time_does_not_include_the_wait_for_the_only_thread(invoke):
    results = invoke("sleep", "sleep")

    times = [assert_lines(result, "sleep") for result in results]
    assert min(times) > 0.19  # The function sleeps for 0.2 seconds.
    assert max(result.waited for result in results) >= sum(times)


WEB_APP = """
import azure.functions as func
from python_worker_extension_timer import TimerExtension

def web_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

app = func.WsgiFunctionApp(web_app)
TimerExtension.configure(app=app, append_to_http_response=True)
"""


def test_a_web_framework_app_logs_its_time_and_shows_it_in_the_body(loaded_app, tmp_path):
    (tmp_path / "function_app.py").write_text(WEB_APP)

    with loaded_app(tmp_path) as invoke:
        (result,) = invoke("http_app_func")

    seconds = assert_lines(result, "http_app_func")
    assert result.returned["body"].decode() == f"hello (TimeElapsed: {seconds} sec)"
