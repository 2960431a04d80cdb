"""The decorator calls the hooks of any extension where no worker does, around one function."""

import asyncio
import contextvars
import functools
import gc
import inspect
import io
import logging
import sys
import threading
import traceback
import typing
from pathlib import Path
from unittest import mock

import azure.functions as func
import pytest
from azure.functions import HttpResponse

from conftest import (
    APP_SETTING,
    WORKER_RUNTIME,
    FakeContext,
    at_once,
    call,
    cancel,
    get,
    needs_v2,
    passes_on,
    recording_extension,
)
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def no_hooks(extension, python):
    python(3, 13)


def hello(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    await asyncio.sleep(0)
    return HttpResponse("hello")


def with_context(req: func.HttpRequest, context: func.Context) -> HttpResponse:
    return HttpResponse("hello")


async def with_context_async(req: func.HttpRequest, context: func.Context) -> HttpResponse:
    return HttpResponse("hello")


def failing(error):
    def fails(req):
        raise error

    return fails


def failing_async(error):
    async def fails(req):
        raise error

    return fails


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


@sync_and_async
def test_it_calls_both_hooks_and_returns_what_the_function_returns(function, recording):
    response = call(recording.timed(function), req=None)

    pre, post = recording.calls
    assert (pre.hook, pre.function_name) == ("pre", function.__name__)
    assert (post.hook, post.function_name) == ("post", function.__name__)
    assert post.func_ret is response
    assert response.get_body() == b"hello"


def test_the_function_runs_between_the_hooks_to_its_end(recording):
    @recording.timed
    async def works(req):
        assert [call.hook for call in recording.calls] == ["pre"]
        await asyncio.sleep(0)
        assert [call.hook for call in recording.calls] == ["pre"]

    call(works, req=None)

    assert recording.calls.invocations() == ["works"]


@sync_and_async
def test_the_hooks_get_a_logger_whose_lines_are_user_logs_of_the_package(
    function, extensions, caplog
):
    caplog.set_level(logging.INFO)

    class Logging(TimerExtension):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            logger.info("pre")

        @classmethod
        def post_invocation_app_level(
            cls, logger, context, func_args=None, func_ret=None, *args, **kwargs
        ):
            logger.info("post")

    call(Logging.timed(function), req=None)

    lines = [(record.name, record.getMessage()) for record in caplog.records]
    own = TimerExtension.__module__
    assert [line for line in lines if line[0] != "asyncio"] == [(own, "pre"), (own, "post")]


@pytest.mark.parametrize("function", [with_context, with_context_async], ids=["sync", "async"])
def test_a_function_that_takes_context_goes_by_the_name_in_it(function, recording):
    call(recording.timed(function), req=None, context=FakeContext("as the worker calls it"))

    assert recording.calls.invocations() == ["as the worker calls it"]


@pytest.mark.parametrize("context", ["an orchestration's, say", None, mock.Mock()])
def test_a_context_whose_function_name_is_no_text_leaves_the_functions_own(context, recording):
    response = call(recording.timed(with_context), req=None, context=context)

    assert response.get_body() == b"hello"
    assert recording.calls.invocations() == ["with_context"]


def test_a_function_of_the_v1_model_goes_by_the_name_of_its_folder(recording, make_v1_function):
    main = recording.timed(make_v1_function("HttpTrigger").main)

    call(main, req=None)

    assert recording.calls.invocations() == ["HttpTrigger"]


def test_the_folder_is_that_of_the_function_itself_not_of_another_decorator(
    recording, make_v1_function
):
    main = make_v1_function("HttpTrigger").main

    call(recording.timed(passes_on(main)), req=None)

    assert recording.calls.invocations() == ["HttpTrigger"]


def test_in_the_v1_model_too_the_name_in_context_goes_first(recording, make_v1_function):
    main = recording.timed(make_v1_function("HttpTrigger", "def main(req, context): ...").main)

    call(main, req=None, context=FakeContext("as the worker says"))

    assert recording.calls.invocations() == ["as the worker says"]


TWO_FUNCTIONS = """
def main(req): ...
def helper(req): ...
"""


@pytest.mark.parametrize(
    "definition, named",
    [
        ('{"bindings": []}', "main"),
        ('{"entryPoint": "main"}', "main"),
        ('{"entryPoint": ""}', "main"),
        ('{"entryPoint": "helper"}', "helper"),
        ('\ufeff{"entryPoint": "helper"}', "helper"),
    ],
)
def test_the_folder_names_only_the_function_that_its_function_json_names(
    definition, named, recording, make_v1_function
):
    module = make_v1_function("HttpTrigger", TWO_FUNCTIONS, definition)

    for function in (module.main, module.helper):
        call(recording.timed(function), req=None)

    names = ["HttpTrigger" if name == named else name for name in ("main", "helper")]
    assert recording.calls.invocations() == names


@pytest.mark.parametrize("definition", ["{", "[]", '"text"'])
def test_a_function_json_that_the_host_cannot_read_leaves_the_functions_own_name(
    definition, recording, make_v1_function
):
    main = make_v1_function("HttpTrigger", definition=definition).main

    call(recording.timed(main), req=None)

    assert recording.calls.invocations() == ["main"]


def test_the_name_is_found_once_at_decoration(recording, make_v1_function):
    main = recording.timed(make_v1_function("HttpTrigger").main)
    Path(inspect.getfile(main)).with_name("function.json").unlink()

    call(main, req=None)

    assert recording.calls.invocations() == ["HttpTrigger"]


class Greeter:
    def greet(self, req):
        return HttpResponse("hello")

    async def greet_async(self, req: func.HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


@pytest.mark.parametrize("name", ["greet", "greet_async"])
def test_a_bound_method_is_taken(name, recording):
    method = getattr(Greeter(), name)
    decorated = recording.timed(method)

    assert call(decorated, req=None).get_body() == b"hello"
    assert inspect.signature(decorated) == inspect.signature(method)
    assert inspect.iscoroutinefunction(decorated) == inspect.iscoroutinefunction(method)
    assert inspect.getfile(decorated) == __file__
    assert recording.calls.invocations() == [name]


def test_the_main_of_a_wsgi_middleware_goes_by_the_name_in_context(recording):
    def greet_in_wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    main = recording.timed(func.WsgiMiddleware(greet_in_wsgi).main)
    request = func.HttpRequest("GET", "http://localhost/api/HttpTrigger", body=b"")

    response = call(main, req=request, context=FakeContext("HttpTrigger"))

    assert response.get_body() == b"hello"
    assert recording.calls.invocations() == ["HttpTrigger"]


@sync_and_async
def test_a_function_that_is_decorated_twice_is_one_invocation(function, recording):
    call(recording.timed(recording.timed(function)), req=None)

    assert recording.calls.invocations() == [function.__name__]


@sync_and_async
def test_the_hooks_of_each_of_two_extensions_are_called(function, recording):
    other = recording_extension()

    call(other.timed(recording.timed(function)), req=None)

    assert recording.calls.invocations() == other.calls.invocations() == [function.__name__]


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
@pytest.mark.parametrize("stderr_is", ["open", "closed", None])
@sync_and_async
def test_a_hook_that_raises_is_shown_on_stderr_and_does_not_fail_the_function(
    hook, stderr_is, function, recording, monkeypatch, capsys
):
    calls = []

    def raises(*args, **kwargs):
        calls.append(hook)
        raise RuntimeError("the author's own")

    stderr = io.StringIO()
    if stderr_is == "closed":
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr_is and stderr)
    monkeypatch.setattr(recording, hook, raises)
    decorated = recording.timed(function)

    for _ in range(2):
        assert call(decorated, req=None).get_body() == b"hello"
    assert calls == [hook] * 2
    assert capsys.readouterr().out == ""
    if stderr_is == "open":
        assert stderr.getvalue().count("RuntimeError: the author's own") == 2


@pytest.mark.parametrize("hook", ["pre", "post"])
def test_a_decorated_function_that_a_hook_calls_is_part_of_the_invocation(hook, extensions):
    called = []

    class CallsBack(TimerExtension):
        @classmethod
        def pre_invocation_app_level(cls, *args, **kwargs):
            called.append("pre")
            hook == "pre" and helper(None)

        @classmethod
        def post_invocation_app_level(cls, *args, **kwargs):
            called.append("post")
            hook == "post" and helper(None)

    @CallsBack.timed
    def helper(req):
        called.append("helper")

    helper(None)

    expected = ["pre", "helper", "post"]
    expected.insert(expected.index(hook) + 1, "helper")
    assert called == expected


def test_a_decorated_function_that_another_calls_is_part_of_its_invocation(recording):
    helper = recording.timed(hello)

    @recording.timed
    def outer(req):
        helper(req=req)
        helper(req=req)

    call(outer, req=None)
    call(helper, req=None)

    assert recording.calls.invocations() == ["outer", "hello"]


def test_an_async_function_that_another_awaits_is_part_of_its_invocation(recording):
    helper = recording.timed(hello_async)

    @recording.timed
    async def outer(req):
        return await helper(req=req)

    assert call(outer, req=None).get_body() == b"hello"
    assert recording.calls.invocations() == ["outer"]


def in_a_task(helper):
    return asyncio.ensure_future(helper(req=None))


def in_a_thread(helper):
    # As asyncio.to_thread does, from Python 3.9 on.
    run = functools.partial(contextvars.copy_context().run, asyncio.run, helper(req=None))
    return asyncio.get_event_loop().run_in_executor(None, run)


@pytest.mark.parametrize("start", [in_a_task, in_a_thread])
def test_what_a_function_starts_while_it_runs_is_part_of_it_also_where_it_ends_later(
    start, recording
):
    helper_runs, outer_has_ended = threading.Event(), threading.Event()

    async def wait_for(event):
        for _ in range(10_000):
            if not event.is_set():
                await asyncio.sleep(0.001)

    @recording.timed
    async def helper(req):
        helper_runs.set()
        await wait_for(outer_has_ended)

    @recording.timed
    async def outer(req):
        started = start(helper)
        await wait_for(helper_runs)
        return started

    async def both():
        started = await outer(req=None)
        assert not started.done()
        outer_has_ended.set()
        await started

    asyncio.run(both())

    assert recording.calls.invocations() == ["outer"]


def test_what_a_function_left_running_is_no_part_of_it_once_it_has_ended(recording):
    helper = recording.timed(hello_async)
    tasks = []

    @recording.timed
    async def starts(req):
        tasks.append(asyncio.ensure_future(later()))

    async def later():
        await ended.wait()
        await helper(req=None)

    async def both():
        nonlocal ended
        ended = asyncio.Event()
        await starts(req=None)
        ended.set()
        await tasks[0]

    ended = None
    asyncio.run(both())

    assert recording.calls.invocations() == ["starts", "hello_async"]


@pytest.mark.parametrize(
    "make, error",
    [
        (failing, ValueError("mine")),
        (failing, StopIteration()),
        (failing, KeyboardInterrupt()),
        (failing, asyncio.CancelledError()),
        (failing_async, ValueError("mine")),
    ],
)
def test_after_a_function_that_raises_the_post_hook_runs_and_the_exception_comes_through(
    make, error, recording
):
    decorated = recording.timed(make(error))

    with pytest.raises(type(error)) as caught:
        call(decorated, req=None)

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert recording.calls.invocations() == ["fails"]
    assert recording.calls[1].func_ret is None


def test_after_a_cancelled_invocation_the_post_hook_runs_and_it_stays_cancelled(recording):
    @recording.timed
    async def sleeps(req):
        await asyncio.sleep(60)

    assert cancel(sleeps)
    assert recording.calls.invocations() == ["sleeps"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_after_an_invocation_that_raised_the_next_one_has_its_hooks(error, recording):
    fails = recording.timed(failing(error))
    for _ in range(2):
        with pytest.raises(type(error)):
            fails(req=None)

    assert recording.calls.invocations() == ["fails", "fails"]


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
def test_after_a_hook_that_exits_the_next_invocation_has_its_hooks(hook, recording, monkeypatch):
    def exits(*args, **kwargs):
        raise SystemExit

    decorated = recording.timed(hello)
    with monkeypatch.context() as patch:
        patch.setattr(recording, hook, exits)
        with pytest.raises(SystemExit):
            decorated(req=None)
    del recording.calls[:]
    gc.collect()  # of the traceback, which pytest keeps

    decorated(req=None)

    assert recording.calls.invocations() == ["hello"]


def test_a_traceback_shows_the_function_in_its_own_file():
    decorated = TimerExtension.timed(failing(ValueError("mine")))

    with pytest.raises(ValueError) as caught:
        decorated(req=None)

    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].line == "raise error"
    assert frames[1].filename == __file__
    assert frames[1].line == "def fails(req):"


@sync_and_async
def test_wrong_arguments_raise_what_they_raise_without_the_decorator(function):
    with pytest.raises(
        TypeError, match=f"{function.__name__}.*missing 1 required positional argument"
    ):
        call(TimerExtension.timed(function))


@pytest.mark.parametrize("function", [hello, hello_async, with_context, with_context_async])
def test_the_worker_takes_it_for_the_function_itself(function):
    decorated = TimerExtension.timed(function)

    assert decorated is not function
    assert inspect.isfunction(decorated)
    assert inspect.signature(decorated) == inspect.signature(function)
    assert typing.get_type_hints(decorated) == typing.get_type_hints(function)
    assert inspect.iscoroutinefunction(decorated) == inspect.iscoroutinefunction(function)
    assert inspect.getfile(decorated) == inspect.getfile(function) == __file__
    assert inspect.getsource(decorated) == inspect.getsource(function)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(decorated, attribute) == getattr(function, attribute)


def test_type_hints_written_as_strings_are_read_where_the_function_stands():
    def later(req: "func.HttpRequest") -> "HttpResponse":
        return HttpResponse()

    hints = typing.get_type_hints(TimerExtension.timed(later))

    assert hints == {"req": func.HttpRequest, "return": HttpResponse}


def test_a_parameter_may_have_a_default(recording):
    @recording.timed
    def greets(req, name="world", *, mark="!"):
        return f"hello {name}{mark}"

    assert greets(req=None) == "hello world!"
    assert greets(req=None, name="you", mark="?") == "hello you?"


def test_a_function_that_another_decorator_wrapped_is_taken_too(recording):
    call(recording.timed(passes_on(hello)), req=None)

    assert recording.calls.invocations() == ["hello"]


@pytest.mark.parametrize("version", [(3, 7), (3, 9), (3, 12)])
@sync_and_async
def test_where_the_worker_calls_the_hooks_the_function_stays_as_it_is(
    function, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    assert TimerExtension.timed(function) is function


def test_where_the_setting_is_off_the_hooks_are_called_on_any_python(python, recording):
    python(3, 11)

    call(recording.timed(hello), req=None)

    assert recording.calls.invocations() == ["hello"]


def test_on_python_3_9_too_they_are_outside_a_worker_where_the_setting_is_not_on(
    python, monkeypatch
):
    python(3, 9)
    assert TimerExtension.timed(hello) is not hello

    monkeypatch.setenv(APP_SETTING, "1")
    assert TimerExtension.timed(hello) is hello

    monkeypatch.delenv(APP_SETTING)
    monkeypatch.setenv(WORKER_RUNTIME, "python")
    assert TimerExtension.timed(hello) is hello


def orchestrator(context):
    yield


async def async_generator(context):
    yield


@pytest.mark.parametrize("function", [orchestrator, async_generator])
@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_a_generator_function_raises_a_type_error_that_says_what_takes_it(
    function, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    with pytest.raises(
        TypeError,
        match=f"^only sync and async functions .* {function.__name__}: "
        rf"{TimerExtension.__name__}.configure\(app=app\) .* orchestrators$",
    ):
        TimerExtension.timed(function)


@pytest.mark.parametrize(
    "thing",
    [
        "hello",
        None,
        HttpResponse,
        functools.partial(hello),
        functools.partial(orchestrator),
        functools.lru_cache()(hello),
    ],
)
@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_what_is_no_function_raises_a_type_error_that_says_the_order(
    thing, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    with pytest.raises(
        TypeError,
        match=r"^@TimerExtension.timed goes right above the def, below @app.route\(\.\.\.\) and "
        "any other decorator of the SDK: it takes a function, not ",
    ):
        TimerExtension.timed(thing)


@needs_v2
def test_above_the_trigger_decorator_it_raises_a_type_error_that_says_the_order():
    app = func.FunctionApp()

    with pytest.raises(TypeError, match="below .* not FunctionBuilder$"):

        @TimerExtension.timed
        @app.route(route="hello")
        def hello(req: func.HttpRequest) -> HttpResponse:
            return HttpResponse("hello")


@needs_v2
@pytest.mark.parametrize("make_app", ["FunctionApp", "Blueprint"])
@sync_and_async
def test_below_a_trigger_decorator_it_is_what_the_worker_calls(make_app, function, recording):
    app = getattr(func, make_app)()
    builder = app.route(route="hello")(recording.timed(function))

    call(builder._function.get_user_function(), req=None)

    assert builder._function.get_function_name() == function.__name__
    assert recording.calls.invocations() == [function.__name__]


def test_sync_functions_on_sixteen_threads_each_have_their_own_hooks(recording):
    decorated = recording.timed(hello)

    at_once(*[lambda: [decorated(req=None) for _ in range(100)]] * 16)

    assert recording.calls.invocations() == ["hello"] * 1600


def test_async_functions_on_one_event_loop_each_have_their_own_hooks(recording):
    decorated = recording.timed(hello_async)

    async def overlapping():
        await asyncio.gather(*[decorated(req=None) for _ in range(100)])

    asyncio.run(overlapping())

    assert recording.calls.invocations() == ["hello_async"] * 100
    assert [call.hook for call in recording.calls] == ["pre"] * 100 + ["post"] * 100


@sync_and_async
def test_its_hooks_are_called_over_http(function, serve, recording):
    answer = get(f"{serve(recording.timed(function))}/api/{function.__name__}")

    assert (answer.status, answer.body) == (200, b"hello")
    assert recording.calls.invocations() == [function.__name__]


def test_after_a_function_that_raises_the_post_hook_runs_and_the_answer_is_500(serve, recording):
    answer = get(serve(recording.timed(failing(ValueError("mine")))) + "/api/fails")

    assert answer.status == 500
    assert recording.calls.invocations() == ["fails"]
