"""Tests of the module's second half, which calls the hooks.

It calls the hooks for decorated functions and for functions of an app passed to configure().
"""

import asyncio
import inspect
import sys
import threading
import traceback
import typing
from unittest import mock

import azure.functions as func
import pytest
from azure.functions import HttpResponse

from conftest import both_ways, call, concurrently, get


def hello(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    await asyncio.sleep(0)
    return HttpResponse("hello")


def with_string_hints(req: "func.HttpRequest", context: "func.Context") -> "HttpResponse":
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


both_hooks = pytest.mark.parametrize(
    "hook", ["pre_invocation_app_level", "post_invocation_app_level"]
)


@both_ways
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_one_hook_is_called_before_the_function_and_one_after_it(way, is_async, recording):
    def works(req):
        return recording.called()

    async def works_async(req):
        await asyncio.sleep(0)
        return works(req)

    wrapper = way(recording, works_async if is_async else works)

    first, second = call(wrapper, req=None), call(wrapper, req=None)

    pre, post = f"pre {wrapper.__name__}", f"post {wrapper.__name__}"
    assert (first, second) == ([pre], [pre, post, pre])
    assert recording.called() == [pre, post, pre, post]


@both_ways
@pytest.mark.parametrize("function", [hello, hello_async, failing(ValueError("mine"))])
def test_each_hook_is_called_once_even_if_the_worker_calls_hooks(
    function, way, recording, serve, worker_with_hooks
):
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
@pytest.mark.parametrize("function", [hello, hello_async])
def test_each_hook_is_called_once_if_the_function_is_decorated_already(way, function, recording):
    call(way(recording, recording.timed(function)), req=None)

    assert recording.called() == [f"pre {function.__name__}", f"post {function.__name__}"]


@both_ways
@pytest.mark.parametrize("function", [hello, hello_async, with_string_hints, Greeter().greet])
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


class NeitherTrueNorFalse(Exception):
    def __bool__(self):
        raise TypeError


@both_ways
@pytest.mark.parametrize(
    "make, error",
    [
        (failing, ValueError("mine")),
        (failing, NeitherTrueNorFalse()),
        (failing, StopIteration()),
        (failing, SystemExit()),
        (failing_async, ValueError("mine")),
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
    assert recording.called() == ["pre fails", "post fails"] * 2
    assert recording.calls[1].exception is error
    assert recording.calls[1].func_ret is None


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_traceback_shows_the_functions_first_line_without_underlining_a_part_of_it(
    keyword, recording, tmp_path
):
    source = f"\n{keyword} fails(req):\n    raise ValueError\n"
    file = tmp_path / "function_app.py"
    file.write_text(source, encoding="utf-8")
    namespace = {}
    exec(compile(source, str(file), "exec"), namespace)

    with pytest.raises(ValueError) as caught:
        call(recording.timed(namespace["fails"]), req=None)

    printed = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    _, _, wrappers_entry = printed.partition(f'  File "{file}", line 2, in ')
    _, first_line, next_line, *_ = wrappers_entry.splitlines()
    assert first_line == f"    {keyword} fails(req):"
    assert next_line.startswith("  File ")


@both_hooks
@pytest.mark.parametrize("has_stderr", [True, False])
def test_exception_in_a_hook_is_written_to_stderr_and_does_not_affect_the_function(
    has_stderr, hook, recording, monkeypatch, capsys
):
    if not has_stderr:
        monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(recording, hook, mock.Mock(side_effect=RuntimeError("from the hook")))

    response = recording.timed(hello)(req=None)

    assert response.get_body() == b"hello"
    assert len(recording.calls) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("RuntimeError: from the hook") == has_stderr


@both_hooks
def test_hooks_are_called_again_after_a_hook_raised_system_exit(hook, recording):
    wrapper = recording.timed(hello)
    with mock.patch.object(recording, hook, side_effect=SystemExit), pytest.raises(SystemExit):
        wrapper(req=None)
    del recording.calls[:]

    wrapper(req=None)

    assert recording.called() == ["pre hello", "post hello"]


@both_ways
def test_no_hook_is_called_for_a_decorated_helper_that_a_timed_function_calls(way, recording, capsys):
    helper = recording.timed(hello)

    def outer(req):
        return helper(req=req)

    way(recording, outer)(req=None)
    helper(req=None)

    assert recording.called() == ["pre outer", "post outer", "pre hello", "post hello"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("starts_late", [False, True])
def test_decorated_helper_in_a_task_gets_hooks_only_if_it_starts_after_the_function_has_ended(
    starts_late, recording
):
    helper = recording.timed(hello_async)

    @recording.timed
    async def outer(req):
        task = asyncio.ensure_future(helper(req=req))
        if not starts_late:
            await asyncio.sleep(0)  # the helper runs as far as its await
        return task

    async def call_outer_and_wait_for_the_task():
        await (await outer(req=None))

    asyncio.run(call_outer_and_wait_for_the_task())

    helper_hooks = ["pre hello_async", "post hello_async"] if starts_late else []
    assert recording.called() == ["pre outer", "post outer", *helper_hooks]


def test_overlapping_invocations_in_threads_each_get_both_hooks(recording):
    all_run = threading.Barrier(8)

    @recording.timed
    def works(req):
        all_run.wait(30)

    concurrently(*[lambda: works(req=None)] * 8)

    assert sorted(recording.called()) == ["post works"] * 8 + ["pre works"] * 8
    assert len({hook_call.context.invocation_id for hook_call in recording.calls}) == 8


def test_overlapping_invocations_on_one_event_loop_each_get_both_hooks(recording):
    wrapper = recording.timed(hello_async)

    async def overlapping():
        await asyncio.gather(*[wrapper(req=None) for _ in range(8)])

    asyncio.run(overlapping())

    assert recording.called() == ["pre hello_async"] * 8 + ["post hello_async"] * 8
