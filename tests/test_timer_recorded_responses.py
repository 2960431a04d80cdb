"""The timer: it changes no more of 84 responses than it should. The real Functions host agrees."""

import re

import pytest

from conftest import needs_v2
from python_worker_extension_timer import TimerExtension
from recorded_requests import each_request, load_app, recorded_result, send
from stand_in_host import StandInHost, functions_of

pytestmark = needs_v2


@pytest.fixture(scope="module")
def app():
    return load_app()


@pytest.fixture(scope="module")
def url(app):
    TimerExtension.configure(app=app)
    with StandInHost(functions_of(app)) as host:
        yield host.url


# The app's Content-Length is wrong: too short, or not a number. The extension corrects the value.
CORRECTED = {"/api/short_content_length": b"abc", "/api/no_number_as_content_length": b"a"}


@each_request
def test_the_extension_adds_only_the_time_to_the_recorded_response(recorded, app, url):
    TimerExtension.configure(app=app, append_to_http_response=True, server_timing_header=True)
    expected = recorded_result(recorded)
    if recorded["path"] in CORRECTED:
        headers = {"content-type": "text/plain; charset=utf-8"}
        expected = expected._replace(
            status=200, headers=headers, body=CORRECTED[recorded["path"]], keeps_connection=True
        )

    result = send(recorded, url)

    charset = "utf-16" if recorded["path"] == "/api/utf16" else "latin-1"
    text = re.sub(r" \(TimeElapsed: \S+ sec\)\Z", "", result.body.decode(charset))
    for headers in (result.headers, expected.headers):
        headers.pop("server-timing", None)
    assert text == expected.body.decode(charset)
    assert result._replace(body=expected.body) == expected
