"""The stand-in host as a worker: it calls functions and hooks as the Python worker does."""

import gc
import logging
import re
import threading
import time
import weakref

import azure.functions as func
import pytest

from conftest import APP_SETTING, concurrently, get
from stand_in_host import HttpFunction

THREAD_COUNT = "PYTHON_THREADPOOL_THREAD_COUNT"


def hello(req):
    return "hello"


def make_sync(function):
    return function


def make_async(function):
    async def async_function(req):
        return function(req)

    async_function.__name__ = function.__name__
    return async_function


sync_and_async = pytest.mark.parametrize("make", [make_sync, make_async])


def test_hooks_get_the_arguments_that_the_worker_passes(recording, worker_with_hooks, serve):
    url = serve(hello) + "/api/hello?name=Azure"

    get(url)

    pre, post = recording.calls
    assert pre.logger.name == "azure_functions_worker.extension.Recording"
    assert pre.func_args["req"].url == url
    assert post == pre._replace(hook="post", func_ret="hello")


def test_a_function_gets_the_context_of_the_hooks(recording, worker_with_hooks, serve):
    contexts = []

    def keep(req, context):
        contexts.append(context)
        return "kept"

    get(serve(HttpFunction("keep", keep, "f", directory="/a")) + "/api/f")

    (context,) = contexts
    assert context is recording.calls[0].context
    assert (context.function_name, context.function_directory) == ("keep", "/a")
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", context.trace_context.Traceparent)
    assert context.trace_context.trace_parent == context.trace_context.Traceparent
    assert context.retry_context is None
    context.thread_local_storage.invocation_id = context.invocation_id


@pytest.fixture
def calls(empty_registry, worker_with_hooks, monkeypatch, tmp_path):
    """The hook calls of two application-level extensions and a function-level one, in order.

    Each call is a tuple of the extension, the hook and the arguments.
    """
    calls = []

    def hooks(extension, *names):
        def recording(name):
            return classmethod(lambda cls, *args: calls.append((extension, name, args)))

        return {name: recording(name) for name in names}

    class FunctionLevel(func.FuncExtensionBase):
        def __init__(self, file_path):
            super().__init__(file_path)

    names = ("post_function_load", "pre_invocation", "post_invocation")
    monkeypatch.setenv("AzureWebJobsScriptRoot", str(tmp_path))
    function_level = type("F", (FunctionLevel,), hooks("function level", *names))
    function_level(str(tmp_path / "hello" / "__init__.py"))
    for extension in ("first", "second"):
        app_level = hooks(extension, *(f"{name}_app_level" for name in names))
        type(extension, (func.AppExtensionBase,), app_level)
    yield calls
    for registered in func.ExtensionMeta.get_function_hooks("hello"):
        registered.clear()


@sync_and_async
def test_hooks_are_called_in_the_order_of_the_worker(make, calls, serve):
    assert get(serve(make(hello)) + "/api/hello").body == b"hello"

    assert [f"{extension}: {hook}" for extension, hook, _ in calls] == [
        "function level: post_function_load",
        "first: post_function_load_app_level",
        "second: post_function_load_app_level",
        "first: pre_invocation_app_level",
        "second: pre_invocation_app_level",
        "function level: pre_invocation",
        "function level: post_invocation",
        "first: post_invocation_app_level",
        "second: post_invocation_app_level",
    ]
    assert [args for _, _, args in calls[:3]] == 3 * [("hello", "")]


@pytest.mark.parametrize("version, setting", [((3, 11), "0"), ((3, 11), ""), ((3, 13), "1")])
def test_no_hook_is_called_on_python_3_13_or_if_the_app_setting_is_off(
    version, setting, calls, serve, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, setting)

    assert get(serve(hello) + "/api/hello").body == b"hello"
    assert calls == []


@sync_and_async
@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_if_a_function_raises_the_response_is_500_without_a_post_hook_and_the_host_goes_on(
    error, make, recording, worker_with_hooks, serve, monkeypatch
):
    monkeypatch.setenv(THREAD_COUNT, "1")

    def fails(req):
        raise error

    url = serve(make(fails), make(hello))

    failed = get(url + "/api/fails")

    assert (failed.status, failed.body) == (500, b"")
    assert get(url + "/api/hello").body == b"hello"
    assert recording.called() == ["pre fails", "pre hello", "post hello"]


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
def test_an_exception_in_a_hook_is_logged_and_the_invocation_continues(
    hook, serve, worker_with_hooks, recording, caplog
):
    def raises(cls, *args, **kwargs):
        raise RuntimeError("from a hook")

    type("Broken", (func.AppExtensionBase,), {hook: classmethod(raises)})

    response = get(serve(hello) + "/api/hello")

    assert response.body == b"hello"
    assert recording.called() == ["pre hello", "post hello"]
    logged = ("azure_functions_worker.extension.Broken", logging.ERROR, "from a hook")
    assert caplog.record_tuples == [logged]


def test_the_context_of_a_failed_invocation_is_garbage_collected(
    serve, worker_with_hooks, empty_registry, caplog
):
    caplog.set_level(logging.CRITICAL)  # A record kept by caplog would hold the context.
    contexts = []

    class KeepsReferences(func.AppExtensionBase):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, *args, **kwargs):
            contexts.append(weakref.ref(context))

    def fails(req):
        raise ValueError("mine")

    url = serve(fails)
    get(url + "/api/fails")
    # The first request's thread may still hold the context. This request gives it time to end.
    get(url + "/api/fails")
    gc.collect()

    assert contexts[0]() is None


def test_with_one_thread_sync_functions_run_one_after_the_other(serve, monkeypatch):
    monkeypatch.setenv(THREAD_COUNT, "1")
    events = []

    def sleep(req):
        events.append("start")
        time.sleep(0.1)
        events.append("end")
        return threading.current_thread().name

    url = serve(sleep) + "/api/sleep"
    bodies = set()

    concurrently(*3 * [lambda: bodies.add(get(url).body)])

    assert events == ["start", "end"] * 3
    assert len(bodies) == 1


@pytest.mark.parametrize("setting", ["2", "", "0", "-1", "two"])
def test_with_two_threads_or_an_invalid_setting_sync_functions_overlap(setting, serve, monkeypatch):
    monkeypatch.setenv(THREAD_COUNT, setting)
    both = threading.Barrier(2)

    def meet(req):
        both.wait(timeout=30)
        return "met"

    url = serve(meet) + "/api/meet"
    bodies = []

    concurrently(*2 * [lambda: bodies.append(get(url).body)])

    assert bodies == [b"met", b"met"]
