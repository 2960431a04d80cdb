"""Invocations that raise: the worker calls no post hook for them, so their starts stay behind."""

import sys
import types

import pytest

from conftest import FakeContext, FakeLogger, at_once, elapsed, finish, start
from python_worker_extension_timer import TimerExtension

if sys.platform != "win32":
    import resource


def fail(count: int) -> None:
    """As many invocations that raise: a pre hook, and a context that the worker lets go."""
    logger = types.SimpleNamespace(info=lambda message: None)
    for _ in range(count):
        start(FakeContext(), logger)


def test_a_million_of_them_leave_fewer_than_20_000_starts_and_the_running_one_has_its_own(clock):
    running, logger = FakeContext(), FakeLogger()
    start(running)
    clock.now += 9

    fail(1_000_000)
    finish(running, logger=logger)

    assert len(TimerExtension.start_timestamps) < 20_000
    assert logger.messages == ["Time taken to execute HttpTrigger is 9.0 sec"]


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in KiB on Linux alone")
def test_two_hundred_thousand_of_them_grow_the_process_by_less_than_8_mib():
    fail(20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    fail(200_000)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


def test_no_invocation_that_still_runs_loses_its_start(clock):
    running = [FakeContext(f"f{number}") for number in range(12_000)]
    for context in running:
        start(context)

    fail(50_000)
    logger = FakeLogger()
    for context in running:
        finish(context, logger=logger)

    assert len(logger.messages) == 12_000


@pytest.mark.parametrize(
    "make_context", [FakeContext, types.SimpleNamespace], ids=["weakly referenced", "not"]
)
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


def test_what_is_kept_for_an_invocation_goes_with_its_post_hook():
    for _ in range(3):
        context = FakeContext()
        start(context)
        finish(context)

    assert TimerExtension.start_timestamps == {}
    assert TimerExtension._contexts == {}


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
