"""What the hooks of any extension get where no worker calls them: what the worker would give them."""

import asyncio
import copy
import gc
import threading
import weakref

import azure.functions as func
import pytest
from azure.functions import HttpResponse

import local_host
from conftest import APP_SETTING, FakeContext, call, get, needs_v2
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


def workers_context(function_name="HttpTrigger"):
    """The context that the worker hands to a function which takes it."""
    return local_host.Context(local_host.HttpFunction(function_name, hello, "", directory="/app"))


@pytest.mark.parametrize("function", [with_context, with_context_async], ids=["sync", "async"])
def test_both_hooks_get_the_arguments_by_name_and_the_post_hook_what_was_returned(
    function, recording
):
    req, context = object(), workers_context()

    response = call(recording.timed(function), req=req, context=context)

    pre, post = recording.calls
    assert pre.func_args == post.func_args == {"req": req, "context": context}
    assert post.func_ret is response


def test_the_arguments_are_the_very_dict_that_the_function_is_called_with(extensions):
    # A pre hook may replace an argument: the worker calls the function with what it left there.
    class Replacing(TimerExtension):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            func_args["req"] = "replaced"

    assert Replacing.timed(lambda req: req)(req="original") == "replaced"


def test_what_a_unit_test_passes_by_position_reaches_the_function_alone(recording):
    response = recording.timed(with_context)("by position", context=None)

    assert response.get_body() == b"hello"
    assert recording.calls[0].func_args == {"context": None}


def test_each_invocation_has_an_id_of_its_own(recording):
    decorated = recording.timed(with_context)
    context = workers_context()

    for _ in range(100):
        decorated(req=None, context=context)

    ids = {call.context.invocation_id for call in recording.calls}
    assert len(ids) == 100
    assert all(isinstance(invocation_id, str) for invocation_id in ids)
    assert context.invocation_id not in ids


ATTRIBUTES = ["function_directory", "trace_context", "retry_context", "thread_local_storage"]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_all_else_is_that_of_the_workers_context_where_the_function_takes_it(name, recording):
    context = workers_context()

    recording.timed(with_context)(req=None, context=context)

    pre, post = recording.calls
    assert getattr(pre.context, name) is getattr(post.context, name) is getattr(context, name)


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("context", [None, "an orchestration's, say"])
def test_where_it_does_not_take_it_an_attribute_error_says_why(name, context, recording):
    if context is None:
        recording.timed(hello)(req=None)
    else:
        recording.timed(with_context)(req=None, context=context)

    assert len(recording.calls) == 2
    for call_of_hook in recording.calls:
        with pytest.raises(AttributeError, match=f"^no {name}: the function does not take"):
            getattr(call_of_hook.context, name)


def test_what_the_workers_context_does_not_have_is_an_attribute_error_of_its_own(recording):
    recording.timed(with_context)(req=None, context=workers_context())

    with pytest.raises(AttributeError, match="'Context' object has no attribute 'no_such'"):
        recording.calls[0].context.no_such


@pytest.mark.parametrize("copied", [copy.copy, weakref.ref, hash, repr])
def test_a_hook_may_do_with_the_context_what_it_may_with_the_workers(copied, recording):
    recording.timed(hello)(req=None)

    assert copied(recording.calls[0].context)


@pytest.fixture
def leaving(extensions):
    """An extension that leaves something on the context, as OpenCensus's leaves its tracer."""

    class Leaving(TimerExtension):
        found = []

        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            context.tracer = "a tracer"

        @classmethod
        def post_invocation_app_level(cls, logger, context, *args, **kwargs):
            cls.found.append(context.tracer)

    return Leaving


def test_what_the_pre_hook_leaves_on_the_context_the_post_hook_finds(leaving):
    leaving.timed(hello)(req=None)

    assert leaving.found == ["a tracer"]


def test_the_function_finds_it_too_where_it_takes_the_workers_context(leaving):
    @leaving.timed
    def traced(req, context):
        return context.tracer

    assert traced(req=None, context=workers_context()) == "a tracer"
    assert leaving.found == ["a tracer"]


class Payload(dict):
    """Items as attributes, as many an app has them."""

    __getattr__ = dict.__getitem__


def test_an_argument_called_context_may_be_anything(recording):
    @recording.timed
    def activity(context):
        return context

    payload = Payload(number=1)

    assert activity(context=payload) is payload
    assert recording.calls.invocations() == ["activity"]


@needs_v2
def test_the_same_hook_source_does_the_same_as_where_the_worker_calls_it(
    extensions, serve, python, monkeypatch
):
    seen = []

    class Reading(func.AppExtensionBase):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            seen.append((func_args["req"].params["name"], context.function_directory))

        @classmethod
        def post_invocation_app_level(
            cls, logger, context, func_args=None, func_ret=None, *args, **kwargs
        ):
            seen.append((func_args["req"].params["name"], func_ret.get_body()))

    class ReadingWithoutWorker(TimerExtension):
        pre_invocation_app_level = Reading.pre_invocation_app_level
        post_invocation_app_level = Reading.post_invocation_app_level

    def ask(version, setting):
        python(*version)
        monkeypatch.setenv(APP_SETTING, setting)
        app = func.FunctionApp()
        app.route(route="hello")(with_context)
        ReadingWithoutWorker.configure(app=app)
        del seen[:]
        get(serve(*local_host.functions_of(app)) + "/api/hello?name=Azure")
        return seen[:]

    without_worker = ask((3, 13), "1")
    # The worker knows both classes, and calls the hooks of each.
    by_worker = ask((3, 11), "1")[::2]

    assert len(without_worker) == 2
    assert without_worker == by_worker


class Response(HttpResponse):
    """A response, which can be referred to weakly."""


class Request:
    """An argument that can be referred to weakly."""


def test_of_an_invocation_that_has_ended_its_thread_keeps_nothing(extensions):
    contexts = []

    class Weakly(TimerExtension):
        @classmethod
        def pre_invocation_app_level(cls, logger, context, *args, **kwargs):
            contexts.append(weakref.ref(context))

        @classmethod
        def post_invocation_app_level(cls, *args, **kwargs):
            pass

    decorated = Weakly.timed(lambda req, context: Response("hello"))
    request, context = Request(), workers_context()
    response = decorated(req=request, context=context)
    kept = [weakref.ref(thing) for thing in (request, context, response)] + contexts

    del request, context, response
    gc.collect()

    assert [reference() for reference in kept] == [None] * 4


def test_a_task_that_it_started_keeps_nothing_either(recording):
    kept, started = [], []

    @recording.timed
    async def starts(req, context):
        started.append(asyncio.ensure_future(asyncio.sleep(60)))
        response = Response("hello")
        kept.extend(weakref.ref(thing) for thing in (req, context, response))
        return response

    async def run():
        await starts(req=Request(), context=workers_context())
        assert recording.calls.invocations() == ["HttpTrigger"]
        kept.append(weakref.ref(recording.calls[0].context))
        del recording.calls[:]
        gc.collect()
        alive = [reference() for reference in kept]
        started[0].cancel()
        return alive

    assert asyncio.run(run()) == [None] * 4


def test_a_coroutine_that_is_dropped_ends_its_own_invocation_alone(recording):
    waits = recording.timed(wait_for_ever)
    helper = recording.timed(hello)

    @recording.timed
    async def outer(req):
        dropped.close()
        helper(req=None)

    async def begin():
        coroutine = waits(req=None)
        coroutine.send(None)
        return coroutine

    dropped = asyncio.run(begin())
    asyncio.run(outer(req=None))

    assert recording.calls.invocations() == ["wait_for_ever", "outer"]


async def wait_for_ever(req):
    await asyncio.sleep(0)


def test_threads_do_not_share_the_invocation_that_runs(recording):
    decorated = recording.timed(hello)

    @recording.timed
    def outer(req):
        thread = threading.Thread(target=decorated, kwargs={"req": None})
        thread.start()
        thread.join()

    outer(req=None)

    assert recording.calls.invocations() == ["hello", "outer"]


def test_the_workers_own_context_is_not_changed(recording):
    context = FakeContext("HttpTrigger", "its own id")
    before = dict(vars(context))

    recording.timed(with_context)(req=None, context=context)

    assert vars(context) == before
    assert recording.calls.invocations() == ["HttpTrigger"]
