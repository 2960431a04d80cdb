"""Tests of the module's second half: the functions that the decorator accepts, and their names."""

import functools
import importlib.util
import inspect
import sys

import pytest

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


def test_hooks_get_the_name_of_the_folder_in_the_v1_model(recording, make_v1_function):
    main = recording.timed(make_v1_function("HttpTrigger").main)

    main(req=None)

    assert recording.called() == ["pre HttpTrigger", "post HttpTrigger"]


def wrap(function):
    """Wrap a function, as decorators of other packages do."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapped


def wrap_partial(function):
    return wrap(functools.partial(function))


def wrap_and_refer_to_an_object(function):
    wrapped = wrap(function)
    wrapped.__wrapped__ = object()
    return wrapped


@pytest.mark.parametrize("decorator", [wrap, wrap_partial, wrap_and_refer_to_an_object])
def test_hooks_get_the_name_of_the_folder_if_another_decorator_has_wrapped_the_function(
    decorator, recording, make_v1_function
):
    function = make_v1_function("HttpTrigger").main

    assert recording.timed(decorator(function))(req="request") == "request"
    assert recording.called() == ["pre HttpTrigger", "post HttpTrigger"]


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


def orchestrator(context):
    yield


async def async_generator(context):
    yield


GENERATOR = (
    "can't decorate the generator function {}. For an orchestrator, pass the app to "
    "TimerExtension.configure() in the v2 model; in the v1 model, decorate a main(context) that "
    "calls the result of Orchestrator.create()."
)
NO_FUNCTION = (
    "the decorator of TimerExtension takes a function, not {}. Place the decorator directly above "
    "the def; in the v2 model, below @app.route(...) and any other decorator of the SDK."
)


@pytest.mark.parametrize(
    "thing, message",
    [
        (orchestrator, GENERATOR.format("orchestrator")),
        (async_generator, GENERATOR.format("async_generator")),
        ("hello", NO_FUNCTION.format("str")),
        (None, NO_FUNCTION.format("NoneType")),
        (functools.partial(wrap), NO_FUNCTION.format("partial")),
    ],
)
def test_type_error_for_anything_but_a_plain_function_says_what_to_do(thing, message):
    with pytest.raises(TypeError) as caught:
        TimerExtension.timed(thing)

    assert str(caught.value) == message
