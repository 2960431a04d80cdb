"""The two sample apps are what they are to be, and run with any extension."""

import json

import pytest

from conftest import APP_SETTING, APPS, needs_v2, run_host

both_apps = pytest.mark.parametrize("app", ["v1", pytest.param("v2", marks=needs_v2)])


@both_apps
def test_the_local_host_serves_each_function(app):
    result = run_host(APPS / app)

    assert result.returncode == 0
    assert "HTTP/1.1 200 OK\n" in result.stdout
    assert "HTTP/1.1 500" not in result.stdout


@both_apps
@pytest.mark.parametrize("setting", ["1", "0"])
def test_it_is_told_of_no_hook_that_will_not_run(app, setting):
    assert "RuntimeWarning" not in run_host(APPS / app, **{APP_SETTING: setting}).stderr


@both_apps
def test_its_files_are_those_that_func_init_and_func_new_lay_out(app):
    folder = APPS / app
    settings = json.loads((folder / "local.settings.json").read_text())

    assert settings["Values"]["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert settings["Values"][APP_SETTING] == "1"
    assert json.loads((folder / "host.json").read_text())["version"] == "2.0"
    assert "azure-functions" in (folder / "requirements.txt").read_text().split()
