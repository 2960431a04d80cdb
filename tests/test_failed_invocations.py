"""Invocations that raise: the worker calls no post hook for them, so their starts stay behind."""

import logging
import threading
import tracemalloc
import types
import uuid
from typing import Callable

import pytest
from azure.functions import HttpResponse

from conftest import FakeContext, FakeLogger, at_once, elapsed, finish, get, start
from python_worker_extension_timer import TimerExtension


def fail(count: int, make_context: Callable[..., object] = FakeContext) -> None:
    """As many invocations that raise: a pre hook, and a context that the worker lets go."""
    logger = types.SimpleNamespace(info=lambda message: None)
    for _ in range(count):
        start(make_context(function_name="f", invocation_id=str(uuid.uuid4())), logger)


weakly_referenced_or_not = pytest.mark.parametrize(
    "make_context", [FakeContext, types.SimpleNamespace], ids=["weakly referenced", "not"]
)


def test_a_million_of_them_leave_fewer_than_20_000_starts_and_the_running_one_has_its_own(clock):
    running, logger = FakeContext(), FakeLogger()
    start(running)
    clock.now += 9

    fail(1_000_000)
    finish(running, logger=logger)

    assert len(TimerExtension.start_timestamps) < 20_000
    assert logger.messages == ["Time taken to execute HttpTrigger is 9.0 sec"]


@weakly_referenced_or_not
def test_fifty_thousand_of_them_hold_less_than_8_mib(make_context):
    tracemalloc.start()
    try:
        fail(50_000, make_context)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 8 * 2**20
    assert len(TimerExtension.start_timestamps) < 20_000


def test_no_invocation_that_still_runs_loses_its_start(clock):
    running = [FakeContext(f"f{number}") for number in range(12_000)]
    for context in running:
        start(context)

    fail(50_000)
    logger = FakeLogger()
    for context in running:
        finish(context, logger=logger)

    assert len(logger.messages) == 12_000


@weakly_referenced_or_not
def test_a_thousand_pending_invocations_whose_context_the_worker_dropped_keep_their_starts(
    make_context,
):
    def context(number: int) -> object:
        return make_context(function_name="f", invocation_id=str(number))

    fail(20_000)
    for number in range(1000):
        start(context(number))
    fail(3000)
    logger = FakeLogger()
    for number in range(1000):
        finish(context(number), logger=logger)

    assert len(logger.messages) == 1000


def test_what_is_kept_for_an_invocation_goes_with_it():
    def succeed(count):
        for _ in range(count):
            context = FakeContext()
            start(context)
            finish(context)

    fail(10_000)
    tracemalloc.start()
    try:
        succeed(10_000)
        before, _ = tracemalloc.get_traced_memory()
        succeed(10_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 2**15


def test_starts_of_invocations_that_ended_do_not_take_the_place_of_pending_ones():
    fail(4000)
    pending = FakeContext(invocation_id="pending")
    start(pending)
    del pending
    for _ in range(10_000):
        context = FakeContext()
        start(context)
        finish(context)
    logger = FakeLogger()

    finish(FakeContext(invocation_id="pending"), logger=logger)

    assert len(logger.messages) == 1


def test_sixteen_threads_some_raising_never_lose_the_start_of_another():
    finished = []

    def hammer() -> None:
        for _ in range(100):
            context, logger = FakeContext(), FakeLogger()
            start(context)
            fail(30)
            finish(context, logger=logger)
            finished.append(elapsed(logger.messages[0]))

    at_once(*[hammer] * 16)

    assert len(finished) == 1600
    assert len(TimerExtension.start_timestamps) < 20_000


def test_a_thousand_invocations_that_raise_over_http_leave_few_starts(
    serve, hooks_on, monkeypatch, caplog
):
    monkeypatch.setattr("python_worker_extension_timer._UNWATCHED_STARTS", 50)
    monkeypatch.setattr("python_worker_extension_timer._GONE_STARTS_KEPT", 50)
    caplog.set_level(logging.CRITICAL)  # what caplog keeps holds the context
    running, done = threading.Event(), threading.Event()

    def waits(req):
        running.set()
        done.wait(30)
        return HttpResponse("hello")

    def fails(req):
        raise ValueError("mine")

    TimerExtension.configure(append_to_http_response=True)
    url = serve(waits, fails)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(get(url + "/api/waits")))
    waiting.start()
    running.wait(30)

    at_once(*[lambda: [get(url + "/api/fails") for _ in range(125)]] * 8)
    left = len(TimerExtension.start_timestamps)
    done.set()
    waiting.join()

    assert left < 200
    assert b"TimeElapsed" in answers[0].body
