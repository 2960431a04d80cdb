"""Tests of the module's second half: the warnings of configure() when the app starts."""

import linecache
import warnings

import azure.functions
import pytest

import stand_in_host
from conftest import APP_SETTING, WORKER_RUNTIME, both_ways, needs_v2, recording_extension
from python_worker_extension_timer import TimerExtension


@pytest.fixture
def configure(python, monkeypatch):
    """A function that calls configure() in a worker and returns the warnings as text."""

    def call(version, value, *args, **options):
        python(*version)
        monkeypatch.setenv(WORKER_RUNTIME, "python")
        if value is not None:
            monkeypatch.setenv(APP_SETTING, value)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            TimerExtension.configure(*args, **options)
        for warning in caught:
            line = linecache.getline(warning.filename, warning.lineno).strip()
            assert line == "TimerExtension.configure(*args, **options)"
        return [f"{warning.category.__name__}: {warning.message}" for warning in caught]

    return call


@pytest.mark.parametrize("value, shown", [(None, "missing"), ("", "missing"), ("0", "0")])
def test_warning_says_what_to_do_if_the_app_setting_is_off(value, shown, configure):
    assert configure((3, 11), value) == [
        "RuntimeWarning: TimerExtension has no effect so far: no app is passed, no function is "
        f"decorated, and the worker doesn't call it because the app setting {APP_SETTING} is "
        f"{shown}. In the v2 model, pass the app: TimerExtension.configure(app=app). Or decorate "
        f"functions with @TimerExtension.timed above this call; or set {APP_SETTING}=1."
    ]


def test_warning_says_what_to_do_on_python_3_13_and_later(configure):
    (warning,) = configure((3, 13), "1")

    assert "doesn't call it on Python 3.13 and later. In the v2 model, pass the app" in warning
    assert warning.endswith("decorate functions with @TimerExtension.timed above this call.")


CALLS_HOOKS = [
    *[((3, 9), value, True) for value in (None, "", "on", "1")],
    *[((3, 9), value, False) for value in ("0", "false", "f", "no", "n", " FALSE ")],
    *[((3, 12), value, True) for value in ("1", "true", "t", "yes", "y", " TRUE ")],
    *[((3, 12), value, False) for value in (None, "", "on", "0")],
    *[(version, None, False) for version in ((3, 8), (3, 10), (3, 13))],
]


@pytest.mark.parametrize("version, value, worker_calls_hooks", CALLS_HOOKS)
def test_configure_warns_unless_the_worker_calls_the_hooks(
    version, value, worker_calls_hooks, configure
):
    assert bool(configure(version, value)) is not worker_calls_hooks
    assert stand_in_host.worker_calls_hooks() is worker_calls_hooks


@both_ways
def test_configure_does_not_warn_if_the_app_is_passed_or_a_function_is_decorated(
    way, python, monkeypatch
):
    python(3, 13)
    monkeypatch.setenv(WORKER_RUNTIME, "python")
    recording_extension()  # Its hooks stay registered.

    for _ in range(2):
        way(TimerExtension, lambda req: None)  # in these tests, warnings are errors


def test_configure_warns_if_only_another_extension_decorates_a_function(configure):
    recording_extension().timed(lambda req: None)

    assert len(configure((3, 13), None)) == 1


def test_configure_does_not_warn_outside_a_worker(python):
    python(3, 13)

    TimerExtension.configure()


@needs_v2
@pytest.mark.parametrize("is_decorated", [False, True])
def test_configure_warns_once_if_an_earlier_call_passed_the_app_and_this_call_does_not(
    is_decorated, configure
):
    TimerExtension.configure(app=azure.functions.FunctionApp())
    if is_decorated:
        TimerExtension.timed(lambda req: None)

    assert configure((3, 11), "1") == [
        "RuntimeWarning: TimerExtension no longer has an effect on the app: an earlier "
        "TimerExtension.configure() call passed the app, and this call doesn't. Pass app=app in "
        "each call."
    ]
    assert configure((3, 11), "1") == []


def test_warning_about_unknown_arguments_lists_the_options_and_comes_first(configure):
    unknown, no_effect = configure((3, 13), None, "positional", misspelt=True)

    assert unknown == (
        "UserWarning: TimerExtension.configure() ignores 'positional', misspelt. Its options are "
        f"keyword arguments, such as app=app: {', '.join(TimerExtension.configure.__kwdefaults__)}."
    )
    assert no_effect.startswith("RuntimeWarning: ")
