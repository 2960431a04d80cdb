"""configure() of any extension says, in a worker that will not call its hooks, what to do."""

import itertools
import linecache
import warnings

import azure.functions
import pytest

import local_host
from conftest import APP_SETTING, WORKER_RUNTIME, needs_v2
from python_worker_extension_timer import TimerExtension

ON = ["1", "true", "t", "yes", "y", "TRUE", " Yes "]
OFF = ["0", "false", "f", "no", "n", "FALSE", " No "]
NEITHER = ["", "on", "2", "enabled"]

PYTHONS_WITH_THE_SETTING = [(3, 7), (3, 8), (3, 10), (3, 11), (3, 12)]
PYTHONS_WITHOUT_HOOKS = [(3, 13), (3, 14)]

HOOKS_RUN = [
    *itertools.product(PYTHONS_WITH_THE_SETTING, ON),
    *itertools.product([(3, 9)], [None, *ON, *NEITHER]),
]
HOOKS_DO_NOT_RUN = [
    *itertools.product(PYTHONS_WITH_THE_SETTING, [None, *OFF, *NEITHER]),
    *itertools.product([(3, 9)], OFF),
]
NO_HOOKS_ON_THIS_PYTHON = list(itertools.product(PYTHONS_WITHOUT_HOOKS, [None, *ON, *OFF]))


def configure_in(worker, version, value, python, monkeypatch, **options):
    """The warnings of one configure() call."""
    python(*version)
    if worker:
        monkeypatch.setenv(WORKER_RUNTIME, "python")
    if value is not None:
        monkeypatch.setenv(APP_SETTING, value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        TimerExtension.configure(**options)
    return caught


def line_of(warning):
    return linecache.getline(warning.filename, warning.lineno).strip()


@pytest.mark.parametrize("version, value", HOOKS_RUN)
def test_nothing_is_said_where_the_hooks_run(version, value, python, monkeypatch):
    assert configure_in(True, version, value, python, monkeypatch) == []
    assert local_host.worker_calls_hooks()


@pytest.mark.parametrize("version, value", HOOKS_DO_NOT_RUN)
def test_the_setting_to_make_is_named_where_it_is_missing_or_off(
    version, value, python, monkeypatch
):
    (warning,) = configure_in(True, version, value, python, monkeypatch)

    assert warning.category is RuntimeWarning
    assert f"set {APP_SETTING}=1" in str(warning.message)
    assert line_of(warning) == "TimerExtension.configure(**options)"
    assert not local_host.worker_calls_hooks()


@pytest.mark.parametrize("version, value", NO_HOOKS_ON_THIS_PYTHON)
def test_no_setting_is_named_on_python_3_13_and_later(version, value, python, monkeypatch):
    (warning,) = configure_in(True, version, value, python, monkeypatch)

    assert warning.category is RuntimeWarning
    assert "Python 3.13 and later" in str(warning.message)
    assert APP_SETTING not in str(warning.message)
    assert line_of(warning) == "TimerExtension.configure(**options)"
    assert not local_host.worker_calls_hooks()


@needs_v2
@pytest.mark.parametrize("version, value", HOOKS_DO_NOT_RUN + NO_HOOKS_ON_THIS_PYTHON)
def test_nothing_is_said_of_an_app_that_is_handed_over(version, value, python, monkeypatch):
    app = azure.functions.FunctionApp()

    assert configure_in(True, version, value, python, monkeypatch, app=app) == []


@pytest.mark.parametrize("version, value", HOOKS_DO_NOT_RUN + NO_HOOKS_ON_THIS_PYTHON)
def test_nothing_is_said_outside_a_worker(version, value, python, monkeypatch):
    assert configure_in(False, version, value, python, monkeypatch) == []


def test_an_app_is_told_once_however_many_of_its_modules_call_configure(python, monkeypatch):
    first = configure_in(True, (3, 11), None, python, monkeypatch)
    second = configure_in(True, (3, 11), None, python, monkeypatch)

    assert (len(first), len(second)) == (1, 0)


def test_an_app_whose_function_is_decorated_above_the_call_is_told_nothing(python, monkeypatch):
    python(3, 13)

    @TimerExtension.timed
    def main(req): ...

    assert configure_in(True, (3, 13), None, python, monkeypatch) == []


def test_one_whose_function_another_extension_decorates_is_told(python, monkeypatch, recording):
    python(3, 13)

    @recording.timed
    def main(req): ...

    assert len(configure_in(True, (3, 13), None, python, monkeypatch)) == 1


def test_one_whose_decorator_takes_no_function_is_told(python, monkeypatch):
    python(3, 13)
    with pytest.raises(TypeError):
        TimerExtension.timed("main")

    assert len(configure_in(True, (3, 13), None, python, monkeypatch)) == 1


def test_an_unknown_option_is_named_at_the_callers_line_and_told_first(python, monkeypatch):
    unknown, no_hooks = configure_in(True, (3, 13), None, python, monkeypatch, misspelt=True)

    assert (unknown.category, no_hooks.category) == (UserWarning, RuntimeWarning)
    assert "does not know misspelt" in str(unknown.message)
    assert line_of(unknown) == "TimerExtension.configure(**options)"


IN_EITHER_MODEL = (
    "hand over the app, TimerExtension.configure(app=app), or decorate v1 functions with "
    "@TimerExtension.timed, above this call"
)


@pytest.mark.parametrize("value, told", [(None, "missing"), ("", "missing"), ("0", "0")])
def test_the_warning_is_one_sentence_with_what_is_wrong_and_what_to_do(
    value, told, python, monkeypatch
):
    (warning,) = configure_in(True, (3, 11), value, python, monkeypatch)

    assert str(warning.message) == (
        "The worker calls no extension hooks since the app setting "
        f"PYTHON_ENABLE_WORKER_EXTENSIONS is {told}: set PYTHON_ENABLE_WORKER_EXTENSIONS=1, or "
        + IN_EITHER_MODEL
    )


def test_on_python_3_13_the_sentence_says_what_to_do_there(python, monkeypatch):
    (warning,) = configure_in(True, (3, 13), "1", python, monkeypatch)

    assert str(warning.message) == (
        f"The worker calls no extension hooks on Python 3.13 and later: {IN_EITHER_MODEL}"
    )
