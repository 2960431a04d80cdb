"""What the two sample apps answer with the timer."""

import re
import sys

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
def test_each_function_shows_one_time_with_the_setting_on_or_off(app, setting):
    result = run_host(APPS / app, **{APP_SETTING: setting})

    answers = re.findall(r"\nGET http://\S+/(\w+)\n.*?\(TimeElapsed: ", result.stdout, re.DOTALL)
    assert answers == (["HttpTrigger"] if app == "v1" else ["HttpTrigger", "AsyncHttpTrigger"])
    assert result.stdout.count("(TimeElapsed: ") == len(answers)
    assert result.stdout.count("Time taken to execute ") == len(answers)
    by_worker = sys.version_info < (3, 13) and setting == "1"
    assert ("azure_functions_worker" in result.stdout) == by_worker
    assert result.stderr == ""


@both_apps
def test_http_trigger_greets_the_name_of_the_query_or_of_a_json_body_else_asks_for_one(app):
    hello = b"Hello, Azure. This HTTP triggered function executed successfully."
    with running_host(APPS / app) as (_, url):
        url += "/api/HttpTrigger"
        assert get(url + "?name=Azure").body.startswith(hello)
        assert get(url, "POST", b'{"name": "Azure"}').body.startswith(hello)
        for body in (b"", b"no JSON", b"[]", b"{}"):
            assert get(url, "POST", body).body.startswith(GREETING.encode())
