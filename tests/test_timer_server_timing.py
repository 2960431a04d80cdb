"""The timer's server_timing_header: the elapsed time where a browser's network panel shows it."""

import gzip
import types

import pytest
from azure.functions import HttpResponse

import local_host
from conftest import FakeContext, FakeStarletteResponse, at_once, finish, get, invoke, start
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def server_timing_header(extension):
    TimerExtension.configure(server_timing_header=True)


def header(response: HttpResponse) -> str:
    """The one Server-Timing header of the response."""
    (value,) = [v for name, v in response.headers.items() if name.lower() == "server-timing"]
    return value


def timed_response(clock, seconds, *, function_name="HttpTrigger", **response_arguments):
    response, context = HttpResponse(**response_arguments), FakeContext(function_name)
    start(context)
    clock.now += seconds
    finish(context, response)
    return response


@pytest.mark.parametrize(
    "seconds, milliseconds",
    [
        (0, "0.000"),
        (0.0000001, "0.000"),
        (0.25, "250.000"),
        (1.5, "1500.000"),
        (2e10, "20000000000000.000"),
    ],
)
def test_the_entry_is_milliseconds_as_a_plain_decimal_of_three_places(clock, seconds, milliseconds):
    clock.now = 0.0

    assert header(timed_response(clock, seconds)) == f"HttpTrigger;dur={milliseconds}"


@pytest.mark.parametrize("name", ["Server-Timing", "server-timing", "SERVER-TIMING"])
def test_an_entry_that_the_function_set_itself_is_kept_before_ours(clock, name):
    response = timed_response(clock, 0.25, headers={name: 'db;dur=53, cache;desc="hit"'})

    assert header(response) == 'db;dur=53, cache;desc="hit", HttpTrigger;dur=250.000'


def test_an_entry_of_the_function_under_its_own_name_is_kept_too(clock):
    own = "HttpTrigger;dur=250.000"
    response = timed_response(clock, 0.25, headers={"Server-Timing": own})

    invoke(response, clock=clock, seconds=0.25)

    assert header(response) == f"{own}, HttpTrigger;dur=250.000"


@pytest.mark.skipif(
    not hasattr(HttpResponse("").headers, "add"), reason="this SDK has one header of a name"
)
def test_entries_in_several_headers_become_one_header(clock):
    response, context = HttpResponse(headers={"Server-Timing": "db;dur=53"}), FakeContext()
    response.headers.add("server-timing", "cache;dur=2")
    start(context)
    clock.now += 0.25

    finish(context, response)

    assert header(response) == "db;dur=53, cache;dur=2, HttpTrigger;dur=250.000"


@pytest.mark.parametrize(
    "function_name, token",
    [
        ("Http Trigger", "Http_Trigger"),
        ("a;dur=1, b", "a_dur_1__b"),
        ("x\r\nSet-Cookie: a=b", "x__Set-Cookie__a_b"),
        ("naïve", "na_ve"),
        ("!#$%&'*+-.^_`|~09azAZ", "!#$%&'*+-.^_`|~09azAZ"),
    ],
)
def test_characters_that_a_token_does_not_allow_become_underscores(clock, function_name, token):
    response = timed_response(clock, 0, function_name=function_name)

    assert header(response) == f"{token};dur=0.000"


def test_a_response_returned_again_and_again_carries_one_entry_of_ours_the_latest(clock):
    response = HttpResponse(headers={"Server-Timing": "db;dur=53"})
    for seconds in (1, 20, 3):
        context = FakeContext()
        start(context)
        clock.now += seconds
        finish(context, response)

        assert header(response) == f"db;dur=53, HttpTrigger;dur={seconds}000.000"


def test_an_entry_that_the_function_changes_between_two_times_is_kept(clock):
    response = HttpResponse(headers={"Server-Timing": "db;dur=53"})
    invoke(response)
    response.headers["Server-Timing"] = "db;dur=7"

    invoke(response)

    assert header(response) == "db;dur=7, HttpTrigger;dur=0.000"


def test_one_response_returned_on_sixteen_threads_at_once_carries_one_entry():
    response = HttpResponse()

    at_once(*[lambda: [invoke(response) for _ in range(200)]] * 16)

    assert header(response).count("HttpTrigger") == 1


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
    invoke(response)
    response.headers["Server-Timing"] = "MyHttpTrigger;dur=0.000, HttpTrigger;dur=0.0001"

    invoke(response)

    assert header(response) == (
        "MyHttpTrigger;dur=0.000, HttpTrigger;dur=0.0001, HttpTrigger;dur=0.000"
    )


def test_a_response_that_takes_no_attribute_stays_as_it_is(capsys):
    class Response:
        __slots__ = ("headers",)

    response = Response()
    response.headers = {}

    invoke(response)

    assert response.headers == {}
    assert "AttributeError" in capsys.readouterr().err


def test_an_extension_made_out_of_this_one_keeps_its_own_entry_beside_it(clock, other_extension):
    other_extension.perf_counter = lambda: clock.now * 10
    other_extension.TimerExtension.configure(server_timing_header=True)
    response = HttpResponse()

    for seconds in (1, 2, 3):
        both = [TimerExtension, other_extension.TimerExtension]
        invoke(response, clock=clock, seconds=seconds, timers=both)

        assert header(response) == (
            f"HttpTrigger;dur={seconds}000.000, HttpTrigger;dur={seconds}0000.000"
        )


@pytest.mark.parametrize("body", [b"hello", iter([b"hel", b"lo"])], ids=["whole", "a stream"])
def test_a_response_of_another_framework_carries_the_entry_behind_its_own(body, clock):
    TimerExtension.configure(append_to_http_response=True, server_timing_header=True)
    headers = [("Server-Timing", "db;dur=53"), ("Server-Timing", "cache;dur=2")]
    response = FakeStarletteResponse(headers, body)

    for seconds in (1, 2):
        invoke(response, clock=clock, seconds=seconds)

        assert header(response) == f"db;dur=53, cache;dur=2, HttpTrigger;dur={seconds}000.000"
        assert ("content-length", "5") in response.headers.items()
        assert response.body is body


def test_a_plain_dict_of_headers_keeps_the_name_that_the_function_wrote(clock):
    class Response:
        headers = {"server-timing": "db;dur=53"}

    invoke(Response())

    assert Response.headers == {"server-timing": "db;dur=53, HttpTrigger;dur=0.000"}


class ReadOnly:
    headers = types.MappingProxyType({"a": "b"})


class Listed:
    headers = [("a", "b")]


@pytest.mark.parametrize("func_ret", ["text", {"a": 1}, ReadOnly(), Listed(), None])
def test_what_has_no_mutable_headers_passes_through_untouched(func_ret, capsys):
    before = repr(func_ret)

    invoke(func_ret)

    assert repr(func_ret) == before
    assert Listed.headers == [("a", "b")]
    assert capsys.readouterr().err == ""


def test_the_body_and_the_other_headers_stay_as_they_are(clock):
    response = timed_response(clock, 0, body="hello", headers={"Content-Length": "5"})

    assert response.get_body() == b"hello"
    assert response.headers["Content-Length"] == "5"


def test_without_the_option_there_is_no_header():
    TimerExtension.configure()
    response = HttpResponse("hello")

    invoke(response)

    assert dict(response.headers) == {}


def no_content(req):
    return HttpResponse(status_code=204)


GZIPPED = gzip.compress(b"hello")


def zipped(req):
    return HttpResponse(GZIPPED, headers={"Content-Encoding": "gzip"})


def json(req):
    return HttpResponse('{"a": 1}', mimetype="application/json")


@pytest.mark.parametrize(
    "function, status, body",
    [(no_content, 204, b""), (zipped, 200, GZIPPED), (json, 200, b'{"a": 1}')],
    ids=["204", "gzip", "JSON"],
)
def test_it_works_over_http_where_the_body_may_not_be_touched(
    function, status, body, serve, hooks_on
):
    answer = get(f"{serve(function)}/api/{function.__name__}")

    assert (answer.status, answer.body) == (status, body)
    (value,) = answer.headers.get_all("Server-Timing")
    assert value.startswith(f"{function.__name__};dur=")


def test_no_function_name_can_inject_a_header_over_http(serve, hooks_on):
    url = serve(local_host.HttpFunction("x\r\nX-Injected: yes", no_content, route="x"))

    answer = get(f"{url}/api/x")

    assert "X-Injected" not in answer.headers
    assert answer.headers["Server-Timing"].startswith("x__X-Injected__yes;dur=")
