"""A stand-in for ``func start``, for machines without Azure Functions Core Tools.

    python tests/stand_in_host.py [APP] [--port 7071] [--once]

APP is a folder with a function app of the v1 or the v2 programming model. The stand-in host serves
its HTTP-triggered functions, calls worker extensions as the Python worker does, and responds as the
Functions host does. If the Functions host would fail, drop something or close a connection without
an explanation, the stand-in host does the same and prints the reason. It doesn't support access
keys, route constraints, default values in routes, HTTP streams, or bindings other than HTTP and
``context``.

Without APP, it serves the sample app and calls each function that accepts GET and has no parameter
in its route. With APP, it does so only with ``--once``, as the functions may have side effects.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

import azure.functions

SAMPLE_APP = Path(__file__).parent / "apps" / "v2"

# The stand-in host's assumption for each file that the app lacks.
ASSUMPTIONS = {
    "host.json": 'the route prefix is "api"',
    "local.settings.json": "all app settings are in the environment",
}

# The methods of an HTTP trigger that doesn't declare any.
ALL_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")

# The hooks of function-level and application-level extensions, in the order of the worker's calls.
LOAD_HOOKS = ("post_function_load", "post_function_load_app_level")
PRE_HOOKS = ("pre_invocation_app_level", "pre_invocation")
POST_HOOKS = ("post_invocation", "post_invocation_app_level")

# Loggers whose names begin with these are system loggers; all others are user loggers.
SYSTEM_LOGGERS = ("azure_functions_worker", "azure.functions", "stand_in_host")

# A slash, stars, a name, and constraints; in constraints, {{ and }} stand for single braces.
ROUTE_PARAMETER = re.compile(r"(/?)\{(\*{0,2})([^{}/*?:=]+)((?:[:=?](?:\{\{|\}\}|[^{}])*)?)\}")

logger = logging.getLogger("stand_in_host")
current_invocation = contextvars.ContextVar("current_invocation", default=None)


class StartError(Exception):
    """The reason why the host cannot start, in one line."""


class HttpFunction(NamedTuple):
    """A function of an app. If it is disabled or has no HTTP trigger, it has no methods."""

    name: str
    function: Callable[..., Any]
    route: str
    methods: Tuple[str, ...] = ALL_METHODS
    parameter: str = "req"
    directory: str = ""
    refusal: str = ""  # The reason why the function is listed but not served, if there is one.


class Context:
    """The context passed to the hooks, and to functions that have a ``context`` parameter."""

    def __init__(self, function: HttpFunction) -> None:
        self.invocation_id = str(uuid.uuid4())
        self.function_name = function.name
        self.function_directory = function.directory
        self.thread_local_storage = threading.local()
        self.retry_context = None
        # Each invocation starts a new trace: https://www.w3.org/TR/trace-context/
        parent = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
        self.trace_context = types.SimpleNamespace(
            trace_parent=parent, trace_state="", Traceparent=parent, Tracestate="", attributes={}
        )


class Response(NamedTuple):
    """A response from a function or from the host."""

    status: int
    headers: Iterable[Tuple[str, str]] = ()
    body: bytes = b""
    closes: bool = False  # Whether the host closes the connection without telling the client.


class StandInHost:
    """Serves functions on 127.0.0.1 inside a ``with`` block; port 0 selects a free port."""

    def __init__(
        self, functions: Iterable[HttpFunction], prefix: str = "api", port: int = 0
    ) -> None:
        self.prefix = prefix.strip("/")
        # The Functions host sorts routes by function name (azure-functions-host issue 9876).
        self.functions = sorted(functions, key=lambda function: function.name.upper())
        served = [function for function in self.functions if function.methods]
        self.routes = [(f, *route_pattern(f.name, self.path(f))) for f in served]
        try:
            self.server = Server(("127.0.0.1", port), functools.partial(RequestHandler, self))
        except OSError as error:
            message = f"cannot listen on port {port}: {error.strerror}; try another --port"
            raise StartError(message) from error
        self.port = self.server.server_address[1]
        self.url = f"http://localhost:{self.port}"
        setting = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "").strip()
        # The worker ignores an invalid setting.
        self.thread_pool = ThreadPoolExecutor((int(setting) if setting.isdecimal() else 0) or None)
        self.loop = asyncio.new_event_loop()
        self.threads = [
            threading.Thread(target=self.loop.run_forever, daemon=True),
            threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True),
        ]

    def __enter__(self) -> "StandInHost":
        for function in self.functions:
            name, directory = function.name, function.directory
            call_hooks(LOAD_HOOKS, name, lambda hook, _: hook(name, directory))
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread_pool.shutdown(wait=False)
        self.loop.call_soon_threadsafe(self.loop.stop)
        for thread in self.threads:
            thread.join(1)  # A function that blocks the event loop doesn't delay the exit.
        if not self.loop.is_running():
            self.loop.close()

    def path(self, function: HttpFunction) -> str:
        return "/" + "/".join(part for part in (self.prefix, function.route.strip("/")) if part)

    def find(self, path: str) -> List[Tuple[HttpFunction, Dict[str, Optional[str]]]]:
        """Return the functions with this path, each with the values of its route parameters."""
        # The Functions host decodes all escapes in a path except those of a slash.
        path = urllib.parse.unquote(path.replace("%2F", "%252F").replace("%2f", "%252f"))
        matches = [(f, names, pattern.fullmatch(path)) for f, pattern, names in self.routes]
        return [(f, dict(zip(names, match.groups()))) for f, names, match in matches if match]

    def invoke(self, function: HttpFunction, request: azure.functions.HttpRequest) -> object:
        """Call a sync function on the thread pool, or an async function on the event loop."""
        context = Context(function)
        args = {function.parameter: request}
        if "context" in inspect.signature(function.function).parameters:
            args["context"] = context
        if inspect.iscoroutinefunction(function.function):
            invocation = invoke_async(function, context, args)
            return asyncio.run_coroutine_threadsafe(invocation, self.loop).result()
        return self.thread_pool.submit(invoke_sync, function, context, args).result()


def invoke_sync(function: HttpFunction, context: Context, args: Dict[str, object]) -> object:
    current_invocation.set(context.invocation_id)  # This holds for the current thread only.
    call_invocation_hooks(PRE_HOOKS, context, args)
    func_ret = function.function(**args)
    call_invocation_hooks(POST_HOOKS, context, args, func_ret)
    return func_ret


async def invoke_async(function: HttpFunction, context: Context, args: Dict[str, object]) -> object:
    current_invocation.set(context.invocation_id)  # This holds for the current task only.
    try:
        call_invocation_hooks(PRE_HOOKS, context, args)
        func_ret = await function.function(**args)
        call_invocation_hooks(POST_HOOKS, context, args, func_ret)
        return func_ret
    except (Exception, GeneratorExit):
        raise
    except BaseException as error:  # Such an exception would end the event loop.
        raise RuntimeError(repr(error)) from error


def call_invocation_hooks(hook_names: Iterable[str], context: Context, *args: object) -> None:
    call_hooks(hook_names, context.function_name, lambda hook, log: hook(log, context, *args))


def call_hooks(hook_names: Iterable[str], function_name: str, call: Callable[..., None]) -> None:
    """Call each registered hook of these names; if a hook raises, log the exception."""
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
    setting = os.environ.get("PYTHON_ENABLE_WORKER_EXTENSIONS", "").strip().lower()
    if sys.version_info[:2] == (3, 9):
        return setting not in ("0", "false", "f", "no", "n")
    return setting in ("1", "true", "t", "yes", "y") and sys.version_info < (3, 13)


class Server(http.server.ThreadingHTTPServer):
    # On Windows, two hosts could listen on the same port if this were true.
    allow_reuse_address = sys.platform != "win32"
    # The default queue, of 5 connections, is too short for a burst of requests.
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        logger.error("request failed: %s", sys.exc_info()[1])


class RequestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Otherwise, responses on a reused connection take 40 ms more.

    def __init__(self, host: StandInHost, *args: Any) -> None:
        self.host = host
        super().__init__(*args)

    def log_message(self, *args: object) -> None:
        """Do not log requests, so that the log lines of the functions stand out."""

    def handle_request(self) -> None:
        """Send a response with the framing of the Functions host."""
        status, headers, body, closes = self.respond()
        names = {name.lower() for name, _ in headers}
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "transfer-encoding":
                self.send_header(name, value)
        if "date" not in names:
            self.send_header("Date", self.date_time_string())
        has_body = self.command != "HEAD" and status not in (204, 304)
        if has_body and "content-length" not in names:
            if body and self.request_version >= "HTTP/1.1":
                self.send_header("Transfer-Encoding", "chunked")
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            else:
                self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if has_body:
            self.wfile.write(body)
        if closes or status < 200:  # After an interim response, the client waits for another one.
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = handle_request

    def respond(self) -> Response:
        url = urllib.parse.urlsplit(self.path)
        try:
            body = self.read_body()
        except ValueError:  # It is unknown where the next request begins.
            return Response(400, [("Connection", "close")])
        found = self.host.find(url.path)
        matches = [match for match in found if self.command in match[0].methods]
        if not matches:
            methods = ", ".join(sorted({method for match in found for method in match[0].methods}))
            if methods:
                note = f"responds with 404, because this path accepts only {methods}"
                explain(f"{self.command} {url.path}", note)
            return Response(404)
        function, route_params = matches[0]
        if function.refusal:
            return Response(501, [("Content-Type", "text/plain")], function.refusal.encode())
        query = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
        for name, value in query:
            if not value:
                explain(function.name, f"drops query parameter {name!r}, because it has no value")
        if "Transfer-Encoding" in self.headers:
            explain(function.name, "drops the request body, because it is chunked")
        request = azure.functions.HttpRequest(
            method=self.command,
            url=f"{self.host.url}{self.path}",
            headers=join_repeated(self.headers.items()),
            params=join_repeated((name, value) for name, value in query if value),
            route_params={name: value for name, value in route_params.items() if value},
            body=body,
        )
        try:
            response = read_response(self.host.invoke(function, request))
        except BaseException as error:  # The worker survives SystemExit, too.
            logger.error("%s failed: %s", function.name, error, exc_info=True)
            return Response(500)
        response, note = sent_response(response, is_head=self.command == "HEAD")
        if note:
            explain(function.name, note)
        return response

    def read_body(self) -> bytes:
        """Return the body, or b"" if it is chunked; raise ValueError if it has no valid length."""
        encoding = self.headers.get("Transfer-Encoding")
        if encoding is None:
            return self.rfile.read(non_negative_int(self.headers.get("Content-Length") or "0"))
        if encoding.lower() != "chunked":
            raise ValueError(encoding)
        size = -1
        while size:
            size = non_negative_int(self.rfile.readline().partition(b";")[0], base=16)
            self.rfile.read(size)
            while self.rfile.readline().strip():  # The last chunk may be followed by trailers.
                pass
        return b""


def join_repeated(pairs: Iterable[Tuple[str, str]]) -> Dict[str, str]:
    """Join the values of a repeated name with commas; the case of the name doesn't matter."""
    joined: Dict[str, Tuple[str, str]] = {}
    for name, value in pairs:
        key = name.lower()
        joined[key] = name, f"{joined[key][1]},{value}" if key in joined else value
    return dict(joined.values())


def explain(subject: str, note: str) -> None:
    """Print the reason for something that the Functions host does without a word."""
    logger.warning("%s: the Functions host %s.", subject, note)


def read_response(func_ret: object) -> Response:
    """Convert the return value of a function to a response."""
    if isinstance(func_ret, str):
        func_ret = azure.functions.HttpResponse(func_ret)
    if not isinstance(func_ret, azure.functions.HttpResponse):
        raise TypeError(f"a function returned {type(func_ret).__name__}, not HttpResponse or str")
    charset = f"; charset={func_ret.charset}" if func_ret.mimetype.startswith("text/") else ""
    headers = {"content-type": ("Content-Type", func_ret.mimetype + charset)}
    cookies = []
    for name, value in func_ret.headers.items():
        if name.lower() == "set-cookie":
            cookies.append((name, str(value)))
        else:  # If a function sets another header twice, the last value is sent.
            headers[name.lower()] = name, str(value)
    return Response(int(func_ret.status_code), [*headers.values(), *cookies], func_ret.get_body())


def sent_response(response: Response, is_head: bool) -> Tuple[Response, str]:
    """Return the response as the Functions host sends it, and a note if the host changes it."""
    status, size = response.status, len(response.body)
    for name, value in response.headers:
        # Kestrel, the web server of the Functions host, allows only these characters in headers.
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII):
            return Response(500), f"responds with 500, because {name!r} is not a header name"
        if not re.fullmatch(r"[\t -~]*", value):
            return Response(500), f"responds with 500, because {name} is {value!r}, not plain ASCII"
    length = {n.lower(): v for n, v in response.headers}.get("content-length", str(size))
    reason = f"because Content-Length is {length} and the length of the body is {size}"
    if not length.isdigit():
        return Response(500), f"responds with 500, {reason}"
    if int(length) < size:
        note = f"responds with 500 and closes the connection, {reason}"
        return Response(500, [("Connection", "close")]), note
    if size and not is_head and status in (204, 205, 304):
        note = f"drops the body and closes the connection, because status {status} allows no body"
        return response._replace(body=b"", closes=True), note
    if int(length) > size and not is_head and status not in (204, 304):
        # Unlike the Functions host, close the connection, so that the client doesn't wait.
        return response._replace(closes=True), f"lets the client wait, {reason}"
    return response, ""


def non_negative_int(text: Union[str, bytes], base: int = 10) -> int:
    number = int(text, base)
    if number < 0:
        raise ValueError(text)
    return number


def route_pattern(function_name: str, route: str) -> Tuple["re.Pattern[str]", List[str]]:
    """Convert a route template to a pattern and the names of its groups; ignore constraints."""
    pattern, names, end = "", [], 0
    for parameter in ROUTE_PARAMETER.finditer(route):
        slash, stars, name, rest = parameter.groups()
        names.append(name)
        value = f"{slash}({'.*' if stars else '[^/]+'})"
        pattern += re.escape(route[end : parameter.start()])
        pattern += f"(?:{value})?" if stars or rest.endswith("?") else value
        end = parameter.end()
    if re.search("[{}]", ROUTE_PARAMETER.sub("", route)):
        raise StartError(f"cannot read route {route!r} of function {function_name}")
    if len({name.lower() for name in names}) < len(names):
        raise StartError(f"route {route!r} of function {function_name} has a parameter twice")
    return re.compile(pattern + re.escape(route[end:]) + "/?", re.IGNORECASE), names


def load_app(app: Path) -> Tuple[List[HttpFunction], str]:
    """Apply the app's settings and import the app; return its functions and its route prefix."""
    definitions = sorted(app.glob("*/function.json"))
    is_v2 = (app / "function_app.py").is_file()
    if not is_v2 and not definitions:
        raise StartError(f"{app} has neither function_app.py nor a folder with function.json")
    sys.path.insert(0, str(app))
    try:
        for name, value in (read_json(app / "local.settings.json").get("Values") or {}).items():
            os.environ.setdefault(name, str(value))
        os.environ.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
        extensions = read_json(app / "host.json").get("extensions") or {}
        prefix = (extensions.get("http") or {}).get("routePrefix")
        functions = list(load_v2() if is_v2 else load_v1(app, definitions))
    except StartError:
        raise
    except BaseException as error:  # such as SystemExit
        frames = traceback.extract_tb(error.__traceback__)
        at = [frame for frame in frames if frame.filename.startswith(str(app))]
        where = f" ({at[-1].filename}, line {at[-1].lineno})" if at else ""
        message = " ".join(str(error).split())
        raise StartError(f"cannot load {app}: {type(error).__name__}: {message}{where}") from error
    return functions, "api" if prefix is None else str(prefix)


def load_v2() -> Iterable[HttpFunction]:
    module = importlib.import_module("function_app")
    register = azure.functions.FunctionRegister
    apps = [value for value in vars(module).values() if isinstance(value, register)]
    if len(apps) != 1:
        raise ValueError(f"function_app.py must have one function app, not {len(apps)}")
    return functions_of(apps[0])


def functions_of(app: Any) -> Iterable[HttpFunction]:
    """Read the functions of a v2 app, as the worker does. A second call would fail."""
    for function in app.get_functions():
        bindings = [binding.get_dict_repr() for binding in function.get_bindings()]
        user_function = function.get_user_function()
        directory = Path(inspect.getfile(user_function)).parent
        yield read_function(function.get_function_name(), user_function, bindings, directory)


def load_v1(app: Path, definitions: Iterable[Path]) -> Iterable[HttpFunction]:
    # The worker imports the folders as subpackages of this package.
    package = types.ModuleType("__app__")
    package.__path__ = [str(app)]
    sys.modules["__app__"] = package
    for file in definitions:
        definition = read_json(file)
        script = (file.parent / definition.get("scriptFile", "__init__.py")).resolve()
        parts = script.relative_to(app).with_suffix("").parts
        names = parts[:-1] if parts[-1] == "__init__" else parts
        module = importlib.import_module(".".join(["__app__", *names]))
        function = getattr(module, definition.get("entryPoint") or "main")
        bindings, is_disabled = definition.get("bindings") or [], definition.get("disabled") is True
        yield read_function(file.parent.name, function, bindings, file.parent, is_disabled)


def read_function(
    name: str, function: Callable[..., Any], bindings: List[Dict[str, Any]], directory: Path,
    is_disabled: bool = False,
) -> HttpFunction:
    triggers = [b for b in bindings if str(b["type"]).lower().endswith("trigger")]
    http_trigger = next((b for b in triggers if str(b["type"]).lower() == "httptrigger"), {})
    output = [b for b in bindings if (b["type"], b.get("name")) == ("http", "$return")]
    further = [b for b in bindings if b not in triggers + output]
    kind, unsupported = ("binding", further) if http_trigger else ("trigger", triggers)
    names = {str(b["type"]) for b in unsupported}
    # If the app imports this package, the worker treats all its HTTP functions as HTTP streams.
    if http_trigger and "azurefunctions.extensions.http.fastapi" in sys.modules:
        names.add("HTTP streams")
    problem = f"unsupported {kind}: {', '.join(sorted(names))}" if names else "no trigger"
    refusal = "" if http_trigger and not names else f"{name} is not served ({problem})."
    methods = http_trigger.get("methods") or ALL_METHODS if http_trigger else ()
    if is_disabled or os.environ.get(f"AzureWebJobs.{name}.Disabled", "").lower() in ("1", "true"):
        refusal, methods = f"{name} is disabled.", ()
    return HttpFunction(
        name,
        function,
        route=str(http_trigger.get("route") or name),
        methods=tuple(str(method).upper() for method in methods),
        parameter=http_trigger.get("name", ""),
        directory=str(directory),
        refusal=refusal,
    )


def read_json(file: Path) -> Dict[str, Any]:
    """Read a JSON object as the Functions host does, which accepts comments and trailing commas."""
    text = file.read_text(encoding="utf-8-sig", errors="replace") if file.is_file() else "{}"
    string = r'("(?:\\.|[^"\\])*")'
    text = re.sub(string + r"|//[^\r\n]*|/\*.*?\*/", r"\1", text, flags=re.DOTALL)
    text = re.sub(string + r"|,(?=\s*[}\]])", r"\1", text)
    try:
        return {**json.loads(text)}
    except (TypeError, ValueError) as error:
        raise StartError(f"{file} is not a JSON object: {error}") from error


def show_response(host: StandInHost, path: str) -> None:
    print(f"\nGET {host.url}{path}")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", host.port)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        try:
            body = response.read()
        except http.client.IncompleteRead as error:
            body = error.partial
    charset = response.headers.get_content_charset("utf-8")
    print(f"HTTP/1.1 {response.status} {response.reason}")
    for name, value in response.getheaders():
        print(f"{name}: {value}")
    print(f"\n{body.decode(charset, 'replace')}")


def is_shown(record: logging.LogRecord) -> bool:
    """Hide user logs outside an invocation, such as at import: the Functions host drops them."""
    return record.name.startswith(SYSTEM_LOGGERS) or current_invocation.get() is not None


def port_number(text: str) -> int:
    return range(65536).index(int(text))  # raises ValueError if the number is out of range


def main() -> int:
    parser = argparse.ArgumentParser(description="A stand-in for func start.")
    add = parser.add_argument
    add("app", metavar="APP", nargs="?", type=Path, help="the app's folder (default: a sample app)")
    add("--port", type=port_number, default=7071, help="0 for any free port (default: %(default)s)")
    once = "send a GET request to each GET function without a route parameter, then stop"
    add("--once", action="store_true", help=once)
    options = parser.parse_args()
    app = options.app or SAMPLE_APP

    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(is_shown)
    line = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(handlers=[handler], level=logging.INFO, format=line)
    try:
        host = StandInHost(*load_app(app.resolve()), options.port)
    except StartError as error:
        print(f"stand_in_host: {error}", file=sys.stderr)
        return 1

    with contextlib.suppress(KeyboardInterrupt), host:
        if not options.app:
            print("No APP given: serving the sample app.")
        for name, assumption in ASSUMPTIONS.items():
            if not (app / name).is_file():
                print(f"No {name}: {assumption}.")
        print("Functions:\n")
        for function in host.functions:
            methods = "" if function.methods == ALL_METHODS else f"[{','.join(function.methods)}] "
            url = f"{function.name}: {methods}{host.url}{host.path(function)}"
            print(f"    {function.refusal or url}")
        for function in host.functions if options.once or not options.app else ():
            if "GET" in function.methods and "{" not in function.route and not function.refusal:
                show_response(host, urllib.parse.quote(host.path(function)))
        if not options.once:
            print("\nServing until Ctrl-C.")
            while True:
                time.sleep(1)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # Unlike sys.exit(), this doesn't wait for functions that still run.
