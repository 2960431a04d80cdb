"""The two hooks of an extension, driven as the worker drives them: a model for tests of your own."""

import azure.functions

from conftest import FakeContext, FakeLogger, finish, get, start


def test_each_hook_gets_the_logger_and_the_context_and_the_second_what_was_returned(recording):
    context, logger = FakeContext("HttpTrigger"), FakeLogger()

    start(context, logger, recording)
    finish(context, "what the function returned", logger, recording)

    pre, post = recording.calls
    assert (pre.hook, pre.logger, pre.context) == ("pre", logger, context)
    assert (post.hook, post.logger, post.context) == ("post", logger, context)
    assert post.func_ret == "what the function returned"


def test_of_invocations_that_overlap_each_has_a_context_of_its_own(recording):
    first, second = FakeContext("first"), FakeContext("second")

    for hook, context in ((start, first), (start, second), (finish, first), (finish, second)):
        hook(context, extension=recording)

    assert recording.called() == ["pre first", "pre second", "post first", "post second"]
    assert first.invocation_id != second.invocation_id


def test_the_sdk_registers_both_hooks_under_the_name_of_the_class(recording):
    hooks = azure.functions.ExtensionMeta.get_application_hooks()

    assert hooks.pre_invocation_app_level == [("Recording", recording.pre_invocation_app_level)]
    assert hooks.post_invocation_app_level == [("Recording", recording.post_invocation_app_level)]


def test_a_worker_that_calls_hooks_calls_both_around_the_function(recording, serve, hooks_on):
    def hello(req):
        return f"called after {recording.called()}"

    answer = get(serve(hello) + "/api/hello")

    assert answer.body == b"called after ['pre hello']"
    assert recording.called() == ["pre hello", "post hello"]
