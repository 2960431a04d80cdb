"""Shared fixtures and helpers: fakes, hook calls, a recording extension, fake Python versions."""

import asyncio
import contextlib
import http.client
import inspect
import runpy
import socket
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional
from unittest import mock

import azure.functions
import pytest

import python_worker_extension_timer
from python_worker_extension_timer import TimerExtension
from stand_in_host import HttpFunction, StandInHost

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
    config.addinivalue_line("markers", "installs: needs pip and a package index")


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    for item in items:
        if "package_index" in getattr(item, "fixturenames", ()):
            item.add_marker("installs")


class FakeContext:
    """A minimal context for the hooks. Like the worker's, it supports weak references.

    https://learn.microsoft.com/python/api/azure-functions/azure.functions.context
    """

    def __init__(self, function_name: str = "HttpTrigger", invocation_id: str = "") -> None:
        self.function_name = function_name
        self.invocation_id = invocation_id or str(uuid.uuid4())


class FakeLogger:
    """A minimal logger for the hooks: it keeps the messages, and takes what ``logging`` takes."""

    def __init__(self) -> None:
        self.messages: List[str] = []

    def info(self, message: str, *args: object, **kwargs: object) -> None:
        self.messages.append(message % args if args else message)


def call_pre_hook(context: object, logger: object = None, extension: Any = TimerExtension) -> None:
    """Call the pre hook as the worker does."""
    extension.pre_invocation_app_level(logger or FakeLogger(), context, {})


def call_post_hook(
    context: object, func_ret: object = None, logger: object = None, extension: Any = TimerExtension
) -> None:
    """Call the post hook as the worker does."""
    extension.post_invocation_app_level(logger or FakeLogger(), context, {}, func_ret)


class Call(NamedTuple):
    """One hook call and its arguments."""

    hook: str
    function_name: str
    logger: object
    context: object
    func_args: Optional[Dict[str, object]]
    func_ret: object = None
    exception: Optional[BaseException] = None


def recording_extension() -> Any:
    """Return a new extension that records the calls of its hooks."""

    class Recording(TimerExtension):
        calls: List[Call] = []

        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None):
            cls.calls.append(Call("pre", context.function_name, logger, context, func_args))

        @classmethod
        def post_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            name = context.function_name
            cls.calls.append(Call("post", name, logger, context, func_args, *args, **kwargs))

        @classmethod
        def called(cls) -> List[str]:
            """The hook calls so far, in order, as "pre NAME" or "post NAME"."""
            return [f"{call.hook} {call.function_name}" for call in cls.calls]

    return Recording


REGISTERED_HOOKS = azure.functions.ExtensionMeta.get_application_hooks()
AFTER_IMPORT = [list(hooks) for hooks in REGISTERED_HOOKS]


@pytest.fixture(autouse=True)
def reset_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset TimerExtension before each test to its state after import, outside a worker."""
    monkeypatch.delenv(APP_SETTING, raising=False)
    monkeypatch.delenv(WORKER_RUNTIME, raising=False)
    TimerExtension.init()
    for hooks, after_import in zip(REGISTERED_HOOKS, AFTER_IMPORT):
        hooks[:] = after_import


@pytest.fixture
def empty_registry(reset_extension: None) -> None:
    """Hide the extensions that are already registered."""
    for hooks in REGISTERED_HOOKS:
        hooks.clear()


@pytest.fixture
def recording(empty_registry: None) -> Any:
    """An extension that records the calls of its hooks, in place of a real one."""
    return recording_extension()


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend to be another version of Python: ``python(3, 13)``."""

    def pretend(*version: int) -> None:
        monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))

    return pretend


@pytest.fixture
def worker_with_hooks(monkeypatch: pytest.MonkeyPatch, python: Callable[..., None]) -> None:
    """Pretend that the worker calls the hooks, whatever the Python version."""
    python(3, 11)
    monkeypatch.setenv(APP_SETTING, "1")


def call(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """Call a sync or async function and return its result."""
    result = function(*args, **kwargs)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def greet_in_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def greet_in_asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await send({"type": (await receive())["type"] + ".complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


def load_functions(app: object) -> Dict[str, Callable[..., object]]:
    """Return an app's functions by name, as the worker does, once, after importing the app."""
    return {f.get_function_name(): f.get_user_function() for f in app.get_functions()}


def decorated(extension: Any, function: Callable[..., object], **options: object) -> Any:
    """Return the decorated function."""
    function = extension.timed(function)
    extension.configure(**options)
    return function


def passed_with_app(extension: Any, function: Callable[..., object], **options: object) -> Any:
    """Return the function as the worker gets it from an app passed to configure()."""
    app = azure.functions.FunctionApp()
    app.route(route="hello")(function)
    extension.configure(app=app, **options)
    (function,) = load_functions(app).values()
    return function


# Run a test for a decorated function and for a function of an app passed to configure().
both_ways = pytest.mark.parametrize(
    "way", [decorated, pytest.param(passed_with_app, marks=needs_v2)]
)


def concurrently(*calls: Callable[[], object]) -> None:
    """Run each call in its own thread, and re-raise the first exception."""
    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result(60)


class Response(NamedTuple):
    status: int
    headers: "http.client.HTTPMessage"
    body: bytes


def get(url: str, method: str = "GET", body: Optional[bytes] = None) -> Response:
    """Send an HTTP request over a new connection; 4xx and 5xx responses don't raise."""
    scheme, _, host, *path = url.split("/")
    connection = http.client.HTTPConnection(host.replace("localhost", "127.0.0.1"), timeout=30)
    with contextlib.closing(connection):
        connection.request(method, "/" + "/".join(path), body)
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read())


def exchange(url: str, *requests: bytes) -> List[Optional[Response]]:
    """Send raw requests over one connection, each after the response to the one before.

    None stands for a response that the server didn't send because it closed the connection.
    """
    port = int(url.rsplit(":", 1)[1])
    responses: List[Optional[Response]] = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for request in requests:
            method = request.split()[0].decode()
            response = http.client.HTTPResponse(connection, method=method)
            try:
                connection.sendall(request)
                response.begin()
                body = response.read()
            except ConnectionError:
                responses.append(None)
                continue
            except http.client.IncompleteRead as error:
                body = error.partial
            responses.append(Response(response.status, response.headers, body))
    return responses


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve functions with a stand-in host in this process, and return its URL.

    The URL of a plain function ``hello`` ends in ``/api/hello``.
    """

    def served(function: Any) -> HttpFunction:
        name = getattr(function, "__name__", "")
        return HttpFunction(name, function, name) if name else function

    with contextlib.ExitStack() as stack:
        yield lambda *functions: stack.enter_context(StandInHost(map(served, functions))).url


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip the test if pip can't reach a package index."""
    download = [sys.executable, *"-m pip download --no-deps --retries=0 wheel".split()]
    folder = str(tmp_path_factory.mktemp("index"))
    result = subprocess.run(download, cwd=folder, capture_output=True, encoding="utf-8")
    if result.returncode:
        pytest.skip("pip can't reach a package index: " + result.stderr.splitlines()[-1])


@pytest.fixture(scope="session")
def setup_arguments() -> Dict[str, object]:
    """The arguments that setup.py passes to ``setup()``."""
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    return setup.call_args[1]


# The rest is for the timer's tests only.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that shows ``now`` until a test changes it."""
    fake = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(python_worker_extension_timer, "perf_counter", lambda: fake.now)
    return fake


def invoke(
    func_ret: object = None,
    *,
    function_name: str = "HttpTrigger",
    clock: Optional[SimpleNamespace] = None,
    seconds: float = 0,
    timers: Any = (TimerExtension,),
) -> List[str]:
    """Simulate an invocation that takes ``seconds`` and returns ``func_ret``.

    Return the log lines.
    """
    context, logger = FakeContext(function_name), FakeLogger()
    for timer in timers:
        call_pre_hook(context, logger, timer)
    if clock:
        clock.now += seconds
    for timer in timers:
        call_post_hook(context, func_ret, logger, timer)
    return logger.messages


def elapsed(text: str) -> str:
    """The elapsed seconds at the end of a log line or body, as text."""
    return text.split()[-2]
