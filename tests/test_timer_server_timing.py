"""The timer's server_timing_header: the elapsed time where a browser's network panel shows it."""

import gzip
import types

import pytest
from azure.functions import HttpResponse

from conftest import get, invoke
from local_host import HttpFunction
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def server_timing_header(extension):
    TimerExtension.configure(server_timing_header=True)


class StarletteResponse:
    """What functions return with HTTP streams: no body to set, headers as Starlette has them.

    https://www.starlette.io/responses/
    """

    status_code = 200

    class Headers:
        """Several entries of a name can be there; one is set in place of them all."""

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
    """The one Server-Timing header of the response."""
    (value,) = [v for name, v in response.headers.items() if name.lower() == "server-timing"]
    return value


@pytest.mark.parametrize(
    "seconds, milliseconds", [(0.25, "250.000"), (1e-7, "0.000"), (2e10, "20000000000000.000")]
)
def test_the_entry_is_milliseconds_as_a_plain_decimal_of_three_places(seconds, milliseconds, clock):
    response = HttpResponse()
    clock.now = 0.0

    invoke(response, clock=clock, seconds=seconds)

    assert header(response) == f"HttpTrigger;dur={milliseconds}"


@pytest.mark.parametrize("name", ["Server-Timing", "server-timing", "SERVER-TIMING"])
def test_an_entry_that_the_function_set_itself_is_kept_before_ours(name, clock):
    response = HttpResponse(headers={name: 'db;dur=53, cache;desc="hit"'})

    invoke(response, clock=clock, seconds=0.25)

    assert header(response) == 'db;dur=53, cache;desc="hit", HttpTrigger;dur=250.000'


def test_an_entry_that_the_function_set_under_its_own_name_is_kept(clock):
    own = "HttpTrigger;dur=250.000"
    response = HttpResponse(headers={"Server-Timing": own})

    for _ in range(2):
        invoke(response, clock=clock, seconds=0.25)

    assert header(response) == f"{own}, HttpTrigger;dur=250.000"


@pytest.mark.parametrize(
    "function_name, token",
    [
        ("Http Trigger", "Http_Trigger"),
        ("a;dur=1, b", "a_dur_1__b"),
        ("naïve", "na_ve"),
        ("!#$%&'*+-.^_`|~09azAZ", "!#$%&'*+-.^_`|~09azAZ"),
    ],
)
def test_characters_that_a_token_does_not_allow_become_underscores(function_name, token, clock):
    response = HttpResponse()

    invoke(response, function_name=function_name)

    assert header(response).startswith(f"{token};dur=")


def test_a_response_returned_again_and_again_carries_one_entry_of_ours_the_latest(clock):
    response = HttpResponse(headers={"Server-Timing": "db;dur=53"})

    for seconds in (1, 20, 3):
        invoke(response, clock=clock, seconds=seconds)

        assert header(response) == f"db;dur=53, HttpTrigger;dur={seconds}000.000"


@pytest.mark.parametrize("own", ["db;dur=53", 'db;desc="a,b, c"'])
@pytest.mark.parametrize("before, after", [("", ", theirs"), ("", ",theirs"), ("theirs,", "")])
def test_what_another_extension_puts_there_stays(own, before, after, clock):
    response = HttpResponse(headers={"Server-Timing": own})
    invoke(response, clock=clock, seconds=1)
    response.headers["Server-Timing"] = before + header(response) + after

    invoke(response, clock=clock, seconds=2)

    assert header(response) == f"{before}{own}{after}, HttpTrigger;dur=2000.000"


def test_only_a_whole_entry_is_taken_for_ours(clock):
    response = HttpResponse()
    invoke(response, clock=clock)
    response.headers["Server-Timing"] = "MyHttpTrigger;dur=0.000, HttpTrigger;dur=0.0001"

    invoke(response, clock=clock)

    assert header(response) == (
        "MyHttpTrigger;dur=0.000, HttpTrigger;dur=0.0001, HttpTrigger;dur=0.000"
    )


def test_a_response_of_starlette_carries_the_entry_behind_its_own_in_one_header(clock):
    length = ("content-length", "5")
    response = StarletteResponse(
        length, ("server-timing", "db;dur=53"), ("server-timing", "cache;dur=2")
    )

    for seconds in (1, 2):
        invoke(response, clock=clock, seconds=seconds)

        value = f"db;dur=53, cache;dur=2, HttpTrigger;dur={seconds}000.000"
        assert response.headers.items() == [length, ("server-timing", value)]


def test_a_plain_dict_of_headers_keeps_the_name_that_the_function_wrote(clock):
    headers = {"server-timing": "db;dur=53"}
    response = types.SimpleNamespace(status_code=200, headers=headers)

    for _ in range(2):
        invoke(response, clock=clock)

    assert headers == {"server-timing": "db;dur=53, HttpTrigger;dur=0.000"}


class WithoutStatus:
    """As a durable activity returns, with data of its own."""

    headers = {"a": "b"}


class ReadOnly:
    status_code = 200
    headers = types.MappingProxyType({"a": "b"})


@pytest.mark.parametrize("func_ret", [WithoutStatus, ReadOnly, "text", {"headers": {}}, None])
def test_what_is_no_response_with_mutable_headers_passes_through_untouched(func_ret, capsys):
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
def test_the_header_goes_over_http_where_the_body_may_not_be_touched(response, serve, hooks_on):
    url = serve(HttpFunction("x\r\nX-Injected: yes", lambda req: HttpResponse(**response), "f"))

    answer = get(url + "/api/f")

    assert answer.body == HttpResponse(**response).get_body()
    (value,) = answer.headers.get_all("Server-Timing")
    assert value.startswith("x__X-Injected__yes;dur=")
    assert "X-Injected" not in answer.headers
