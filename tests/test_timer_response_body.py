"""Test append_to_http_response, an option of the timer (the first half of the module)."""

import codecs
import copy
import subprocess
import sys
import threading
import types

import pytest
from azure.functions import HttpResponse

from commands import host_environment
from conftest import elapsed, invoke
from python_worker_extension_timer import TimerExtension

HELLO = "Hello, World"
ONE, TWO = " (TimeElapsed: 1.0 sec)", " (TimeElapsed: 2.0 sec)"


@pytest.fixture(autouse=True)
def append_to_http_response(reset_extension):
    TimerExtension.configure(append_to_http_response=True)


def length_of(response):
    """Return the Content-Length of the response, which must have only one."""
    (value,) = [v for name, v in response.headers.items() if name.lower() == "content-length"]
    return int(value)


@pytest.mark.parametrize("body", [HELLO, ""])
def test_the_logged_time_is_appended_to_the_body(body):
    response = HttpResponse(body)

    _, message = invoke(response)

    assert response.get_body().decode() == f"{body} (TimeElapsed: {elapsed(message)} sec)"
    assert dict(response.headers) == {}


@pytest.mark.parametrize(
    "keywords",
    [{"status_code": 302}, {"status_code": 404}, {"headers": {"ETag": 'W/"v1"'}}],
    ids=["redirect", "error", "weak ETag"],
)
def test_the_time_is_appended_if_status_and_headers_allow_a_longer_body(keywords, clock):
    response = HttpResponse(HELLO, **keywords)

    invoke(response)

    assert response.get_body().decode() == f"{HELLO} (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize("status", [100, 199, 204, "204", 205, 206, 304])
def test_nothing_is_appended_if_the_status_does_not_allow_a_longer_body(status):
    response = HttpResponse(HELLO, status_code=status)

    invoke(response)

    assert response.get_body() == HELLO.encode()


@pytest.mark.parametrize(
    "header",
    "Content-Encoding Content-Range Content-MD5 Digest Content-Digest Repr-Digest ETag".split(),
)
def test_nothing_is_appended_if_a_header_describes_the_exact_bytes_of_the_body(header):
    response = HttpResponse(HELLO, headers={header: '"value"', "Content-Length": "12"})

    invoke(response)

    assert response.get_body() == HELLO.encode()
    assert length_of(response) == 12


def test_nothing_is_appended_to_a_response_to_head():
    # WSGI and ASGI frameworks respond to HEAD with the length of the body that GET would return.
    response = HttpResponse(headers={"Content-Length": "1234"})

    invoke(response)

    assert response.get_body() == b""
    assert length_of(response) == 1234


@pytest.mark.parametrize("header", ["Content-Length", "content-length"])
@pytest.mark.parametrize("body, length", [("", "0"), (HELLO, "12"), (HELLO, "many")])
def test_a_content_length_that_the_app_set_is_corrected(body, length, header):
    response = HttpResponse(body, headers={header: length})

    invoke(response)

    assert b"TimeElapsed" in response.get_body()
    assert length_of(response) == len(response.get_body())


class FixedBody(HttpResponse):
    def __setattr__(self, name, value):
        if hasattr(self, name):
            raise AttributeError(f"{name} can't be set again")
        super().__setattr__(name, value)


class FixedHeaders(HttpResponse):
    headers = types.MappingProxyType({"Content-Length": "12"})


@pytest.mark.parametrize("response_type", [FixedBody, FixedHeaders])
def test_body_and_content_length_change_together_or_not_at_all(response_type, capsys):
    response = response_type(HELLO, headers={"Content-Length": "12"})

    invoke(response)

    assert (response.get_body(), length_of(response)) == (HELLO.encode(), 12)
    assert capsys.readouterr().err.startswith("Traceback ")


@pytest.mark.parametrize(
    "body, charset",
    [
        ("naïve".encode("latin-1"), "latin-1"),
        ("naïve".encode("utf-8-sig"), "utf-8-sig"),
        ("naïve".encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + "naïve".encode("utf-16-be"), "utf-16"),
        (b"", "utf-16"),
        ("こんにちは".encode("iso2022_jp"), "iso2022_jp"),
    ],
)
def test_the_time_is_appended_in_the_charset_of_the_response(body, charset, clock):
    response = HttpResponse(body, charset=charset)

    invoke(response)

    text = body.decode(charset) + " (TimeElapsed: 0.0 sec)"
    assert response.get_body() == text.encode(charset)


def test_the_charset_of_the_content_type_header_overrides_the_charset_of_the_response(clock):
    # If the function set this header, the worker ignores the mimetype and charset of the response.
    headers = {"Content-Type": 'text/plain; Charset="UTF-16"'}
    response = HttpResponse("naïve".encode("utf-16"), headers=headers)

    invoke(response)

    assert response.get_body().decode("utf-16") == "naïve (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize("charset", ["utf-8", "UTF8"])
def test_the_time_is_appended_to_any_bytes_if_the_charset_is_utf_8(charset, clock):
    response = HttpResponse(b"\x89PNG\xff", mimetype="image/png", charset=charset)

    invoke(response)

    assert response.get_body() == b"\x89PNG\xff (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize("charset", ["no-such-charset", "base64", "ascii"])
def test_nothing_is_appended_if_the_charset_cannot_decode_the_body(charset, capsys):
    response = HttpResponse(b"\xff", charset=charset)

    invoke(response)

    assert response.get_body() == b"\xff"
    assert capsys.readouterr().err == ""


@pytest.fixture
def timers(empty_registry):
    """Three timers: the second has the name of the first, and the module of the third."""
    namesake, mine = (type(name, (TimerExtension,), {}) for name in ("TimerExtension", "Mine"))
    return [TimerExtension, namesake, mine]


@pytest.mark.parametrize("count", [1, 3], ids=["one timer", "three timers"])
@pytest.mark.parametrize("reuse", [lambda response: response, copy.copy], ids=["itself", "a copy"])
@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
@pytest.mark.parametrize("text", [HELLO, ""])
def test_a_response_that_is_returned_repeatedly_shows_only_the_latest_time_of_each_timer(
    text, charset, reuse, count, timers, clock
):
    for timer in timers[:count]:
        timer.configure(append_to_http_response=True, server_timing_header=True)
    headers = {"Content-Length": str(len(text.encode(charset))), "Server-Timing": "db;dur=53"}
    template = HttpResponse(text, charset=charset, headers=headers)

    for seconds in (1, 20, 3):
        response = reuse(template)  # a copy shares the headers, but not the body
        invoke(response, clock=clock, seconds=seconds, timers=timers[:count])

        suffixes = f" (TimeElapsed: {seconds}.0 sec)" * count
        assert response.get_body().decode(charset) == text + suffixes
        assert length_of(response) == len(response.get_body())
        entries = f", HttpTrigger;dur={seconds}000.000" * count
        assert response.headers["Server-Timing"] == "db;dur=53" + entries


@pytest.mark.parametrize(
    "changed, expected",
    [
        ("Version 2", "Version 2" + TWO),
        (HELLO + ONE + " [theirs]", HELLO + " [theirs]" + TWO),
        (HELLO + ONE + ONE, HELLO + ONE + TWO),
    ],
    ids=["new body", "text of another extension", "suffix of the function"],
)
@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_only_the_time_that_the_timer_appended_is_removed_from_a_changed_body(
    charset, changed, expected, clock
):
    response = HttpResponse(HELLO, charset=charset)
    invoke(response, clock=clock, seconds=1)
    response._HttpResponse__body = changed.encode(charset)  # as other extensions do

    invoke(response, clock=clock, seconds=2)

    assert response.get_body().decode(charset) == expected


@pytest.mark.parametrize(
    "option, shown", [("append_to_http_response", "TimeElapsed"), ("server_timing_header", "dur=")]
)
def test_two_timers_that_change_a_response_at_the_same_time_keep_each_others_part(
    option, shown, timers
):
    one, other = timers[:2]

    class Headers(dict):
        """Headers during whose first reading the other timer runs, unless that timer waits."""

        def items(self):
            items = list(super().items())
            if not thread.ident:
                thread.start()
                thread.join(0.5)
            return items

    response = HttpResponse(HELLO)
    response._HttpResponse__headers = Headers()
    for timer in (one, other):
        timer.configure(**{option: True})
    thread = threading.Thread(target=invoke, args=[response], kwargs={"timers": [other]})

    invoke(response, timers=[one])

    thread.join()
    assert f"{response.get_body()} {response.headers}".count(shown) == 2


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


@pytest.mark.parametrize("func_ret", [None, "text", OTHER_FRAMEWORKS_RESPONSE])
def test_return_values_other_than_http_response_are_unchanged(func_ret, capsys):
    before = repr(func_ret)

    invoke(func_ret)

    assert repr(func_ret) == before
    assert capsys.readouterr().err == ""
