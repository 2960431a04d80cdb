"""The timer and invocations that raise: they get no post hook, so their starts stay behind."""

import tracemalloc
import types

from conftest import FakeContext, FakeLogger, at_once, finish, start
from python_worker_extension_timer import TimerExtension

SILENT = types.SimpleNamespace(info=lambda message: None)


def fail(count):
    """As many invocations that raise: a pre hook, and a context that the worker lets go."""
    for _ in range(count):
        start(FakeContext("f"), SILENT)


def held_by(work, count):
    """The bytes that are held after so much work, more than before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work(count)
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_any_number_of_invocations_that_raise_leaves_few_starts_and_little_memory():
    held = held_by(fail, 20_000)

    assert len(TimerExtension.start_timestamps) < 5000
    assert held < 2 * 2**20


def test_no_invocation_that_still_runs_loses_its_start(clock):
    running = [FakeContext(f"f{number}") for number in range(6_000)]
    for context in running:
        start(context, SILENT)
    clock.now += 9

    fail(6_000)
    logger = FakeLogger()
    for context in running:
        finish(context, logger=logger)

    assert len(logger.messages) == 6_000
    assert logger.messages[-1] == "Time taken to execute f5999 is 9.0 sec"


def test_what_is_kept_for_an_invocation_that_returns_goes_with_it():
    def succeed(count):
        for _ in range(count):
            context = FakeContext()
            start(context, SILENT)
            finish(context, logger=SILENT)

    fail(5_000)
    succeed(3_000)

    assert held_by(succeed, 3_000) < 2**15


def test_on_sixteen_threads_no_invocation_that_raises_takes_the_start_of_another():
    finished = []

    def hammer():
        for _ in range(20):
            context, logger = FakeContext(), FakeLogger()
            start(context, SILENT)
            fail(30)
            finish(context, logger=logger)
            finished.extend(logger.messages)

    at_once(*[hammer] * 16)

    assert len(finished) == 320
    assert len(TimerExtension.start_timestamps) < 5000
