"""The two sample apps: they run with any extension."""

import json

import pytest

from commands import run_host
from conftest import APP_SETTING, APPS, needs_v2

both_apps = pytest.mark.parametrize("app", ["v1", pytest.param("v2", marks=needs_v2)])


@both_apps
def test_a_sample_app_responds_without_a_warning(app):
    result = run_host(APPS / app)

    assert "RuntimeWarning" not in result.stderr
    assert "HTTP/1.1 200 OK\n" in result.stdout
    assert "HTTP/1.1 500" not in result.stdout


@both_apps
def test_a_sample_app_has_the_files_that_func_init_creates(app):
    settings = json.loads((APPS / app / "local.settings.json").read_text())["Values"]

    assert (settings["FUNCTIONS_WORKER_RUNTIME"], settings[APP_SETTING]) == ("python", "1")
    assert json.loads((APPS / app / "host.json").read_text())["version"] == "2.0"
    assert "azure-functions" in (APPS / app / "requirements.txt").read_text().splitlines()
