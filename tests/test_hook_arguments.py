"""Tests of the module's second half: the arguments of the hooks.

The hooks get the arguments that the worker would pass. If the function doesn't take the worker's
context, the hooks get a minimal context instead.
"""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import weakref
from unittest import mock

import pytest
from azure.functions import HttpResponse

from commands import host_environment
from conftest import FakeContext, both_ways, call


def hello(req):
    return HttpResponse("hello")


def with_context(req, context):
    return HttpResponse("hello")


async def with_context_async(req, context):
    return HttpResponse("hello")


@both_ways
@pytest.mark.parametrize("function", [with_context, with_context_async], ids=["sync", "async"])
def test_hooks_get_exactly_the_arguments_that_the_worker_passes_and_a_logger_for_user_logs(
    way, function, recording, monkeypatch
):
    pre, post = mock.Mock(), mock.Mock()
    monkeypatch.setattr(recording, "pre_invocation_app_level", pre)
    monkeypatch.setattr(recording, "post_invocation_app_level", post)
    func_args = {"req": object(), "context": FakeContext()}

    try:
        raise ValueError("The caller handles this exception: it is no failure of the function.")
    except ValueError:
        response = call(way(recording, function), **func_args)

    logger = logging.getLogger("python_worker_extension_timer")
    pre.assert_called_once_with(logger, func_args["context"], func_args)
    post.assert_called_once_with(logger, func_args["context"], func_args, response)


def test_pre_hook_can_replace_an_argument_of_the_function(recording, monkeypatch):
    def replace(logger, context, func_args):
        func_args["req"] = "replaced"

    monkeypatch.setattr(recording, "pre_invocation_app_level", replace)

    assert recording.timed(lambda req: req)(req="original") == "replaced"


def test_positional_arguments_of_a_unit_test_reach_the_function_but_not_the_hooks(recording):
    response = recording.timed(with_context)("positional", context=None)

    assert response.get_body() == b"hello"
    assert recording.calls[0].func_args == {"context": None}


class AttributeDict(dict):
    """A dict whose items are also attributes. Many apps define such a class."""

    __getattr__ = dict.__getitem__


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
def test_argument_called_context_need_not_be_the_workers_context(argument, recording):
    @recording.timed
    def activity(context):
        return context

    assert activity(context=argument) is argument
    assert recording.called() == ["pre activity", "post activity"]
    assert argument not in [hook_call.context for hook_call in recording.calls]


@both_ways
def test_each_invocation_has_a_new_context_if_the_function_takes_none(way, recording):
    wrapper = way(recording, hello)

    for _ in range(2):
        wrapper(req=None)

    pre, post, next_pre, _ = [hook_call.context for hook_call in recording.calls]
    assert pre is post
    assert pre.function_name == "hello"
    assert isinstance(pre.invocation_id, str)
    assert pre.invocation_id != next_pre.invocation_id


def test_post_hook_finds_an_attribute_that_the_pre_hook_set_on_the_context(recording, monkeypatch):
    def set_tracer(logger, context, func_args):
        context.tracer = "a tracer"

    monkeypatch.setattr(recording, "pre_invocation_app_level", set_tracer)

    recording.timed(hello)(req=None)

    assert recording.calls[0].context.tracer == "a tracer"


def test_error_for_a_missing_attribute_of_the_context_says_how_to_get_the_attribute(recording):
    recording.timed(hello)(req=None)

    with pytest.raises(AttributeError) as caught:
        recording.calls[0].context.trace_context

    assert str(caught.value) == (
        "this context has no trace_context; add a context parameter to the function to get the "
        "worker's context"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork()")
def test_a_forked_process_creates_other_invocation_ids():
    source = (
        "import os; from python_worker_extension_timer import TimerExtension\n"
        "hook = lambda _, context, *args: os.write(1, f'{context.invocation_id}\\n'.encode())\n"
        "TimerExtension.pre_invocation_app_level = hook\n"
        "os.fork()\n"
        "TimerExtension.timed(lambda req: None)(req=None)"
    )

    printed = subprocess.check_output([sys.executable, "-c", source], env=host_environment())

    assert len(set(printed.split())) == 2


class Weak:
    """Something that can be weakly referenced."""


@pytest.fixture
def no_garbage_collector():
    """Turn the garbage collector off, so that only reference counting frees objects."""
    gc.disable()
    yield
    gc.enable()


def test_task_that_an_invocation_started_keeps_nothing_of_the_invocation_after_its_end(
    recording, no_garbage_collector
):
    tasks = []

    @recording.timed
    async def start_task(req):
        tasks.append(asyncio.ensure_future(asyncio.sleep(60)))
        return Weak()

    async def objects_alive_after_the_end():
        await start_task(req=Weak())
        pre, post = recording.calls
        references = [weakref.ref(o) for o in (pre.context, pre.func_args["req"], post.func_ret)]
        del pre, post, recording.calls[:]
        alive = [reference() for reference in references]
        tasks[0].cancel()
        return alive

    assert asyncio.run(objects_alive_after_the_end()) == [None] * 3
