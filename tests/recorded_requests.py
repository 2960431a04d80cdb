"""84 requests to the app in apps/recorded, and the responses that the real Functions host sent.

recorded_requests.json was recorded on 2026-11-26 with the Functions host 4.1037.0 and the Python
worker 4.34.0 on Python 3.11; on Python 3.13 the responses are the same. The recording leaves out
the headers that belong to the connection (Date, Server, Connection, Transfer-Encoding and
Content-Length).
"""

import json
import runpy
from typing import Any, Dict, NamedTuple

import pytest

from conftest import APPS, TESTS, exchange

RECORDING = json.loads((TESTS / "recorded_requests.json").read_text(encoding="utf-8"))

# Run a test for each request of the recording.
each_request = pytest.mark.parametrize(
    "recorded",
    RECORDING,
    ids=[f"{number}-{r['method']} {r['path']}" for number, r in enumerate(RECORDING)],
)

CONNECTION_HEADERS = {"date", "server", "connection", "transfer-encoding", "content-length"}


class Result(NamedTuple):
    status: int
    headers: Dict[str, str]
    body: bytes
    keeps_connection: bool  # Whether a second request on the same connection got a response.


def load_app() -> Any:
    """Return a new copy of the app whose responses were recorded."""
    return runpy.run_path(str(APPS / "recorded" / "function_app.py"))["app"]


def recorded_result(recorded: Dict[str, Any]) -> Result:
    """Return what the Functions host did with a request of the recording."""
    return Result(
        recorded["status"],
        dict(recorded["response_headers"]),
        recorded["response_body"].encode("latin-1"),
        recorded["keeps_connection"],
    )


def send(recorded: Dict[str, Any], url: str) -> Result:
    """Send a request of the recording to a stand-in host, as it was sent to the Functions host."""
    body = recorded["body"].encode("latin-1")
    headers = [("Host", "localhost"), *recorded["headers"]]
    if body and not {"Content-Length", "Transfer-Encoding"} & {name for name, _ in headers}:
        headers.append(("Content-Length", str(len(body))))
    lines = [f"{recorded['method']} {recorded['path']} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    request = "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body

    response, second = exchange(url, request, b"GET /api/text HTTP/1.1\r\nHost: localhost\r\n\r\n")

    headers = [(name.lower(), value) for name, value in response.headers.items()]
    headers = [header for header in headers if header[0] not in CONNECTION_HEADERS]
    assert len(headers) == len(dict(headers))
    keeps_connection = second is not None and second.status == 200
    return Result(response.status, dict(headers), response.body, keeps_connection)
