"""What the hooks get where no worker calls them: what the worker would give them, or says why not."""

import asyncio
import gc
import subprocess
import sys
import weakref
from unittest import mock

import pytest
from azure.functions import HttpResponse

from commands import host_environment
from conftest import FakeContext, call, either_way, recording_extension
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def no_hooks(extension, python):
    python(3, 13)


def hello(req):
    return HttpResponse("hello")


def with_context(req, context):
    return HttpResponse("hello")


async def with_context_async(req, context):
    return HttpResponse("hello")


@either_way
@pytest.mark.parametrize("function", [with_context, with_context_async], ids=["sync", "async"])
def test_both_hooks_get_the_arguments_by_name_and_the_post_hook_what_was_returned(
    way, function, recording
):
    req, context = object(), FakeContext()

    response = call(way(recording, function), req=req, context=context)

    pre, post = recording.calls
    assert pre.func_args == post.func_args == {"req": req, "context": context}
    assert post.func_ret is response


def test_the_function_gets_what_the_pre_hook_puts_in_the_place_of_an_argument(
    recording, monkeypatch
):
    replace = lambda logger, context, func_args: func_args.update(req="replaced")  # noqa: E731
    monkeypatch.setattr(recording, "pre_invocation_app_level", replace)

    assert recording.timed(lambda req: req)(req="original") == "replaced"


def test_what_a_unit_test_passes_by_position_reaches_the_function_alone(recording):
    response = recording.timed(with_context)("by position", context=None)

    assert response.get_body() == b"hello"
    assert recording.calls[0].func_args == {"context": None}


@either_way
@pytest.mark.parametrize("function", [with_context, with_context_async], ids=["sync", "async"])
def test_the_hooks_of_a_function_that_takes_the_workers_context_get_that_very_object(
    way, function, recording
):
    context = FakeContext("as the worker calls it")

    call(way(recording, function), req=None, context=context)

    assert [made.context for made in recording.calls] == [context, context]
    assert recording.called() == ["pre as the worker calls it", "post as the worker calls it"]


class Payload(dict):
    """Items as attributes, as many an app has them."""

    __getattr__ = dict.__getitem__


@either_way
@pytest.mark.parametrize(
    "argument",
    [
        "an orchestration's, say",
        None,
        Payload(number=1),
        mock.Mock(function_name="no text beside it"),
        mock.Mock(invocation_id="no text beside it"),
    ],
    ids=["text", "None", "payload", "a name alone", "an id alone"],
)
def test_an_argument_called_context_may_be_anything_else(way, argument, recording):
    def activity(context):
        return context

    assert way(recording, activity)(context=argument) is argument
    assert recording.called() == ["pre activity", "post activity"]
    assert argument not in [made.context for made in recording.calls]


@either_way
def test_the_hooks_of_a_function_that_takes_no_context_get_one_of_its_own_each_time(way, recording):
    hooked = way(recording, hello)

    for _ in range(100):
        hooked(req=None)

    assert all(made.context.function_name == "hello" for made in recording.calls)
    pre_ids = [made.context.invocation_id for made in recording.calls[::2]]
    post_ids = [made.context.invocation_id for made in recording.calls[1::2]]
    assert pre_ids == post_ids
    assert (
        len({invocation_id for invocation_id in pre_ids if isinstance(invocation_id, str)}) == 100
    )


def test_no_other_process_has_an_invocation_id_again():
    name = TimerExtension.__name__
    source = (
        f"from {TimerExtension.__module__} import {name}\n"
        f"{name}.pre_invocation_app_level = lambda log, context, *args: print(context.invocation_id)\n"
        f"{name}.timed(lambda req: None)(req=None)"
    )

    ids = {
        subprocess.check_output([sys.executable, "-c", source], env=host_environment())
        for _ in "12"
    }

    assert len(ids) == 2


def test_the_context_of_a_function_that_does_not_take_one_says_why_it_has_nothing_else(recording):
    recording.timed(hello)(req=None)

    with pytest.raises(AttributeError, match="^no trace_context: the function does not take the"):
        recording.calls[0].context.trace_context


@pytest.fixture
def leaving(recording, monkeypatch):
    """An extension that leaves something on the context, as OpenCensus's leaves its tracer."""

    def leave(logger, context, func_args):
        context.tracer = "a tracer"

    monkeypatch.setattr(recording, "pre_invocation_app_level", leave)
    return recording


@either_way
def test_what_the_pre_hook_leaves_on_the_context_the_post_hook_finds(way, leaving):
    way(leaving, hello)(req=None)

    assert leaving.calls[0].context.tracer == "a tracer"


@either_way
def test_what_the_pre_hook_leaves_on_the_workers_context_the_function_finds(way, leaving):
    def traced(req, context):
        return context.tracer

    assert way(leaving, traced)(req=None, context=FakeContext()) == "a tracer"


@pytest.mark.parametrize("function, is_one", [(hello, False), (with_context, True)])
def test_two_extensions_have_one_context_only_where_the_function_takes_it(
    function, is_one, recording
):
    other = recording_extension()
    arguments = {"req": None, "context": FakeContext()} if is_one else {"req": None}

    other.timed(recording.timed(function))(**arguments)

    assert (other.calls[0].context is recording.calls[0].context) == is_one


class Request:
    """An argument that can be referred to weakly."""


@pytest.fixture
def no_collector():
    """What is let go is let go at once, not when the garbage collector comes by."""
    gc.disable()
    yield
    gc.enable()


def test_of_an_invocation_that_has_ended_its_thread_keeps_nothing(recording, no_collector):
    recording.timed(hello)(req=Request())
    pre = recording.calls[0]
    kept = [weakref.ref(pre.context), weakref.ref(pre.func_args["req"])]
    del pre
    del recording.calls[:]

    assert [reference() for reference in kept] == [None] * 2


def test_of_an_invocation_that_has_ended_a_task_that_it_started_keeps_nothing(
    recording, no_collector
):
    kept, started = [], []

    @recording.timed
    async def starts(req, context):
        started.append(asyncio.ensure_future(asyncio.sleep(60)))
        kept.extend(weakref.ref(thing) for thing in (req, context))

    async def begin():
        await starts(req=Request(), context=FakeContext())
        del recording.calls[:]
        alive = [reference() for reference in kept]
        started[0].cancel()
        return alive

    assert asyncio.run(begin()) == [None] * 2
