"""Tests of the module's second half: hook calls for functions of an app passed to configure()."""

import functools
import json
import typing

import azure.functions as func
import pytest
from azure.functions import HttpResponse

import stand_in_host
from conftest import (
    call, get, greet_in_asgi, greet_in_wsgi, load_functions, needs_v2, recording_extension
)
from python_worker_extension_timer import TimerExtension

pytestmark = needs_v2


def hello(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


class Greeter:
    def greet(self, req: func.HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


@pytest.fixture
def app():
    return func.FunctionApp()


@pytest.fixture
def app_with_hello(app):
    app.route(route="hello")(hello)
    return app


def test_hooks_get_the_registered_name_of_each_function(app, recording):
    blueprint = func.Blueprint()
    blueprint.function_name("InBlueprint")(blueprint.route(route="blueprint")(hello))
    app.route(route="hello")(hello)
    recording.configure(app=app)
    app.function_name("Late")(app.route(route="late")(hello_async))
    app.route(route="greet")(Greeter().greet)
    app.register_functions(blueprint)

    functions = load_functions(app)
    names = ["hello", "Late", "greet", "InBlueprint"]
    for name in names:
        call(functions[name], req=None)

    assert recording.called() == [f"{hook} {name}" for name in names for hook in ("pre", "post")]


def test_hooks_are_called_for_each_call_of_a_durable_functions_handler(app, recording):
    # One call is one episode of an orchestrator, or one batch of an entity's operations.
    handler = lambda context: f"replayed {context}"  # noqa: E731  (the SDK registers a lambda)
    handler.__name__ = "orchestrator"
    app.generic_trigger(arg_name="context", type="orchestrationTrigger")(handler)
    recording.configure(app=app)
    wrapper = load_functions(app)["orchestrator"]

    results = [wrapper(context=history) for history in ("[]", "[1]")]

    assert results == ["replayed []", "replayed [1]"]
    assert recording.called() == ["pre orchestrator", "post orchestrator"] * 2


@pytest.mark.parametrize("kind, web_app", [("Wsgi", greet_in_wsgi), ("Asgi", greet_in_asgi)])
def test_hooks_are_called_for_a_wsgi_or_asgi_app_as_a_single_function(kind, web_app, recording):
    app = getattr(func, f"{kind}FunctionApp")(web_app)
    recording.configure(app=app)

    with stand_in_host.StandInHost(stand_in_host.functions_of(app), prefix="") as host:
        response = get(host.url + "/any/path")

    # Otherwise the SDK sends the web app's shutdown event on an event loop that is closed by then.
    app.startup_task_done = False
    assert response.body == b"hello"
    assert recording.called() == ["pre http_app_func", "post http_app_func"]


@pytest.mark.skipif(
    not hasattr(getattr(func, "FunctionApp", None), "mcp_tool"),
    reason="this azure-functions has no MCP tools",
)
def test_hooks_are_called_for_a_decorated_mcp_tool_which_keeps_its_properties(
    app, recording
):
    @app.mcp_tool()
    @recording.timed
    def add(a: int, b: int) -> str:
        """Adds."""
        return str(a + b)

    recording.configure(app=app)
    (tool,) = app.get_functions()
    result = call(tool.get_user_function(), context='{"arguments": {"a": 1, "b": 2}}')

    assert result == "3"
    assert recording.called() == ["pre add", "post add"]
    properties = json.loads(tool.get_trigger().get_dict_repr()["toolProperties"])
    assert [tool_property["propertyName"] for tool_property in properties] == ["a", "b"]


def test_type_hints_set_by_the_durable_functions_sdk_are_kept(app, recording):
    def start(req: func.HttpRequest, client: "DurableClient"):  # noqa: F821
        """The Durable Functions SDK passes a client, but the worker must see a string parameter."""

    start.__annotations__ = {"req": func.HttpRequest, "client": str}
    if hasattr(start, "__annotate__"):  # Python 3.14
        start.__annotate__ = None
        start.__annotations__ = {"req": func.HttpRequest, "client": str}
    app.route(route="start")(start)
    recording.configure(app=app)

    hints = typing.get_type_hints(load_functions(app)["start"])

    assert hints == {"req": func.HttpRequest, "client": str}


def test_callable_that_the_worker_rejects_is_not_wrapped(app, recording):
    cached = functools.lru_cache()(hello)
    app.route(route="hello")(cached)
    recording.configure(app=app)

    assert load_functions(app)["hello"] is cached


def test_each_hook_is_called_once_if_the_app_is_passed_to_configure_twice(
    app_with_hello, recording
):
    for _ in range(2):
        recording.configure(app=app_with_hello)

    load_functions(app_with_hello)["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


@pytest.mark.parametrize("has_another", [False, True], ids=["no app", "another app"])
def test_hooks_are_called_only_while_the_extension_is_configured_with_the_app(
    has_another, app_with_hello, recording
):
    recording.configure(app=app_with_hello)
    wrapper = load_functions(app_with_hello)["hello"]

    recording.configure(app=func.FunctionApp() if has_another else None)
    assert wrapper(req=None).get_body() == b"hello"
    assert recording.called() == []

    recording.configure(app=app_with_hello)
    wrapper(req=None)
    assert recording.called() == ["pre hello", "post hello"]


def test_hooks_are_called_even_if_configure_raises_the_warning_about_an_unknown_argument(
    app_with_hello, recording
):
    with pytest.raises(UserWarning, match="misspelt"):  # in these tests, warnings are errors
        recording.configure(app=app_with_hello, misspelt=True)
    load_functions(app_with_hello)["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


def test_hooks_of_the_extension_configured_last_are_outermost(app_with_hello):
    order = []
    for name in ("first", "last"):
        extension = recording_extension()
        extension.pre_invocation_app_level = lambda *_, name=name: order.append(f"pre of {name}")
        extension.post_invocation_app_level = lambda *_, name=name: order.append(f"post of {name}")
        extension.configure(app=app_with_hello)

    load_functions(app_with_hello)["hello"](req=None)

    assert order == ["pre of last", "pre of first", "post of first", "post of last"]


def test_app_is_asked_for_its_functions_only_when_the_worker_loads_them(
    app, recording, monkeypatch
):
    asked = []
    monkeypatch.setattr(app, "get_functions", lambda: asked.append("once") or [])

    recording.configure(app=app)
    assert asked == []

    load_functions(app)
    assert asked == ["once"]


def test_tracer_can_replace_the_functions_by_patching_the_apps_class_after_configure(
    app_with_hello, recording, monkeypatch
):
    get_functions = func.FunctionApp.get_functions

    def traced(req):
        return f"traced after {recording.called()}"

    def get_traced_functions(self):
        functions = get_functions(self)
        functions[0].get_user_function = lambda: traced
        return functions

    recording.configure(app=app_with_hello)
    monkeypatch.setattr(func.FunctionApp, "get_functions", get_traced_functions)

    assert load_functions(app_with_hello)["hello"](req=None) == "traced after ['pre hello']"


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
