"""Where no worker calls the hooks, a decorated function and one of a handed-over app have them."""

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

from conftest import APP_SETTING, WORKER_RUNTIME, at_once, call, either_way, get
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


class Greeter:
    def greet(self, req: func.HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


@either_way
@sync_and_async
def test_each_invocation_has_both_hooks_and_returns_what_the_function_returns(
    way, function, recording
):
    hooked = way(recording, function)

    responses = [call(hooked, req=None) for _ in range(3)]

    name = function.__name__
    assert recording.called() == [f"pre {name}", f"post {name}"] * 3
    assert [made.func_ret for made in recording.calls[1::2]] == responses
    assert responses[0].get_body() == b"hello"


@either_way
@pytest.mark.parametrize("version", [(3, 7), (3, 9), (3, 11), (3, 12)])
def test_where_the_app_setting_is_off_the_hooks_are_called_on_every_python(
    version, way, recording, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(WORKER_RUNTIME, "python")
    monkeypatch.setenv(APP_SETTING, "0")

    way(recording, hello)(req=None)

    assert recording.called() == ["pre hello", "post hello"]


@either_way
@pytest.mark.parametrize("version", [(3, 7), (3, 9), (3, 11), (3, 12)])
@sync_and_async
def test_where_the_worker_calls_the_hooks_the_function_stays_as_it_is(
    version, way, function, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    assert way(TimerExtension, function) is function


@either_way
def test_the_hooks_get_a_logger_whose_lines_are_user_logs_of_the_package(way, recording):
    way(recording, hello)(req=None)

    names = [made.logger.name for made in recording.calls]
    assert names == [TimerExtension.__module__] * 2


@either_way
def test_the_post_hook_is_called_at_the_end_of_an_async_function(way, recording):
    async def works(req):
        called = recording.called()
        await asyncio.sleep(0)
        return called, recording.called()

    assert call(way(recording, works), req=None) == (["pre works"], ["pre works"])
    assert recording.called() == ["pre works", "post works"]


@either_way
@pytest.mark.parametrize("function", [hello, hello_async, with_context, Greeter().greet])
def test_the_worker_takes_what_has_hooks_for_the_function_itself(way, function, recording):
    hooked = way(recording, function)

    assert hooked is not function
    assert inspect.isfunction(hooked)
    assert inspect.signature(hooked) == inspect.signature(function)
    assert typing.get_type_hints(hooked) == typing.get_type_hints(function)
    assert inspect.iscoroutinefunction(hooked) == inspect.iscoroutinefunction(function)
    assert inspect.getfile(hooked) == __file__
    assert inspect.getsource(hooked) == inspect.getsource(function)
    assert (hooked.__name__, hooked.__doc__) == (function.__name__, function.__doc__)


def test_type_hints_written_as_strings_are_read_where_the_function_stands():
    def later(req: "func.HttpRequest") -> "HttpResponse":
        return HttpResponse()

    hints = typing.get_type_hints(TimerExtension.timed(later))

    assert hints == {"req": func.HttpRequest, "return": HttpResponse}


def failing(error):
    def fails(req):
        raise error

    return fails


def failing_async(error):
    async def fails(req):
        raise error

    return fails


@either_way
@pytest.mark.parametrize(
    "make, error",
    [
        (failing, ValueError("mine")),
        (failing, StopIteration()),
        (failing, KeyboardInterrupt()),
        (failing_async, ValueError("mine")),
        (failing, asyncio.CancelledError()),
    ],
)
def test_after_a_function_that_raises_the_post_hook_is_called_and_the_exception_comes_through(
    way, make, error, recording
):
    hooked = way(recording, make(error))

    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            call(hooked, req=None)

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert recording.called() == ["pre fails", "post fails"] * 2
    assert recording.calls[1].func_ret is None


@pytest.mark.parametrize("make", [failing, failing_async])
def test_in_the_post_hook_exc_info_is_what_the_function_raised_if_it_did(
    make, recording, monkeypatch
):
    found, error = [], ValueError("mine")
    look = lambda *args: found.append(sys.exc_info()[1])  # noqa: E731
    monkeypatch.setattr(recording, "post_invocation_app_level", look)

    with pytest.raises(ValueError):
        call(recording.timed(make(error)), req=None)
    call(recording.timed(hello), req=None)

    assert found == [error, None]


def test_a_traceback_shows_the_function_in_its_own_file_behind_two_frames_of_the_hooks():
    hooked = TimerExtension.timed(failing(ValueError("mine")))

    with pytest.raises(ValueError) as caught:
        hooked(req=None)

    _, wrapper, in_extension, own = traceback.extract_tb(caught.value.__traceback__)
    assert (wrapper.name, wrapper.filename, wrapper.line) == (
        "wrapper",
        __file__,
        "def fails(req):",
    )
    assert in_extension.name == "call"
    assert (own.filename, own.line) == (__file__, "raise error")


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
@pytest.mark.parametrize("stderr_is", ["open", "closed", None])
def test_a_hook_that_raises_is_shown_on_stderr_and_does_not_fail_the_function(
    hook, stderr_is, recording, monkeypatch, capsys
):
    def raises(*args, **kwargs):
        raise RuntimeError("the author's own")

    stderr = io.StringIO()
    if stderr_is == "closed":
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr_is and stderr)
    monkeypatch.setattr(recording, hook, raises)
    hooked = recording.timed(hello)

    assert [hooked(req=None).get_body() for _ in range(2)] == [b"hello"] * 2
    assert len(recording.calls) == 2
    assert capsys.readouterr().out == ""
    if stderr_is == "open":
        assert stderr.getvalue().count("RuntimeError: the author's own") == 2


@pytest.mark.parametrize("hook", ["pre_invocation_app_level", "post_invocation_app_level"])
def test_after_a_hook_that_exits_the_next_invocation_has_its_hooks(hook, recording, monkeypatch):
    def exits(*args, **kwargs):
        raise SystemExit

    hooked = recording.timed(hello)
    with monkeypatch.context() as patch:
        patch.setattr(recording, hook, exits)
        with pytest.raises(SystemExit):
            hooked(req=None)
    del recording.calls[:]

    hooked(req=None)

    assert recording.called() == ["pre hello", "post hello"]


@either_way
def test_a_decorated_function_that_another_calls_is_part_of_its_invocation(way, recording):
    helper = recording.timed(hello)

    def outer(req):
        return helper(req=req)

    way(recording, outer)(req=None)
    helper(req=None)

    assert recording.called() == ["pre outer", "post outer", "pre hello", "post hello"]


def test_a_decorated_function_that_a_hook_calls_is_part_of_the_invocation(recording, monkeypatch):
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
    # As asyncio.to_thread does, from Python 3.9 on.
    run = functools.partial(contextvars.copy_context().run, asyncio.run, helper(*args))
    return asyncio.get_event_loop().run_in_executor(None, run)


@pytest.mark.parametrize("begin", [in_a_task, in_a_thread])
def test_what_a_function_starts_while_it_runs_is_part_of_it_also_where_it_ends_later(
    begin, recording
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
        started = begin(helper)
        await asyncio.wait_for(wait_for(helper_runs), 30)
        return started

    async def both():
        started = await outer()
        outer_has_ended.set()
        await started

    asyncio.run(both())

    assert recording.called() == ["pre outer", "post outer"]


def test_what_a_function_left_running_is_no_part_of_it_once_it_has_ended(recording):
    helper = recording.timed(hello_async)
    tasks = []

    async def later(ended):
        await ended.wait()
        await helper(req=None)

    @recording.timed
    async def starts(req):
        tasks.append(asyncio.ensure_future(later(req)))

    async def both():
        ended = asyncio.Event()
        await starts(req=ended)
        ended.set()
        await tasks[0]

    asyncio.run(both())

    ends = ["post starts", "pre hello_async", "post hello_async"]
    assert recording.called() == ["pre starts", *ends]


def test_invocations_on_sixteen_threads_each_have_both_hooks(recording):
    hooked = recording.timed(hello)

    at_once(*[lambda: [hooked(req=None) for _ in range(100)]] * 16)

    contexts = [made.context for made in recording.calls]
    assert sorted(recording.called()) == ["post hello"] * 1600 + ["pre hello"] * 1600
    assert len({context.invocation_id for context in contexts}) == 1600


def test_invocations_on_one_event_loop_each_have_both_hooks(recording):
    hooked = recording.timed(hello_async)

    async def overlapping():
        await asyncio.gather(*[hooked(req=None) for _ in range(100)])

    asyncio.run(overlapping())

    assert recording.called() == ["pre hello_async"] * 100 + ["post hello_async"] * 100


@either_way
@sync_and_async
def test_the_hooks_are_called_over_http(way, function, serve, recording):
    answer = get(f"{serve(way(recording, function))}/api/{function.__name__}")

    assert answer.body == b"hello"
    assert recording.called() == [f"pre {function.__name__}", f"post {function.__name__}"]
