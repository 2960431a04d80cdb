"""Test the timer in azure-functions-runtime, Microsoft's worker library for Python 3.13 and later.

The worker library keeps the functions of an app in module state, so each app gets a process.
"""

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import sys
import uuid
import warnings
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter
from typing import Any, Dict, List, NamedTuple, Optional
from unittest import mock

import azure.functions
import pytest

from conftest import APP_SETTING, APPS, needs_v2

if sys.version_info < (3, 13):
    pytest.skip("azure-functions-runtime needs Python 3.13", allow_module_level=True)

import azure_functions_runtime
from azure_functions_runtime import handle_event, native_invocation
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.bindings.meta import load_binding_registry

pytestmark = needs_v2

FOLDER = APPS / "timer_in_worker_library"


class Result(NamedTuple):
    """The result of an invocation. Instead of each Datum, it has the value of the Datum."""

    invocation_id: str
    returned: Any  # of an HTTP function: a dict with the status_code, the headers and the body
    outputs: Dict[str, Any]  # by the names of the output bindings
    exception: Optional[str]  # None if the function returned
    logged: List[logging.LogRecord]
    waited: float  # seconds from the start of all invocations to the end of this one


@contextlib.contextmanager
def loaded_app(folder, **settings):
    """Load the app in a folder during a ``with`` block, with one thread for sync functions.

    Return a function that invokes functions of the app at the same time, by name. Their input is
    the type and the value of a Datum, by default those of an HTTP request ``req``.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(_load, str(folder), settings).result(60)
        yield lambda *names, **inputs: process.submit(_invoke_all, names, inputs).result(60)


# The functions below run in the process of the app.


class _UserLogs(logging.Handler):
    """Stores log records with their invocation ids, as the worker sends them to the host."""

    records: List[logging.LogRecord] = []

    def emit(self, record):
        if not record.name.startswith("azure.functions"):  # the prefix of system logs
            record.invocation_id = azure_functions_runtime.invocation_id_cv.get()
            self.records.append(record)


def _load(folder, settings):
    warnings.simplefilter("error", RuntimeWarning)  # configure() warns if nothing calls the hooks.
    os.environ.update(settings, FUNCTIONS_WORKER_RUNTIME="python")
    os.environ["PYTHON_THREADPOOL_THREAD_COUNT"] = "1"
    logging.basicConfig(level=logging.INFO, handlers=[_UserLogs()])
    # The classes of the messages to the host. No host reads the messages here.
    handle_event.protos = mock.MagicMock()
    handle_event.protos.BindingInfo.configure_mock(undefined=0, out=1, inout=2)
    sys.path.insert(0, folder)
    load_binding_registry()
    azure_functions_runtime.start_threadpool_executor()
    handle_event.load_function_metadata(folder, "test")


def _invoke_all(names, inputs):
    url, body = Datum("http://localhost/api/hello", "string"), Datum(b"", "bytes")
    request = {"method": Datum("GET", "string"), "url": url, "body": body}
    inputs = inputs or {"req": ("http", {**request, "headers": {}, "params": {}, "query": {}})}
    data = [(name, Datum(value, type)) for name, (type, value) in inputs.items()]
    start = perf_counter()

    async def invoke(name):
        invocation_id = str(uuid.uuid4())
        function_id = str(uuid.uuid5(uuid.NAMESPACE_OID, name))  # as in the worker library
        _, returned, outputs, exception, _ = await native_invocation.invocation_request_native(
            invocation_id, function_id, data, {}
        )
        waited = perf_counter() - start
        logged = [log for log in _UserLogs.records if log.invocation_id == invocation_id]
        return Result(
            invocation_id, _plain(returned), _plain(dict(outputs)), exception, logged, waited
        )

    async def invoke_all():
        return await asyncio.gather(*map(invoke, names))

    return asyncio.run(invoke_all())


def _plain(value):
    """Replace each Datum with its value."""
    # The SDK and the worker library each have a class of this name.
    if isinstance(value, (Datum, azure.functions.meta.Datum)):
        return _plain(value.value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


# The tests run in the process of pytest.


@pytest.fixture(scope="module", params=["app", "decorator"])
def invoke(request):
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


@pytest.mark.parametrize("name", ["fail", "fail_async"])
def test_a_function_that_raises_fails_and_logs_its_time_and_its_exception(invoke, name):
    (result,) = invoke(name)

    assert result.exception == "ValueError('no greeting')"
    assert_lines(result, name, ending=" (raised ValueError)")
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


def test_the_lines_are_user_logs_of_the_invocation_and_the_second_has_attributes(invoke):
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


def test_a_web_framework_app_logs_its_time_and_shows_it_in_the_body(tmp_path):
    (tmp_path / "function_app.py").write_text(WEB_APP)

    with loaded_app(tmp_path) as invoke:
        (result,) = invoke("http_app_func")

    seconds = assert_lines(result, "http_app_func")
    assert result.returned["body"].decode() == f"hello (TimeElapsed: {seconds} sec)"
