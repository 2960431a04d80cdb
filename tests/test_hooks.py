"""Any extension passes these tests. Use them as a model for the tests of what your hooks do."""

import pytest

from conftest import FakeContext, FakeLogger, both_ways, get
from python_worker_extension_timer import TimerExtension

called_by_the_worker = pytest.param(lambda extension, function: function, id="called_by_the_worker")


@pytest.mark.parametrize("way", [called_by_the_worker, *both_ways.args[1]])
def test_overlapping_requests_each_get_their_result(way, serve, worker_with_hooks, caplog, capsys):
    def hello(req):
        return "inner" if req.params else f"outer, {get(url + '?inner=1').body}"

    url = serve(way(TimerExtension, hello)) + "/api/hello"

    assert get(url).body == b"outer, b'inner'"
    assert capsys.readouterr().err + caplog.text == ""


@both_ways
def test_exception_that_the_function_raises_reaches_the_caller(way, capsys):
    with pytest.raises(ZeroDivisionError):
        way(TimerExtension, lambda req: 1 / req)(req=0)

    assert capsys.readouterr().err == ""


def test_hooks_take_a_minimal_context_and_arguments_that_a_future_worker_may_add():
    arguments = FakeLogger(), FakeContext(), {}

    TimerExtension.pre_invocation_app_level(*arguments, "new", new=True)
    TimerExtension.post_invocation_app_level(*arguments, None, "new", new=True)
