"""The timer in the two sample apps: each function shows its time, on every Python."""

import pytest

from conftest import APP_SETTING, APPS, PYTHON_WITH_HOOKS, needs_v2, run_host

both_apps = pytest.mark.parametrize("app", ["v1", pytest.param("v2", marks=needs_v2)])


def functions_that_show_a_time(stdout):
    """The functions whose answer shows its elapsed time, by the paths that the host called."""
    answers = stdout.split("\nGET http://")[1:]
    return {answer.split()[0].rsplit("/", 1)[1] for answer in answers if "(TimeElapsed: " in answer}


@both_apps
@pytest.mark.parametrize("setting", ["1", "0"])
def test_each_function_shows_one_time_with_the_setting_on_or_off(app, setting):
    stdout = run_host(APPS / app, **{APP_SETTING: setting}).stdout

    functions = {"HttpTrigger"} if app == "v1" else {"HttpTrigger", "AsyncHttpTrigger"}
    assert functions_that_show_a_time(stdout) == functions
    assert stdout.count("(TimeElapsed: ") == len(functions)
    assert stdout.count("Time taken to execute ") == len(functions)
    assert ("azure_functions_worker" in stdout) == (PYTHON_WITH_HOOKS and setting == "1")


@both_apps
@pytest.mark.parametrize("setting", ["1", "0"])
def test_nothing_frightening_is_said_at_start(app, setting):
    assert run_host(APPS / app, **{APP_SETTING: setting}).stderr == ""
