"""Call the two hooks of an extension as the worker does. Use these tests as a model for your own.

Replace the `recording` fixture with your extension class.
"""

import azure.functions

from conftest import FakeContext, FakeLogger, call_post_hook, call_pre_hook, get


def test_both_hooks_get_the_logger_and_context_and_the_post_hook_gets_the_return_value(recording):
    context, logger = FakeContext("HttpTrigger"), FakeLogger()

    call_pre_hook(context, logger, recording)
    call_post_hook(context, "the return value", logger, recording)

    pre, post = recording.calls
    assert (pre.hook, pre.logger, pre.context) == ("pre", logger, context)
    assert (post.hook, post.logger, post.context) == ("post", logger, context)
    assert post.func_ret == "the return value"


def test_overlapping_invocations_have_separate_contexts(recording):
    first, second = FakeContext("first"), FakeContext("second")

    call_pre_hook(first, extension=recording)
    call_pre_hook(second, extension=recording)
    call_post_hook(first, extension=recording)
    call_post_hook(second, extension=recording)

    assert recording.called() == ["pre first", "pre second", "post first", "post second"]
    assert first.invocation_id != second.invocation_id


def test_sdk_registers_both_hooks_under_the_class_name(recording):
    hooks = azure.functions.ExtensionMeta.get_application_hooks()

    assert hooks.pre_invocation_app_level == [("Recording", recording.pre_invocation_app_level)]
    assert hooks.post_invocation_app_level == [("Recording", recording.post_invocation_app_level)]


def test_worker_calls_one_hook_before_and_one_after_the_function(
    recording, serve, worker_with_hooks
):
    def hello(req):
        return f"called after {recording.called()}"

    response = get(serve(hello) + "/api/hello")

    assert response.body == b"called after ['pre hello']"
    assert recording.called() == ["pre hello", "post hello"]
