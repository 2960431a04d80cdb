"""The local host takes requests, and refuses responses, as the Functions host does."""

import json
import socket

import pytest
from azure.functions import HttpResponse

import local_host
from conftest import get
from local_host import HttpFunction


def hello(req):
    return HttpResponse("hello")


def test_a_function_gets_the_request_and_its_context(serve):
    def echo(req, context):
        return HttpResponse(
            json.dumps(
                {
                    "method": req.method,
                    "url": req.url,
                    "name": req.params.get("name"),
                    "route": dict(req.route_params),
                    "body": req.get_body().decode(),
                    "function": context.function_name,
                    "directory": context.function_directory,
                }
            )
        )

    url = serve(HttpFunction("echo", echo, "items/{id:int}/{rest?}", directory="/app"))

    answer = get(f"{url}/api/items/7?name=J%C3%BCrg%26", "POST", b"text")

    assert json.loads(answer.body) == {
        "method": "POST",
        "url": f"{url}/api/items/7?name=J%C3%BCrg%26",
        "name": "Jürg&",
        "route": {"id": "7"},
        "body": "text",
        "function": "echo",
        "directory": "/app",
    }


@pytest.mark.parametrize(
    "route, path, params",
    [
        ("hello", "/api/hello", {}),
        ("hello", "/api/HELLO/", {}),
        ("a.b", "/api/aXb", None),
        ("items/{id}", "/api/items/7", {"id": "7"}),
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
    url = serve(
        HttpFunction("any", lambda req: "any", "items/{id}"),
        HttpFunction("one", lambda req: "one", "items/one"),
    )

    assert get(url + "/api/items/one").body == b"one"
    assert get(url + "/api/items/two").body == b"any"


def test_an_unknown_route_is_404(serve):
    assert get(serve(hello) + "/api/other").status == 404
    assert get(serve(hello) + "/hello").status == 404


def test_a_method_that_is_not_declared_is_405(serve):
    answer = get(
        serve(HttpFunction("hello", hello, "hello", methods=("GET",))) + "/api/hello", "POST"
    )

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET"


def test_an_empty_route_prefix_serves_at_the_top():
    with local_host.LocalHost([HttpFunction("hello", hello, "hello")], prefix="") as host:
        assert get(host.url + "/hello").status == 200


def test_text_is_an_answer_and_none_is_an_error(serve):
    url = serve(
        HttpFunction("text", lambda req: "text", "text"),
        HttpFunction("none", lambda req: None, "none"),
    )

    assert get(url + "/api/text").body == b"text"
    assert get(url + "/api/none").status == 500


@pytest.mark.parametrize(
    "mimetype, content_type",
    [
        ("text/plain", "text/plain; charset=utf-16"),
        ("text/html", "text/html; charset=utf-16"),
        ("application/json", "application/json"),
        ("image/png", "image/png"),
    ],
)
def test_the_content_type_has_a_charset_for_text_alone_as_the_sdk_sends_it(
    mimetype, content_type, serve
):
    def typed(req):
        return HttpResponse("{}", mimetype=mimetype, charset="utf-16")

    assert get(serve(typed) + "/api/typed").headers["Content-Type"] == content_type


def test_a_head_request_gets_the_headers_alone(serve):
    answer = get(serve(hello) + "/api/hello", "HEAD")

    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "5")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_body_on_a_status_that_has_none_is_refused(status, serve, caplog):
    answer = get(
        serve(HttpFunction("f", lambda req: HttpResponse("body", status_code=status), "f"))
        + "/api/f"
    )

    assert answer.status == 500
    assert f"a response of status {status} has no body" in caplog.text


@pytest.mark.parametrize("length", ["3", "9", "many"])
def test_a_content_length_that_is_not_the_bodys_is_refused(length, serve, caplog):
    def wrong(req):
        return HttpResponse("hello", headers={"Content-Length": length})

    assert get(serve(wrong) + "/api/wrong").status == 500
    assert f"Content-Length is {length}, the body has 5 bytes" in caplog.text


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
                status, headers = stream.readline().decode(), {}
                for line in iter(stream.readline, b"\r\n"):
                    name, _, value = line.decode().partition(": ")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", 0)))
                answers.append((int(status.split()[1]), body))
            connection.shutdown(socket.SHUT_WR)
            return [*answers, stream.read()]


GET = b"GET /api/%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("status", [200, 201, 204, 205, 301, 304, 404, 500])
def test_every_answer_ends_on_a_connection_that_is_kept_alive(status, serve):
    empty = HttpFunction("empty", lambda req: HttpResponse(status_code=status), "empty")

    answers = exchange(serve(empty, hello), GET % b"empty", GET % b"hello")

    assert answers == [(status, b""), (200, b"hello"), b""]


def test_an_answer_ends_whatever_transfer_encoding_its_function_set(serve):
    headers = {"Transfer-Encoding": "chunked"}
    url = serve(HttpFunction("f", lambda req: HttpResponse("whole", headers=headers), "f"), hello)

    assert exchange(url, GET % b"f", GET % b"hello") == [(200, b"whole"), (200, b"hello"), b""]


def test_a_header_that_cannot_go_over_the_wire_is_refused(serve):
    url = serve(HttpFunction("f", lambda req: HttpResponse("f", headers={"X-Price": "5 €"}), "f"))

    assert get(url + "/api/f").status == 500


def test_an_answer_of_205_says_that_it_has_no_body(serve):
    url = serve(HttpFunction("reset", lambda req: HttpResponse(status_code=205), "reset"))

    assert get(url + "/api/reset").headers["Content-Length"] == "0"


def test_after_an_interim_answer_the_connection_is_closed(serve):
    url = serve(HttpFunction("early", lambda req: HttpResponse(status_code=103), "early"))

    assert exchange(url, GET % b"early") == [(103, b""), b""]


CHUNKED = b"POST /api/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def echo(req):
    return HttpResponse(req.get_body())


@pytest.mark.parametrize(
    "chunks, body",
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"3;ext=1\r\nhel\r\n0A\r\nlo, World!\r\n0\r\nTrailer: 1\r\n\r\n", b"hello, World!"),
    ],
    ids=["empty", "one", "two, an extension and a trailer"],
)
def test_a_chunked_request_body_reaches_the_function_whole(chunks, body, serve):
    answers = exchange(serve(echo, hello), CHUNKED + chunks, GET % b"hello")

    assert answers == [(200, body), (200, b"hello"), b""]


@pytest.mark.parametrize(
    "request_bytes",
    [
        CHUNKED + b"hello\r\n",
        CHUNKED + b"-5\r\nhello\r\n",
        CHUNKED.replace(b"chunked", b"gzip") + b"hello",
        CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: -1"),
        CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: many"),
    ],
    ids=["no size", "a negative size", "gzip", "a negative length", "no length"],
)
def test_a_request_body_without_a_readable_length_is_400(request_bytes, serve):
    assert exchange(serve(echo), request_bytes) == [(400, b""), b""]
