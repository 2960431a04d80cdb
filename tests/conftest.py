"""The doubles, factories and fixtures of all tests: first those of every extension.

Tests are of two kinds. Those of the timer (test_timer_*.py, test_readme.py) assert what its hooks
do: lines, bodies, headers. All others speak of hooks that are called, whatever they do.
"""

import asyncio
import contextlib
import functools
import http.client
import importlib.util
import inspect
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from types import ModuleType
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union
from unittest import mock

import azure.functions
import pytest

import local_host
import python_worker_extension_timer
from python_worker_extension_timer import TimerExtension

TESTS = Path(__file__).parent
ROOT = TESTS.parent
APPS = TESTS / "apps"
PACKAGE = Path(python_worker_extension_timer.__file__).parent

APP_SETTING = "PYTHON_ENABLE_WORKER_EXTENSIONS"
WORKER_RUNTIME = "FUNCTIONS_WORKER_RUNTIME"

PYTHON_WITH_HOOKS = sys.version_info < (3, 13)

needs_v2 = pytest.mark.skipif(
    not hasattr(azure.functions, "FunctionApp"), reason="this azure-functions has no v2 model"
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "error")


class FakeContext:
    """The least that the hooks ask of a context; like the worker's, it can be referred to weakly.

    https://learn.microsoft.com/python/api/azure-functions/azure.functions.context
    """

    def __init__(
        self, function_name: str = "HttpTrigger", invocation_id: Optional[str] = None
    ) -> None:
        self.function_name = function_name
        self.invocation_id = invocation_id or str(uuid.uuid4())


class Answer(NamedTuple):
    status: int
    headers: "http.client.HTTPMessage"
    body: bytes


def call(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """Call a function, sync or async, to its end."""
    result = function(*args, **kwargs)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def cancel(function: Callable[..., object]) -> bool:
    """Cancel an invocation of an async function once it runs; whether it then is cancelled."""

    async def begin_and_cancel() -> bool:
        task = asyncio.ensure_future(function(req=None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    return asyncio.run(begin_and_cancel())


def passes_on(function: Callable[..., object]) -> Callable[..., object]:
    """A decorator of somebody else's."""

    @functools.wraps(function)
    def wrapped(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return wrapped


def take_in(app: object) -> Dict[str, Callable[..., object]]:
    """The functions by name, as the worker takes them from an app: once, after its import."""
    return {f.get_function_name(): f.get_user_function() for f in app.get_functions()}


def durable_orchestrator(generator_function: Callable[..., object]) -> Callable[..., object]:
    """What the durable SDK makes of an orchestrator: a handler, each of whose calls is one episode.

    An episode replays the results of the tasks that are done, and ends at the next unfinished one.
    """

    def handle(context: str) -> str:
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


def durable_entity(entity_function: Callable[..., object]) -> Callable[..., object]:
    """What the durable SDK makes of an entity: a handler, each of whose calls is one batch."""

    def handle(context: str) -> str:
        return json.dumps([entity_function(operation) for operation in json.loads(context)])

    handle.__name__ = entity_function.__name__
    return handle


def get(url: str, method: str = "GET", body: Optional[bytes] = None) -> Answer:
    """One HTTP request, on a connection of its own; a 4xx or 5xx is an answer like any other."""
    scheme, _, host, *path = url.split("/")
    connection = http.client.HTTPConnection(host.replace("localhost", "127.0.0.1"), timeout=30)
    with contextlib.closing(connection):
        connection.request(method, "/" + "/".join(path), body)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def at_once(*calls: Callable[[], None]) -> None:
    """Run the calls on a thread each, all at a time, and raise what one of them raises.

    They take turns a thousand times as often as they would, so that a race is met, not missed.
    """
    errors: List[BaseException] = []
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], None]) -> None:
        try:
            barrier.wait(10)
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 1000)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "some of the calls hang"


@pytest.fixture(autouse=True)
def extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TimerExtension as it is after import, outside any worker, for each test."""
    monkeypatch.delenv(APP_SETTING, raising=False)
    monkeypatch.delenv(WORKER_RUNTIME, raising=False)
    TimerExtension.init()
    TimerExtension.configure()


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


class Call(NamedTuple):
    """A call of a hook, and what the hook was given."""

    hook: str
    function_name: str
    context: object
    func_args: Optional[Dict[str, object]]
    func_ret: object = None


class Recorded(List[Call]):
    """The calls of the hooks of one extension, in order."""

    def invocations(self) -> List[str]:
        """The functions of the invocations that ended; each has had one pair of hooks."""
        begun = {}
        ended = []
        for call in self:
            if call.hook == "pre":
                assert call.context.invocation_id not in begun
                begun[call.context.invocation_id] = call
            else:
                pre = begun.pop(call.context.invocation_id)
                assert pre.context is call.context and pre.func_args is call.func_args
                assert pre.function_name == call.function_name
                ended.append(call.function_name)
        assert not begun
        return ended


def recording_extension() -> type:
    """An extension that records what its hooks are given, as ``calls``."""

    class Recording(TimerExtension):
        calls = Recorded()

        @classmethod
        def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
            cls.calls.append(Call("pre", context.function_name, context, func_args))

        @classmethod
        def post_invocation_app_level(
            cls, logger, context, func_args=None, func_ret=None, *args, **kwargs
        ):
            cls.calls.append(Call("post", context.function_name, context, func_args, func_ret))

    return Recording


@pytest.fixture
def recording(extensions: None) -> type:
    """An extension whose hooks record what they are given: it stands in for the one under test."""
    return recording_extension()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve functions through a local host in this process, and return its URL.

    A plain function ``hello`` is served as ``/api/hello``.
    """
    with contextlib.ExitStack() as stack:

        def start_host(*functions: Union[Callable[..., object], local_host.HttpFunction]) -> str:
            served = [
                function
                if isinstance(function, local_host.HttpFunction)
                else local_host.HttpFunction(function.__name__, function, function.__name__)
                for function in functions
            ]
            return stack.enter_context(local_host.LocalHost(served)).url

        yield start_host


def host_command(*arguments: object) -> List[str]:
    return [sys.executable, str(TESTS / "local_host.py"), *map(str, arguments)]


def host_environment(**settings: str) -> Dict[str, str]:
    """The environment of a machine that has only Python and this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != APP_SETTING}
    environment.pop(WORKER_RUNTIME, None)
    environment.update({"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}, **settings)
    return environment


def run(command: Union[str, List[str]], cwd: Path, **settings: str) -> str:
    """Run a command to its end, as one who has installed this package would; what it printed."""
    environment = host_environment(**settings)
    del environment["PYTHONPATH"]
    result = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=str(cwd),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=300,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def run_host(*arguments: object, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run ``python tests/local_host.py`` to its end, on a free port."""
    return subprocess.run(
        host_command(*arguments, "--once", "--port", 0),
        env=host_environment(**settings),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


@contextlib.contextmanager
def running_host(app: Path) -> Iterator[Tuple["subprocess.Popen[str]", str]]:
    """``python tests/local_host.py APP`` while it serves, on a free port: the process, the URL."""
    # What runs in the background of a shell ignores Ctrl-C, and so would what the tests start.
    listen_to_ctrl_c = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        host_command(app, "--port", 0),
        env=host_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=None if sys.platform == "win32" else listen_to_ctrl_c,
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            output = ""
            for line in process.stdout:
                output += line
                if "Serving until Ctrl-C." in line:
                    break
            yield process, re.search(r"http://localhost:\d+", output).group()
        finally:
            watchdog.cancel()
            process.kill()


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., Path]:
    """Write the source of a v2 app, and the settings that ``func init`` writes."""

    def write(source: str, **values: str) -> Path:
        (tmp_path / "function_app.py").write_text(source, encoding="utf-8")
        settings = {"Values": {WORKER_RUNTIME: "python", APP_SETTING: "1", **values}}
        (tmp_path / "local.settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (tmp_path / "host.json").write_text('{"version": "2.0"}', encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def make_v1_function(tmp_path: Path) -> Callable[..., ModuleType]:
    """Write a function of a v1 app, and import its module as the worker does."""

    def write(
        name: str, source: str = "def main(req): ...", definition: str = '{"bindings": []}'
    ) -> ModuleType:
        file = tmp_path / name / "__init__.py"
        file.parent.mkdir()
        file.with_name("function.json").write_text(definition, encoding="utf-8")
        file.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"__app__.{name}", str(file))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return write


@pytest.fixture(scope="session")
def index_is_reached(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where pip reaches no package index: a fresh environment needs one."""
    download = [sys.executable, *"-m pip download --no-deps --retries=0 wheel".split()]
    result = subprocess.run(
        download,
        cwd=str(tmp_path_factory.mktemp("index")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    if result.returncode:
        pytest.skip("the package index cannot be reached: " + result.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def declared() -> Dict[str, object]:
    """What setup.py declares: the arguments of its one call of ``setup()``."""
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    return setup.call_args[1]


def copy_project(folder: Path) -> Path:
    """The project as a clone holds it: with nothing that a build or a test left behind."""
    folder.mkdir()
    left_behind = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in (".ci", ".gitignore", "LICENSE", "readme.md", "setup.py", "tests", PACKAGE.name):
        if (ROOT / name).is_dir():
            shutil.copytree(str(ROOT / name), str(folder / name), ignore=left_behind)
        elif (ROOT / name).is_file():  # an unpacked sdist has no .ci
            shutil.copy(str(ROOT / name), str(folder))
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project."""
    return copy_project(tmp_path_factory.mktemp("copy") / "project")


# What follows is of the timer, and goes with its tests.


class FakeLogger:
    """The least that the hooks ask of a logger."""

    def __init__(self) -> None:
        self.messages: List[str] = []

    def info(self, message: str) -> None:
        self.messages.append(message)


class FullDisk:
    """A logger that fails."""

    def info(self, message: str) -> None:
        raise OSError("No space left on device")


class FakeStarletteResponse:
    """What functions return with HTTP streams: no body to set, headers as Starlette has them.

    https://www.starlette.io/responses/
    """

    class Headers:
        """Several entries of a name can be there; one is set in place of them all."""

        def __init__(self, headers: List[Tuple[str, str]]) -> None:
            self.list = [(name.lower(), value) for name, value in headers]

        def items(self) -> List[Tuple[str, str]]:
            return list(self.list)

        def __setitem__(self, name: str, value: str) -> None:
            name = name.lower()
            self.list = [header for header in self.list if header[0] != name] + [(name, value)]

    def __init__(self, headers: Sequence[Tuple[str, str]] = (), body: object = b"hello") -> None:
        self.headers = self.Headers([("content-length", "5"), *headers])
        self.body = body


class FakeClock:
    """Stands at ``now`` seconds until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def start(context: object, logger: Optional[object] = None, timer: type = TimerExtension) -> None:
    """Call the pre hook as the worker does."""
    timer.pre_invocation_app_level(logger or FakeLogger(), context, {})


def finish(
    context: object,
    func_ret: object = None,
    logger: Optional[object] = None,
    timer: type = TimerExtension,
) -> None:
    """Call the post hook as the worker does."""
    timer.post_invocation_app_level(logger or FakeLogger(), context, {}, func_ret)


def invoke(
    func_ret: object = None,
    *,
    function_name: str = "HttpTrigger",
    clock: Optional[FakeClock] = None,
    seconds: float = 0,
    timers: Sequence[type] = (TimerExtension,),
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


def names(messages: List[str]) -> List[str]:
    """The functions whose time is logged, after a check that their lines come in pairs."""
    lines = "\n".join(messages)
    started = re.findall(r"^Recording start time of (.*)$", lines, re.MULTILINE)
    ended = re.findall(r"^Time taken to execute (.*) is \S+ sec$", lines, re.MULTILINE)
    assert sorted(started) == sorted(ended)
    assert len(messages) == 2 * len(ended)
    return ended


def elapsed(text: str) -> str:
    """The elapsed time, in seconds, that a log line or a body ends with."""
    return re.search(r"(?: is |TimeElapsed: )(\S+) sec\)?$", text).group(1)


def overlap(invocation: Callable[..., object], clock: FakeClock) -> None:
    """Run ``invocation(name, may_end)`` twice on one event loop.

    ``long`` takes seven seconds; ``short`` starts a second later and takes two.
    """

    async def both() -> None:
        long_may_end, short_may_end = asyncio.Event(), asyncio.Event()
        long = asyncio.ensure_future(invocation("long", long_may_end))
        await asyncio.sleep(0)
        clock.now += 1
        short = asyncio.ensure_future(invocation("short", short_may_end))
        await asyncio.sleep(0)
        clock.now += 2
        short_may_end.set()
        await short
        clock.now += 4
        long_may_end.set()
        await long

    asyncio.run(both())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(python_worker_extension_timer, "perf_counter", fake)
    return fake


@pytest.fixture
def other_extension(extensions: None) -> ModuleType:
    """An extension that somebody made out of this one: the same module under another name."""
    file = python_worker_extension_timer.__file__
    spec = importlib.util.spec_from_file_location("other_extension", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
