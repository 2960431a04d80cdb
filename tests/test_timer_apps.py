"""Test the timer (the first half of the module) in the two sample apps."""

import re

import pytest

from commands import run_host, running_host
from conftest import APP_SETTING, APPS, get, needs_v2

GREETING = (
    "This HTTP triggered function executed successfully. Pass a name in the query string "
    "or in the request body for a personalized response."
)

both_apps = pytest.mark.parametrize("app", ["v1", pytest.param("v2", marks=needs_v2)])


@both_apps
@pytest.mark.parametrize("setting", ["1", "0"])
def test_each_response_shows_the_time_once_whether_the_app_setting_is_on_or_off(app, setting):
    result = run_host(APPS / app, **{APP_SETTING: setting})

    functions = re.findall(r"\nGET http://\S+/(\w+)\n.*?\(TimeElapsed: ", result.stdout, re.DOTALL)
    assert functions == (["HttpTrigger"] if app == "v1" else ["AsyncHttpTrigger", "HttpTrigger"])
    assert result.stdout.count("(TimeElapsed: ") == len(functions)
    assert result.stdout.count("Time taken to execute ") == len(functions)
    assert "azure_functions_worker" not in result.stdout
    assert result.stderr == ""


@both_apps
def test_http_trigger_greets_the_caller_by_name_or_asks_for_a_name(app):
    hello = b"Hello, Azure. This HTTP triggered function executed successfully."
    with running_host(APPS / app) as (_, url, _):
        url += "/api/HttpTrigger"
        assert get(url + "?name=Azure").body.startswith(hello)
        assert get(url, "POST", b'{"name": "Azure"}').body.startswith(hello)
        for body in (b"", b"no JSON", b"[]", b"{}"):
            assert get(url, "POST", body).body.startswith(GREETING.encode())
