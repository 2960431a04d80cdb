"""Runs apps in azure-functions-runtime, Microsoft's worker library for Python 3.13 and later.

The worker library keeps the functions of an app in module state, so each app gets a process.
"""

import asyncio
import contextlib
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
import azure_functions_runtime
from azure_functions_runtime import handle_event, native_invocation
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.bindings.meta import load_binding_registry


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
