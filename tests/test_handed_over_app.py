"""A handed-over app: which of its functions have hooks, under which name, and for how long."""

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
    call,
    get,
    needs_v2,
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
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


def test_each_function_of_the_app_has_hooks_under_its_registered_name(app, hand_over, recording):
    app.route(route="hello")(hello)
    app.function_name("Nice")(app.route(route="nice")(hello_async))
    functions = hand_over()

    for name in ("hello", "Nice"):
        call(functions[name], req=None)

    assert recording.called() == ["pre hello", "post hello", "pre Nice", "post Nice"]


def test_functions_declared_after_the_app_is_handed_over_have_hooks(app, recording):
    recording.configure(app=app)
    app.route(route="hello")(hello)

    take_in(app)["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


def test_functions_of_a_blueprint_have_hooks(app, hand_over, recording):
    blueprint = func.Blueprint()
    blueprint.function_name("Nice")(blueprint.route(route="hello")(hello))
    app.register_functions(blueprint)

    hand_over()["Nice"](req=None)

    assert recording.called() == ["pre Nice", "post Nice"]


@sync_and_async
def test_a_decorated_function_is_one_invocation_under_its_registered_name(
    function, app, hand_over, recording
):
    app.function_name("Nice")(app.route(route="hello")(recording.timed(function)))

    call(hand_over()["Nice"], req=None)

    assert recording.called() == ["pre Nice", "post Nice"]


def test_an_app_that_is_handed_over_twice_has_one_pair_of_hooks(app, hand_over, recording):
    app.route(route="hello")(hello)
    recording.configure(app=app)

    hand_over()["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


def durable_orchestrator(generator_function):
    """What the durable SDK makes of an orchestrator: a handler, each of whose calls is one episode.

    An episode replays the results of the tasks that are done, and ends at the next unfinished one.
    """

    def handle(context):
        results, generator, task = iter(json.loads(context)), generator_function(context), None
        try:
            task = next(generator)
            for result in results:
                task = generator.send(result)
        except StopIteration as end:
            return json.dumps({"isDone": True, "output": end.value})
        return json.dumps({"isDone": False, "waitsFor": task})

    handler = lambda context: handle(context)  # noqa: E731  (a lambda, as some versions of it make)
    handler.__name__ = generator_function.__name__
    return handler


def durable_entity(entity_function):
    """What the durable SDK makes of an entity: a handler, each of whose calls is one batch."""

    def handle(context):
        return json.dumps([entity_function(operation) for operation in json.loads(context)])

    handle.__name__ = entity_function.__name__
    return handle


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
    def counts_to_three(context):
        first = yield "one"
        second = yield "two"
        return first + second

    trigger = app.generic_trigger(arg_name="context", type="orchestrationTrigger")
    trigger(durable_orchestrator(counts_to_three))

    said = hand_over()["counts_to_three"](context=json.dumps(done))

    assert json.loads(said) == answer
    assert recording.calls[1].func_ret == said
    assert recording.called() == ["pre counts_to_three", "post counts_to_three"]


@pytest.mark.parametrize("is_decorated", [False, True])
def test_each_batch_of_an_entity_has_its_hooks(is_decorated, app, hand_over, recording):
    def counter(operation):
        return operation

    trigger = app.generic_trigger(arg_name="context", type="entityTrigger")
    trigger(durable_entity(recording.timed(counter) if is_decorated else counter))

    assert hand_over()["counter"](context="[1, 2, 3]") == "[1, 2, 3]"
    assert recording.called() == ["pre counter", "post counter"]


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
    assert recording.called() == ["pre http_app_func", "post http_app_func"]


needs_mcp = pytest.mark.skipif(
    not hasattr(getattr(func, "FunctionApp", None), "mcp_prompt_trigger"),
    reason="this azure-functions knows no MCP",
)


def add(a: int, b: int) -> str:
    """Adds."""
    return str(a + b)


def asks(context) -> str:
    return "a prompt"


def reads(context) -> str:
    return "a resource"


@needs_mcp
@pytest.mark.parametrize("is_decorated", [False, True])
def test_the_tools_prompts_and_resources_of_mcp_have_hooks(is_decorated, app, hand_over, recording):
    decorate = recording.timed if is_decorated else lambda function: function
    resource = app.mcp_resource_trigger(arg_name="context", uri="a://b", resource_name="reads")
    app.mcp_tool()(decorate(add))
    app.mcp_prompt_trigger(arg_name="context", prompt_name="asks")(decorate(asks))
    resource(decorate(reads))

    for function in hand_over().values():
        call(function, context='{"arguments": {"a": 1, "b": 2}}')

    called = [f"{hook} {name}" for name in ("add", "asks", "reads") for hook in ("pre", "post")]
    assert recording.called() == called


@needs_mcp
def test_the_properties_of_a_decorated_mcp_tool_are_its_own_parameters(app, hand_over, recording):
    tool = app.mcp_tool()(recording.timed(add))

    hand_over()

    trigger = tool._function.get_trigger().get_dict_repr()
    assert [p["propertyName"] for p in json.loads(trigger["toolProperties"])] == ["a", "b"]


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


def test_the_functions_are_not_taken_from_the_app_before_the_worker_does():
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


@pytest.mark.parametrize("names_another", [False, True], ids=["no app", "another app"])
def test_a_later_configure_with_another_app_or_none_ends_it(
    names_another, app, hand_over, recording
):
    app.route(route="hello")(hello)
    hooked = hand_over()["hello"]

    recording.configure(app=func.FunctionApp() if names_another else None)

    assert hooked(req=None).get_body() == b"hello"
    assert recording.called() == []


def test_the_hooks_are_called_again_once_the_app_is_handed_over_again(app, hand_over, recording):
    app.route(route="hello")(hello)
    hooked = hand_over()["hello"]
    recording.configure()

    recording.configure(app=app)
    hooked(req=None)

    assert recording.called() == ["pre hello", "post hello"]


def test_an_app_is_handed_over_also_where_an_unknown_option_is_an_error(app, recording):
    app.route(route="hello")(hello)

    with pytest.raises(UserWarning, match="misspelt"):  # the tests make every warning one
        recording.configure(app=app, misspelt=True)
    take_in(app)["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


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
    def given(made):
        return made._replace(context=None, logger=None)

    without_worker, by_worker = recording_extension(), recording_extension()
    app = make_mixed_app(without_worker)
    without_worker.configure(app=app)
    run_each_function(app)
    recorded = without_worker.calls[:]

    python(3, 11)
    monkeypatch.setenv(APP_SETTING, "1")
    run_each_function(make_mixed_app(by_worker))

    assert len(recorded) == 18
    assert [given(made) for made in recorded] == [given(made) for made in by_worker.calls]


def test_the_hooks_of_a_subclass_are_called_beside_those_of_its_base(app, hand_over, recording):
    class Beside(recording):
        calls = []

    app.route(route="hello")(hello)
    Beside.configure(app=app)

    hand_over()["hello"](req=None)

    assert Beside.called() == recording.called() == ["pre hello", "post hello"]


def test_the_hooks_of_two_extensions_nest_those_of_the_last_configured_outermost(app, extensions):
    order = []

    def hand_over_to(name):
        class Named(TimerExtension):
            @classmethod
            def pre_invocation_app_level(cls, *args, **kwargs):
                order.append(f"pre of {name}")

            @classmethod
            def post_invocation_app_level(cls, *args, **kwargs):
                order.append(f"post of {name}")

        Named.configure(app=app)

    app.route(route="hello")(hello)
    hand_over_to("first")
    hand_over_to("last")
    take_in(app)["hello"](req=None)

    assert order == ["pre of last", "pre of first", "post of first", "post of last"]


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
    ],
    ids=["Blueprint", "class", "str"],
)
def test_what_is_no_function_app_raises_a_type_error_that_says_what_to_hand_over(
    make, said, version, app, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")
    TimerExtension.configure(app=app)

    with pytest.raises(
        TypeError,
        match=r"^app must be a function app, such as azure.functions.FunctionApp\(\), not .*"
        f"{said}.*: hand over the app that a blueprint is registered with$",
    ):
        TimerExtension.configure(app=make())

    assert TimerExtension.app is app
