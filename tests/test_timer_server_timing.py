"""Test server_timing_header, an option of the timer (the first half of the module)."""

import types

import pytest
from azure.functions import HttpResponse

from conftest import invoke
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def server_timing_header(reset_extension):
    TimerExtension.configure(server_timing_header=True)


class StarletteHeaders:
    """The headers of a response as functions return it with HTTP streams.

    Headers may share a name; setting a header replaces all headers with its name.
    https://www.starlette.io/responses/
    """

    def __init__(self, *headers):
        self.list = list(headers)

    def items(self):
        return list(self.list)

    def __setitem__(self, name, value):
        name = name.lower()
        self.list = [header for header in self.list if header[0] != name] + [(name, value)]


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


@pytest.mark.parametrize(
    "keywords",
    [{"status_code": 204}, {"headers": {"Content-Length": "5"}}, {"headers": {"Digest": "..."}}],
    ids=["no content", "response to HEAD", "described body"],
)
def test_the_header_is_added_even_if_the_body_must_not_change(keywords, clock):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    response = HttpResponse(**keywords)

    invoke(response)

    assert response.get_body() == b""
    assert header(response) == "HttpTrigger;dur=0.000"


@pytest.mark.parametrize(
    "function_name, token",
    [
        ("naïve", "na_ve"),
        ("a;dur=1, b", "a_dur_1__b"),
        ("!#$%&'*+-.^_`|~09azAZ", "!#$%&'*+-.^_`|~09azAZ"),
    ],
)
def test_characters_of_the_function_name_that_the_header_does_not_allow_become_underscores(
    function_name, token, clock
):
    response = HttpResponse()

    invoke(response, function_name=function_name)

    assert header(response) == f"{token};dur=0.000"


@pytest.mark.parametrize("name", ["Server-Timing", "server-timing"])
def test_the_time_is_added_after_the_entries_that_the_function_set(name, clock):
    response = HttpResponse(headers={name: 'db;dur=53, cache;desc="hit"'})

    invoke(response, clock=clock, seconds=0.25)

    assert header(response) == 'db;dur=53, cache;desc="hit", HttpTrigger;dur=250.000'


OURS = "HttpTrigger;dur=0.000"


@pytest.mark.parametrize(
    "changed, kept",
    [
        (f'db;desc="a,b, c", {OURS}, theirs', 'db;desc="a,b, c", theirs'),
        (f"db;dur=53, {OURS},theirs", "db;dur=53,theirs"),
        (f"theirs,{OURS}", "theirs"),
        (f"{OURS}, {OURS}", OURS),
        (f"My{OURS}, {OURS}1", f"My{OURS}, {OURS}1"),
    ],
)
def test_entries_that_the_function_or_another_extension_added_are_kept(changed, kept, clock):
    response = HttpResponse()
    invoke(response)
    response.headers["Server-Timing"] = changed

    invoke(response)

    assert header(response) == f"{kept}, {OURS}"


def test_a_starlette_response_gets_all_entries_in_one_header(clock):
    length, db, cache = ("content-length", "5"), "db;dur=53", "cache;dur=2"
    headers = StarletteHeaders(length, ("server-timing", db), ("server-timing", cache))
    response = types.SimpleNamespace(status_code=200, headers=headers)

    for seconds in (1, 2):
        invoke(response, clock=clock, seconds=seconds)

        value = f"{db}, {cache}, HttpTrigger;dur={seconds}000.000"
        assert headers.items() == [length, ("server-timing", value)]


class MutableHeaders(dict):
    """Headers that distinguish case and, unlike a plain dict, can remember what was added."""


def test_the_spelling_of_the_header_name_is_kept(clock):
    headers = MutableHeaders({"server-timing": "db;dur=53"})

    for _ in range(2):
        invoke(types.SimpleNamespace(status_code=200, headers=headers))

    assert headers == {"server-timing": "db;dur=53, HttpTrigger;dur=0.000"}


@pytest.mark.parametrize(
    "func_ret",
    [
        types.SimpleNamespace(headers=MutableHeaders()),
        types.SimpleNamespace(status_code=200, headers={}),
        types.SimpleNamespace(status_code=200, headers=types.MappingProxyType({})),
        "text",
        None,
    ],
    ids=["data of a durable activity", "plain dict", "read-only headers", "text", "None"],
)
def test_return_values_without_a_status_or_mutable_headers_are_unchanged(func_ret, capsys):
    before = repr(func_ret)

    invoke(func_ret)

    assert repr(func_ret) == before
    assert capsys.readouterr().err == ""
