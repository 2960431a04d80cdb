"""Tests of the module's second half: hook calls for functions of an app passed to configure()."""

import functools
import json
import typing

import azure.functions as func
import pytest
from azure.functions import HttpResponse

import stand_in_host
from conftest import call, get, load_functions, needs_v2
from python_worker_extension_timer import TimerExtension

pytestmark = needs_v2


@pytest.fixture
def app():
    return func.FunctionApp()


@pytest.fixture
def configure_and_load(app, recording):
    """A function that passes the app to configure(), and then loads the app's functions."""

    def load():
        recording.configure(app=app)
        return load_functions(app)

    return load


def hello(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


class Greeter:
    def greet(self, req):
        return "hello"


sync_and_async = pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])


def test_hooks_get_the_registered_name_of_each_function(app, configure_and_load, recording):
    app.route(route="hello")(hello)
    app.function_name("Nice")(app.route(route="nice")(hello_async))
    functions = configure_and_load()

    for name in ("hello", "Nice"):
        call(functions[name], req=None)

    assert recording.called() == ["pre hello", "post hello", "pre Nice", "post Nice"]


def test_hooks_are_called_for_a_function_registered_after_configure(app, recording):
    recording.configure(app=app)
    app.route(route="hello")(hello)

    load_functions(app)["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


@sync_and_async
def test_each_hook_is_called_once_if_a_function_of_the_app_is_decorated(
    function, app, configure_and_load, recording
):
    app.function_name("Nice")(app.route(route="hello")(recording.timed(function)))

    call(configure_and_load()["Nice"], req=None)

    assert recording.called() == ["pre Nice", "post Nice"]


def test_each_hook_is_called_once_if_the_app_is_passed_to_configure_twice(
    app, configure_and_load, recording
):
    app.route(route="hello")(hello)
    recording.configure(app=app)

    configure_and_load()["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


def test_hooks_are_called_for_each_call_of_a_durable_functions_handler(
    app, configure_and_load, recording
):
    # One call is one episode of an orchestrator, or one batch of an entity's operations.
    handler = lambda context: f"replayed {context}"  # noqa: E731  (the SDK registers a lambda)
    handler.__name__ = "orchestrator"
    app.generic_trigger(arg_name="context", type="orchestrationTrigger")(handler)
    wrapper = configure_and_load()["orchestrator"]

    results = [wrapper(context=history) for history in ("[]", "[1]")]

    assert results == ["replayed []", "replayed [1]"]
    assert recording.called() == ["pre orchestrator", "post orchestrator"] * 2


def greet_in_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def greet_in_asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await send({"type": (await receive())["type"] + ".complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.mark.parametrize("kind, web_app", [("Wsgi", greet_in_wsgi), ("Asgi", greet_in_asgi)])
def test_hooks_are_called_for_a_wsgi_or_asgi_app_as_a_single_function(kind, web_app, recording):
    app = getattr(func, f"{kind}FunctionApp")(web_app)
    recording.configure(app=app)

    functions = list(stand_in_host.functions_of(app))
    with stand_in_host.StandInHost(functions, prefix="") as host:
        response = get(host.url + "/any/path")

    # Otherwise the SDK sends the web app's shutdown event on an event loop that is closed by then.
    app.startup_task_done = False
    assert response.body == b"hello"
    assert recording.called() == ["pre http_app_func", "post http_app_func"]


needs_mcp = pytest.mark.skipif(
    not hasattr(getattr(func, "FunctionApp", None), "mcp_prompt_trigger"),
    reason="this azure-functions has no MCP triggers",
)


def add(a: int, b: int) -> str:
    """Adds."""
    return str(a + b)


def prompt(context) -> str:
    return "a prompt"


def resource(context) -> str:
    return "a resource"


@needs_mcp
@pytest.mark.parametrize("is_decorated", [False, True])
def test_hooks_are_called_for_mcp_tools_prompts_and_resources(
    is_decorated, app, configure_and_load, recording
):
    decorate = recording.timed if is_decorated else lambda function: function
    trigger = app.mcp_resource_trigger(arg_name="context", uri="a://b", resource_name="resource")
    app.mcp_tool()(decorate(add))
    app.mcp_prompt_trigger(arg_name="context", prompt_name="prompt")(decorate(prompt))
    trigger(decorate(resource))

    for function in configure_and_load().values():
        call(function, context='{"arguments": {"a": 1, "b": 2}}')

    names = ("add", "prompt", "resource")
    assert recording.called() == [f"{hook} {name}" for name in names for hook in ("pre", "post")]


@needs_mcp
def test_properties_of_a_decorated_mcp_tool_are_the_functions_parameters(
    app, configure_and_load, recording
):
    tool = app.mcp_tool()(recording.timed(add))

    configure_and_load()

    trigger = tool._function.get_trigger().get_dict_repr()
    assert [p["propertyName"] for p in json.loads(trigger["toolProperties"])] == ["a", "b"]


def test_type_hints_set_by_the_durable_functions_sdk_are_kept(app, configure_and_load):
    def start(req: func.HttpRequest, client: "DurableClient"):  # noqa: F821
        """The Durable Functions SDK passes a client, but the worker must see a string parameter."""

    start.__annotations__ = {"req": func.HttpRequest, "client": str}
    if hasattr(start, "__annotate__"):  # Python 3.14
        start.__annotate__ = None
        start.__annotations__ = {"req": func.HttpRequest, "client": str}
    app.route(route="start")(start)

    hints = typing.get_type_hints(configure_and_load()["start"])

    assert hints == {"req": func.HttpRequest, "client": str}


class CallableObject:
    __name__ = "CallableObject"

    def __call__(self, req):
        return HttpResponse("hello")


@pytest.mark.parametrize("thing", [CallableObject(), functools.lru_cache()(hello)])
def test_callable_that_the_worker_rejects_is_not_wrapped(thing, app, configure_and_load):
    app.function_name("thing")(app.route(route="hello")(thing))

    assert configure_and_load()["thing"] is thing


def test_app_is_asked_for_its_functions_only_when_the_worker_loads_them(app, monkeypatch):
    asked = []
    monkeypatch.setattr(app, "get_functions", lambda: asked.append("once") or [])

    assert TimerExtension.configure(app=app) is None
    assert asked == []

    load_functions(app)
    assert asked == ["once"]


def test_tracer_can_replace_the_functions_by_patching_the_apps_class_after_configure(
    app, recording, monkeypatch
):
    get_functions = func.FunctionApp.get_functions

    def get_traced_functions(self):
        functions = get_functions(self)
        for function in functions:
            function.get_user_function = lambda: traced
        return functions

    def traced(req):
        return f"traced after {recording.called()}"

    app.route(route="hello")(hello)
    recording.configure(app=app)
    monkeypatch.setattr(func.FunctionApp, "get_functions", get_traced_functions)

    assert load_functions(app)["hello"](req=None) == "traced after ['pre hello']"
    assert recording.called() == ["pre hello", "post hello"]


@pytest.mark.parametrize("has_another", [False, True], ids=["no app", "another app"])
def test_hooks_are_called_only_while_the_extension_is_configured_with_the_app(
    has_another, app, configure_and_load, recording
):
    app.route(route="hello")(hello)
    wrapper = configure_and_load()["hello"]

    recording.configure(app=func.FunctionApp() if has_another else None)
    assert wrapper(req=None).get_body() == b"hello"
    assert recording.called() == []

    recording.configure(app=app)
    wrapper(req=None)
    assert recording.called() == ["pre hello", "post hello"]


def test_hooks_are_called_even_if_configure_raises_the_warning_about_an_unknown_argument(
    app, recording
):
    app.route(route="hello")(hello)

    with pytest.raises(UserWarning, match="misspelt"):  # in these tests, warnings are errors
        recording.configure(app=app, misspelt=True)
    load_functions(app)["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


def test_hooks_are_called_for_bound_methods_and_for_functions_of_a_blueprint(
    app, configure_and_load, recording
):
    blueprint = func.Blueprint()
    blueprint.function_name("Nice")(blueprint.route(route="nice")(hello))
    app.register_functions(blueprint)
    app.route(route="greet")(Greeter().greet)
    functions = configure_and_load()

    for name in ("greet", "Nice"):
        functions[name](req=None)

    assert recording.called() == ["pre greet", "post greet", "pre Nice", "post Nice"]


def test_hooks_of_the_extension_configured_last_are_outermost(app, empty_registry):
    order = []

    def configure_extension(name):
        class Named(TimerExtension):
            @classmethod
            def pre_invocation_app_level(cls, *args, **kwargs):
                order.append(f"pre of {name}")

            @classmethod
            def post_invocation_app_level(cls, *args, **kwargs):
                order.append(f"post of {name}")

        Named.configure(app=app)

    app.route(route="hello")(hello)
    configure_extension("first")
    configure_extension("last")
    load_functions(app)["hello"](req=None)

    assert order == ["pre of last", "pre of first", "post of first", "post of last"]


def test_subclass_does_not_inherit_the_app(app, recording):
    recording.configure(app=app)

    class Subclass(recording):
        pass

    assert Subclass.app is None


@pytest.mark.parametrize(
    "make",
    [lambda: greet_in_asgi, lambda: func.FunctionApp, lambda: func.Blueprint()],
    ids=["web app", "class", "blueprint"],
)
def test_type_error_for_anything_but_a_function_app_says_what_to_pass(make, app):
    thing = make()
    TimerExtension.configure(app=app)

    with pytest.raises(TypeError) as caught:
        TimerExtension.configure(app=thing)

    assert str(caught.value) == (
        f"app must be a function app, such as azure.functions.FunctionApp(), not {thing!r}. For "
        "FastAPI or Flask, wrap the web app in AsgiFunctionApp or WsgiFunctionApp. For a "
        "blueprint, pass the app that it is registered with."
    )
    assert TimerExtension.app is app
