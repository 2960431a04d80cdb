"""The local host takes requests, and refuses responses, as the Functions host does."""

import http.client
import socket

import pytest
from azure.functions import HttpResponse

import local_host
from conftest import get
from local_host import HttpFunction


def returning(func_ret, route="f", **fields):
    """A function that returns this."""
    return HttpFunction("f", lambda req: func_ret, route, **fields)


HELLO = returning("hello", route="hello")


@pytest.mark.parametrize("func_ret", [HttpResponse("hello"), "hello"])
def test_a_function_answers_with_a_response_or_with_text(func_ret, serve):
    answer = get(serve(returning(func_ret)) + "/api/f")

    assert (answer.status, answer.body) == (200, b"hello")


def test_a_function_that_returns_anything_else_is_an_error(serve, caplog):
    assert get(serve(returning(None)) + "/api/f").status == 500
    assert "a function returned NoneType, not HttpResponse or str" in caplog.text


def test_a_function_gets_the_request_and_its_context(serve):
    received = []

    def keep(req, context):
        received.extend([req, context])
        return "kept"

    url = serve(HttpFunction("keep", keep, "items/{id:int}/{rest?}", directory="/app"))
    url += "/api/items/7?name=J%C3%BCrg%26"

    get(url, "POST", b"text")

    request, context = received
    assert (request.method, request.url, request.get_body()) == ("POST", url, b"text")
    assert (request.params, request.route_params) == ({"name": "Jürg&"}, {"id": "7"})
    assert (context.function_name, context.function_directory) == ("keep", "/app")


@pytest.mark.parametrize(
    "route, path, params",
    [
        ("hello", "/api/HELLO/", {}),
        ("a.b", "/api/aXb", None),
        ("items/{id}", "/api/items", None),
        ("items/{id?}", "/api/items", {}),
        ("items/{id:int?}", "/api/items/7", {"id": "7"}),
        ("items/{id}-{part}", "/api/items/7-b", {"id": "7", "part": "b"}),
        ("files/{*path}", "/api/files/a/b", {"path": "a/b"}),
    ],
)
def test_routes_are_templates_as_in_function_json(route, path, params):
    match = local_host.route_pattern("/api/" + route).fullmatch(path)

    found = match and {name: value for name, value in match.groupdict().items() if value}
    assert found == params


def test_a_literal_route_goes_before_one_with_a_parameter(serve):
    url = serve(returning("any", "items/{id}"), returning("one", "items/one"))

    assert get(url + "/api/items/one").body == b"one"
    assert get(url + "/api/items/two").body == b"any"


@pytest.mark.parametrize("path", ["/api/other", "/hello"])
def test_an_unknown_route_is_404(path, serve):
    assert get(serve(HELLO) + path).status == 404


def test_a_method_that_is_not_declared_is_405(serve):
    answer = get(serve(returning("f", methods=("GET",))) + "/api/f", "POST")

    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


def test_an_empty_route_prefix_serves_at_the_top():
    with local_host.LocalHost([returning("f")], prefix="") as host:
        assert get(host.url + "/f").status == 200


def test_a_function_that_is_not_served_is_501_with_the_reason(serve):
    answer = get(serve(returning("f", refusal="f is not served.")) + "/api/f")

    assert (answer.status, answer.body) == (501, b"f is not served.")


@pytest.mark.parametrize(
    "mimetype, content_type",
    [("text/html", "text/html; charset=utf-16"), ("application/json", "application/json")],
)
def test_the_content_type_has_a_charset_for_text_alone(mimetype, content_type, serve):
    response = HttpResponse("{}", mimetype=mimetype, charset="utf-16")

    answer = get(serve(returning(response)) + "/api/f")

    assert answer.headers["Content-Type"] == content_type


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_body_on_a_status_that_has_none_is_refused(status, serve, caplog):
    response = HttpResponse("body", status_code=status)

    assert get(serve(returning(response)) + "/api/f").status == 500
    assert f"a response of status {status} has no body" in caplog.text


@pytest.mark.parametrize("length", ["3", "9", "many"])
def test_a_content_length_that_is_not_the_bodys_is_refused(length, serve, caplog):
    response = HttpResponse("hello", headers={"Content-Length": length})

    assert get(serve(returning(response)) + "/api/f").status == 500
    assert f"Content-Length is {length}, the body has 5 bytes" in caplog.text


def test_a_header_that_cannot_go_over_the_wire_is_refused(serve):
    response = HttpResponse("f", headers={"X-Price": "5 €"})

    assert get(serve(returning(response)) + "/api/f").status == 500


def exchange(url, *requests):
    """Send raw requests on one connection, kept alive, each after the answer to the one before.

    The answers, and last what came after them until the host closed the connection.
    """
    port = int(url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        with connection.makefile("rb") as stream:
            answers = []
            for request in requests:
                connection.sendall(request)
                status = int(stream.readline().split()[1])
                headers = http.client.parse_headers(stream)
                has_no_body = request[:4] == b"HEAD" or status < 200 or status in (204, 304)
                length = 0 if has_no_body else int(headers["Content-Length"])
                answers.append((status, stream.read(length)))
            connection.shutdown(socket.SHUT_WR)
            return [*answers, stream.read()]


GET = b"GET /api/%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("status", [200, 204, 205, 304, 404])
def test_every_answer_ends_on_a_connection_that_is_kept_alive(status, serve):
    url = serve(returning(HttpResponse(status_code=status)), HELLO)

    assert exchange(url, GET % b"f", GET % b"hello") == [(status, b""), (200, b"hello"), b""]


@pytest.mark.parametrize(
    "method, response",
    [
        (b"HEAD", HttpResponse("hello")),
        (b"HEAD", HttpResponse(headers={"Content-Length": "5"})),
        (b"GET", HttpResponse(headers={"Content-Length": "5"}, status_code=304)),
    ],
)
def test_to_head_and_with_304_a_length_is_sent_without_the_body(method, response, serve):
    url = serve(returning(response))

    answers = exchange(url, (GET % b"f").replace(b"GET", method))

    assert answers == [(response.status_code, b""), b""]
    assert get(url + "/api/f", method.decode()).headers.get_all("Content-Length") == ["5"]


def test_an_answer_goes_out_whole_whatever_transfer_encoding_its_function_set(serve):
    response = HttpResponse("whole", headers={"Transfer-Encoding": "chunked"})

    assert get(serve(returning(response)) + "/api/f").body == b"whole"


def test_after_an_interim_answer_the_connection_is_closed(serve):
    url = serve(returning(HttpResponse(status_code=103)))

    assert exchange(url, GET % b"f" + GET % b"f") == [(103, b""), b""]


CHUNKED = b"POST /api/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
ECHO = HttpFunction("echo", lambda req: HttpResponse(req.get_body()), "echo")


@pytest.mark.parametrize(
    "chunks, body",
    [
        (b"0\r\n\r\n", b""),
        (b"3;ext=1\r\nhel\r\n0A\r\nlo, World!\r\n0\r\nTrailer: 1\r\n\r\n", b"hello, World!"),
    ],
)
def test_a_chunked_request_body_reaches_the_function_whole(chunks, body, serve):
    answers = exchange(serve(ECHO, HELLO), CHUNKED + chunks, GET % b"hello")

    assert answers == [(200, body), (200, b"hello"), b""]


@pytest.mark.parametrize(
    "request_bytes",
    [
        CHUNKED + b"hello\r\n",
        CHUNKED + b"-5\r\nhello\r\n",
        CHUNKED.replace(b"chunked", b"gzip") + b"hello",
        CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: many"),
    ],
)
def test_a_request_body_without_a_readable_length_is_400(request_bytes, serve):
    assert exchange(serve(ECHO), request_bytes) == [(400, b""), b""]
