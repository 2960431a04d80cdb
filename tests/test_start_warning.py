"""configure() says at the line of its call what has no effect: an option, or hooks that none calls."""

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

HOOKS_RUN = [
    *itertools.product(PYTHONS_WITH_THE_SETTING, ON),
    *itertools.product([(3, 9)], [None, *ON, *NEITHER]),
]
HOOKS_DO_NOT_RUN = [
    *itertools.product(PYTHONS_WITH_THE_SETTING, [None, *OFF, *NEITHER]),
    *itertools.product([(3, 9)], OFF),
    *itertools.product([(3, 13), (3, 14)], [None, *ON, *OFF]),
]


@pytest.fixture
def configure(python, monkeypatch):
    """The warnings of one configure() call, in a worker."""

    def call(version, value=None, **options):
        python(*version)
        monkeypatch.setenv(WORKER_RUNTIME, "python")
        if value is not None:
            monkeypatch.setenv(APP_SETTING, value)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            TimerExtension.configure(**options)
        return caught

    return call


def line_of(warning):
    return linecache.getline(warning.filename, warning.lineno).strip()


ADVICE = (
    f"hand over the app, {TimerExtension.__name__}.configure(app=app), or decorate v1 functions "
    f"with @{TimerExtension.__name__}.{TimerExtension.timed.__name__}, above this call"
)


@pytest.mark.parametrize("value, told", [(None, "missing"), ("", "missing"), ("0", "0")])
def test_where_the_app_setting_is_off_the_warning_says_to_set_it_or_what_else_to_do(
    value, told, configure
):
    (warning,) = configure((3, 11), value)

    assert str(warning.message) == (
        f"The worker calls no extension hooks since the app setting {APP_SETTING} is {told}: "
        f"set {APP_SETTING}=1, or {ADVICE}"
    )


def test_on_python_3_13_and_later_the_warning_says_what_to_do_there(configure):
    (warning,) = configure((3, 13), "1")

    assert str(warning.message) == (
        f"The worker calls no extension hooks on Python 3.13 and later: {ADVICE}"
    )


@pytest.mark.parametrize("version, value", HOOKS_DO_NOT_RUN)
def test_a_worker_that_calls_no_hooks_is_warned_of_at_the_line_of_the_call(
    version, value, configure
):
    (warning,) = configure(version, value)

    assert warning.category is RuntimeWarning
    assert line_of(warning) == "TimerExtension.configure(**options)"
    assert not local_host.worker_calls_hooks()


@pytest.mark.parametrize("version, value", HOOKS_RUN)
def test_nothing_is_said_where_the_worker_calls_the_hooks(version, value, configure):
    assert configure(version, value) == []
    assert local_host.worker_calls_hooks()


@needs_v2
@pytest.mark.parametrize("version", [(3, 9), (3, 11), (3, 13)])
def test_nothing_is_said_of_an_app_that_is_handed_over(version, configure):
    assert configure(version, "0", app=azure.functions.FunctionApp()) == []


@pytest.mark.parametrize("version", [(3, 9), (3, 11), (3, 13)])
def test_nothing_is_said_outside_a_worker(version, python):
    python(*version)

    TimerExtension.configure()  # the tests make every warning an error


def test_an_app_is_told_once_however_many_of_its_modules_call_configure(configure):
    first, second = configure((3, 11)), configure((3, 11))

    assert (len(first), len(second)) == (1, 0)


def test_an_app_whose_function_is_decorated_above_the_call_is_told_nothing(python, configure):
    python(3, 13)

    @TimerExtension.timed
    def main(req): ...

    assert configure((3, 13)) == []


def test_an_app_whose_function_another_extension_decorates_is_told(python, configure, recording):
    python(3, 13)

    @recording.timed
    def main(req): ...

    assert len(configure((3, 13))) == 1


def test_an_unknown_option_is_named_at_the_line_of_the_call_before_all_else(configure):
    unknown, no_hooks = configure((3, 13), None, misspelt=True)

    assert (unknown.category, no_hooks.category) == (UserWarning, RuntimeWarning)
    said = str(unknown.message)
    assert said.startswith(f"{TimerExtension.__name__}.configure() does not know misspelt, only ")
    assert "app=" in said
    assert line_of(unknown) == "TimerExtension.configure(**options)"
