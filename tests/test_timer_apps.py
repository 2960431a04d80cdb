"""What the two sample apps answer with the timer, by the local host and, where it is, func start."""

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from conftest import (
    APP_SETTING,
    APPS,
    PYTHON_WITH_HOOKS,
    get,
    host_environment,
    needs_v2,
    run_host,
    running_host,
)

GREETING = (
    "This HTTP triggered function executed successfully. Pass a name in the query string "
    "or in the request body for a personalized response."
)

both_apps = pytest.mark.parametrize("app", ["v1", pytest.param("v2", marks=needs_v2)])


@both_apps
def test_the_local_host_shows_the_greeting(app):
    result = run_host(APPS / app)

    assert "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\n" in result.stdout
    assert GREETING in result.stdout


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


@both_apps
def test_http_trigger_greets_the_name_of_the_query_or_of_a_json_body_else_asks_for_one(app):
    hello = b"Hello, Azure. This HTTP triggered function executed successfully."
    with running_host(APPS / app) as (_, url):
        url += "/api/HttpTrigger"
        assert get(url + "?name=Azure").body.startswith(hello)
        assert get(url, "POST", b'{"name": "Azure"}').body.startswith(hello)
        for body in (b"", b"no JSON", b"[]", b"{}"):
            assert get(url, "POST", body).body.startswith(GREETING.encode())


@both_apps
@pytest.mark.skipif(
    not shutil.which("func"), reason="Azure Functions Core Tools (func) are not on PATH"
)
def test_func_start_shows_the_same_answer(app):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    process = subprocess.Popen(
        [shutil.which("func"), "start", "--verbose", "--port", str(port)],
        cwd=str(APPS / app),
        env=host_environment(PATH=path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        answer, end = None, time.monotonic() + 120
        while answer is None and time.monotonic() < end and process.poll() is None:
            time.sleep(1)
            try:
                answer = get(f"http://localhost:{port}/api/HttpTrigger")
            except OSError:  # it does not listen yet
                pass
    finally:
        process.terminate()
        process.wait(30)

    assert answer is not None, "func start did not answer"
    assert answer.status == 200
    assert answer.body.startswith(GREETING.encode())
