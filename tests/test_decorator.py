"""Tests of the module's second half: the functions that the decorator accepts, and their names."""

import functools
import importlib.util
import inspect
import sys

import azure.functions as func
import pytest
from azure.functions import HttpResponse

from conftest import FakeContext, call, load_functions, needs_v2
from python_worker_extension_timer import TimerExtension


@pytest.fixture
def make_v1_function(tmp_path, monkeypatch):
    """A function that writes a v1 function's folder, and imports the folder as the worker does."""

    def make(name, source="def main(req): return req", definition='{"bindings": []}'):
        file = tmp_path / name / "__init__.py"
        file.parent.mkdir()
        file.with_name("function.json").write_text(definition, encoding="utf-8")
        file.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"__app__.{name}", str(file))
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        spec.loader.exec_module(module)
        return module

    return make


def hello(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def echo(req):
    return req


def test_hooks_get_the_name_of_the_folder_in_the_v1_model(recording, make_v1_function):
    main = recording.timed(make_v1_function("HttpTrigger").main)

    main(req=None)

    assert recording.called() == ["pre HttpTrigger", "post HttpTrigger"]


def test_hooks_get_the_name_from_the_context_that_the_worker_passes_to_the_function(
    recording, make_v1_function
):
    main = recording.timed(make_v1_function("HttpTrigger", "def main(req, context): ...").main)

    main(req=None, context=FakeContext("name in the context"))

    assert recording.called() == ["pre name in the context", "post name in the context"]


class CallableObject:
    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def wrap(function):
    """Wrap a function, as decorators of other packages do."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapped


def wrap_partial(function):
    return wrap(functools.partial(function))


def wrap_and_refer_to_partial(function):
    wrapped = wrap(function)
    wrapped.__wrapped__ = functools.partial(function)
    return wrapped


def wrap_and_refer_to_object(function):
    wrapped = wrap(function)
    wrapped.__wrapped__ = CallableObject(function)
    return wrapped


@pytest.mark.parametrize(
    "decorator, is_v1",
    [
        (wrap, True),
        (wrap_partial, True),  # no False case: outside v1, the hooks get the wrapper's name
        (wrap_and_refer_to_partial, True),
        (wrap_and_refer_to_partial, False),
        (wrap_and_refer_to_object, True),
        (wrap_and_refer_to_object, False),
    ],
)
def test_hooks_get_the_same_name_if_another_decorator_has_wrapped_the_function(
    decorator, is_v1, recording, make_v1_function
):
    function = make_v1_function("HttpTrigger").main if is_v1 else echo

    assert recording.timed(decorator(function))(req="request") == "request"

    name = "HttpTrigger" if is_v1 else "echo"
    assert recording.called() == [f"pre {name}", f"post {name}"]


@pytest.mark.parametrize(
    "definition, entry_point",
    [
        ('{"bindings": []}', "main"),
        ('{"entryPoint": ""}', "main"),
        ('{"entryPoint": "helper"}', "helper"),
        ('\ufeff{"entryPoint": "helper"}', "helper"),
        ('{\n// "entryPoint": "main",\n"entryPoint": "helper"}', "helper"),
        ('{/* "entryPoint":\n"helper" */ "bindings": [{"entryPoint": "helper"},\n],\n}', "main"),
        ('{"scriptFile": "..//a\\\\", "x": "/*,}", "y": "*/,]", "entryPoint": "helper"}', "helper"),
        ("{", None),
        ("[]", None),
    ],
)
def test_folder_name_is_used_only_for_the_entry_point_in_a_valid_function_json(
    definition, entry_point, recording, make_v1_function
):
    source = "def main(req): ...\ndef helper(req): ..."
    module = make_v1_function("HttpTrigger", source, definition)

    for function in (module.main, module.helper):
        recording.timed(function)(req=None)

    names = ["HttpTrigger" if name == entry_point else name for name in ("main", "helper")]
    assert recording.called()[::2] == [f"pre {name}" for name in names]


@pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])
def test_each_hook_is_called_once_if_the_function_is_decorated_twice(function, recording):
    call(recording.timed(recording.timed(function)), req=None)

    assert recording.called() == [f"pre {function.__name__}", f"post {function.__name__}"]


def test_an_outer_decorator_can_supply_a_parameter_and_hide_it_from_the_worker(recording):
    def supply_client(function):
        @functools.wraps(function)
        def with_client(req):
            return function(req=req, client="a client")

        del with_client.__wrapped__  # otherwise, inspect.signature() would show the client
        return with_client

    @supply_client
    @recording.timed
    def use_client(req, client):
        return client

    assert str(inspect.signature(use_client)) == "(req)"
    assert use_client(req=None) == "a client"


@needs_v2
def test_trigger_decorator_passes_the_decorated_function_to_the_worker(recording):
    app = func.FunctionApp()
    app.route(route="hello")(recording.timed(hello))

    load_functions(app)["hello"](req=None)

    assert recording.called() == ["pre hello", "post hello"]


def orchestrator(context):
    yield


async def async_generator(context):
    yield


@pytest.mark.parametrize("function", [orchestrator, async_generator])
def test_type_error_for_a_generator_function_says_to_use_configure(function):
    with pytest.raises(TypeError) as caught:
        TimerExtension.timed(function)

    assert str(caught.value) == (
        f"can't decorate the generator function {function.__name__}. In the v2 model, "
        f"{TimerExtension.__name__}.configure(app=app) times orchestrators."
    )


@pytest.mark.parametrize(
    "thing", ["hello", None, HttpResponse, functools.partial(hello), functools.lru_cache()(hello)]
)
def test_type_error_for_anything_but_a_function_says_where_the_decorator_goes(thing):
    with pytest.raises(TypeError) as caught:
        TimerExtension.timed(thing)

    assert str(caught.value) == (
        f"the decorator of {TimerExtension.__name__} takes a function, not "
        f"{type(thing).__name__}. Place the decorator directly above the def; in the v2 model, "
        "below @app.route(...) and any other decorator of the SDK."
    )
