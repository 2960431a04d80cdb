"""The stand-in host as a web server: it takes requests and responds as the Functions host does."""

import json
import logging
import re

import pytest
from azure.functions import HttpResponse

import stand_in_host
from conftest import exchange, get, needs_v2
from recorded_requests import each_request, load_app, recorded_result, send
from stand_in_host import HttpFunction, StandInHost


@pytest.fixture(scope="module")
def recorded_app_url():
    with StandInHost(stand_in_host.functions_of(load_app())) as host:
        yield host.url


@needs_v2
@each_request
def test_the_response_is_the_one_recorded_on_the_functions_host(recorded, recorded_app_url):
    assert send(recorded, recorded_app_url) == recorded_result(recorded)


def returning(func_ret, route="f", **fields):
    """Return a function of an app that returns ``func_ret``."""
    return HttpFunction("f", lambda req: func_ret, route, **fields)


HELLO = returning("hello", route="hello")


def test_a_function_that_returns_neither_a_response_nor_text_is_reported(serve, caplog):
    assert get(serve(returning(None)) + "/api/f").status == 500
    assert "a function returned NoneType, not HttpResponse or str" in caplog.text


@pytest.mark.parametrize(
    "route, path, params",
    [
        ("a.b", "/api/aXb", None),
        ("items/{id?}", "/api/items", {}),
        ("items/{id:int?}", "/api/items/7", {"id": "7"}),
        ("items/{item-id}-{part}", "/api/items/7-b", {"item-id": "7", "part": "b"}),
        ("files/{**path}", "/api/files/a/b", {"path": "a/b"}),
        (r"{id:regex(^\d{{3}}$)}/x", "/api/123/x", {"id": "123"}),
    ],
)
def test_a_route_template_matches_paths_and_extracts_parameters(route, path, params, serve):
    show = HttpFunction("f", lambda req: json.dumps(dict(req.route_params)), route)

    response = get(serve(show) + path)

    assert response.body.decode() == (json.dumps(params) if params is not None else "")


@pytest.mark.parametrize(
    "route, message",
    [
        ("items/{id", "cannot read route '/api/items/{id' of function f"),
        ("items/{id/x}", "cannot read route '/api/items/{id/x}' of function f"),
        ("{id}/{Id}", "route '/api/{id}/{Id}' of function f has a parameter twice"),
    ],
)
def test_the_host_does_not_start_with_an_invalid_route_template(route, message):
    with pytest.raises(stand_in_host.StartError, match=f"^{re.escape(message)}$"):
        StandInHost([returning("f", route)])


def test_the_function_whose_name_comes_first_is_called_if_several_routes_match(serve):
    first = HttpFunction("a", lambda req: "a", "items/{id}")
    second = HttpFunction("B", lambda req: "B", "items/one")

    assert get(serve(second, first) + "/api/items/one").body == b"a"


def test_an_empty_route_prefix_serves_functions_at_the_root_of_the_url():
    with StandInHost([returning("f")], prefix="") as host:
        assert get(host.url + "/f").status == 200


LENGTH_5, GZIP = {"Content-Length": "5"}, {"Transfer-Encoding": "gzip"}
GET = b"GET /api/%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "method, version, response, framing, keeps_connection",
    [
        ("GET", "1.1", HttpResponse("hello"), ("chunked", None), True),
        ("GET", "1.0", HttpResponse("hello"), (None, "5"), False),
        ("GET", "1.1", HttpResponse("a", headers={"Content-Length": "1"}), (None, "1"), True),
        ("GET", "1.1", HttpResponse("a", headers=GZIP), ("chunked", None), True),
        ("GET", "1.1", HttpResponse(), (None, "0"), True),
        ("GET", "1.1", HttpResponse(status_code=103), (None, "0"), False),
        ("GET", "1.1", HttpResponse(status_code=204), (None, None), True),
        ("GET", "1.1", HttpResponse(status_code=304), (None, None), True),
        ("GET", "1.1", HttpResponse(status_code=304, headers=LENGTH_5), (None, "5"), True),
        ("HEAD", "1.1", HttpResponse("hello"), (None, None), True),
        ("HEAD", "1.1", HttpResponse(headers=LENGTH_5), (None, "5"), True),
        ("HEAD", "1.1", HttpResponse("long body", headers=LENGTH_5), (None, None), False),
        ("HEAD", "1.1", HttpResponse("a", status_code=204), (None, None), True),
    ],
)
def test_the_request_and_the_response_determine_the_framing_and_the_end_of_the_connection(
    method, version, response, framing, keeps_connection, serve
):
    request = f"{method} /api/f HTTP/{version}\r\nHost: a\r\n\r\n".encode()

    first, second = exchange(serve(returning(response)), request, request)

    assert (first.headers["Transfer-Encoding"], first.headers["Content-Length"]) == framing
    assert first.headers["Date"]
    assert (second is not None) == keeps_connection


@needs_v2  # In azure-functions 1.7, the headers are a mapping with one value per name.
@pytest.mark.parametrize("name, sent", [("X-A", ["2"]), ("Set-Cookie", ["1", "2"])])
def test_only_the_last_value_of_a_repeated_header_is_sent_but_every_cookie(name, sent, serve):
    response = HttpResponse(headers={name: "1"})
    response.headers.add(name.lower(), "2")

    assert get(serve(returning(response)) + "/api/f").headers.get_all(name) == sent


LENGTH = "because Content-Length is {} and the length of the body is {}"

# The note about a response, and the body, status and headers of the response.
RESPONSE_NOTES = {
    "drops the body and closes the connection, because status 204 allows no body": ("a", 204, {}),
    "responds with 500, because x-price is '5 €', not plain ASCII": ("a", 200, {"x-price": "5 €"}),
    "responds with 500, because x-a is '\\x7f', not plain ASCII": ("a", 200, {"x-a": "\x7f"}),
    "responds with 500, because 'x a' is not a header name": ("a", 200, {"x a": "b"}),
    f"responds with 500, {LENGTH.format('x', 1)}": ("a", 200, {"Content-Length": "x"}),
    f"responds with 500 and closes the connection, {LENGTH.format(5, 6)}": ("a" * 6, 200, LENGTH_5),
    f"lets the client wait, {LENGTH.format(5, 0)}": ("", 200, LENGTH_5),
}


@pytest.mark.parametrize("note", RESPONSE_NOTES)
def test_a_problem_that_the_functions_host_does_not_report_is_printed(note, serve, caplog):
    body, status, headers = RESPONSE_NOTES[note]
    response = HttpResponse(body, status_code=status, headers=headers)

    exchange(serve(returning(response)), b"GET /api/f HTTP/1.0\r\n\r\n")

    (record,) = caplog.records
    assert record.getMessage() == f"f: the Functions host {note}."
    assert (record.name, record.levelno) == ("stand_in_host", logging.WARNING)


@pytest.mark.parametrize(
    "subject, note, request_line",
    [
        ("PUT /api/f", "responds with 404, because this path accepts only GET, POST", "PUT /api/f"),
        ("f", "drops query parameter 'b', because it has no value", "GET /api/f?a=1&b=&a=2"),
        ("f", "drops the request body, because it is chunked", "POST /api/f"),
        ("", "", "GET /api/other"),
    ],
)
def test_a_note_is_printed_if_the_functions_host_rejects_a_request_or_drops_a_part_of_the_request(
    subject, note, request_line, serve, caplog
):
    url = serve(returning("f", methods=("POST",)), returning("f", methods=("GET",)))
    chunked = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" if "POST" in request_line else "\r\n"

    exchange(url, f"{request_line} HTTP/1.1\r\n{chunked}".encode())

    assert caplog.messages == ([f"{subject}: the Functions host {note}."] if note else [])


CHUNKED = b"POST /api/hello HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_chunked_request_is_read_to_the_end(serve):
    chunks = b"3;ext=1\r\nhel\r\n0A\r\nlo, World!\r\n0\r\nTrailer: 1\r\n\r\n"

    first, second = exchange(serve(HELLO), CHUNKED + chunks, GET % b"hello")

    assert (first.body, second.body) == (b"hello", b"hello")


@pytest.mark.parametrize(
    "request_bytes",
    [
        CHUNKED + b"hello\r\n",
        CHUNKED + b"-5\r\nhello\r\n",
        CHUNKED.replace(b"chunked", b"gzip") + b"hello",
        CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: -1"),
    ],
)
def test_the_response_to_a_body_of_unknown_length_is_400(request_bytes, serve):
    first, second = exchange(serve(HELLO), request_bytes, GET % b"hello")

    assert (first.status, second) == (400, None)
