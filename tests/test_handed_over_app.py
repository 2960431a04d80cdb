"""configure(app=app): the whole app is timed where the worker calls no hooks, too."""

import asyncio
import functools
import inspect
import json
import typing

import azure.functions as func
import pytest
from azure.functions import HttpResponse

import local_host
from conftest import (
    APP_SETTING,
    WORKER_RUNTIME,
    FakeContext,
    FakeLogger,
    at_once,
    call,
    durable_entity,
    durable_orchestrator,
    get,
    names,
    needs_v2,
    passes_on,
    take_in,
)
from python_worker_extension_timer import TimerExtension

pytestmark = needs_v2


@pytest.fixture(autouse=True)
def no_hooks(timer, python):
    python(3, 13)


@pytest.fixture
def hooks_run(no_hooks, hooks_on):
    """For a test that is about a worker that calls the hooks."""


@pytest.fixture
def logger():
    return FakeLogger()


@pytest.fixture
def app():
    return func.FunctionApp()


@pytest.fixture
def hand_over(app, logger):
    """Hand the app over; its functions by name, as the worker then takes them in."""

    def configure_and_take_in(**options):
        TimerExtension.configure(app=app, logger=logger, **options)
        return take_in(app)

    return configure_and_take_in


def hello(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    """Says hello."""
    return HttpResponse("hello")


def with_context(req: func.HttpRequest, context: func.Context) -> HttpResponse:
    return HttpResponse("hello")


class Greeter:
    def greet(self, req: func.HttpRequest) -> HttpResponse:
        return HttpResponse("hello")

    async def greet_async(self, req: func.HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


@sync_and_async
def test_each_invocation_logs_one_pair_of_lines(function, app, hand_over, logger):
    app.route(route="hello")(function)
    functions = hand_over()

    for _ in range(3):
        assert call(functions[function.__name__], req=None).get_body() == b"hello"

    assert names(logger.messages) == [function.__name__] * 3


@sync_and_async
def test_the_body_and_the_header_are_as_configured(function, app, hand_over, clock):
    app.route(route="hello")(function)
    functions = hand_over(append_to_http_response=True, server_timing_header=True)

    response = call(functions[function.__name__], req=None)

    assert response.get_body() == b"hello (TimeElapsed: 0.0 sec)"
    assert response.headers["Server-Timing"] == f"{function.__name__};dur=0.000"


def test_without_a_configured_logger_the_lines_are_user_logs_of_the_package(app, caplog):
    caplog.set_level("INFO")
    app.route(route="hello")(hello)
    TimerExtension.configure(app=app)

    take_in(app)["hello"](req=None)

    loggers = [record.name for record in caplog.records if record.name != "root"]
    assert loggers == ["python_worker_extension_timer"] * 2


def test_functions_declared_after_the_app_is_handed_over_are_timed_too(app, logger):
    TimerExtension.configure(app=app, logger=logger)
    app.route(route="hello")(hello)

    take_in(app)["hello"](req=None)

    assert names(logger.messages) == ["hello"]


def test_a_function_goes_by_its_registered_name(app, hand_over, logger):
    app.function_name("Nice")(app.route(route="hello")(hello))

    hand_over()["Nice"](req=None)

    assert names(logger.messages) == ["Nice"]


def test_the_registered_name_is_known_without_a_look_at_the_arguments(app, hand_over, logger):
    app.function_name("Nice")(app.route(route="hello")(with_context))

    hand_over()["Nice"](req=None, context=FakeContext("another"))

    assert names(logger.messages) == ["Nice"]


def test_a_function_of_a_blueprint_is_timed(app, hand_over, logger):
    blueprint = func.Blueprint()
    blueprint.function_name("Nice")(blueprint.route(route="hello")(hello))
    app.register_functions(blueprint)

    hand_over()["Nice"](req=None)

    assert names(logger.messages) == ["Nice"]


@sync_and_async
def test_a_decorated_function_logs_one_pair_under_its_registered_name(
    function, app, hand_over, logger
):
    app.function_name("Nice")(app.route(route="hello")(TimerExtension.timed(function)))

    call(hand_over()["Nice"], req=None)

    assert names(logger.messages) == ["Nice"]


def test_a_decorated_function_below_another_decorator_logs_one_pair_too(app, hand_over, logger):
    app.function_name("Nice")(app.route(route="hello")(passes_on(TimerExtension.timed(hello))))

    hand_over()["Nice"](req=None)

    assert names(logger.messages) == ["Nice"]


@sync_and_async
def test_an_app_that_is_handed_over_twice_logs_one_pair(function, app, hand_over, logger):
    app.route(route="hello")(function)
    TimerExtension.configure(app=app)

    call(hand_over()[function.__name__], req=None)

    assert names(logger.messages) == [function.__name__]


def counts_to_three(context):
    """An orchestrator as its author writes it."""
    first = yield "one"
    second = yield "two"
    return first + second


@pytest.mark.parametrize(
    "done, answer",
    [
        ([], {"isDone": False, "waitsFor": "one"}),
        ([1], {"isDone": False, "waitsFor": "two"}),
        ([1, 2], {"isDone": True, "output": 3}),
    ],
    ids=["first", "second", "last"],
)
def test_each_episode_of_an_orchestrator_logs_one_pair(done, answer, app, hand_over, logger):
    trigger = app.generic_trigger(arg_name="context", type="orchestrationTrigger")
    trigger(durable_orchestrator(counts_to_three))

    said = hand_over()["counts_to_three"](context=json.dumps(done))

    assert json.loads(said) == answer
    assert names(logger.messages) == ["counts_to_three"]


def test_the_time_of_an_orchestrator_is_that_of_the_episode(app, hand_over, logger, clock):
    def works(context):
        clock.now += 0.25
        yield "a task"

    trigger = app.generic_trigger(arg_name="context", type="orchestrationTrigger")
    trigger(durable_orchestrator(works))

    hand_over()["works"](context="[]")

    assert logger.messages[1] == "Time taken to execute works is 0.25 sec"


@pytest.mark.parametrize("decorate", [lambda function: function, TimerExtension.timed])
def test_the_time_of_an_entity_is_that_of_its_batch(decorate, app, hand_over, logger, clock):
    def counter(operation):
        clock.now += 1
        return operation

    trigger = app.generic_trigger(arg_name="context", type="entityTrigger")
    trigger(durable_entity(decorate(counter)))

    assert hand_over()["counter"](context="[1, 2, 3]") == "[1, 2, 3]"
    assert logger.messages[1:] == ["Time taken to execute counter is 3.0 sec"]


def greet_in_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def greet_in_asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await send({"type": (await receive())["type"] + ".complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.mark.parametrize("kind, greet", [("Wsgi", greet_in_wsgi), ("Asgi", greet_in_asgi)])
def test_the_app_of_a_web_framework_is_one_function(kind, greet, logger):
    app = getattr(func, f"{kind}FunctionApp")(greet)
    TimerExtension.configure(app=app, logger=logger, append_to_http_response=True)

    functions = list(local_host.functions_of(app))
    with local_host.LocalHost(functions, prefix="") as host:
        answer = get(host.url + "/any/path")

    app.startup_task_done = False  # or the SDK tells it of its end on a loop that is closed by then
    assert answer.body.startswith(b"hello (TimeElapsed: ")
    assert names(logger.messages) == ["http_app_func"]


@sync_and_async
def test_it_is_timed_over_http(function, app, serve):
    app.route(route="hello")(function)
    TimerExtension.configure(app=app, append_to_http_response=True)

    answer = get(serve(*local_host.functions_of(app)) + "/api/hello")

    assert answer.body.startswith(b"hello (TimeElapsed: ")


@pytest.mark.parametrize(
    "function", [hello, hello_async, with_context, Greeter().greet, Greeter().greet_async]
)
def test_the_worker_takes_each_for_the_function_itself(function, app, hand_over, logger):
    app.route(route="hello")(function)

    timed = hand_over()[function.__name__]

    assert timed is not function
    assert inspect.signature(timed) == inspect.signature(function)
    assert typing.get_type_hints(timed) == typing.get_type_hints(function)
    assert inspect.iscoroutinefunction(timed) == inspect.iscoroutinefunction(function)
    assert inspect.getfile(timed) == inspect.getfile(function) == __file__
    assert timed.__name__ == function.__name__


def test_type_hints_that_the_durable_sdk_replaced_stay_so(app, hand_over):
    def starts(req: func.HttpRequest, client: "DurableClient"):  # noqa: F821
        """The SDK hands it a client; the worker is to see text."""

    starts.__annotations__ = {"req": func.HttpRequest, "client": str}
    if hasattr(starts, "__annotate__"):  # Python 3.14
        starts.__annotate__ = None
        starts.__annotations__ = {"req": func.HttpRequest, "client": str}
    app.route(route="starts")(starts)

    hints = typing.get_type_hints(hand_over()["starts"])

    assert hints == {"req": func.HttpRequest, "client": str}


class CallableObject:
    __name__ = "CallableObject"

    def __call__(self, req):
        return HttpResponse("hello")


@pytest.mark.parametrize("thing", [CallableObject(), functools.lru_cache()(hello)])
def test_what_the_worker_refuses_is_left_for_it_to_refuse(thing, app, hand_over):
    app.function_name("thing")(app.route(route="hello")(thing))

    assert hand_over()["thing"] is thing


def test_what_a_function_returns_comes_through_as_it_is(app, hand_over):
    result = object()
    app.route(route="hello")(lambda req: result)

    assert hand_over()["<lambda>"](req=None) is result


def test_an_output_binding_is_set_by_the_function_alone(app, hand_over, logger):
    class Out:
        def set(self, value):
            self.value = value

    @app.route(route="hello")
    def sets(req, message):
        message.set("set")

    message = Out()
    hand_over(append_to_http_response=True)["sets"](req=None, message=message)

    assert vars(message) == {"value": "set"}
    assert names(logger.messages) == ["sets"]


@pytest.mark.parametrize("error", [ValueError("mine"), StopIteration(), KeyboardInterrupt()])
def test_the_functions_own_exception_comes_through_and_its_time_is_logged(
    error, app, hand_over, logger
):
    @app.route(route="fails")
    def fails(req):
        raise error

    with pytest.raises(type(error)) as caught:
        hand_over()["fails"](req=None)

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert names(logger.messages) == ["fails"]


def test_a_cancelled_invocation_stays_cancelled(app, hand_over, logger):
    @app.route(route="sleeps")
    async def sleeps(req):
        await asyncio.sleep(60)

    timed = hand_over()["sleeps"]

    async def cancel():
        task = asyncio.ensure_future(timed(req=None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancel())
    assert names(logger.messages) == ["sleeps"]


def test_invocations_on_sixteen_threads_each_log_their_pair(app, hand_over, logger):
    app.route(route="hello")(hello)
    timed = hand_over()["hello"]

    at_once(*[lambda: [timed(req=None) for _ in range(100)]] * 16)

    assert names(logger.messages) == ["hello"] * 1600


def test_invocations_on_one_event_loop_each_log_their_pair(app, hand_over, logger):
    app.route(route="hello")(hello_async)
    timed = hand_over()["hello_async"]

    async def overlapping():
        await asyncio.gather(*[timed(req=None) for _ in range(100)])

    asyncio.run(overlapping())

    assert names(logger.messages) == ["hello_async"] * 100


def test_the_functions_are_not_taken_from_the_app_before_the_worker_does(monkeypatch):
    class App(func.FunctionApp):
        taken = 0

        def get_functions(self):
            self.taken += 1
            return super().get_functions()

    app = App()
    app.route(route="hello")(hello)

    assert TimerExtension.configure(app=app) is None
    assert app.taken == 0

    assert list(take_in(app)) == ["hello"]
    assert app.taken == 1


def test_functions_that_the_sdk_refuses_are_refused_as_without_it(app, hand_over):
    app.function_name("Nice")(app.route(route="hello")(hello))
    app.function_name("Nice")(app.route(route="other")(with_context))

    with pytest.raises(ValueError, match="Nice does not have a unique"):
        hand_over()


def test_a_function_that_cannot_be_timed_does_not_fail_the_indexing(logger, capsys):
    class Odd:
        def get_user_function(self):
            return hello

        def get_function_name(self):
            raise RuntimeError("no name yet")

    class App(func.FunctionApp):
        def get_functions(self):
            return [Odd(), *super().get_functions()]

    app = App()
    app.route(route="hello")(hello)
    TimerExtension.configure(app=app, logger=logger)

    odd, function = app.get_functions()
    function.get_user_function()(req=None)

    assert odd.get_user_function() is hello
    assert names(logger.messages) == ["hello"]
    assert "RuntimeError: no name yet" in capsys.readouterr().err


def test_a_later_configure_that_names_no_app_ends_it(app, hand_over, logger):
    app.route(route="hello")(hello)
    timed = hand_over()["hello"]

    TimerExtension.configure(logger=logger)
    timed(req=None)

    assert TimerExtension.app is None
    assert logger.messages == []


def test_a_configure_between_handing_over_and_indexing_ends_it_too(app, logger):
    app.route(route="hello")(hello)
    TimerExtension.configure(app=app)

    TimerExtension.configure(logger=logger)
    take_in(app)["hello"](req=None)

    assert logger.messages == []


def test_the_functions_are_timed_again_once_the_app_is_handed_over_again(app, hand_over, logger):
    app.route(route="hello")(hello)
    timed = hand_over()["hello"]
    TimerExtension.configure()

    TimerExtension.configure(app=app, logger=logger)
    timed(req=None)

    assert names(logger.messages) == ["hello"]


def test_another_app_that_is_handed_over_takes_the_place_of_the_first(app, hand_over, logger):
    app.route(route="hello")(hello)
    timed = hand_over()["hello"]

    TimerExtension.configure(app=func.FunctionApp(), logger=logger)
    timed(req=None)

    assert logger.messages == []


@pytest.mark.parametrize("version", [(3, 7), (3, 9), (3, 11), (3, 12)])
def test_where_the_worker_calls_the_hooks_the_app_stays_untouched(
    version, app, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")
    app.route(route="hello")(hello)
    before = dict(vars(app))

    TimerExtension.configure(app=app)

    assert vars(app) == before
    assert take_in(app) == {"hello": hello}


@pytest.mark.parametrize("version", [(3, 7), (3, 9), (3, 11), (3, 12)])
def test_where_the_setting_is_off_the_app_is_timed_on_every_python(
    version, app, hand_over, logger, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(WORKER_RUNTIME, "python")
    monkeypatch.setenv(APP_SETTING, "0")
    app.route(route="hello")(hello)

    hand_over()["hello"](req=None)

    assert names(logger.messages) == ["hello"]


def make_mixed_app(clock):
    """An app with functions of every kind, each of which takes a time of its own."""
    app, blueprint = func.FunctionApp(), func.Blueprint()
    trigger = functools.partial(app.generic_trigger, arg_name="context")

    class Worker:
        def takes_six_seconds(self, req):
            clock.now += 6

    @app.route(route="one")
    def takes_one_second(req):
        clock.now += 1

    @app.route(route="two")
    async def takes_two_seconds(req):
        clock.now += 2

    @app.function_name("Nice")
    @app.route(route="three")
    def takes_three_seconds(req):
        clock.now += 3

    @blueprint.function_name("OfBlueprint")
    @blueprint.route(route="four")
    async def takes_four_seconds(req):
        clock.now += 4

    @app.function_name("Decorated")
    @app.route(route="five")
    @TimerExtension.timed
    def takes_five_seconds(req):
        clock.now += 5

    app.route(route="six")(Worker().takes_six_seconds)

    @app.schedule(schedule="0 0 * * * *", arg_name="req")
    def ticks_seven_seconds(req):
        clock.now += 7

    def orchestrates_eight_seconds(context):
        clock.now += 8
        yield "a task"

    def counts_three_times_three_seconds(operation):
        clock.now += 3

    trigger(type="orchestrationTrigger")(durable_orchestrator(orchestrates_eight_seconds))
    trigger(type="entityTrigger")(durable_entity(counts_three_times_three_seconds))
    app.register_functions(blueprint)
    return app


def run_each_function(app):
    """Each function once, with the hooks as the worker calls them, or does not."""
    for name, function in take_in(app).items():
        served = local_host.HttpFunction(name, function, route=name)
        (parameter,) = inspect.signature(function).parameters
        context, args = local_host.Context(served), {parameter: "[1, 2, 3]"}
        if inspect.iscoroutinefunction(function):
            asyncio.run(local_host.invoke_async(served, context, args))
        else:
            local_host.invoke_sync(served, context, args)


def test_a_mixed_app_logs_the_same_names_and_times_as_where_hooks_run(clock, python, monkeypatch):
    without_hooks, by_hooks = FakeLogger(), FakeLogger()
    app = make_mixed_app(clock)
    TimerExtension.configure(app=app, logger=without_hooks)
    run_each_function(app)

    python(3, 11)
    monkeypatch.setenv(APP_SETTING, "1")
    TimerExtension.configure(logger=by_hooks)
    run_each_function(make_mixed_app(clock))

    assert without_hooks.messages == by_hooks.messages
    assert len(without_hooks.messages) == 2 * 9
    assert "Time taken to execute Decorated is 5.0 sec" in without_hooks.messages


def test_a_subclass_beside_it_times_the_same_app_too(app, hand_over, logger, extensions):
    class MyTimer(TimerExtension):
        pass

    app.route(route="hello")(hello)
    own = FakeLogger()
    MyTimer.configure(app=app, logger=own)

    hand_over()["hello"](req=None)

    assert names(own.messages) == names(logger.messages) == ["hello"]


@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: func.Blueprint(), "Blueprint object"),
        (lambda: func.FunctionApp, "class .*FunctionApp"),
        (lambda: "app", "'app'"),
        (lambda: True, "True"),
    ],
    ids=["Blueprint", "class", "str", "bool"],
)
def test_what_is_no_function_app_raises_a_type_error_that_says_what_to_hand_over(
    make, said, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    with pytest.raises(
        TypeError,
        match=r"^app must be a function app, such as azure.functions.FunctionApp\(\), not .*"
        f"{said}.*: hand over the app that a blueprint is registered with$",
    ):
        TimerExtension.configure(app=make(), append_to_http_response=True)

    assert TimerExtension.append_to_http_response is False


@pytest.mark.skipif(
    not hasattr(getattr(func, "FunctionApp", None), "mcp_tool"),
    reason="this azure-functions knows no MCP tools",
)
def test_the_properties_of_an_mcp_tool_are_its_own_parameters(app, hand_over, logger):
    @app.mcp_tool()
    @TimerExtension.timed
    def add(a: int, b: int) -> str:
        """Adds."""
        return str(a + b)

    functions = hand_over()
    trigger = add._function.get_trigger().get_dict_repr()

    assert [p["propertyName"] for p in json.loads(trigger["toolProperties"])] == ["a", "b"]
    assert list(functions) == ["add"]
