"""An app whose responses were recorded on the Functions host; see recorded_requests.py."""

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

RESPONSES = {
    "text": lambda: func.HttpResponse("hello"),
    "accented": lambda: func.HttpResponse("h\u00e9"),
    "utf16": lambda: func.HttpResponse("h\u00e9", charset="utf-16"),
    "latin1": lambda: func.HttpResponse("h\u00e9", charset="latin-1"),
    "bytes": lambda: func.HttpResponse(b"\xff\x00"),
    "json": lambda: func.HttpResponse('{"a": 1}', mimetype="application/json"),
    "png": lambda: func.HttpResponse(b"\x89PNG", mimetype="image/png"),
    "own_content_type": lambda: func.HttpResponse("a", headers={"content-type": "text/csv"}),
    "content_type_twice": lambda: func.HttpResponse(
        "a", mimetype="text/html", headers={"Content-Type": "text/csv"}
    ),
    "empty": lambda: func.HttpResponse(),
    "created": lambda: func.HttpResponse("made", status_code=201),
    "moved": lambda: func.HttpResponse(status_code=301, headers={"Location": "/api/text"}),
    "bad_request": lambda: func.HttpResponse("bad", status_code=400),
    "failed": lambda: func.HttpResponse("failed", status_code=500),
    "no_content": lambda: func.HttpResponse(status_code=204),
    "no_content_with_body": lambda: func.HttpResponse("a", status_code=204),
    "reset_content": lambda: func.HttpResponse(status_code=205),
    "reset_content_with_body": lambda: func.HttpResponse("a", status_code=205),
    "not_modified": lambda: func.HttpResponse(status_code=304, headers={"ETag": '"1"'}),
    "not_modified_with_body": lambda: func.HttpResponse("a", status_code=304),
    "partial": lambda: func.HttpResponse(
        "a", status_code=206, headers={"Content-Range": "bytes 0-0/5"}
    ),
    "encoded": lambda: func.HttpResponse(b"a", headers={"Content-Encoding": "gzip"}),
    "right_content_length": lambda: func.HttpResponse("a", headers={"Content-Length": "1"}),
    "short_content_length": lambda: func.HttpResponse("abc", headers={"Content-Length": "1"}),
    "no_number_as_content_length": lambda: func.HttpResponse("a", headers={"Content-Length": "x"}),
    "server_timing": lambda: func.HttpResponse("a", headers={"Server-Timing": "db;dur=1"}),
    "number_as_header": lambda: func.HttpResponse("a", headers={"X-Number": 5}),
    "empty_header": lambda: func.HttpResponse("a", headers={"X-Empty": ""}),
    "accented_header": lambda: func.HttpResponse("a", headers={"X-Name": "h\u00e9"}),
    "euro_header": lambda: func.HttpResponse("a", headers={"X-Price": "\u20ac"}),
    "header_name_with_space": lambda: func.HttpResponse("a", headers={"X Name": "b"}),
    "returns_text": lambda: "text",
    "returns_bytes": lambda: b"bytes",
    "returns_none": lambda: None,
    "returns_dict": lambda: {"a": 1},
    "raises": lambda: 1 / 0,
}


def add(name, make_response):
    def function(req: func.HttpRequest):
        return make_response()

    app.function_name(name)(app.route(route=name)(function))


for name, make_response in RESPONSES.items():
    add(name, make_response)


def show(req: func.HttpRequest) -> func.HttpResponse:
    """What the function sees of its request."""
    seen = {
        "method": req.method,
        "path": req.url.partition("/api")[2],
        "params": dict(req.params),
        "route_params": dict(req.route_params),
        "x-a": req.headers.get("x-a"),
        "cookie": req.headers.get("cookie"),
        "body": req.get_body().decode("latin-1"),
    }
    return func.HttpResponse(json.dumps(seen, sort_keys=True), mimetype="application/json")


@app.route(route="show")
def show_any(req: func.HttpRequest) -> func.HttpResponse:
    return show(req)


@app.route(route="only_get", methods=["GET"])
def only_get(req: func.HttpRequest) -> func.HttpResponse:
    return show(req)


@app.route(route="two", methods=["GET"])
def two_get(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("two_get")


@app.route(route="two", methods=["POST"])
def two_post(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("two_post")


@app.route(route="items/{id}")
def item(req: func.HttpRequest) -> func.HttpResponse:
    return show(req)


@app.route(route="items/first")
def first_item(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("first_item")


@app.route(route="optional/{a}/{b?}")
def optional(req: func.HttpRequest) -> func.HttpResponse:
    return show(req)


@app.route(route="rest/{*path}")
def rest(req: func.HttpRequest) -> func.HttpResponse:
    return show(req)


@app.route(route="Upper/Case")
def upper_case(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("upper_case")
