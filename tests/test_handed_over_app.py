"""A handed-over app: which of its functions have hooks, under which name, and for how long."""

import functools
import json
import typing

import azure.functions as func
import pytest
from azure.functions import HttpResponse

import local_host
from conftest import APP_SETTING, call, get, needs_v2, take_in
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


class Greeter:
    def greet(self, req):
        return "of a method"


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


def test_each_call_of_a_durable_functions_handler_has_hooks(app, hand_over, recording):
    # One call is one episode of an orchestrator, or one batch of an entity.
    handler = lambda context: f"replayed {context}"  # noqa: E731  (as the durable SDK makes them)
    handler.__name__ = "orchestrates"
    app.generic_trigger(arg_name="context", type="orchestrationTrigger")(handler)
    hooked = hand_over()["orchestrates"]

    said = [hooked(context=history) for history in ("[]", "[1]")]

    assert said == ["replayed []", "replayed [1]"]
    assert recording.called() == ["pre orchestrates", "post orchestrates"] * 2


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


def test_type_hints_that_the_durable_sdk_replaced_stay_replaced(app, hand_over):
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


def test_the_functions_are_not_taken_from_the_app_before_the_worker_does(app, monkeypatch):
    taken = []
    monkeypatch.setattr(app, "get_functions", lambda: taken.append("once") or [])

    assert TimerExtension.configure(app=app) is None
    assert taken == []

    take_in(app)
    assert taken == ["once"]


@pytest.mark.parametrize("names_another", [False, True], ids=["no app", "another app"])
def test_the_hooks_are_called_for_as_long_as_the_extension_has_the_app(
    names_another, app, hand_over, recording
):
    app.route(route="hello")(hello)
    hooked = hand_over()["hello"]

    recording.configure(app=func.FunctionApp() if names_another else None)
    assert hooked(req=None).get_body() == b"hello"
    assert recording.called() == []

    recording.configure(app=app)
    hooked(req=None)
    assert recording.called() == ["pre hello", "post hello"]


def test_an_app_is_handed_over_also_where_an_unknown_option_is_an_error(app, recording):
    app.route(route="hello")(hello)

    with pytest.raises(UserWarning, match="misspelt"):  # the tests make every warning one
        recording.configure(app=app, misspelt=True)
    take_in(app)["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


def test_a_bound_method_and_a_function_of_a_blueprint_have_hooks(app, hand_over, recording):
    blueprint = func.Blueprint()
    blueprint.function_name("Nice")(blueprint.route(route="nice")(hello))
    app.register_functions(blueprint)
    app.route(route="greet")(Greeter().greet)
    functions = hand_over()

    for name in ("greet", "Nice"):
        functions[name](req=None)

    assert recording.called() == ["pre greet", "post greet", "pre Nice", "post Nice"]


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
@pytest.mark.parametrize("make", ["FunctionApp", "Blueprint"])
def test_what_is_no_function_app_raises_a_type_error_that_says_what_to_hand_over(
    make, version, app, python, monkeypatch
):
    thing = func.Blueprint() if make == "Blueprint" else func.FunctionApp
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")
    TimerExtension.configure(app=app)

    with pytest.raises(TypeError) as caught:
        TimerExtension.configure(app=thing)

    assert str(caught.value) == (
        f"app must be a function app, such as azure.functions.FunctionApp(), not {thing!r}: hand "
        "over the app that a blueprint is registered with"
    )
    assert TimerExtension.app is app
