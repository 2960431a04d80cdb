"""Test which start times the timer (the first half of the module) keeps if functions raise.

If a function raises, the worker doesn't call the post hook, which would remove the start time.
"""

import tracemalloc
import types

from conftest import FakeContext, FakeLogger, call_post_hook, call_pre_hook
from python_worker_extension_timer import TimerExtension

SILENT_LOGGER = types.SimpleNamespace(info=lambda message: None)


def fail(count):
    """Simulate ``count`` invocations that raise: call the pre hook, then drop the context."""
    for _ in range(count):
        call_pre_hook(FakeContext("f"), SILENT_LOGGER)


def test_invocations_that_raise_leave_few_start_times_and_use_little_memory():
    tracemalloc.start()
    try:
        fail(20_000)
        memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(TimerExtension.start_timestamps) < 5000
    assert memory < 2 * 2**20


def test_running_invocations_keep_their_start_times_while_others_raise(clock):
    running, logger = [FakeContext() for _ in range(6_000)], FakeLogger()
    running.append(types.SimpleNamespace(function_name="last", invocation_id="1"))  # no weakrefs
    for context in running:
        call_pre_hook(context, SILENT_LOGGER)
    clock.now += 9

    fail(6_000)
    for context in running:
        call_post_hook(context, logger=logger)

    assert len(logger.messages) == 6_001
    assert logger.messages[-1] == "Time taken to execute last is 9.0 sec"


def test_a_retry_keeps_its_start_time_when_the_context_of_the_failed_attempt_is_dropped(clock):
    fail(4_500)
    first, second = FakeContext(invocation_id="1"), FakeContext(invocation_id="1")
    logger = FakeLogger()
    call_pre_hook(first, SILENT_LOGGER)
    clock.now += 1
    call_pre_hook(second, SILENT_LOGGER)
    clock.now += 2

    del first
    call_post_hook(second, logger=logger)

    assert logger.messages == ["Time taken to execute HttpTrigger is 2.0 sec"]
