"""A stand-in for ``func start``, for where Azure Functions Core Tools are not installed.

    python tests/local_host.py [APP] [--port 7071] [--once]

It serves the HTTP-triggered functions of APP, a folder with a function app of the v1 or the v2
programming model, calls its worker extensions as the Python worker does, and refuses the responses
that the Functions host refuses. It knows HTTP triggers, HTTP responses and ``context``; no other
binding, no keys, no route constraints.

Without APP it serves the sample app and calls, once each, the functions that answer GET and have no
parameter in the route. Those of another app it calls with ``--once`` alone: a GET may send a mail.
"""

import argparse
import asyncio
import contextlib
import contextvars
import functools
import http.client
import http.server
import importlib
import inspect
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
import types
import urllib.parse
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

import azure.functions

SAMPLE_APP = Path(__file__).parent / "apps" / "v2"

# What is assumed where the app has no such file.
ASSUMED = {
    "host.json": 'the route prefix is "api"',
    "local.settings.json": "all app settings are in the environment",
}

# What an HTTP trigger without methods answers.
ALL_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")

# Hooks of an application-level extension, and of a function-level one, in the worker's order.
LOAD_HOOKS = ("post_function_load", "post_function_load_app_level")
PRE_HOOKS = ("pre_invocation_app_level", "pre_invocation")
POST_HOOKS = ("post_invocation", "post_invocation_app_level")

# Loggers below these are the system's; all others are the user's.
SYSTEM_LOGGERS = ("azure_functions_worker", "azure.functions", "local_host")

ROUTE_PARAMETER = re.compile(r"(/?)\{(\*{0,2})(\w+)[^{}?]*(\??)\}")

logger = logging.getLogger("local_host")

current_invocation = contextvars.ContextVar("current_invocation", default=None)


class StartError(Exception):
    """Why the host cannot start, in one line."""


class HttpFunction(NamedTuple):
    """A function, whichever programming model declared it; no methods where no HTTP trigger."""

    name: str
    function: Callable[..., Any]
    route: str
    methods: Tuple[str, ...] = ALL_METHODS
    parameter: str = "req"
    directory: str = ""
    # Why it is listed but not served; nothing where it is.
    refusal: str = ""


class Context:
    """What the worker hands to hooks, and to functions that take ``context``."""

    def __init__(self, function: HttpFunction) -> None:
        self.invocation_id = str(uuid.uuid4())
        self.function_name = function.name
        self.function_directory = function.directory
        self.thread_local_storage = threading.local()
        self.retry_context = None
        # Each invocation begins a trace of its own: https://www.w3.org/TR/trace-context/
        parent = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
        self.trace_context = types.SimpleNamespace(
            trace_parent=parent, trace_state="", Traceparent=parent, Tracestate="", attributes={}
        )


class LocalHost:
    """Serves functions on 127.0.0.1 inside a ``with`` block; port 0 is any free one."""

    def __init__(
        self, functions: Iterable[HttpFunction], prefix: str = "api", port: int = 0
    ) -> None:
        self.prefix = prefix.strip("/")
        # As in ASP.NET routing, a literal route comes before one with parameters.
        self.functions = sorted(functions, key=lambda function: function.route.count("{"))
        self.patterns = [route_pattern(self.path(function)) for function in self.functions]
        self.loop = asyncio.new_event_loop()
        try:
            self.server = Server(("127.0.0.1", port), functools.partial(RequestHandler, self))
        except OSError as error:
            self.loop.close()
            raise StartError(
                f"cannot listen on port {port}: {error.strerror}; try another --port"
            ) from error
        self.port = self.server.server_address[1]
        self.url = f"http://localhost:{self.port}"
        self.threads = [
            threading.Thread(target=self.loop.run_forever, daemon=True),
            threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True),
        ]

    def __enter__(self) -> "LocalHost":
        for function in self.functions:
            name, directory = function.name, function.directory
            call_hooks(LOAD_HOOKS, name, lambda hook, _: hook(name, directory))
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        for thread in self.threads:
            thread.join()
        self.loop.close()

    def path(self, function: HttpFunction) -> str:
        return "/" + "/".join(part for part in (self.prefix, function.route.strip("/")) if part)

    def find(
        self, method: str, path: str
    ) -> Tuple[Optional[HttpFunction], Dict[str, str], List[str]]:
        """The function that answers, its route parameters, and all methods that the path has."""
        allowed: List[str] = []
        for function, pattern in zip(self.functions, self.patterns):
            match = pattern.fullmatch(path)
            if match and method in function.methods:
                params = {name: value for name, value in match.groupdict().items() if value}
                return function, params, []
            if match:
                allowed += function.methods
        return None, {}, allowed

    def invoke(self, function: HttpFunction, request: azure.functions.HttpRequest) -> object:
        """What the function returns, or raises: on this thread, or on the one event loop."""
        context = Context(function)
        args = {function.parameter: request}
        if "context" in inspect.signature(function.function).parameters:
            args["context"] = context
        if inspect.iscoroutinefunction(function.function):
            invocation = invoke_async(function, context, args)
            return asyncio.run_coroutine_threadsafe(invocation, self.loop).result()
        return invoke_sync(function, context, args)


def invoke_sync(function: HttpFunction, context: Context, args: Dict[str, object]) -> object:
    token = current_invocation.set(context.invocation_id)
    try:
        call_invocation_hooks(PRE_HOOKS, context, args)
        func_ret = function.function(**args)
        call_invocation_hooks(POST_HOOKS, context, args, func_ret)
        return func_ret
    finally:
        current_invocation.reset(token)


async def invoke_async(function: HttpFunction, context: Context, args: Dict[str, object]) -> object:
    current_invocation.set(context.invocation_id)  # of this task alone
    call_invocation_hooks(PRE_HOOKS, context, args)
    func_ret = await function.function(**args)
    call_invocation_hooks(POST_HOOKS, context, args, func_ret)
    return func_ret


def call_invocation_hooks(hook_names: Iterable[str], context: Context, *args: object) -> None:
    call_hooks(hook_names, context.function_name, lambda hook, log: hook(log, context, *args))


def call_hooks(hook_names: Iterable[str], function_name: str, call: Callable[..., None]) -> None:
    """Call each registered hook of these names; one that raises is logged, and no more."""
    if not worker_calls_hooks():
        return
    meta = azure.functions.ExtensionMeta
    levels = meta.get_application_hooks(), meta.get_function_hooks(function_name)
    for hook_name in hook_names:
        for level in levels:
            for extension in getattr(level, hook_name, ()):
                log = logging.getLogger(f"azure_functions_worker.extension.{extension.ext_name}")
                try:
                    call(extension.ext_impl, log)
                except Exception as error:
                    log.error(error, exc_info=True)


def worker_calls_hooks() -> bool:
    if sys.version_info >= (3, 13):
        return False
    setting = os.environ.get("PYTHON_ENABLE_WORKER_EXTENSIONS", "").strip().lower()
    if sys.version_info[:2] == (3, 9):
        return setting not in ("0", "false", "f", "no", "n")
    return setting in ("1", "true", "t", "yes", "y")


class Server(http.server.ThreadingHTTPServer):
    # On Windows it would let two hosts listen on one port.
    allow_reuse_address = sys.platform != "win32"
    # The default queue of 5 refuses a burst of requests.
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        logger.error("request failed: %s", sys.exc_info()[1])


class RequestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, host: LocalHost, *args: Any) -> None:
        self.host = host
        super().__init__(*args)

    def log_message(self, *args: object) -> None:
        """Requests are not logged; the functions' own lines are what one wants to see."""

    def handle_request(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        try:
            body = self.read_body()
        except ValueError:
            self.close_connection = True  # who knows where the next request begins
            self.answer(400)
            return
        function, route_params, allowed = self.host.find(
            self.command, urllib.parse.unquote(url.path)
        )
        if function is None and allowed:
            self.answer(405, [("Allow", ", ".join(sorted(set(allowed))))])
            return
        if function is None:
            self.answer(404)
            return
        if function.refusal:
            headers = [("Content-Type", "text/plain; charset=utf-8")]
            self.answer(501, headers, function.refusal.encode())
            return
        request = azure.functions.HttpRequest(
            method=self.command,
            url=f"{self.host.url}{self.path}",
            headers=dict(self.headers.items()),
            params=dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True)),
            route_params=route_params,
            body=body,
        )
        try:
            status, headers, content = read_response(self.host.invoke(function, request))
            refuse(status, headers, content, head=self.command == "HEAD")
        except Exception as error:
            logger.error("%s failed: %s", function.name, error, exc_info=True)
            self.answer(500)
        else:
            self.answer(status, headers, content)

    def read_body(self) -> bytes:
        """The request's body; a ValueError where its length is none."""
        encoding = self.headers.get("Transfer-Encoding")
        if encoding is None:
            return self.rfile.read(natural(self.headers.get("Content-Length") or "0"))
        if encoding.lower() != "chunked":
            raise ValueError(encoding)
        chunks = []
        while not chunks or chunks[-1]:
            size, _, _ = self.rfile.readline().partition(b";")
            chunks.append(self.rfile.read(natural(size, base=16)))
            if chunks[-1]:
                self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = handle_request

    def answer(
        self, status: int, headers: Iterable[Tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        if status < 200:  # a client goes on waiting for the response proper
            self.close_connection = True
        self.send_response_only(status)
        names = set()
        for name, value in headers:
            if name.lower() != "transfer-encoding":  # the body goes out as a whole
                names.add(name.lower())
                self.send_header(name, value)
        if "content-length" not in names and status >= 200 and status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def read_response(func_ret: object) -> Tuple[int, List[Tuple[str, str]], bytes]:
    """Status, headers and body of what a function returned."""
    if isinstance(func_ret, str):
        func_ret = azure.functions.HttpResponse(func_ret)
    if not isinstance(func_ret, azure.functions.HttpResponse):
        raise TypeError(f"a function returned {type(func_ret).__name__}, not HttpResponse or str")
    headers = [(name, str(value)) for name, value in func_ret.headers.items()]
    if "content-type" not in {name.lower() for name, _ in headers}:
        is_text = func_ret.mimetype.startswith("text/")
        charset = f"; charset={func_ret.charset}" if is_text else ""
        headers.append(("Content-Type", func_ret.mimetype + charset))
    return int(func_ret.status_code), headers, func_ret.get_body()


def refuse(status: int, headers: List[Tuple[str, str]], body: bytes, head: bool) -> None:
    """Raise what the host's web server raises, and the client sees as 500."""
    if body and not allows_body(status):
        raise ValueError(
            f"a response of status {status} has no body, this one has {len(body)} bytes"
        )
    for name, value in headers:
        f"{name}: {value}".encode("latin-1")  # as it goes over the wire, or a ValueError
    if head or status == 304:  # there it is the length of what is not sent
        return
    for name, value in headers:
        if name.lower() == "content-length" and value != str(len(body)):
            raise ValueError(f"Content-Length is {value}, the body has {len(body)} bytes")


def allows_body(status: int) -> bool:
    return status >= 200 and status not in (204, 205, 304)


def natural(text: Union[str, bytes], base: int = 10) -> int:
    number = int(text, base)
    if number < 0:
        raise ValueError(text)
    return number


def route_pattern(path: str) -> "re.Pattern[str]":
    """A route template of ASP.NET as a regular expression; constraints are passed over."""
    pattern, end = "", 0
    for match in ROUTE_PARAMETER.finditer(path):
        slash, star, name, optional = match.groups()
        value = f"{slash}(?P<{name}>{'.*' if star else '[^/]+'})"
        pattern += re.escape(path[end : match.start()])
        pattern += f"(?:{value})?" if star or optional else value
        end = match.end()
    return re.compile(pattern + re.escape(path[end:]) + "/?", re.IGNORECASE)


def load_app(app: Path) -> Tuple[List[HttpFunction], str]:
    """Import the app, with its settings in the environment: its functions and route prefix."""
    definitions = sorted(app.glob("*/function.json"))
    is_v2 = (app / "function_app.py").is_file()
    if not is_v2 and not definitions:
        raise StartError(
            f"{app} is no function app: it has no function_app.py and no folder with function.json"
        )
    sys.path.insert(0, str(app))
    try:
        for name, value in read_json(app / "local.settings.json").get("Values", {}).items():
            os.environ.setdefault(name, str(value))
        os.environ.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
        http_settings = read_json(app / "host.json").get("extensions", {}).get("http", {})
        functions = list(load_v2() if is_v2 else load_v1(app, definitions))
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        at = [frame for frame in frames if frame.filename.startswith(str(app))]
        where = f" ({at[-1].filename}, line {at[-1].lineno})" if at else ""
        message = " ".join(str(error).split())
        raise StartError(f"cannot load {app}: {type(error).__name__}: {message}{where}") from error
    return functions, http_settings.get("routePrefix", "api")


def load_v2() -> Iterable[HttpFunction]:
    module = importlib.import_module("function_app")
    apps = [
        value
        for value in vars(module).values()
        if isinstance(value, azure.functions.FunctionRegister)
    ]
    if len(apps) != 1:
        raise ValueError(f"{len(apps)} function apps at the top level of function_app.py, not one")
    return functions_of(apps[0])


def functions_of(app: Any) -> Iterable[HttpFunction]:
    """The functions of a v2 app, taken from it as the worker does: once."""
    for function in app.get_functions():
        bindings = [binding.get_dict_repr() for binding in function.get_bindings()]
        user_function = function.get_user_function()
        directory = Path(inspect.getfile(user_function)).parent
        yield read_function(function.get_function_name(), user_function, bindings, directory)


def load_v1(app: Path, definitions: Iterable[Path]) -> Iterable[HttpFunction]:
    # The worker imports the folders as packages of this one, for their relative imports.
    package = types.ModuleType("__app__")
    package.__path__ = [str(app)]
    sys.modules["__app__"] = package
    for file in definitions:
        definition = read_json(file)
        script = (file.parent / definition.get("scriptFile", "__init__.py")).resolve()
        parts = script.relative_to(app).with_suffix("").parts
        names = parts[:-1] if parts[-1] == "__init__" else parts
        module = importlib.import_module(".".join(["__app__", *names]))
        function = getattr(module, definition.get("entryPoint", "main"))
        yield read_function(file.parent.name, function, definition["bindings"], file.parent)


def read_function(
    name: str, function: Callable[..., Any], bindings: List[Dict[str, Any]], directory: Path
) -> HttpFunction:
    triggers = [b for b in bindings if str(b["type"]).lower().endswith("trigger")]
    http = next((b for b in triggers if str(b["type"]).lower() == "httptrigger"), None)
    answers = [b for b in bindings if (b["type"], b.get("name")) == ("http", "$return")]
    further = [b for b in bindings if b not in triggers + answers]
    kind, unknown = ("binding", further) if http else ("trigger", triggers)
    types = ", ".join(sorted({str(b["type"]) for b in unknown}))
    reason = f"the local host has no {kind} of type {types}" if unknown else "it has no trigger"
    refusal = f"{name} is not served: {reason}."
    if not http:
        return HttpFunction(
            name, function, route="", methods=(), directory=str(directory), refusal=refusal
        )
    return HttpFunction(
        name,
        function,
        route=http.get("route") or name,
        methods=tuple(str(method).upper() for method in http.get("methods") or ALL_METHODS),
        parameter=http["name"],
        directory=str(directory),
        refusal=refusal if further else "",
    )


def read_json(file: Path) -> Dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8-sig")) if file.is_file() else {}


def show_answer(host: LocalHost, path: str) -> None:
    print(f"\nGET {host.url}{path}")
    connection = http.client.HTTPConnection("127.0.0.1", host.port)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    charset = response.headers.get_content_charset("utf-8")
    print(f"HTTP/1.1 {response.status} {response.reason}")
    for name, value in response.getheaders():
        print(f"{name}: {value}")
    print(f"\n{body.decode(charset, 'replace')}")


def is_shown(record: logging.LogRecord) -> bool:
    """The host drops what the user logs outside an invocation, at import say."""
    return record.name.startswith(SYSTEM_LOGGERS) or current_invocation.get() is not None


def port_number(text: str) -> int:
    port = natural(text)
    if port > 65535:
        raise ValueError(text)
    return port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "app",
        metavar="APP",
        nargs="?",
        type=Path,
        help="the function app's folder (default: the sample app, each function called once)",
    )
    parser.add_argument(
        "--port", type=port_number, default=7071, help="0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="call each function that answers GET and has no parameter in its route, then stop",
    )
    options = parser.parse_args()
    app = options.app or SAMPLE_APP

    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(is_shown)
    logging.basicConfig(
        handlers=[handler], level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        host = LocalHost(*load_app(app.resolve()), options.port)
    except StartError as error:
        print(f"local_host: {error}", file=sys.stderr)
        return 1

    with contextlib.suppress(KeyboardInterrupt), host:
        if not options.app:
            print("No APP given: serving the sample app.")
        for name, assumption in ASSUMED.items():
            if not (app / name).is_file():
                print(f"No {name}: {assumption}.")
        print("Functions:\n")
        for function in host.functions:
            declared = function.methods != ALL_METHODS
            methods = f"[{','.join(function.methods)}] " if declared else ""
            hint = " (has a parameter: call it yourself)" if "{" in function.route else ""
            url = f"{function.name}: {methods}{host.url}{host.path(function)}{hint}"
            print(f"    {function.refusal or url}")
        for function in host.functions if options.once or not options.app else ():
            is_called = "GET" in function.methods and "{" not in function.route
            if is_called and not function.refusal:
                show_answer(host, host.path(function))
        if not options.once:
            print("\nServing until Ctrl-C.")
            while True:
                time.sleep(1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
