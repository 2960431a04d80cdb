"""configure(app=app) calls the hooks of any extension where no worker does, around a whole app."""

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
    at_once,
    call,
    cancel,
    durable_entity,
    durable_orchestrator,
    get,
    needs_v2,
    passes_on,
    recording_extension,
    take_in,
)
from python_worker_extension_timer import TimerExtension

pytestmark = needs_v2


@pytest.fixture(autouse=True)
def no_hooks(extension, python):
    python(3, 13)


@pytest.fixture
def app():
    return func.FunctionApp()


@pytest.fixture
def hand_over(app, recording):
    """Hand the app over; its functions by name, as the worker then takes them in."""

    def configure_and_take_in():
        recording.configure(app=app)
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
def test_each_invocation_has_its_hooks(function, app, hand_over, recording):
    app.route(route="hello")(function)
    functions = hand_over()

    for _ in range(3):
        assert call(functions[function.__name__], req=None).get_body() == b"hello"

    assert recording.calls.invocations() == [function.__name__] * 3


def test_functions_declared_after_the_app_is_handed_over_are_taken_too(app, recording):
    recording.configure(app=app)
    app.route(route="hello")(hello)

    take_in(app)["hello"](req=None)

    assert recording.calls.invocations() == ["hello"]


def test_a_function_goes_by_its_registered_name(app, hand_over, recording):
    app.function_name("Nice")(app.route(route="hello")(hello))

    hand_over()["Nice"](req=None)

    assert recording.calls.invocations() == ["Nice"]


@pytest.mark.parametrize("context", [FakeContext("Nice"), "an orchestration's, say", None])
def test_it_does_so_where_it_takes_context_too(context, app, hand_over, recording):
    app.function_name("Nice")(app.route(route="hello")(with_context))

    hand_over()["Nice"](req=None, context=context)

    assert recording.calls.invocations() == ["Nice"]


def test_a_function_of_a_blueprint_is_taken(app, hand_over, recording):
    blueprint = func.Blueprint()
    blueprint.function_name("Nice")(blueprint.route(route="hello")(hello))
    app.register_functions(blueprint)

    hand_over()["Nice"](req=None)

    assert recording.calls.invocations() == ["Nice"]


@sync_and_async
def test_a_decorated_function_is_one_invocation_under_its_registered_name(
    function, app, hand_over, recording
):
    app.function_name("Nice")(app.route(route="hello")(recording.timed(function)))

    call(hand_over()["Nice"], req=None)

    assert recording.calls.invocations() == ["Nice"]


def test_a_decorated_function_below_another_decorator_is_one_too(app, hand_over, recording):
    app.function_name("Nice")(app.route(route="hello")(passes_on(recording.timed(hello))))

    hand_over()["Nice"](req=None)

    assert recording.calls.invocations() == ["Nice"]


@sync_and_async
def test_an_app_that_is_handed_over_twice_has_one_pair(function, app, hand_over, recording):
    app.route(route="hello")(function)
    recording.configure(app=app)

    call(hand_over()[function.__name__], req=None)

    assert recording.calls.invocations() == [function.__name__]


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
def test_each_episode_of_an_orchestrator_has_its_hooks(done, answer, app, hand_over, recording):
    trigger = app.generic_trigger(arg_name="context", type="orchestrationTrigger")
    trigger(durable_orchestrator(counts_to_three))

    said = hand_over()["counts_to_three"](context=json.dumps(done))

    assert json.loads(said) == answer
    assert recording.calls[1].func_ret == said
    assert recording.calls.invocations() == ["counts_to_three"]


@pytest.mark.parametrize("is_decorated", [False, True])
def test_each_batch_of_an_entity_has_its_hooks(is_decorated, app, hand_over, recording):
    def counter(operation):
        return operation

    trigger = app.generic_trigger(arg_name="context", type="entityTrigger")
    trigger(durable_entity(recording.timed(counter) if is_decorated else counter))

    assert hand_over()["counter"](context="[1, 2, 3]") == "[1, 2, 3]"
    assert recording.calls.invocations() == ["counter"]
    assert recording.calls[1].func_ret == "[1, 2, 3]"


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
def test_the_app_of_a_web_framework_is_one_function(kind, greet, recording):
    app = getattr(func, f"{kind}FunctionApp")(greet)
    recording.configure(app=app)

    functions = list(local_host.functions_of(app))
    with local_host.LocalHost(functions, prefix="") as host:
        answer = get(host.url + "/any/path")

    app.startup_task_done = False  # or the SDK tells it of its end on a loop that is closed by then
    assert answer.body == b"hello"
    assert recording.calls.invocations() == ["http_app_func"]


@sync_and_async
def test_its_hooks_are_called_over_http(function, app, recording, serve):
    app.route(route="hello")(function)
    recording.configure(app=app)

    answer = get(serve(*local_host.functions_of(app)) + "/api/hello")

    assert answer.body == b"hello"
    assert recording.calls.invocations() == [function.__name__]


@pytest.mark.parametrize(
    "function", [hello, hello_async, with_context, Greeter().greet, Greeter().greet_async]
)
def test_the_worker_takes_each_for_the_function_itself(function, app, hand_over, recording):
    app.route(route="hello")(function)

    hooked = hand_over()[function.__name__]

    assert hooked is not function
    assert inspect.signature(hooked) == inspect.signature(function)
    assert typing.get_type_hints(hooked) == typing.get_type_hints(function)
    assert inspect.iscoroutinefunction(hooked) == inspect.iscoroutinefunction(function)
    assert inspect.getfile(hooked) == inspect.getfile(function) == __file__
    assert hooked.__name__ == function.__name__


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


def test_an_output_binding_is_set_by_the_function_alone(app, hand_over, recording):
    class Out:
        def set(self, value):
            self.value = value

    @app.route(route="hello")
    def sets(req, message):
        message.set("set")

    message = Out()
    hand_over()["sets"](req=None, message=message)

    assert vars(message) == {"value": "set"}
    assert recording.calls.invocations() == ["sets"]


@pytest.mark.parametrize("error", [ValueError("mine"), StopIteration(), KeyboardInterrupt()])
def test_the_functions_own_exception_comes_through_after_the_post_hook(
    error, app, hand_over, recording
):
    @app.route(route="fails")
    def fails(req):
        raise error

    with pytest.raises(type(error)) as caught:
        hand_over()["fails"](req=None)

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert recording.calls.invocations() == ["fails"]


def test_a_cancelled_invocation_stays_cancelled(app, hand_over, recording):
    @app.route(route="sleeps")
    async def sleeps(req):
        await asyncio.sleep(60)

    assert cancel(hand_over()["sleeps"])
    assert recording.calls.invocations() == ["sleeps"]


def test_invocations_on_sixteen_threads_each_have_their_hooks(app, hand_over, recording):
    app.route(route="hello")(hello)
    hooked = hand_over()["hello"]

    at_once(*[lambda: [hooked(req=None) for _ in range(100)]] * 16)

    assert recording.calls.invocations() == ["hello"] * 1600


def test_invocations_on_one_event_loop_each_have_their_hooks(app, hand_over, recording):
    app.route(route="hello")(hello_async)
    hooked = hand_over()["hello_async"]

    async def overlapping():
        await asyncio.gather(*[hooked(req=None) for _ in range(100)])

    asyncio.run(overlapping())

    assert recording.calls.invocations() == ["hello_async"] * 100


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


def test_a_function_that_cannot_be_taken_does_not_fail_the_indexing(recording, capsys):
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
    recording.configure(app=app)

    odd, function = app.get_functions()
    function.get_user_function()(req=None)

    assert odd.get_user_function() is hello
    assert recording.calls.invocations() == ["hello"]
    assert "RuntimeError: no name yet" in capsys.readouterr().err


def test_a_later_configure_that_names_no_app_ends_it(app, hand_over, recording):
    app.route(route="hello")(hello)
    hooked = hand_over()["hello"]

    recording.configure()

    assert hooked(req=None).get_body() == b"hello"
    assert recording.app is None
    assert recording.calls == []


def test_a_configure_between_handing_over_and_indexing_ends_it_too(app, recording):
    app.route(route="hello")(hello)
    recording.configure(app=app)

    recording.configure()
    take_in(app)["hello"](req=None)

    assert recording.calls == []


def test_the_hooks_are_called_again_once_the_app_is_handed_over_again(app, hand_over, recording):
    app.route(route="hello")(hello)
    hooked = hand_over()["hello"]
    recording.configure()

    recording.configure(app=app)
    hooked(req=None)

    assert recording.calls.invocations() == ["hello"]


def test_another_app_that_is_handed_over_takes_the_place_of_the_first(app, hand_over, recording):
    app.route(route="hello")(hello)
    hooked = hand_over()["hello"]

    recording.configure(app=func.FunctionApp())
    hooked(req=None)

    assert recording.calls == []


def test_an_app_is_handed_over_also_where_an_unknown_option_is_an_error(app, recording):
    app.route(route="hello")(hello)

    with pytest.raises(UserWarning, match="misspelt"):  # the tests make every warning one
        recording.configure(app=app, misspelt=True)
    take_in(app)["hello"](req=None)

    assert recording.calls.invocations() == ["hello"]


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
def test_where_the_setting_is_off_the_hooks_are_called_on_every_python(
    version, app, hand_over, recording, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(WORKER_RUNTIME, "python")
    monkeypatch.setenv(APP_SETTING, "0")
    app.route(route="hello")(hello)

    hand_over()["hello"](req=None)

    assert recording.calls.invocations() == ["hello"]


def make_mixed_app(extension):
    """An app with functions of every kind."""
    app, blueprint = func.FunctionApp(), func.Blueprint()
    trigger = functools.partial(app.generic_trigger, arg_name="context")

    class Worker:
        def method(self, req):
            return "of a method"

    @app.route(route="one")
    def plain(req):
        return "plain"

    @app.route(route="two")
    async def asynchronous(req):
        return "asynchronous"

    @app.function_name("Nice")
    @app.route(route="three")
    def named(req):
        return "named"

    @blueprint.function_name("OfBlueprint")
    @blueprint.route(route="four")
    async def of_blueprint(req):
        return "of a blueprint"

    @app.function_name("Decorated")
    @app.route(route="five")
    @extension.timed
    def decorated(req):
        return "decorated"

    app.route(route="six")(Worker().method)

    @app.schedule(schedule="0 0 * * * *", arg_name="req")
    def ticks(req):
        pass

    def orchestrates(context):
        yield "a task"

    def counts(operation):
        return operation

    trigger(type="orchestrationTrigger")(durable_orchestrator(orchestrates))
    trigger(type="entityTrigger")(durable_entity(counts))
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


def test_the_hooks_get_the_same_of_a_mixed_app_as_where_the_worker_calls_them(
    extensions, python, monkeypatch
):
    without_worker, by_worker = recording_extension(), recording_extension()
    app = make_mixed_app(without_worker)
    without_worker.configure(app=app)
    run_each_function(app)
    recorded = without_worker.calls[:]

    python(3, 11)
    monkeypatch.setenv(APP_SETTING, "1")
    run_each_function(make_mixed_app(by_worker))

    assert len(by_worker.calls.invocations()) == 9
    assert len(recorded) == len(by_worker.calls)
    for own, workers in zip(recorded, by_worker.calls):
        assert own._replace(context=None) == workers._replace(context=None)


def test_the_hooks_of_a_subclass_are_called_beside_those_of_its_base(app, hand_over, recording):
    class Beside(recording):
        calls = type(recording.calls)()

    app.route(route="hello")(hello)
    Beside.configure(app=app)

    hand_over()["hello"](req=None)

    assert Beside.calls.invocations() == recording.calls.invocations() == ["hello"]


def test_the_hooks_of_two_extensions_nest_those_of_the_last_configured_outermost(app, extensions):
    order = []

    def hand_over_to(name):
        class Named(TimerExtension):
            @classmethod
            def pre_invocation_app_level(cls, *args, **kwargs):
                order.append(("pre", name))

            @classmethod
            def post_invocation_app_level(cls, *args, **kwargs):
                order.append(("post", name))

        Named.configure(app=app)

    app.route(route="hello")(hello)
    hand_over_to("first")
    hand_over_to("last")
    take_in(app)["hello"](req=None)

    assert order == [("pre", "last"), ("pre", "first"), ("post", "first"), ("post", "last")]


def test_a_subclass_has_no_app_until_it_is_configured_itself(app, recording):
    recording.configure(app=app)

    class Beside(recording):
        pass

    assert Beside.app is None


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
        TimerExtension.configure(app=make())

    assert TimerExtension.app is None


@pytest.mark.skipif(
    not hasattr(getattr(func, "FunctionApp", None), "mcp_tool"),
    reason="this azure-functions knows no MCP tools",
)
def test_the_properties_of_an_mcp_tool_are_its_own_parameters(app, hand_over, recording):
    @app.mcp_tool()
    @recording.timed
    def add(a: int, b: int) -> str:
        """Adds."""
        return str(a + b)

    functions = hand_over()
    trigger = add._function.get_trigger().get_dict_repr()

    assert [p["propertyName"] for p in json.loads(trigger["toolProperties"])] == ["a", "b"]
    assert list(functions) == ["add"]
