"""Test append_to_http_response, an option of the timer (the first half of the module)."""

import codecs
import copy
import subprocess
import sys
import types
from http import HTTPStatus

import pytest
from azure.functions import HttpResponse

from commands import host_environment
from conftest import concurrently, elapsed, invoke
from python_worker_extension_timer import TimerExtension

HELLO = "Hello, World"


@pytest.fixture(autouse=True)
def append_to_http_response(reset_extension):
    TimerExtension.configure(append_to_http_response=True)


def length_of(response):
    """Return the Content-Length of the response, which must have only one."""
    (value,) = [v for name, v in response.headers.items() if name.lower() == "content-length"]
    return int(value)


def test_the_logged_time_is_appended_to_the_body():
    response = HttpResponse(HELLO)

    _, message = invoke(response)

    assert response.get_body().decode() == f"{HELLO} (TimeElapsed: {elapsed(message)} sec)"


@pytest.mark.parametrize("headers", [None, {"X-Custom": "1"}])
def test_the_time_is_appended_to_an_empty_body(headers, clock):
    response = HttpResponse(headers=headers)

    invoke(response)

    assert response.get_body() == b" (TimeElapsed: 0.0 sec)"
    assert dict(response.headers) == dict(HttpResponse(headers=headers).headers)


@pytest.mark.parametrize("status", [200, "200", 201, 302, 404, 500, HTTPStatus.OK])
def test_the_time_is_appended_if_the_status_allows_a_longer_body(status):
    response = HttpResponse(HELLO, status_code=status)

    invoke(response)

    assert b"TimeElapsed" in response.get_body()


@pytest.mark.parametrize("status", [100, 199, 204, "204", 205, 206, 304, HTTPStatus.NO_CONTENT])
def test_nothing_is_appended_if_the_status_does_not_allow_a_longer_body(status):
    response = HttpResponse(HELLO, status_code=status)

    invoke(response)

    assert response.get_body() == HELLO.encode()


@pytest.mark.parametrize(
    "header",
    ["Content-Encoding", "Content-Range", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"],
)
@pytest.mark.parametrize("casing", [str, str.upper])
def test_nothing_is_appended_if_a_header_describes_the_body(header, casing):
    response = HttpResponse(HELLO, headers={casing(header): "value", "Content-Length": "12"})

    invoke(response)

    assert response.get_body() == HELLO.encode()
    assert response.headers["Content-Length"] == "12"


@pytest.mark.parametrize(
    "etag, is_strong", [('"v1"', True), ("v1", True), ('w/"v1"', True), ('W/"v1"', False)]
)
def test_a_strong_etag_prevents_appending_but_a_weak_etag_does_not(etag, is_strong):
    response = HttpResponse(HELLO, headers={"ETag": etag})

    invoke(response)

    assert (response.get_body() == HELLO.encode()) == is_strong


@pytest.mark.parametrize("length", ["1234", "many"])
def test_nothing_is_appended_to_a_response_to_head(length):
    # WSGI and ASGI frameworks respond to HEAD with the length of the body that GET would return.
    response = HttpResponse(headers={"Content-Length": length})

    invoke(response)

    assert response.get_body() == b""
    assert response.headers["Content-Length"] == length


@pytest.mark.parametrize("body, length", [("", "0"), (HELLO, "12"), (HELLO, "0"), (HELLO, "many")])
@pytest.mark.parametrize("casing", [str, str.lower, str.upper])
def test_a_content_length_that_the_app_set_is_corrected(body, length, casing):
    response = HttpResponse(body, headers={casing("Content-Length"): length})

    invoke(response)

    assert b"TimeElapsed" in response.get_body()
    assert length_of(response) == len(response.get_body())


CHARSETS = {
    "naïve": ["utf-8", "UTF8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp037"],
    "こんにちは": ["shift_jis", "iso2022_jp"],
    "": ["utf-8-sig", "utf-16"],
}


@pytest.mark.parametrize(
    "text, charset", [(t, charset) for t in CHARSETS for charset in CHARSETS[t]]
)
def test_the_time_is_appended_in_the_charset_of_the_response(text, charset, clock):
    response = HttpResponse(text, charset=charset)

    invoke(response)

    assert response.get_body().decode(charset) == f"{text} (TimeElapsed: 0.0 sec)"
    assert response.get_body().startswith("".encode(charset))  # the byte-order mark, if any


@pytest.mark.parametrize(
    "encoding, mark", [("utf-16-be", codecs.BOM_UTF16_BE), ("utf-16-le", codecs.BOM_UTF16_LE)]
)
def test_a_utf_16_body_of_either_byte_order_remains_readable(encoding, mark, clock):
    response = HttpResponse(mark + "naïve".encode(encoding), charset="utf-16")

    invoke(response)

    assert response.get_body().decode("utf-16") == "naïve (TimeElapsed: 0.0 sec)"


def test_the_charset_of_the_content_type_header_overrides_the_charset_of_the_response(clock):
    # If the function set this header, the worker ignores the mimetype and charset of the response.
    response = HttpResponse(
        "naïve".encode("utf-16"), headers={"Content-Type": 'text/plain; Charset="UTF-16"'}
    )

    invoke(response)

    assert response.get_body().decode("utf-16") == "naïve (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize(
    "charset, body",
    [
        ("no-such-charset", b"hello"),
        ("base64", b"hello"),
        ("utf-8\0", b"hello"),
        ("utf-16", b"\x00\xd8\x00"),
        ("ascii", b"\xff"),
    ],
)
def test_nothing_is_appended_if_the_charset_cannot_decode_the_body(charset, body, capsys):
    response = HttpResponse(body, charset=charset)

    messages = invoke(response)

    assert response.get_body() == body
    assert len(messages) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "utf8"])
def test_the_time_is_appended_to_any_bytes_if_the_charset_is_utf_8(charset, clock):
    response = HttpResponse(b"\x89PNG\xff", mimetype="image/png", charset=charset)

    invoke(response)

    assert response.get_body() == b"\x89PNG\xff (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "shift_jis"])
@pytest.mark.parametrize("text", [HELLO, ""])
def test_a_response_that_is_returned_repeatedly_shows_only_the_latest_time(charset, text, clock):
    length = str(len(text.encode(charset)))
    response = HttpResponse(text, charset=charset, headers={"Content-Length": length})

    for seconds in (1, 20, 3):
        invoke(response, clock=clock, seconds=seconds)

        assert response.get_body().decode(charset) == f"{text} (TimeElapsed: {seconds}.0 sec)"
        assert length_of(response) == len(response.get_body())


def set_body_like_the_tutorial(response, body):
    response._HttpResponse__body = body.encode(response.charset)
    return response


def initialize_again(response, body):
    response.__init__(body, charset=response.charset)
    return response


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
@pytest.mark.parametrize("set_body", [set_body_like_the_tutorial, initialize_again])
def test_the_time_is_appended_to_the_new_body_of_a_reused_response(set_body, charset, clock):
    length = str(len("v1".encode(charset)))
    response = HttpResponse("v1", charset=charset, headers={"Content-Length": length})
    invoke(response, clock=clock, seconds=1)

    response = set_body(response, "version 2")
    invoke(response, clock=clock, seconds=2)

    assert response.get_body().decode(charset) == "version 2 (TimeElapsed: 2.0 sec)"


def test_copies_of_a_response_share_headers_and_each_copy_shows_only_the_latest_time(clock):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    template = HttpResponse("v1", headers={"Content-Length": "2", "Server-Timing": "db;dur=53"})

    for seconds in (1, 20, 3):
        response = copy.copy(template)
        invoke(response, clock=clock, seconds=seconds)

        assert response.get_body().decode() == f"v1 (TimeElapsed: {seconds}.0 sec)"
        assert length_of(response) == len(response.get_body())
        timing = f"db;dur=53, HttpTrigger;dur={seconds}000.000"
        assert response.headers["Server-Timing"] == timing


def test_each_copy_of_an_empty_response_gets_the_content_length_of_its_own_body(clock):
    template = HttpResponse(headers={"Content-Length": "0"})

    for seconds in (1, 20, 3):
        response = copy.copy(template)
        invoke(response, clock=clock, seconds=seconds)

        assert response.get_body().decode() == f" (TimeElapsed: {seconds}.0 sec)"
        assert length_of(response) == len(response.get_body())
    assert length_of(template) == 0


class FixedBody(HttpResponse):
    def __setattr__(self, name, value):
        if hasattr(self, name):
            raise AttributeError(f"{name} can't be set")
        super().__setattr__(name, value)


class FixedHeaders(HttpResponse):
    class Headers(dict):
        def __setitem__(self, name, value):
            raise TypeError("these headers can't be changed")

    headers = Headers({"Content-Length": "12"})


@pytest.mark.parametrize("response_type", [FixedBody, FixedHeaders])
def test_body_and_content_length_change_together_or_not_at_all(response_type, capsys):
    response = response_type(HELLO, headers={"Content-Length": "12"})

    invoke(response)

    assert (response.get_body(), length_of(response)) == (HELLO.encode(), 12)
    assert "can't be " in capsys.readouterr().err


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_text_that_another_extension_appended_is_kept(charset, clock):
    response = HttpResponse(HELLO, charset=charset)
    invoke(response, clock=clock, seconds=1)
    text = response.get_body().decode(charset) + " [theirs]"
    set_body_like_the_tutorial(response, text)

    invoke(response, clock=clock, seconds=2)

    assert response.get_body().decode(charset) == f"{HELLO} [theirs] (TimeElapsed: 2.0 sec)"


def test_a_suffix_that_the_function_wrote_is_kept(clock):
    text = "from upstream (TimeElapsed: 1.0 sec)"
    response = HttpResponse(text)

    for _ in range(2):
        invoke(response, clock=clock, seconds=1)

    assert response.get_body().decode() == f"{text} (TimeElapsed: 1.0 sec)"


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_two_timers_show_separate_times_in_body_and_header(charset, empty_registry):
    class MyTimer(TimerExtension):
        pass

    timers = [TimerExtension, MyTimer]
    for timer in timers:
        timer.configure(append_to_http_response=True, server_timing_header=True)
    length = str(len(HELLO.encode(charset)))
    response = HttpResponse(HELLO, charset=charset, headers={"Content-Length": length})

    for _ in range(3):
        times = [elapsed(line) for line in invoke(response, timers=timers)[2:]]

        added = "".join(f" (TimeElapsed: {time} sec)" for time in times)
        assert response.get_body().decode(charset) == HELLO + added
        assert length_of(response) == len(response.get_body())
        entries = [f"HttpTrigger;dur={float(time) * 1000:.3f}" for time in times]
        assert response.headers["Server-Timing"] == ", ".join(entries)


def test_responses_that_sixteen_threads_return_at_the_same_time_stay_consistent(capsys):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    headers = {"Content-Length": "12", **{f"X-{number}": "1" for number in range(50)}}
    responses = [HttpResponse(HELLO, headers=headers) for _ in range(300)]

    concurrently(*[lambda: [invoke(response) for response in responses]] * 16)

    assert {response.get_body().count(b"TimeElapsed") for response in responses} == {1}
    assert {length_of(response) - len(response.get_body()) for response in responses} == {0}
    assert {r.headers["Server-Timing"].count("HttpTrigger") for r in responses} == {1}
    assert capsys.readouterr().err == ""


UNFINISHED_COROUTINE = """
import types
from azure.functions import HttpResponse
from python_worker_extension_timer import TimerExtension

@TimerExtension.timed
async def waits():
    await types.coroutine(lambda: (yield))()

unfinished = waits()
unfinished.send(None)
TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
response = HttpResponse("hello")
# The garbage collector may close the coroutine at any line, so do that while the lock is held.
Headers = type("Headers", (dict,), {"items": lambda self: unfinished.close() or ()})
response._HttpResponse__headers = Headers()
context = types.SimpleNamespace(function_name="f", invocation_id="1")
TimerExtension.pre_invocation_app_level(None, context)
TimerExtension.post_invocation_app_level(None, context, {}, response)
print(response.get_body())
"""


def test_a_coroutine_that_the_garbage_collector_closes_does_not_block_the_thread():
    command = [sys.executable, "-c", UNFINISHED_COROUTINE]

    printed = subprocess.check_output(command, env=host_environment(), timeout=60)

    assert printed.startswith(b"b'hello (TimeElapsed: ")


OTHER_FRAMEWORKS_RESPONSE = types.SimpleNamespace(status_code=200, headers={}, body=b"hello")


@pytest.mark.parametrize("func_ret", [None, "text", b"bytes", {"a": 1}, OTHER_FRAMEWORKS_RESPONSE])
def test_return_values_other_than_http_response_are_unchanged(func_ret, capsys):
    before = repr(func_ret)

    messages = invoke(func_ret)

    assert repr(func_ret) == before
    assert len(messages) == 2
    assert capsys.readouterr().err == ""
