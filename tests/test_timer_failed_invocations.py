"""Test which start times the timer (the first half of the module) keeps if functions raise.

If a function raises, the worker doesn't call the post hook, which would remove the start time.
"""

import tracemalloc
import types

from conftest import FakeContext, FakeLogger, call_post_hook, call_pre_hook, concurrently
from python_worker_extension_timer import TimerExtension

SILENT_LOGGER = types.SimpleNamespace(info=lambda message: None)


def fail(count):
    """Simulate ``count`` invocations that raise: call the pre hook, then drop the context."""
    for _ in range(count):
        call_pre_hook(FakeContext("f"), SILENT_LOGGER)


def succeed(count):
    """Simulate ``count`` invocations that return."""
    for _ in range(count):
        context = FakeContext()
        call_pre_hook(context, SILENT_LOGGER)
        call_post_hook(context, logger=SILENT_LOGGER)


def memory_growth(simulate, count):
    """Return by how many bytes ``simulate(count)`` increases the memory in use."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        simulate(count)
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_invocations_that_raise_leave_few_start_times_and_use_little_memory():
    growth = memory_growth(fail, 20_000)

    assert len(TimerExtension.start_timestamps) < 5000
    assert growth < 2 * 2**20


def test_running_invocations_keep_their_start_times_while_others_raise(clock):
    running = [FakeContext(f"f{number}") for number in range(6_000)]
    for context in running:
        call_pre_hook(context, SILENT_LOGGER)
    clock.now += 9

    fail(6_000)
    logger = FakeLogger()
    for context in running:
        call_post_hook(context, logger=logger)

    assert len(logger.messages) == 6_000
    assert logger.messages[-1] == "Time taken to execute f5999 is 9.0 sec"


def test_a_retry_keeps_its_start_time_when_the_context_of_the_failed_attempt_is_dropped(clock):
    logger = FakeLogger()
    fail(4_500)
    first = FakeContext(invocation_id="1")
    call_pre_hook(first, SILENT_LOGGER)
    clock.now += 1
    second = FakeContext(invocation_id="1")
    call_pre_hook(second, SILENT_LOGGER)
    clock.now += 2

    del first
    call_post_hook(second, logger=logger)

    assert logger.messages == ["Time taken to execute HttpTrigger is 2.0 sec"]


def test_invocations_that_return_do_not_increase_the_memory_in_use():
    fail(5_000)
    succeed(3_000)

    assert memory_growth(succeed, 3_000) < 2**15


def test_invocations_in_sixteen_threads_keep_their_start_times_while_others_raise():
    messages = []

    def run():
        for _ in range(20):
            context, logger = FakeContext(), FakeLogger()
            call_pre_hook(context, SILENT_LOGGER)
            fail(30)
            call_post_hook(context, logger=logger)
            messages.extend(logger.messages)

    concurrently(*[run] * 16)

    assert len(messages) == 320
    assert len(TimerExtension.start_timestamps) < 5000
