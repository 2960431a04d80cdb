"""Tests of the module's second half: the arguments of the hooks.

The hooks get the arguments that the worker would pass. If the function doesn't take the worker's
context, the hooks get a minimal context instead.
"""

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from unittest import mock

import pytest
from azure.functions import HttpResponse

from commands import host_environment
from conftest import FakeContext, both_ways, call, recording_extension
from python_worker_extension_timer import TimerExtension


def hello(req):
    return HttpResponse("hello")


def with_context(req, context):
    return HttpResponse("hello")


async def with_context_async(req, context):
    return HttpResponse("hello")


@both_ways
@pytest.mark.parametrize("function", [with_context, with_context_async], ids=["sync", "async"])
def test_both_hooks_get_the_arguments_by_name_and_the_post_hook_gets_the_return_value(
    way, function, recording
):
    req, context = object(), FakeContext()

    response = call(way(recording, function), req=req, context=context)

    pre, post = recording.calls
    assert pre.func_args == post.func_args == {"req": req, "context": context}
    assert post.func_ret is response


def test_pre_hook_can_replace_an_argument_of_the_function(recording, monkeypatch):
    replace = lambda logger, context, func_args: func_args.update(req="replaced")  # noqa: E731
    monkeypatch.setattr(recording, "pre_invocation_app_level", replace)

    assert recording.timed(lambda req: req)(req="original") == "replaced"


def test_positional_arguments_of_a_unit_test_reach_the_function_but_not_the_hooks(recording):
    response = recording.timed(with_context)("positional", context=None)

    assert response.get_body() == b"hello"
    assert recording.calls[0].func_args == {"context": None}


@both_ways
@pytest.mark.parametrize("function", [with_context, with_context_async], ids=["sync", "async"])
def test_both_hooks_get_the_workers_context_if_the_function_takes_it(way, function, recording):
    context = FakeContext("name in the context")

    call(way(recording, function), req=None, context=context)

    assert [hook_call.context for hook_call in recording.calls] == [context, context]
    assert recording.called() == ["pre name in the context", "post name in the context"]


class AttributeDict(dict):
    """A dict whose items are also attributes. Many apps define such a class."""

    __getattr__ = dict.__getitem__


@both_ways
@pytest.mark.parametrize(
    "argument",
    [
        "the history of an orchestration",
        None,
        AttributeDict(number=1),
        mock.Mock(function_name="a string, unlike the invocation_id"),
        mock.Mock(invocation_id="a string, unlike the function_name"),
    ],
    ids=["string", "None", "dict", "only function_name", "only invocation_id"],
)
def test_argument_called_context_need_not_be_the_workers_context(way, argument, recording):
    def activity(context):
        return context

    assert way(recording, activity)(context=argument) is argument
    assert recording.called() == ["pre activity", "post activity"]
    assert argument not in [hook_call.context for hook_call in recording.calls]


@both_ways
def test_each_invocation_has_a_new_context_if_the_function_takes_none(way, recording):
    wrapper = way(recording, hello)

    for _ in range(100):
        wrapper(req=None)

    contexts = [hook_call.context for hook_call in recording.calls]
    assert all(context.function_name == "hello" for context in contexts)
    pre_ids = [context.invocation_id for context in contexts[::2]]
    post_ids = [context.invocation_id for context in contexts[1::2]]
    assert pre_ids == post_ids
    assert all(isinstance(invocation_id, str) for invocation_id in pre_ids)
    assert len(set(pre_ids)) == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork()")
def test_a_forked_process_creates_other_invocation_ids():
    name = TimerExtension.__name__
    source = (
        f"import os; from {TimerExtension.__module__} import {name}\n"
        "hook = lambda _, context, *args: os.write(1, f'{context.invocation_id}\\n'.encode())\n"
        f"{name}.pre_invocation_app_level = hook\n"
        "os.fork()\n"
        f"{name}.timed(lambda req: None)(req=None)"
    )

    printed = subprocess.check_output([sys.executable, "-c", source], env=host_environment())

    assert len(set(printed.split())) == 2


def test_error_for_a_missing_attribute_of_the_context_says_how_to_get_the_attribute(recording):
    recording.timed(hello)(req=None)

    with pytest.raises(AttributeError) as caught:
        recording.calls[0].context.trace_context

    assert str(caught.value) == (
        "this context has no trace_context; add a context parameter to the function to get the "
        "worker's context"
    )


@pytest.fixture
def tracing(recording, monkeypatch):
    """An extension whose pre hook sets an attribute of the context, as OpenCensus's does."""

    def set_tracer(logger, context, func_args):
        context.tracer = "a tracer"

    monkeypatch.setattr(recording, "pre_invocation_app_level", set_tracer)
    return recording


@both_ways
def test_post_hook_finds_an_attribute_that_the_pre_hook_set_on_the_context(way, tracing):
    way(tracing, hello)(req=None)

    assert tracing.calls[0].context.tracer == "a tracer"


@both_ways
def test_function_finds_an_attribute_that_the_pre_hook_set_on_the_workers_context(way, tracing):
    def traced(req, context):
        return context.tracer

    assert way(tracing, traced)(req=None, context=FakeContext()) == "a tracer"


@pytest.mark.parametrize("function, is_shared", [(hello, False), (with_context, True)])
def test_two_extensions_share_the_context_only_if_the_function_takes_it(
    function, is_shared, recording
):
    other = recording_extension()
    arguments = {"req": None, "context": FakeContext()} if is_shared else {"req": None}

    other.timed(recording.timed(function))(**arguments)

    assert (other.calls[0].context is recording.calls[0].context) == is_shared


class Weak:
    """Something that can be weakly referenced."""


@pytest.fixture
def no_garbage_collector():
    """Turn the garbage collector off, so that only reference counting frees objects."""
    gc.disable()
    yield
    gc.enable()


def test_thread_keeps_nothing_of_an_invocation_that_has_ended(recording, no_garbage_collector):
    recording.timed(lambda req: Weak())(req=Weak())
    pre, post = recording.calls
    references = [weakref.ref(o) for o in (pre.context, pre.func_args["req"], post.func_ret)]
    del pre, post
    del recording.calls[:]

    assert [reference() for reference in references] == [None] * 3


def test_task_keeps_nothing_of_the_ended_invocation_that_started_the_task(
    recording, no_garbage_collector
):
    references, tasks = [], []

    @recording.timed
    async def start_task(req, context):
        tasks.append(asyncio.ensure_future(asyncio.sleep(60)))
        references.extend(weakref.ref(thing) for thing in (req, context))

    async def run():
        await start_task(req=Weak(), context=FakeContext())
        del recording.calls[:]
        alive = [reference() for reference in references]
        tasks[0].cancel()
        return alive

    assert asyncio.run(run()) == [None] * 2
