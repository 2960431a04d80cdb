"""The local host calls functions and hooks as the Python worker does."""

import gc
import logging
import re
import weakref

import azure.functions as func
import pytest

from conftest import APP_SETTING, get


def hello(req):
    return "hello"


def test_hooks_are_given_what_the_workers_are_given(recording, hooks_on, serve):
    get(serve(hello) + "/api/hello?name=Azure")

    pre, post = recording.calls
    assert pre.logger.name == "azure_functions_worker.extension.Recording"
    assert pre.func_args["req"].params == {"name": "Azure"}
    assert (post.logger, post.context) == (pre.logger, pre.context)
    assert post.func_ret == "hello"


def test_the_context_has_what_the_workers_has(recording, hooks_on, serve):
    get(serve(hello) + "/api/hello")

    context = recording.calls[0].context
    assert context.function_name == "hello"
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", context.trace_context.Traceparent)
    assert context.trace_context.trace_parent == context.trace_context.Traceparent
    assert context.retry_context is None
    context.thread_local_storage.invocation_id = context.invocation_id


@pytest.fixture
def calls(extensions, hooks_on, monkeypatch, tmp_path):
    """What is called of two extensions, and of one of the function ``hello`` alone, in order."""
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

    class OneFunction(func.FuncExtensionBase):
        def __init__(self, file_path):
            super().__init__(file_path)

        def pre_invocation(self, *args, **kwargs):
            calls.append("of one function: pre")

        def post_invocation(self, *args, **kwargs):
            calls.append("of one function: post")

    monkeypatch.setenv("AzureWebJobsScriptRoot", str(tmp_path))
    OneFunction(str(tmp_path / "hello" / "__init__.py"))
    register("first")
    register("second")
    yield calls
    for registered in func.ExtensionMeta.get_function_hooks("hello"):
        registered.clear()


def test_hooks_run_in_the_workers_order(calls, serve):
    get(serve(hello) + "/api/hello")

    assert calls == [
        "first: load hello",
        "second: load hello",
        "first: pre",
        "second: pre",
        "of one function: pre",
        "of one function: post",
        "first: post",
        "second: post",
    ]


@pytest.mark.parametrize("version, setting", [((3, 11), "0"), ((3, 11), ""), ((3, 13), "1")])
def test_no_hook_runs_with_the_app_setting_off_nor_on_python_3_13(
    version, setting, calls, serve, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, setting)

    assert get(serve(hello) + "/api/hello").body == b"hello"
    assert calls == []


def test_a_function_that_raises_gets_no_post_hook_and_is_answered_500(recording, hooks_on, serve):
    def fails(req):
        raise ValueError("mine")

    answer = get(serve(fails) + "/api/fails")

    assert (answer.status, answer.body) == (500, b"")
    assert recording.called() == ["pre fails"]


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
def test_a_hook_that_raises_is_logged_and_stops_nothing(hook, serve, hooks_on, recording, caplog):
    def raises(cls, *args, **kwargs):
        raise RuntimeError("another extension's")

    type("Broken", (func.AppExtensionBase,), {hook: classmethod(raises)})

    answer = get(serve(hello) + "/api/hello")

    assert answer.body == b"hello"
    assert recording.called() == ["pre hello", "post hello"]
    logged = ("azure_functions_worker.extension.Broken", logging.ERROR, "another extension's")
    assert caplog.record_tuples == [logged]


def test_the_context_of_a_failed_invocation_is_let_go(serve, hooks_on, extensions, caplog):
    caplog.set_level(logging.CRITICAL)  # what caplog keeps holds the context
    contexts = []

    class Watching(func.AppExtensionBase):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, *args, **kwargs):
            contexts.append(weakref.ref(context))

    def fails(req):
        raise ValueError("mine")

    url = serve(fails)
    get(url + "/api/fails")
    get(url + "/api/fails")  # the thread of the first may not have ended yet
    gc.collect()

    assert contexts[0]() is None
