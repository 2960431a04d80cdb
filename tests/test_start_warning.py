"""Tests of the module's second half: the warnings of configure() when the app starts."""

import itertools
import linecache
import warnings

import azure.functions
import pytest

import stand_in_host
from conftest import APP_SETTING, WORKER_RUNTIME, needs_v2, recording_extension
from python_worker_extension_timer import TimerExtension

ON = ["1", "true", "t", "yes", "y", "TRUE", " Yes "]
OFF = ["0", "false", "f", "no", "n", "FALSE", " No "]
NEITHER = ["", "on", "2", "enabled"]

VERSIONS_OFF_BY_DEFAULT = [(3, 7), (3, 8), (3, 10), (3, 11), (3, 12)]

WORKER_CALLS_HOOKS = [
    *itertools.product(VERSIONS_OFF_BY_DEFAULT, ON),
    *itertools.product([(3, 9)], [None, *ON, *NEITHER]),
]
WORKER_DOES_NOT_CALL_HOOKS = [
    *itertools.product(VERSIONS_OFF_BY_DEFAULT, [None, *OFF, *NEITHER]),
    *itertools.product([(3, 9)], OFF),
    *itertools.product([(3, 13), (3, 14)], [None, *ON, *OFF]),
]


@pytest.fixture
def configure(python, monkeypatch):
    """A function that calls configure() in a worker and returns the warnings."""

    def call(version, value=None, *args, **options):
        python(*version)
        monkeypatch.setenv(WORKER_RUNTIME, "python")
        if value is not None:
            monkeypatch.setenv(APP_SETTING, value)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            TimerExtension.configure(*args, **options)
        return caught

    return call


def line_of(warning):
    return linecache.getline(warning.filename, warning.lineno).strip()


def main(req): ...


NAME = TimerExtension.__name__
ADVICE = (
    f"In the v2 model, pass the app: {NAME}.configure(app=app). Or, in either model, decorate "
    f"functions with @{NAME}.{TimerExtension.timed.__name__} above this call"
)


@pytest.mark.parametrize("value, shown", [(None, "missing"), ("", "missing"), ("0", "0")])
def test_warning_says_what_to_do_if_the_app_setting_is_off(value, shown, configure):
    (warning,) = configure((3, 11), value)

    assert str(warning.message) == (
        f"{NAME} has no effect so far: nothing calls its hooks. The worker doesn't, because the "
        f"app setting {APP_SETTING} is {shown}. {ADVICE}; or set {APP_SETTING}=1."
    )


def test_warning_says_what_to_do_on_python_3_13_and_later(configure):
    (warning,) = configure((3, 13), "1")

    assert str(warning.message) == (
        f"{NAME} has no effect so far: nothing calls its hooks. The worker doesn't, on Python 3.13 "
        f"and later. {ADVICE}."
    )


@pytest.mark.parametrize("version, value", WORKER_DOES_NOT_CALL_HOOKS)
def test_warning_points_to_the_configure_call_if_nothing_calls_the_hooks(version, value, configure):
    (warning,) = configure(version, value)

    assert warning.category is RuntimeWarning
    assert line_of(warning) == "TimerExtension.configure(*args, **options)"
    assert not stand_in_host.worker_calls_hooks()


@pytest.mark.parametrize("version, value", WORKER_CALLS_HOOKS)
def test_configure_does_not_warn_if_the_worker_calls_the_hooks(version, value, configure):
    assert configure(version, value) == []
    assert stand_in_host.worker_calls_hooks()


@needs_v2
@pytest.mark.parametrize("version", [(3, 9), (3, 11), (3, 13)])
def test_configure_does_not_warn_if_the_app_is_passed(version, configure):
    assert configure(version, "0", app=azure.functions.FunctionApp()) == []


def test_configure_does_not_warn_outside_a_worker(python):
    python(3, 13)

    TimerExtension.configure()  # in these tests, warnings are errors


def test_configure_does_not_warn_if_a_function_is_decorated_above_the_call(configure):
    TimerExtension.timed(main)

    assert configure((3, 13)) == []


def test_configure_warns_if_only_another_extension_decorates_a_function(configure):
    recording_extension().timed(main)

    assert len(configure((3, 13))) == 1


@needs_v2
@pytest.mark.parametrize("version, value", [((3, 11), "1"), ((3, 11), "0"), ((3, 13), None)])
@pytest.mark.parametrize("is_decorated", [False, True])
def test_configure_warns_once_if_an_earlier_call_passed_the_app_and_this_call_does_not(
    version, value, is_decorated, configure
):
    TimerExtension.configure(app=azure.functions.FunctionApp())
    if is_decorated:
        TimerExtension.timed(main)

    (warning,) = configure(version, value)

    assert str(warning.message) == (
        f"{NAME} no longer has an effect on the app: an earlier {NAME}.configure() call passed the "
        "app, and this call doesn't. Pass app=app in each call."
    )
    assert warning.category is RuntimeWarning
    assert line_of(warning) == "TimerExtension.configure(*args, **options)"
    assert configure(version, value) == []


def test_warning_about_unknown_arguments_points_to_the_configure_call_and_comes_first(configure):
    unknown, uncalled = configure((3, 13), None, "positional", misspelt=True)

    assert (unknown.category, uncalled.category) == (UserWarning, RuntimeWarning)
    assert str(unknown.message) == (
        f"{NAME}.configure() ignores 'positional', misspelt. Its options are keyword arguments, "
        f"such as app=app: {', '.join(TimerExtension.configure.__kwdefaults__)}."
    )
    assert "app" in TimerExtension.configure.__kwdefaults__
    assert line_of(unknown) == "TimerExtension.configure(*args, **options)"
