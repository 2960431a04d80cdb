"""The local host calls functions and hooks as the Python worker does."""

import gc
import logging
import re
import weakref

import azure.functions as func
import pytest
from azure.functions import HttpResponse

from conftest import APP_SETTING, get, needs_v2, run_host


def hello(req):
    return HttpResponse("hello")


@pytest.fixture
def calls(extensions, hooks_on):
    """What the hooks of two extensions are called with, in order."""
    calls = []

    def register(name):
        class Recording(func.AppExtensionBase):
            @classmethod
            def post_function_load_app_level(
                cls, function_name, function_directory, *args, **kwargs
            ):
                calls.append((name, "load", function_name))

            @classmethod
            def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
                calls.append((name, "pre", logger.name))

            @classmethod
            def post_invocation_app_level(
                cls, logger, context, func_args=None, func_ret=None, *args, **kwargs
            ):
                calls.append((name, "post", func_ret.status_code))

    register("first")
    register("second")
    return calls


@pytest.fixture
def function_level(calls, monkeypatch, tmp_path):
    """A function-level extension of the function ``hello`` beside those two."""
    monkeypatch.setenv("AzureWebJobsScriptRoot", str(tmp_path))

    class Recording(func.FuncExtensionBase):
        def __init__(self, file_path):
            super().__init__(file_path)

        def pre_invocation(self, logger, context, func_args=None, *args, **kwargs):
            calls.append(("function level", "pre", logger.name))

        def post_invocation(self, logger, context, func_args=None, func_ret=None, *args, **kwargs):
            calls.append(("function level", "post", func_ret.status_code))

    Recording(str(tmp_path / "hello" / "__init__.py"))
    yield
    for registered in func.ExtensionMeta.get_function_hooks("hello"):
        registered.clear()


def test_hooks_run_in_the_workers_order_with_its_logger_names(calls, serve):
    get(serve(hello) + "/api/hello")

    logger = "azure_functions_worker.extension.Recording"
    assert calls == [
        ("first", "load", "hello"),
        ("second", "load", "hello"),
        ("first", "pre", logger),
        ("second", "pre", logger),
        ("first", "post", 200),
        ("second", "post", 200),
    ]


def test_function_level_hooks_run_inside_the_application_level_ones(calls, function_level, serve):
    get(serve(hello) + "/api/hello")

    assert [(name, hook) for name, hook, _ in calls if hook != "load"] == [
        ("first", "pre"),
        ("second", "pre"),
        ("function level", "pre"),
        ("function level", "post"),
        ("first", "post"),
        ("second", "post"),
    ]


@pytest.mark.parametrize("value", ["0", "off", ""])
def test_no_hook_runs_where_the_setting_is_off(value, calls, serve, monkeypatch):
    monkeypatch.setenv(APP_SETTING, value)

    assert get(serve(hello) + "/api/hello").status == 200
    assert calls == []


def test_no_hook_runs_on_python_3_13(calls, serve, python):
    python(3, 13)

    assert get(serve(hello) + "/api/hello").status == 200
    assert calls == []


def test_no_post_hook_runs_for_a_function_that_raises_and_the_answer_is_500(calls, serve):
    def fails(req):
        raise ValueError("mine")

    answer = get(serve(fails) + "/api/fails")

    assert (answer.status, answer.body) == (500, b"")
    assert [hook for _, hook, _ in calls] == ["load", "load", "pre", "pre"]


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
def test_a_hook_that_raises_is_logged_and_stops_nothing(hook, serve, hooks_on, recording, caplog):
    def raises(cls, *args, **kwargs):
        raise RuntimeError("another extension's")

    type("Broken", (func.AppExtensionBase,), {hook: classmethod(raises)})

    answer = get(serve(hello) + "/api/hello")

    assert answer.body == b"hello"
    assert recording.calls.invocations() == ["hello"]
    errors = [
        (record.name, record.levelname)
        for record in caplog.records
        if "another extension's" in record.getMessage()
    ]
    assert errors == [("azure_functions_worker.extension.Broken", "ERROR")]


def test_a_hook_finds_on_the_context_what_the_workers_has(serve, hooks_on, extensions):
    contexts = []

    class Watching(func.AppExtensionBase):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            contexts.append(context)

    get(serve(hello) + "/api/hello")

    (context,) = contexts
    assert context.function_name == "hello"
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", context.trace_context.Traceparent)
    assert context.trace_context.trace_parent == context.trace_context.Traceparent
    assert context.retry_context is None
    context.thread_local_storage.invocation_id = context.invocation_id


def test_a_running_invocation_holds_its_context_and_a_failed_one_lets_go(
    serve, hooks_on, extensions, caplog
):
    caplog.set_level(logging.CRITICAL)  # what caplog keeps holds the context
    contexts, held = [], []

    class Watching(func.AppExtensionBase):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            contexts.append(weakref.ref(context))

    def fails(req):
        gc.collect()
        held.append(contexts[-1]() is not None)
        raise ValueError("mine")

    url = serve(fails)
    get(url + "/api/fails")
    get(url + "/api/fails")
    gc.collect()

    assert held == [True, True]
    assert contexts[0]() is None


USER_LOGS = """
import logging
import azure.functions as func

logging.getLogger("app").warning("logged at import")
app = func.FunctionApp()

@app.route(route="hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    logging.info("logged in the invocation")
    return func.HttpResponse("hello")
"""


@needs_v2
def test_user_logs_are_shown_of_an_invocation_alone(make_app):
    result = run_host(make_app(USER_LOGS))

    assert "INFO root: logged in the invocation\n" in result.stdout
    assert "logged at import" not in result.stdout + result.stderr
