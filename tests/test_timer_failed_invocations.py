"""The timer and invocations that raise: they get no post hook, so their starts stay behind."""

import logging
import threading
import tracemalloc
import types

from azure.functions import HttpResponse

from conftest import FakeContext, FakeLogger, at_once, elapsed, finish, get, start
from python_worker_extension_timer import TimerExtension


def fail(count: int) -> None:
    """As many invocations that raise: a pre hook, and a context that the worker lets go."""
    logger = types.SimpleNamespace(info=lambda message: None)
    for _ in range(count):
        start(FakeContext("f"), logger)


def test_a_million_of_them_leave_fewer_than_20_000_starts_and_the_running_one_has_its_own(clock):
    running, logger = FakeContext(), FakeLogger()
    start(running)
    clock.now += 9

    fail(1_000_000)
    finish(running, logger=logger)

    assert len(TimerExtension.start_timestamps) < 20_000
    assert logger.messages == ["Time taken to execute HttpTrigger is 9.0 sec"]


def test_fifty_thousand_of_them_hold_less_than_8_mib():
    tracemalloc.start()
    try:
        fail(50_000)
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


def test_a_context_that_takes_no_weak_reference_has_its_start_until_its_post_hook():
    fail(5000)
    context, logger = types.SimpleNamespace(function_name="f", invocation_id="1"), FakeLogger()

    start(context)
    fail(5000)
    finish(context, logger=logger)

    assert len(logger.messages) == 1
    assert "1" not in TimerExtension.start_timestamps


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
