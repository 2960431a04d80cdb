"""Test server_timing_header, an option of the timer (the first half of the module)."""

import gzip
import types

import pytest
from azure.functions import HttpResponse

from conftest import get, invoke
from stand_in_host import HttpFunction
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def server_timing_header(reset_extension):
    TimerExtension.configure(server_timing_header=True)


class StarletteResponse:
    """A response as functions return it with HTTP streams: without a body that can be set.

    https://www.starlette.io/responses/
    """

    status_code = 200

    class Headers:
        """Headers may share a name; setting a header replaces all headers with its name."""

        def __init__(self, *headers):
            self.list = list(headers)

        def items(self):
            return list(self.list)

        def __setitem__(self, name, value):
            name = name.lower()
            self.list = [header for header in self.list if header[0] != name] + [(name, value)]

    def __init__(self, *headers):
        self.headers = self.Headers(*headers)


def header(response):
    """Return the Server-Timing header of the response, which must have only one."""
    (value,) = [v for name, v in response.headers.items() if name.lower() == "server-timing"]
    return value


@pytest.mark.parametrize(
    "seconds, milliseconds", [(0.25, "250.000"), (1e-7, "0.000"), (2e10, "20000000000000.000")]
)
def test_the_time_is_in_milliseconds_with_three_decimals_and_without_exponent(
    seconds, milliseconds, clock
):
    response = HttpResponse()
    clock.now = 0.0

    invoke(response, clock=clock, seconds=seconds)

    assert header(response) == f"HttpTrigger;dur={milliseconds}"


@pytest.mark.parametrize("name", ["Server-Timing", "server-timing", "SERVER-TIMING"])
def test_the_time_is_added_after_the_entries_that_the_function_set(name, clock):
    response = HttpResponse(headers={name: 'db;dur=53, cache;desc="hit"'})

    invoke(response, clock=clock, seconds=0.25)

    assert header(response) == 'db;dur=53, cache;desc="hit", HttpTrigger;dur=250.000'


def test_an_entry_that_the_function_set_is_kept_even_if_the_timer_adds_the_same_entry(clock):
    entry = "HttpTrigger;dur=250.000"
    response = HttpResponse(headers={"Server-Timing": entry})

    for _ in range(2):
        invoke(response, clock=clock, seconds=0.25)

    assert header(response) == f"{entry}, {entry}"


@pytest.mark.parametrize(
    "function_name, token",
    [
        ("Http Trigger", "Http_Trigger"),
        ("a;dur=1, b", "a_dur_1__b"),
        ("naïve", "na_ve"),
        ("!#$%&'*+-.^_`|~09azAZ", "!#$%&'*+-.^_`|~09azAZ"),
    ],
)
def test_characters_of_the_function_name_that_the_header_does_not_allow_become_underscores(
    function_name, token, clock
):
    response = HttpResponse()

    invoke(response, function_name=function_name)

    assert header(response).startswith(f"{token};dur=")


def test_a_response_that_is_returned_repeatedly_shows_only_the_latest_time(clock):
    response = HttpResponse(headers={"Server-Timing": "db;dur=53"})

    for seconds in (1, 20, 3):
        invoke(response, clock=clock, seconds=seconds)

        assert header(response) == f"db;dur=53, HttpTrigger;dur={seconds}000.000"


@pytest.mark.parametrize("entry", ["db;dur=53", 'db;desc="a,b, c"'])
@pytest.mark.parametrize("before, after", [("", ", theirs"), ("", ",theirs"), ("theirs,", "")])
def test_entries_that_another_extension_added_are_kept(entry, before, after, clock):
    response = HttpResponse(headers={"Server-Timing": entry})
    invoke(response, clock=clock, seconds=1)
    response.headers["Server-Timing"] = before + header(response) + after

    invoke(response, clock=clock, seconds=2)

    assert header(response) == f"{before}{entry}{after}, HttpTrigger;dur=2000.000"


def test_a_longer_entry_that_contains_the_added_entry_is_kept(clock):
    response = HttpResponse()
    invoke(response, clock=clock)
    response.headers["Server-Timing"] = "MyHttpTrigger;dur=0.000, HttpTrigger;dur=0.0001"

    invoke(response, clock=clock)

    assert header(response) == (
        "MyHttpTrigger;dur=0.000, HttpTrigger;dur=0.0001, HttpTrigger;dur=0.000"
    )


def test_a_starlette_response_gets_all_entries_in_one_header(clock):
    length = ("content-length", "5")
    response = StarletteResponse(
        length, ("server-timing", "db;dur=53"), ("server-timing", "cache;dur=2")
    )

    for seconds in (1, 2):
        invoke(response, clock=clock, seconds=seconds)

        value = f"db;dur=53, cache;dur=2, HttpTrigger;dur={seconds}000.000"
        assert response.headers.items() == [length, ("server-timing", value)]


def test_the_spelling_of_the_header_name_is_kept(clock):
    headers = type("CaseSensitiveHeaders", (dict,), {})({"server-timing": "db;dur=53"})
    response = types.SimpleNamespace(status_code=200, headers=headers)

    for _ in range(2):
        invoke(response, clock=clock)

    assert headers == {"server-timing": "db;dur=53, HttpTrigger;dur=0.000"}


class WithoutStatus:
    """Data that a durable activity may return."""

    headers = {"a": "b"}


class ReadOnly:
    status_code = 200
    headers = types.MappingProxyType({"a": "b"})


class PlainDict:
    """A plain dict can't remember what was added."""

    status_code = 200
    headers = {"a": "b"}


@pytest.mark.parametrize(
    "func_ret", [WithoutStatus, ReadOnly, PlainDict, "text", {"headers": {}}, None]
)
def test_return_values_without_a_status_or_mutable_headers_are_unchanged(func_ret, capsys):
    before = repr(getattr(func_ret, "headers", func_ret))

    invoke(func_ret)

    assert repr(getattr(func_ret, "headers", func_ret)) == before
    assert capsys.readouterr().err == ""


GZIPPED = gzip.compress(b"hello")


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 204},
        {"body": GZIPPED, "headers": {"Content-Encoding": "gzip"}},
        {"body": '{"a": 1}', "mimetype": "application/json"},
    ],
    ids=["204", "gzip", "JSON"],
)
def test_the_header_is_sent_over_http_even_if_the_body_must_not_change(
    response, serve, worker_with_hooks
):
    url = serve(HttpFunction("x\r\nX-Injected: yes", lambda req: HttpResponse(**response), "f"))

    received = get(url + "/api/f")

    assert received.body == HttpResponse(**response).get_body()
    (value,) = received.headers.get_all("Server-Timing")
    assert value.startswith("x__X-Injected__yes;dur=")
    assert "X-Injected" not in received.headers
