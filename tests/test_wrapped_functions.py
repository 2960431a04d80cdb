"""Tests of the module's second half, which calls the hooks.

It calls the hooks for decorated functions and for functions of an app passed to configure().
"""

import asyncio
import contextvars
import functools
import inspect
import io
import sys
import threading
import traceback
import typing

import azure.functions as func
import pytest
from azure.functions import HttpResponse

from conftest import APP_SETTING, both_ways, call, concurrently, get
from python_worker_extension_timer import TimerExtension


def hello(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    await asyncio.sleep(0)
    return HttpResponse("hello")


def with_context(req: func.HttpRequest, context: func.Context) -> HttpResponse:
    return HttpResponse("hello")


class Greeter:
    def greet(self, req: func.HttpRequest) -> HttpResponse:
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


@both_ways
@sync_and_async
def test_both_hooks_are_called_and_the_return_value_is_passed_on(way, function, recording):
    wrapper = way(recording, function)

    responses = [call(wrapper, req=None) for _ in range(3)]

    name = function.__name__
    assert recording.called() == [f"pre {name}", f"post {name}"] * 3
    assert [hook_call.func_ret for hook_call in recording.calls[1::2]] == responses
    assert responses[0].get_body() == b"hello"
    loggers = {hook_call.logger.name for hook_call in recording.calls}
    assert loggers == {TimerExtension.__module__}


@both_ways
@pytest.mark.parametrize("function", [hello, hello_async, failing(ValueError("mine"))])
@pytest.mark.parametrize("version", [(3, 7), (3, 9), (3, 12), (3, 13)])
@pytest.mark.parametrize("setting", ["1", "0"])
def test_each_hook_is_called_once_for_a_request_whether_the_app_setting_is_on_or_off(
    setting, version, function, way, recording, serve, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, setting)
    wrapper = way(recording, function)

    get(f"{serve(wrapper)}/api/{function.__name__}")

    assert recording.called() == [f"pre {function.__name__}", f"post {function.__name__}"]


def test_other_extensions_and_the_load_hook_stay_registered(recording):
    class Other(func.AppExtensionBase):
        pass

    recording.timed(hello)

    load, pre, post = func.ExtensionMeta.get_application_hooks()
    assert [hook.ext_name for hook in load] == ["Recording", "Other"]
    assert [hook.ext_name for hook in pre] == [hook.ext_name for hook in post] == ["Other"]


@both_ways
def test_post_hook_is_called_after_an_async_function_has_finished(way, recording):
    async def works(req):
        called = recording.called()
        await asyncio.sleep(0)
        return called, recording.called()

    assert call(way(recording, works), req=None) == (["pre works"], ["pre works"])
    assert recording.called() == ["pre works", "post works"]


@both_ways
@pytest.mark.parametrize("function", [hello, hello_async, with_context, Greeter().greet])
def test_wrapper_looks_like_the_original_function_to_the_worker(way, function, recording):
    wrapper = way(recording, function)

    assert wrapper is not function
    assert inspect.isfunction(wrapper)
    assert inspect.signature(wrapper) == inspect.signature(function)
    assert typing.get_type_hints(wrapper) == typing.get_type_hints(function)
    assert inspect.iscoroutinefunction(wrapper) == inspect.iscoroutinefunction(function)
    assert inspect.getfile(wrapper) == __file__
    assert inspect.getsource(wrapper) == inspect.getsource(function)
    assert (wrapper.__name__, wrapper.__doc__) == (function.__name__, function.__doc__)


def test_string_type_hints_are_resolved_in_the_functions_module(recording):
    def later(req: "func.HttpRequest") -> "HttpResponse":
        return HttpResponse()

    hints = typing.get_type_hints(recording.timed(later))

    assert hints == {"req": func.HttpRequest, "return": HttpResponse}


class FalseError(Exception):
    """An exception that can't be tested for truth."""

    def __bool__(self):
        raise TypeError("neither true nor false")


@both_ways
@pytest.mark.parametrize(
    "make, error",
    [
        (failing, ValueError("mine")),
        (failing, StopIteration()),
        (failing, KeyboardInterrupt()),
        (failing, FalseError()),
        (failing_async, ValueError("mine")),
        (failing, asyncio.CancelledError()),
    ],
)
def test_post_hook_gets_the_exception_and_the_exception_propagates_if_the_function_raises(
    way, make, error, recording
):
    wrapper = way(recording, make(error))

    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            call(wrapper, req=None)

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert recording.called() == ["pre fails", "post fails"] * 2
    assert recording.calls[1].exception is error
    assert recording.calls[1].func_ret is None


def test_post_hook_gets_no_exception_if_the_function_returns_while_its_caller_handles_one(
    recording, monkeypatch
):
    keywords = []
    keep = lambda *args, **kwargs: keywords.append(kwargs)  # noqa: E731
    monkeypatch.setattr(recording, "post_invocation_app_level", keep)
    wrapper = recording.timed(hello)

    try:
        raise ValueError("the caller's")
    except ValueError:
        wrapper(req=None)

    assert keywords == [{}]


@pytest.mark.parametrize("decorator", ["", f"@keep({'x' * 120!r})\n"], ids=["short", "long"])
@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_traceback_shows_the_functions_first_line_without_a_column_before_the_function(
    keyword, decorator, recording, tmp_path
):
    source = f"{decorator}{keyword} fails(req):\n    raise ValueError\n"
    file = tmp_path / "function_app.py"
    file.write_text(source, encoding="utf-8")
    namespace = {"keep": lambda text: lambda function: function}
    exec(compile(source, str(file), "exec"), namespace)

    with pytest.raises(ValueError) as caught:
        call(recording.timed(namespace["fails"]), req=None)

    printed = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    lines = printed.splitlines()
    first = next(number for number, line in enumerate(lines) if str(file) in line)
    assert f'File "{file}", line 1, in ' in lines[first]
    assert lines[first + 1] == f"    {source.splitlines()[0]}"
    raising = 3 if decorator else 2
    assert lines[first + 2].startswith(f'  File "{file}", line {raising}, in fails')
    assert all(line.strip() for line in lines)


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
@pytest.mark.parametrize("stderr_is", ["open", "closed", None])
def test_exception_in_a_hook_is_written_to_stderr_and_does_not_affect_the_function(
    hook, stderr_is, recording, monkeypatch, capsys
):
    def raises(*args, **kwargs):
        raise RuntimeError("raised by the hook")

    stderr = io.StringIO()
    if stderr_is == "closed":
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr_is and stderr)
    monkeypatch.setattr(recording, hook, raises)
    wrapper = recording.timed(hello)

    assert [wrapper(req=None).get_body() for _ in range(2)] == [b"hello"] * 2
    assert len(recording.calls) == 2
    assert capsys.readouterr().out == ""
    if stderr_is == "open":
        assert stderr.getvalue().count("RuntimeError: raised by the hook") == 2


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
def test_hooks_are_called_again_after_a_hook_raised_system_exit(hook, recording, monkeypatch):
    def exits(*args, **kwargs):
        raise SystemExit

    wrapper = recording.timed(hello)
    with monkeypatch.context() as patch:
        patch.setattr(recording, hook, exits)
        with pytest.raises(SystemExit):
            wrapper(req=None)
    del recording.calls[:]

    wrapper(req=None)

    assert recording.called() == ["pre hello", "post hello"]


@both_ways
def test_decorated_helper_called_by_a_function_gets_no_hooks_of_its_own(way, recording):
    helper = recording.timed(hello)

    def outer(req):
        return helper(req=req)

    way(recording, outer)(req=None)
    helper(req=None)

    assert recording.called() == ["pre outer", "post outer", "pre hello", "post hello"]


def test_decorated_helper_called_by_a_hook_gets_no_hooks_of_its_own(recording, monkeypatch):
    called = []

    @recording.timed
    def helper(req):
        called.append("helper")

    def hook(name):
        return lambda *args: called.append(name) or helper(None)

    monkeypatch.setattr(recording, "pre_invocation_app_level", hook("pre"))
    monkeypatch.setattr(recording, "post_invocation_app_level", hook("post"))

    helper(None)

    assert called == ["pre", "helper", "helper", "post", "helper"]


def in_a_task(helper, *args):
    return asyncio.ensure_future(helper(*args))


def in_a_thread(helper, *args):
    # Do what asyncio.to_thread does, which needs Python 3.9.
    run = functools.partial(contextvars.copy_context().run, asyncio.run, helper(*args))
    return asyncio.get_event_loop().run_in_executor(None, run)


@pytest.mark.parametrize("start", [in_a_task, in_a_thread])
def test_helper_started_as_a_task_or_thread_gets_no_hooks_even_if_it_outlives_the_function(
    start, recording
):
    helper_runs, outer_has_ended = threading.Event(), threading.Event()

    async def wait_for(event):
        while not event.is_set():
            await asyncio.sleep(0.001)

    @recording.timed
    async def helper():
        helper_runs.set()
        await asyncio.wait_for(wait_for(outer_has_ended), 30)

    @recording.timed
    async def outer():
        started = start(helper)
        await asyncio.wait_for(wait_for(helper_runs), 30)
        return started

    async def both():
        started = await outer()
        outer_has_ended.set()
        await started

    asyncio.run(both())

    assert recording.called() == ["pre outer", "post outer"]


def test_helper_called_after_the_function_ended_gets_hooks_of_its_own(recording):
    helper = recording.timed(hello_async)
    tasks = []

    async def later(outer_has_ended):
        await outer_has_ended.wait()
        await helper(req=None)

    @recording.timed
    async def outer(req):
        tasks.append(asyncio.ensure_future(later(req)))

    async def both():
        outer_has_ended = asyncio.Event()
        await outer(req=outer_has_ended)
        outer_has_ended.set()
        await tasks[0]

    asyncio.run(both())

    helper_hooks = ["pre hello_async", "post hello_async"]
    assert recording.called() == ["pre outer", "post outer", *helper_hooks]


def test_concurrent_invocations_in_threads_each_get_both_hooks(recording):
    wrapper = recording.timed(hello)

    concurrently(*[lambda: [wrapper(req=None) for _ in range(100)]] * 16)

    contexts = [hook_call.context for hook_call in recording.calls]
    assert sorted(recording.called()) == ["post hello"] * 1600 + ["pre hello"] * 1600
    assert len({context.invocation_id for context in contexts}) == 1600


def test_concurrent_invocations_on_one_event_loop_each_get_both_hooks(recording):
    wrapper = recording.timed(hello_async)

    async def overlapping():
        await asyncio.gather(*[wrapper(req=None) for _ in range(100)])

    asyncio.run(overlapping())

    assert recording.called() == ["pre hello_async"] * 100 + ["post hello_async"] * 100
