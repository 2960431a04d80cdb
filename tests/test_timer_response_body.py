"""The timer's append_to_http_response: which bodies are lengthened, and how."""

import codecs
import copy
import io
import sys
import tracemalloc
from http import HTTPStatus
from unittest import mock

import pytest
from azure.functions import HttpResponse

from conftest import FakeContext, at_once, elapsed, finish, get, invoke, start
from local_host import HttpFunction
from python_worker_extension_timer import TimerExtension

HELLO = "Hello, World"


@pytest.fixture(autouse=True)
def append_to_http_response(extension):
    TimerExtension.configure(append_to_http_response=True)


def test_the_body_is_lengthened_by_the_very_number_that_is_logged():
    response = HttpResponse(HELLO)

    _, message = invoke(response)

    assert response.get_body().decode() == f"{HELLO} (TimeElapsed: {elapsed(message)} sec)"


def test_an_empty_body_becomes_the_elapsed_time(clock):
    response = HttpResponse()

    invoke(response)

    assert response.get_body() == b" (TimeElapsed: 0.0 sec)"


def test_an_empty_body_with_headers_that_say_nothing_of_its_length_does_so_too(clock):
    response = HttpResponse(headers={"X-Own": "1"})

    invoke(response)

    assert response.get_body() == b" (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize("status", [200, "200", 201, 302, 404, 500, HTTPStatus.OK])
def test_a_response_whose_status_allows_a_body_is_lengthened(status):
    response = HttpResponse(HELLO, status_code=status)

    invoke(response)

    assert b"TimeElapsed" in response.get_body()


@pytest.mark.parametrize("status", [100, 103, 199, 204, "204", 205, 304, HTTPStatus.NO_CONTENT])
def test_a_response_whose_status_allows_no_body_stays_as_it_is(status):
    response = HttpResponse(status_code=status)

    invoke(response)

    assert response.get_body() == b""
    assert dict(response.headers) == {}


@pytest.mark.parametrize(
    "header",
    ["Content-Encoding", "Content-Range", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"],
)
@pytest.mark.parametrize("casing", [str, str.lower, str.upper])
def test_a_body_that_a_header_describes_stays_as_it_is(header, casing):
    response = HttpResponse(HELLO, headers={casing(header): "as it is", "Content-Length": "12"})

    invoke(response)

    assert response.get_body() == HELLO.encode()
    assert response.headers["Content-Length"] == "12"


def test_a_part_of_a_body_stays_as_it_is():
    response = HttpResponse(HELLO, status_code=206)

    invoke(response)

    assert response.get_body() == HELLO.encode()


@pytest.mark.parametrize("etag", ['"v1"', "v1", 'w/"v1"'])
def test_a_body_whose_bytes_a_strong_etag_names_stays_as_it_is(etag):
    response = HttpResponse(HELLO, headers={"ETag": etag})

    invoke(response)

    assert response.get_body() == HELLO.encode()


def test_a_weak_etag_names_no_bytes(clock):
    response = HttpResponse(HELLO, headers={"ETag": 'W/"v1"'})

    invoke(response)

    assert response.get_body().decode() == f"{HELLO} (TimeElapsed: 0.0 sec)"
    assert response.headers["ETag"] == 'W/"v1"'


@pytest.mark.parametrize("length", ["1234", "many"])
def test_an_answer_to_head_stays_as_it_is(length):
    # As WSGI and ASGI frameworks answer HEAD: with the length of what GET would send.
    response = HttpResponse(headers={"Content-Length": length})

    invoke(response)

    assert response.get_body() == b""
    assert response.headers["Content-Length"] == length


@pytest.mark.parametrize("body, length", [("", "0"), (HELLO, "0"), (HELLO, "9"), (HELLO, "many")])
def test_any_other_response_gets_the_length_of_its_body_also_for_a_wrong_one(body, length, clock):
    response = HttpResponse(body, headers={"Content-Length": length})

    invoke(response)

    assert response.get_body().decode() == f"{body} (TimeElapsed: 0.0 sec)"
    assert response.headers["Content-Length"] == str(len(response.get_body()))


@pytest.mark.parametrize("header", ["Content-Length", "content-length", "CONTENT-LENGTH"])
def test_the_content_length_that_the_app_set_is_that_of_the_body_sent_and_stands_once(header):
    response = HttpResponse(HELLO, headers={header: "12"})

    invoke(response)

    lengths = [v for name, v in response.headers.items() if name.lower() == "content-length"]
    assert lengths == [str(len(response.get_body()))]


@pytest.mark.skipif(
    not hasattr(HttpResponse("").headers, "add"), reason="this SDK has one header of a name"
)
def test_a_content_length_that_the_app_set_twice_stands_once():
    response = HttpResponse(HELLO, headers={"Content-Length": "12"})
    response.headers.add("content-length", "12")

    invoke(response)

    lengths = [v for name, v in response.headers.items() if name.lower() == "content-length"]
    assert lengths == [str(len(response.get_body()))]


def test_no_content_length_is_added_where_the_app_set_none():
    response = HttpResponse(HELLO, headers={"X-Own": "1"})

    invoke(response)

    assert b"TimeElapsed" in response.get_body()
    assert [value for _, value in response.headers.items()] == ["1"]


@pytest.mark.parametrize(
    "charset, text",
    [
        ("utf-8", "naïve"),
        ("UTF8", "naïve"),
        ("utf-8-sig", "naïve"),
        ("utf-16", "naïve"),
        ("utf-16-le", "naïve"),
        ("utf-16-be", "naïve"),
        ("utf-32", "naïve"),
        ("latin-1", "naïve"),
        ("cp037", "naïve"),
        ("ascii", "naive"),
        ("shift_jis", "こんにちは"),
        ("iso2022_jp", "こんにちは"),
        ("euc-kr", "안녕하세요"),
        ("gb18030", "你好"),
    ],
)
def test_the_suffix_is_in_the_responses_own_charset(charset, text, clock):
    response = HttpResponse(text, charset=charset)

    invoke(response)

    assert response.get_body().decode(charset) == f"{text} (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["naïve", ""])
def test_a_byte_order_mark_stands_at_the_start_alone(charset, text):
    response = HttpResponse(text, charset=charset)

    invoke(response)

    assert "\ufeff" not in response.get_body().decode(charset)
    assert response.get_body().startswith("".encode(charset))


@pytest.mark.parametrize(
    "encoding, mark", [("utf-16-be", codecs.BOM_UTF16_BE), ("utf-16-le", codecs.BOM_UTF16_LE)]
)
def test_a_utf_16_body_of_either_byte_order_stays_readable(encoding, mark, clock):
    response = HttpResponse(mark + "naïve".encode(encoding), charset="utf-16")

    invoke(response)

    assert response.get_body().decode("utf-16") == "naïve (TimeElapsed: 0.0 sec)"


def test_the_charset_of_a_content_type_header_goes_before_the_responses_own(clock):
    # The worker sends the header, where the function set one, instead of mimetype and charset.
    response = HttpResponse(
        "naïve".encode("utf-16"), headers={"Content-Type": 'text/plain; Charset="UTF-16"'}
    )

    invoke(response)

    assert response.get_body().decode("utf-16") == "naïve (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize("charset", ["no-such-charset", "", "rot13", "base64", "utf-8\0"])
def test_a_body_of_unknown_charset_is_left_alone(charset, capsys):
    response = HttpResponse(HELLO.encode(), charset=charset)
    before = dict(vars(response))

    invoke(response)

    assert vars(response) == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "charset, body", [("utf-16", b"\x00\xd8\x00"), ("ascii", b"\xff"), ("euc-kr", b"\xff\xff")]
)
def test_a_body_that_is_not_text_in_its_charset_is_left_alone(charset, body, capsys):
    response = HttpResponse(body, charset=charset)

    invoke(response)

    assert response.get_body() == body
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "utf8"])
def test_a_utf_8_body_of_any_bytes_is_lengthened(charset, clock):
    response = HttpResponse(b"\x89PNG\xff", mimetype="image/png", charset=charset)

    invoke(response)

    assert response.get_body() == b"\x89PNG\xff (TimeElapsed: 0.0 sec)"


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "shift_jis"])
@pytest.mark.parametrize("text", [HELLO, ""])
def test_one_response_returned_again_and_again_shows_the_latest_time_alone(charset, text, clock):
    length = str(len(text.encode(charset)))
    response = HttpResponse(text, charset=charset, headers={"Content-Length": length})

    for seconds in (1, 20, 3):
        invoke(response, clock=clock, seconds=seconds)

        assert response.get_body().decode(charset) == f"{text} (TimeElapsed: {seconds}.0 sec)"
        assert response.headers["Content-Length"] == str(len(response.get_body()))


def in_the_tutorials_own_way(response, body):
    response._HttpResponse__body = body.encode(response.charset)
    return response


def made_anew(response, body):
    response.__init__(body, charset=response.charset)
    return response


def in_a_copy(response, body):
    return in_the_tutorials_own_way(copy.copy(response), body)


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
@pytest.mark.parametrize("set_body", [in_the_tutorials_own_way, made_anew, in_a_copy])
def test_a_response_returned_again_with_a_new_body_sends_the_new_one(set_body, charset, clock):
    response = HttpResponse("v1", charset=charset)
    invoke(response, clock=clock, seconds=1)

    response = set_body(response, "v2")
    invoke(response, clock=clock, seconds=2)

    assert response.get_body().decode(charset) == "v2 (TimeElapsed: 2.0 sec)"


def test_a_copy_of_a_response_that_was_returned_shows_its_own_time_alone(clock):
    template = HttpResponse("v1")
    invoke(template, clock=clock, seconds=1)

    response = copy.copy(template)
    invoke(response, clock=clock, seconds=2)

    assert response.get_body() == b"v1 (TimeElapsed: 2.0 sec)"
    assert template.get_body() == b"v1 (TimeElapsed: 1.0 sec)"


def test_copies_of_one_response_share_its_headers_and_each_goes_out_right(clock):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    template = HttpResponse("v1", headers={"Content-Length": "2", "Server-Timing": "db;dur=53"})

    for seconds in (1, 20, 3):
        response = copy.copy(template)
        invoke(response, clock=clock, seconds=seconds)

        assert response.get_body().decode() == f"v1 (TimeElapsed: {seconds}.0 sec)"
        assert response.headers["Content-Length"] == str(len(response.get_body()))
        timing = f"db;dur=53, HttpTrigger;dur={seconds}000.000"
        assert response.headers["Server-Timing"] == timing


def test_a_subclass_beside_it_keeps_its_own_time(clock, extensions):
    class MyTimer(TimerExtension):
        pass

    MyTimer.configure(append_to_http_response=True, server_timing_header=True)
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    response = HttpResponse(HELLO)

    for seconds in (1, 2):
        invoke(response, clock=clock, seconds=seconds, timers=[TimerExtension, MyTimer])

        suffix = f" (TimeElapsed: {seconds}.0 sec)"
        assert response.get_body().decode() == HELLO + suffix * 2
        entry = f"HttpTrigger;dur={seconds}000.000"
        assert response.headers["Server-Timing"] == f"{entry}, {entry}"


@pytest.mark.parametrize("body", ["v2", "version 2"])
def test_the_content_length_that_we_set_is_no_reason_to_leave_a_new_body_alone(body, clock):
    response = HttpResponse("v1", headers={"Content-Length": "2"})
    invoke(response, clock=clock, seconds=1)

    invoke(in_the_tutorials_own_way(response, body), clock=clock, seconds=2)

    assert response.get_body().decode() == f"{body} (TimeElapsed: 2.0 sec)"
    assert response.headers["Content-Length"] == str(len(response.get_body()))


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_what_another_extension_adds_to_the_body_stays(charset, clock):
    response = HttpResponse(HELLO, charset=charset)
    invoke(response, clock=clock, seconds=1)
    text = response.get_body().decode(charset) + " [theirs]"
    in_the_tutorials_own_way(response, text)

    invoke(response, clock=clock, seconds=2)

    assert response.get_body().decode(charset) == f"{HELLO} [theirs] (TimeElapsed: 2.0 sec)"


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_an_extension_made_out_of_this_one_keeps_its_own_time_beside_it(
    charset, clock, other_extension
):
    other_extension.perf_counter = lambda: clock.now * 10
    other_extension.TimerExtension.configure(append_to_http_response=True)
    length = str(len(HELLO.encode(charset)))
    response = HttpResponse(HELLO, charset=charset, headers={"Content-Length": length})

    for seconds in (1, 2, 3):
        both = [TimerExtension, other_extension.TimerExtension]
        invoke(response, clock=clock, seconds=seconds, timers=both)

        assert response.get_body().decode(charset) == (
            f"{HELLO} (TimeElapsed: {seconds}.0 sec) (TimeElapsed: {seconds}0.0 sec)"
        )
        assert response.headers["Content-Length"] == str(len(response.get_body()))


def test_a_large_body_is_held_once_and_copied_once_for_each_change(clock):
    size = 2**24
    response = HttpResponse(b"x" * size)
    tracemalloc.start()
    try:
        response._HttpResponse__body = b"y" * size
        # From the second return on the last suffix is taken out, which is a change of its own.
        for bound in (2.1, 3.1, 3.1):
            context = FakeContext()
            start(context)
            finish(context, response)
            held, peak = tracemalloc.get_traced_memory()

            assert held < 1.1 * size
            assert peak < bound * size
    finally:
        tracemalloc.stop()


def test_headers_that_refuse_the_length_leave_both_as_they_were(capsys):
    class Headers(dict):
        def __setitem__(self, name, value):
            raise RuntimeError("sent already")

    response = HttpResponse(HELLO)
    response._HttpResponse__headers = Headers({"Content-Length": "12"})

    messages = invoke(response)

    assert len(messages) == 2
    assert response.get_body() == HELLO.encode()
    assert response.headers == {"Content-Length": "12"}
    assert "RuntimeError: sent already" in capsys.readouterr().err


def test_nothing_of_ours_shows_in_what_a_response_has_in_public(clock):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    response = HttpResponse(HELLO, headers={"Content-Length": "12"})
    shown = {name for name in dir(response) + dir(response.headers) if name[0] != "_"}

    invoke(response)

    assert {name for name in dir(response) + dir(response.headers) if name[0] != "_"} == shown
    assert {name.lower() for name, _ in response.headers.items()} == {
        "content-length",
        "server-timing",
    }


@pytest.mark.parametrize("own", ["7.0", "1.0"], ids=["another number", "the very number"])
def test_a_suffix_that_the_function_wrote_itself_is_kept(own, clock):
    text = f"from upstream (TimeElapsed: {own} sec)"
    response = HttpResponse(text)

    invoke(response, clock=clock, seconds=1)
    invoke(response, clock=clock, seconds=2)

    assert response.get_body().decode() == f"{text} (TimeElapsed: 2.0 sec)"


def test_one_response_returned_on_sixteen_threads_at_once_never_grows():
    responses = [HttpResponse(HELLO, headers={"Content-Length": "12"}) for _ in range(500)]

    at_once(*[lambda: [invoke(response) for response in responses]] * 16)

    for response in responses:
        assert response.get_body().count(b"TimeElapsed") == 1
        assert response.headers["Content-Length"] == str(len(response.get_body()))


def test_one_response_returned_on_sixteen_threads_with_every_option_on_stays_whole():
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    headers = {f"X-{number}": "1" for number in range(50)}
    response = HttpResponse(HELLO, headers={"Content-Length": "12", **headers})
    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        at_once(*[lambda: [invoke(response) for _ in range(100)]] * 16)
        said = sys.stderr.getvalue()
    finally:
        sys.stderr = stderr

    assert said == ""
    assert response.get_body().count(b"TimeElapsed") == 1
    assert response.headers["Content-Length"] == str(len(response.get_body()))
    assert response.headers["Server-Timing"].count("HttpTrigger") == 1


@pytest.mark.parametrize("func_ret", [None, "text", b"bytes", 7, ["list"], {"a": 1}, object()])
def test_any_other_return_value_passes_through_untouched(func_ret, capsys):
    before = repr(func_ret)

    messages = invoke(func_ret)

    assert repr(func_ret) == before
    assert len(messages) == 2
    assert capsys.readouterr().err == ""


def test_a_response_of_another_framework_passes_through_untouched():
    class StreamingResponse:
        _HttpResponse__body = b"hello"

    response = StreamingResponse()

    invoke(response)

    assert vars(response) == {}


def test_without_the_option_the_response_stays_as_it_is():
    TimerExtension.configure()
    response = HttpResponse(HELLO)

    invoke(response)

    assert response.get_body() == HELLO.encode()


@pytest.mark.parametrize(
    "response",
    [
        mock.Mock(spec=HttpResponse),
        HttpResponse(HELLO, status_code="teapot"),
        HttpResponse(HELLO.encode(), charset=5),
        HttpResponse(HELLO, headers={"Content-Type": b"text/plain"}),
    ],
    ids=["a mock", "status is no number", "charset is no string", "a header of bytes"],
)
def test_no_hook_raises_whatever_the_response(response):
    messages = invoke(response)

    assert len(messages) == 2


def test_a_response_that_fails_is_shown_on_stderr_and_the_time_is_logged_all_the_same(capsys):
    class Broken(HttpResponse):
        @property
        def headers(self):
            raise RuntimeError("the stream is closed")

    messages = invoke(Broken())

    assert len(messages) == 2
    assert "RuntimeError: the stream is closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "response",
    [
        lambda: HttpResponse(status_code=204),
        lambda: HttpResponse(status_code=304, headers={"ETag": '"1"'}),
        lambda: HttpResponse("hello", headers={"content-length": "5"}),
        lambda: HttpResponse("naïve", charset="utf-16", headers={"Content-Length": "12"}),
        lambda: HttpResponse(
            b"\x1f\x8b", headers={"Content-Encoding": "gzip", "Content-Length": "2"}
        ),
    ],
    ids=["204", "304", "Content-Length", "UTF-16", "gzip"],
)
def test_with_every_option_on_no_response_is_refused(response, serve, hooks_on):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    expected = response()

    answer = get(serve(HttpFunction("f", lambda req: response(), "f")) + "/api/f")

    assert answer.status == expected.status_code
    assert "Server-Timing" in answer.headers
