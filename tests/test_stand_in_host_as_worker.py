"""The stand-in host as a worker: it calls functions and hooks as the Python worker does."""

import gc
import logging
import re
import weakref

import azure.functions as func
import pytest

from conftest import APP_SETTING, get


def hello(req):
    return "hello"


def test_hooks_get_the_arguments_that_the_worker_passes(recording, worker_with_hooks, serve):
    get(serve(hello) + "/api/hello?name=Azure")

    pre, post = recording.calls
    assert pre.logger.name == "azure_functions_worker.extension.Recording"
    assert pre.func_args["req"].params == {"name": "Azure"}
    assert (post.logger, post.context) == (pre.logger, pre.context)
    assert post.func_ret == "hello"


def test_the_context_has_the_attributes_of_the_workers_context(recording, worker_with_hooks, serve):
    get(serve(hello) + "/api/hello")

    context = recording.calls[0].context
    assert context.function_name == "hello"
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", context.trace_context.Traceparent)
    assert context.trace_context.trace_parent == context.trace_context.Traceparent
    assert context.retry_context is None
    context.thread_local_storage.invocation_id = context.invocation_id


@pytest.fixture
def calls(empty_registry, worker_with_hooks, monkeypatch, tmp_path):
    """The hook calls of two application-level extensions and a function-level one, in order."""
    calls = []

    def register(name):
        class Application(func.AppExtensionBase):
            @classmethod
            def post_function_load_app_level(cls, function_name, *args, **kwargs):
                calls.append(f"{name}: load {function_name}")

            @classmethod
            def pre_invocation_app_level(cls, *args, **kwargs):
                calls.append(f"{name}: pre")

            @classmethod
            def post_invocation_app_level(cls, *args, **kwargs):
                calls.append(f"{name}: post")

    class FunctionLevel(func.FuncExtensionBase):
        def __init__(self, file_path):
            super().__init__(file_path)

        def pre_invocation(self, *args, **kwargs):
            calls.append("function level: pre")

        def post_invocation(self, *args, **kwargs):
            calls.append("function level: post")

    monkeypatch.setenv("AzureWebJobsScriptRoot", str(tmp_path))
    FunctionLevel(str(tmp_path / "hello" / "__init__.py"))
    register("first")
    register("second")
    yield calls
    for registered in func.ExtensionMeta.get_function_hooks("hello"):
        registered.clear()


def test_hooks_are_called_in_the_order_of_the_worker(calls, serve):
    get(serve(hello) + "/api/hello")

    assert calls == [
        "first: load hello",
        "second: load hello",
        "first: pre",
        "second: pre",
        "function level: pre",
        "function level: post",
        "first: post",
        "second: post",
    ]


@pytest.mark.parametrize("version, setting", [((3, 11), "0"), ((3, 11), ""), ((3, 13), "1")])
def test_no_hook_is_called_on_python_3_13_or_if_the_app_setting_is_off(
    version, setting, calls, serve, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, setting)

    assert get(serve(hello) + "/api/hello").body == b"hello"
    assert calls == []


def test_the_post_hook_is_not_called_and_the_response_is_500_if_a_function_raises(
    recording, worker_with_hooks, serve
):
    def fails(req):
        raise ValueError("mine")

    response = get(serve(fails) + "/api/fails")

    assert (response.status, response.body) == (500, b"")
    assert recording.called() == ["pre fails"]


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
