"""The stand-in host as a worker: it calls functions and hooks as the Python worker does."""

import functools
import gc
import logging
import re
import threading
import weakref

import azure.functions as func
import pytest

from conftest import APP_SETTING, concurrently, get
from stand_in_host import HttpFunction, StandInHost

THREAD_COUNT = "PYTHON_THREADPOOL_THREAD_COUNT"


def hello(req):
    return "hello"


def as_async(function):
    async def async_function(req):
        return function(req)

    return functools.update_wrapper(async_function, function)


sync_and_async = pytest.mark.parametrize("make", [lambda f: f, as_async], ids=["sync", "async"])


def test_a_function_and_the_hooks_get_what_the_worker_passes(recording, worker_with_hooks, serve):
    received = {}

    def keep(req, context):
        received.update(req=req, context=context)
        return "kept"

    url = serve(HttpFunction("keep", keep, "f", directory="/app")) + "/api/f"

    get(url)

    pre, post = recording.calls
    assert pre.logger.name == "azure_functions_worker.extension.Recording"
    assert pre.func_args == received
    assert post == pre._replace(hook="post", func_ret="kept")
    assert received["req"].url == url
    context = received["context"]
    assert context is pre.context
    assert (context.function_name, context.function_directory) == ("keep", "/app")
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", context.trace_context.Traceparent)
    assert context.trace_context.trace_parent == context.trace_context.Traceparent
    assert context.retry_context is None
    context.thread_local_storage.invocation_id = context.invocation_id


@pytest.fixture
def calls(empty_registry, worker_with_hooks, monkeypatch, tmp_path):
    """The hook calls of three extensions, in order, as tuples (extension, hook, arguments)."""
    calls = []

    def hooks(extension, *names):
        def recording(name):
            return classmethod(lambda cls, *args: calls.append((extension, name, args)))

        return {name: recording(name) for name in names}

    names = ("post_function_load", "pre_invocation", "post_invocation")
    monkeypatch.setenv("AzureWebJobsScriptRoot", str(tmp_path))
    function_level = hooks("function level", *names)
    function_level["__init__"] = lambda self, file: func.FuncExtensionBase.__init__(self, file)
    type("F", (func.FuncExtensionBase,), function_level)(str(tmp_path / "hello" / "__init__.py"))
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
@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, BaseException])
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

    assert get(serve(hello) + "/api/hello").body == b"hello"

    assert recording.called() == ["pre hello", "post hello"]
    logged = ("azure_functions_worker.extension.Broken", logging.ERROR, "from a hook")
    assert caplog.record_tuples == [logged]


def test_the_context_of_a_failed_invocation_is_garbage_collected(serve, caplog):
    caplog.set_level(logging.CRITICAL)  # A record kept by caplog would hold the context.
    contexts = []

    def fails(req, context):
        contexts.append(weakref.ref(context))
        raise ValueError("mine")

    url = serve(HttpFunction("fails", fails, "fails")) + "/api/fails"
    get(url)
    get(url)  # The first request's threads may still hold the context. This gives them time to end.
    gc.collect()

    assert contexts[0]() is None


@pytest.mark.parametrize(
    "setting, expected",
    [("1", b"alone"), ("2", b"met"), ("", b"met"), ("0", b"met"), ("x", b"met")],
)
def test_sync_functions_overlap_unless_the_app_setting_allows_only_one_thread(
    setting, expected, serve, monkeypatch
):
    monkeypatch.setenv(THREAD_COUNT, setting)
    both = threading.Barrier(2, timeout=0.2 if setting == "1" else 30)

    def meet(req):
        try:
            both.wait()
        except threading.BrokenBarrierError:
            return "alone"
        return "met"

    url = serve(meet) + "/api/meet"
    bodies = []

    concurrently(*2 * [lambda: bodies.append(get(url).body)])

    assert bodies == [expected, expected]


def test_all_threads_of_the_host_end_with_the_with_block():
    before = set(threading.enumerate())

    with StandInHost([HttpFunction("hello", hello, "hello")]) as host:
        for _ in range(2):
            get(host.url + "/api/hello")

    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()
