"""What any test needs: fakes, ways to call a hook, an extension that records, a pretended Python."""

import asyncio
import contextlib
import http.client
import inspect
import runpy
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional
from unittest import mock

import azure.functions
import pytest

import python_worker_extension_timer
from local_host import HttpFunction, LocalHost
from python_worker_extension_timer import TimerExtension

TESTS = Path(__file__).parent
ROOT = TESTS.parent
APPS = TESTS / "apps"
PACKAGE = Path(python_worker_extension_timer.__file__).parent

APP_SETTING = "PYTHON_ENABLE_WORKER_EXTENSIONS"
WORKER_RUNTIME = "FUNCTIONS_WORKER_RUNTIME"

needs_v2 = pytest.mark.skipif(
    not hasattr(azure.functions, "FunctionApp"), reason="this azure-functions has no v2 model"
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("markers", "installs: has pip install from a package index")
    for option in inspect.signature(TimerExtension.configure).parameters.values():
        if option.default is option.empty and option.kind is option.KEYWORD_ONLY:
            raise pytest.UsageError(
                f"{TimerExtension.__name__}.configure() needs {option.name}: give it a default, "
                "since an app may never call configure()"
            )


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    for item in items:
        if "index_is_reached" in getattr(item, "fixturenames", ()):
            item.add_marker("installs")


class FakeContext:
    """The least that the hooks ask of a context; like the worker's, it can be referred to weakly.

    https://learn.microsoft.com/python/api/azure-functions/azure.functions.context
    """

    def __init__(
        self, function_name: str = "HttpTrigger", invocation_id: Optional[str] = None
    ) -> None:
        self.function_name = function_name
        self.invocation_id = invocation_id or str(uuid.uuid4())


class FakeLogger:
    """The least that the hooks ask of a logger."""

    def __init__(self) -> None:
        self.messages: List[str] = []

    def info(self, message: str) -> None:
        self.messages.append(message)


def start(
    context: object, logger: Optional[object] = None, extension: type = TimerExtension
) -> None:
    """Call the pre hook as the worker does."""
    extension.pre_invocation_app_level(logger or FakeLogger(), context, {})


def finish(
    context: object,
    func_ret: object = None,
    logger: Optional[object] = None,
    extension: type = TimerExtension,
) -> None:
    """Call the post hook as the worker does."""
    extension.post_invocation_app_level(logger or FakeLogger(), context, {}, func_ret)


class Call(NamedTuple):
    """A call of a hook, and what the hook was given."""

    hook: str
    function_name: str
    logger: object
    context: object
    func_args: Optional[Dict[str, object]]
    func_ret: object = None


def recording_extension() -> Any:
    """An extension that records each call of its hooks."""

    class Recording(TimerExtension):
        calls: List[Call] = []

        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None):
            cls.calls.append(Call("pre", context.function_name, logger, context, func_args))

        @classmethod
        def post_invocation_app_level(cls, logger, context, func_args=None, func_ret=None):
            name = context.function_name
            cls.calls.append(Call("post", name, logger, context, func_args, func_ret))

        @classmethod
        def called(cls) -> List[str]:
            """The hooks that were called, each with the name of the function, in order."""
            return [f"{call.hook} {call.function_name}" for call in cls.calls]

    return Recording


@pytest.fixture(autouse=True)
def extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TimerExtension as it is after import, outside any worker, for each test."""
    monkeypatch.delenv(APP_SETTING, raising=False)
    monkeypatch.delenv(WORKER_RUNTIME, raising=False)
    TimerExtension.init()


@pytest.fixture
def extensions() -> Iterator[None]:
    """Know only the extensions that the test registers, and forget them afterwards."""
    hooks = azure.functions.ExtensionMeta.get_application_hooks()
    before = [list(registered) for registered in hooks]
    for registered in hooks:
        registered.clear()
    yield
    for registered, kept in zip(hooks, before):
        registered[:] = kept


@pytest.fixture
def recording(extensions: None) -> Any:
    """An extension whose hooks record what they are given: it stands in for the one under test."""
    return recording_extension()


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend to be another version of Python: ``python(3, 13)``."""

    def pretend(*version: int) -> None:
        monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))

    return pretend


@pytest.fixture
def hooks_on(monkeypatch: pytest.MonkeyPatch, python: Callable[..., None]) -> None:
    """A worker that calls the hooks, whatever Python the tests run on."""
    python(3, 11)
    monkeypatch.setenv(APP_SETTING, "1")


def call(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """Call a function, sync or async, to its end."""
    result = function(*args, **kwargs)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def take_in(app: object) -> Dict[str, Callable[..., object]]:
    """The functions by name, as the worker takes them from an app: once, after its import."""
    return {f.get_function_name(): f.get_user_function() for f in app.get_functions()}


def decorated(extension: Any, function: Callable[..., object], **options: object) -> Any:
    """The function, decorated."""
    function = extension.timed(function)
    extension.configure(**options)
    return function


def handed_over(extension: Any, function: Callable[..., object], **options: object) -> Any:
    """The function, as the worker takes it from an app that is handed over."""
    app = azure.functions.FunctionApp()
    app.route(route="hello")(function)
    extension.configure(app=app, **options)
    (function,) = take_in(app).values()
    return function


# The two ways in which the hooks are called where no worker calls them.
either_way = pytest.mark.parametrize("way", [decorated, pytest.param(handed_over, marks=needs_v2)])


def at_once(*calls: Callable[[], object]) -> None:
    """Run the calls on a thread each, and raise what one of them raises.

    They take turns a thousand times as often as they would, so that a race is met, not missed.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 1000)
    try:
        with ThreadPoolExecutor(len(calls)) as pool:
            for future in [pool.submit(call) for call in calls]:
                future.result(60)
    finally:
        sys.setswitchinterval(interval)


class Answer(NamedTuple):
    status: int
    headers: "http.client.HTTPMessage"
    body: bytes


def get(url: str, method: str = "GET", body: Optional[bytes] = None) -> Answer:
    """One HTTP request, on a connection of its own; a 4xx or 5xx is an answer like any other."""
    scheme, _, host, *path = url.split("/")
    connection = http.client.HTTPConnection(host.replace("localhost", "127.0.0.1"), timeout=30)
    with contextlib.closing(connection):
        connection.request(method, "/" + "/".join(path), body)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve functions through a local host in this process, and return its URL.

    A plain function ``hello`` is served as ``/api/hello``.
    """

    def served(function: Any) -> HttpFunction:
        name = getattr(function, "__name__", "")
        return HttpFunction(name, function, name) if name else function

    with contextlib.ExitStack() as stack:
        yield lambda *functions: stack.enter_context(LocalHost(map(served, functions))).url


@pytest.fixture(scope="session")
def index_is_reached(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where pip reaches no package index: a fresh environment needs one."""
    download = [sys.executable, *"-m pip download --no-deps --retries=0 wheel".split()]
    folder = str(tmp_path_factory.mktemp("index"))
    result = subprocess.run(download, cwd=folder, capture_output=True, encoding="utf-8")
    if result.returncode:
        pytest.skip("the package index cannot be reached: " + result.stderr.splitlines()[-1])


@pytest.fixture(scope="session")
def declared() -> Dict[str, object]:
    """What setup.py declares: the arguments of its one call of ``setup()``."""
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    return setup.call_args[1]


# What follows is of the timer, and goes with its tests.


class FakeClock:
    """Stands at ``now`` seconds until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(python_worker_extension_timer, "perf_counter", fake)
    return fake


def invoke(
    func_ret: object = None,
    *,
    function_name: str = "HttpTrigger",
    clock: Optional[FakeClock] = None,
    seconds: float = 0,
    timers: Any = (TimerExtension,),
) -> List[str]:
    """One whole invocation that takes so long and returns ``func_ret``; the lines that it logs."""
    context, logger = FakeContext(function_name), FakeLogger()
    for timer in timers:
        start(context, logger, timer)
    if clock:
        clock.now += seconds
    for timer in timers:
        finish(context, func_ret, logger, timer)
    return logger.messages


def elapsed(text: str) -> str:
    """The elapsed time, in seconds, that a log line or a body ends with."""
    return text.split()[-2]
