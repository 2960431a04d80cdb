"""Test the timer with the 84 requests that were recorded on the Functions host.

The extension was also run with the recorded app on the Functions host; the results are the same.
"""

import re

import pytest

from conftest import needs_v2
from python_worker_extension_timer import TimerExtension
from recorded_requests import Result, each_request, load_app, recorded_result, send
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
        content_type = {"content-type": "text/plain; charset=utf-8"}
        expected = Result(200, content_type, CORRECTED[recorded["path"]], True)

    result = send(recorded, url)

    charset = "utf-16" if recorded["path"] == "/api/utf16" else "latin-1"
    text = re.sub(r" \(TimeElapsed: \S+ sec\)\Z", "", result.body.decode(charset))
    is_http_response = bool(expected.headers) and recorded["path"] != "/api/returns_text"
    assert ("server-timing" in result.headers) == is_http_response
    for headers in (result.headers, expected.headers):
        headers.pop("server-timing", None)
    assert text == expected.body.decode(charset)
    assert result._replace(body=expected.body) == expected
