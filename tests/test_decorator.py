"""The decorator: which name its function goes by, what it takes, and what it says of the rest."""

import functools
import importlib.util

import azure.functions as func
import pytest
from azure.functions import HttpResponse

from conftest import APP_SETTING, WORKER_RUNTIME, FakeContext, call, needs_v2
from python_worker_extension_timer import TimerExtension


@pytest.fixture(autouse=True)
def no_hooks(extension, python):
    python(3, 13)


@pytest.fixture
def make_v1_function(tmp_path):
    """Write a function of a v1 app, and import its module as the worker does."""

    def write(name, source="def main(req): ...", definition='{"bindings": []}'):
        file = tmp_path / name / "__init__.py"
        file.parent.mkdir()
        file.with_name("function.json").write_text(definition, encoding="utf-8")
        file.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"__app__.{name}", str(file))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return write


def hello(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


async def hello_async(req: func.HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def passes_on(function):
    """A decorator of somebody else's."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapped


def test_a_function_goes_by_its_own_name(recording):
    recording.timed(hello)(req=None)

    assert recording.called() == ["pre hello", "post hello"]


def test_a_function_of_the_v1_model_goes_by_the_name_of_its_folder(recording, make_v1_function):
    main = recording.timed(make_v1_function("HttpTrigger").main)

    main(req=None)

    assert recording.called() == ["pre HttpTrigger", "post HttpTrigger"]


def test_a_function_of_the_v1_model_that_takes_context_goes_by_the_name_in_it(
    recording, make_v1_function
):
    main = recording.timed(make_v1_function("HttpTrigger", "def main(req, context): ...").main)

    main(req=None, context=FakeContext("as the worker says"))

    assert recording.called() == ["pre as the worker says", "post as the worker says"]


def test_the_folder_is_that_of_the_function_itself_not_of_another_decorator(
    recording, make_v1_function
):
    main = make_v1_function("HttpTrigger").main

    recording.timed(passes_on(main))(req=None)

    assert recording.called() == ["pre HttpTrigger", "post HttpTrigger"]


@pytest.mark.parametrize(
    "definition, named",
    [
        ('{"bindings": []}', "main"),
        ('{"entryPoint": ""}', "main"),
        ('{"entryPoint": "helper"}', "helper"),
        ('\ufeff{"entryPoint": "helper"}', "helper"),
        ("{", None),
        ("[]", None),
    ],
)
def test_the_folder_names_only_the_function_that_a_readable_function_json_names(
    definition, named, recording, make_v1_function
):
    source = "def main(req): ...\ndef helper(req): ..."
    module = make_v1_function("HttpTrigger", source, definition)

    for function in (module.main, module.helper):
        recording.timed(function)(req=None)

    names = ["HttpTrigger" if name == named else name for name in ("main", "helper")]
    assert recording.called()[::2] == [f"pre {name}" for name in names]


@pytest.mark.parametrize("function", [hello, hello_async], ids=["sync", "async"])
def test_a_function_that_is_decorated_twice_is_one_invocation(function, recording):
    call(recording.timed(recording.timed(function)), req=None)

    assert recording.called() == [f"pre {function.__name__}", f"post {function.__name__}"]


@needs_v2
def test_a_decorated_function_below_a_trigger_decorator_is_what_the_worker_calls(recording):
    builder = func.FunctionApp().route(route="hello")(recording.timed(hello))

    builder._function.get_user_function()(req=None)

    assert builder._function.get_function_name() == "hello"
    assert recording.called() == ["pre hello", "post hello"]


def test_on_python_3_9_a_missing_setting_is_on_in_a_worker_alone(python, monkeypatch):
    python(3, 9)
    assert TimerExtension.timed(hello) is not hello

    monkeypatch.setenv(WORKER_RUNTIME, "python")
    assert TimerExtension.timed(hello) is hello

    monkeypatch.setenv(APP_SETTING, "0")
    assert TimerExtension.timed(hello) is not hello


def orchestrator(context):
    yield


async def async_generator(context):
    yield


@pytest.mark.parametrize("function", [orchestrator, async_generator])
@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_a_generator_function_raises_a_type_error_that_says_what_takes_it(
    function, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    with pytest.raises(TypeError) as caught:
        TimerExtension.timed(function)

    assert str(caught.value) == (
        f"a generator function such as {function.__name__} cannot be decorated: "
        f"{TimerExtension.__name__}.configure(app=app) takes orchestrators"
    )


@pytest.mark.parametrize(
    "thing", ["hello", None, HttpResponse, functools.partial(hello), functools.lru_cache()(hello)]
)
@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_what_is_no_function_raises_a_type_error_that_says_the_order(
    thing, version, python, monkeypatch
):
    python(*version)
    monkeypatch.setenv(APP_SETTING, "1")

    with pytest.raises(TypeError) as caught:
        TimerExtension.timed(thing)

    assert str(caught.value) == (
        "the decorator goes right above the def, below @app.route(...) and any other decorator "
        f"of the SDK: it takes a function, not {type(thing).__name__}"
    )
