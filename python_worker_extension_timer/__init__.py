"""Measure each invocation of an Azure Functions app, log it, show it in the HTTP response.

A worker extension: it follows, name for name, the tutorial "Develop Python worker extensions for
Azure Functions", https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions

The first half is the extension: rewrite it to make one of your own. The second half calls the two
hooks of any extension where no worker does: keep it as it is.
"""

import codecs
import contextlib
import functools
import inspect
import itertools
import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
import weakref
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, TypeVar, cast

import azure.functions
from azure.functions import AppExtensionBase, Context, HttpResponse

if TYPE_CHECKING:
    from typing import Protocol

    class _InfoLogger(Protocol):
        def info(self, __message: str) -> object: ...


__all__ = ["TimerExtension"]

# A response of one of these statuses has no body, and the host fails one that has; a 206 has the
# part of one that its headers describe: https://www.rfc-editor.org/rfc/rfc9110#section-15
_FIXED_BODY_STATUSES = {*range(100, 200), 204, 205, 206, 304}

# These describe the exact bytes of the body; lengthening it would make them false.
_BODY_DESCRIBING_HEADERS = {
    "content-encoding", "content-range", "content-md5", "digest", "content-digest", "repr-digest"
}

_CHARSET_PARAMETER = re.compile(r';\s*charset\s*=\s*"?([^\s;"]+)', re.IGNORECASE)

# What an HTTP token, and so a name in Server-Timing, is not made of:
# https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
_NOT_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")

# Several invocations may return one response object at once. The lock keeps body and headers whole,
# no more: the worker reads the object after the hooks, and so sends the last time to all clients.
_response_lock = threading.RLock()

# So many starts may be pending before further ones are dropped with the context they belong to.
_UNWATCHED_STARTS = 4000

_Function = TypeVar("_Function", bound=Callable[..., object])


class TimerExtension(AppExtensionBase):
    """Logs how long each invocation takes, and can show it in the HTTP response.

    ``configure(app=app)`` times a whole app, the decorator ``timed`` one function. On Python 3.7 to
    3.12, with the app setting ``PYTHON_ENABLE_WORKER_EXTENSIONS=1``, the worker calls the hooks:
    there the import alone gives the log lines.

    Times are in seconds, by a clock that never runs backwards. What goes wrong in the timing itself
    never reaches the app: should a logger or a response fail, its traceback goes to stderr.

    https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
    """

    # The configuration: configure() sets it, and says what each option is.
    app: "Optional[azure.functions.FunctionRegister]"
    append_to_http_response: bool
    logger: "Optional[_InfoLogger]"
    server_timing_header: bool

    # Invocation id -> start, from the pre hook to the post hook.
    start_timestamps: Dict[str, float]
    # Attribute in which a response keeps its suffix, and its headers the entry, to take them out.
    _added_name: str

    # Kept in an extension of your own, as is app: whether configure() may warn that no hook runs,
    # and, where no worker calls the hooks, the invocation that the running code is part of.
    _may_warn: bool
    _invocation: "ContextVar[Callable[[], Optional[_Invocation]]]"

    @classmethod
    def init(cls) -> None:
        """Called by the SDK, once for each class, when the app imports the extension."""
        cls.app = cls.logger = None
        cls.append_to_http_response = cls.server_timing_header = False
        cls.start_timestamps = {}
        # The class's own, since an extension made out of this one may run beside it.
        cls._added_name = f"_{cls.__module__}_{cls.__qualname__}"
        cls._may_warn = True
        cls._invocation = ContextVar(cls.__name__, default=lambda: None)

    @classmethod
    def configure(
        cls,
        *args: object,
        app: "Optional[azure.functions.FunctionRegister]" = None,
        append_to_http_response: bool = False,
        logger: "Optional[_InfoLogger]" = None,
        server_timing_header: bool = False,
        **kwargs: object,
    ) -> None:
        """Set every option, where the app imports the extension; one not given is at its default.

        Parameters
        ----------
        app : azure.functions.FunctionApp, AsgiFunctionApp, WsgiFunctionApp or DFApp, default None
            The function app. Where the worker calls no hooks (Python 3.13 and later, or the app
            setting off) its functions are timed all the same, under their registered names.
        append_to_http_response : bool, default False
            Lengthen the body of an ``azure.functions.HttpResponse`` by
            `` (TimeElapsed: <seconds> sec)``, in the response's charset. The body is then no longer
            valid JSON or XML, durable's ``create_check_status_response`` included. A body that must
            not change stays as it is: of status 1xx, 204, 205, 206 or 304; described by a header
            ``Content-Encoding``, ``Content-Range``, strong ``ETag`` or digest; empty, with a
            ``Content-Length`` other than 0, as in an answer to HEAD; not text in its charset, where
            that is not UTF-8. A ``str`` and an ``Out[HttpResponse]`` are only logged.
        logger : logging.Logger, default None
            Where the log lines go: a logger, or any object with a callable ``info(message)``. A
            logger of your own makes them user logs, which Application Insights gets. The default is
            the worker's or, where that calls no hooks, ``python_worker_extension_timer``.
        server_timing_header : bool, default False
            Add ``<function name>;dur=<milliseconds>`` to the ``Server-Timing`` header of an
            ``HttpResponse``, or of any response with a mutable mapping ``headers``, behind what the
            function put there itself. Browsers show it: https://www.w3.org/TR/server-timing/

        Raises
        ------
        TypeError
            An option is not of its type; the configuration is then as it was.

        Warns
        -----
        UserWarning
            An argument is none of the above. It has no effect.
        RuntimeWarning
            Once: no hook will run, no app is handed over and no function has been decorated.

        https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
        """
        for option, value in (
            ("append_to_http_response", append_to_http_response),
            ("server_timing_header", server_timing_header),
        ):
            if not isinstance(value, bool):
                raise TypeError(f"{option} must be True or False, not {value!r}")
        if logger is not None and not callable(getattr(logger, "info", None)):
            raise TypeError(
                f"logger must be a logger, or any object with a callable info, not {logger!r}"
            )
        app_type = getattr(azure.functions, "FunctionRegister", ())  # 1.7 has none
        if app is not None and not isinstance(app, app_type):
            raise TypeError(
                f"app must be a function app, such as azure.functions.FunctionApp(), not {app!r}: "
                "hand over the app that a blueprint is registered with"
            )

        cls.app = app
        cls.append_to_http_response = append_to_http_response
        cls.logger = logger
        cls.server_timing_header = server_timing_header
        hooks_run = _worker_calls_hooks()
        if app is not None and not hooks_run:
            _hook_app(cls, app)

        # The SDK asks that any argument be accepted, yet a misspelt one must not vanish. The host
        # drops what is logged at import, hence warnings; last, since an app may make them errors.
        unknown = [repr(arg) for arg in args] + list(kwargs)
        if unknown:
            warnings.warn(
                f"TimerExtension.configure() does not know {', '.join(unknown)}; its options are "
                "app, append_to_http_response, logger and server_timing_header, given by name",
                UserWarning,
                stacklevel=2,
            )
        in_worker = "FUNCTIONS_WORKER_RUNTIME" in os.environ
        if in_worker and not hooks_run and app is None and cls._may_warn:
            cls._may_warn = False
            setting = os.environ.get(_APP_SETTING) or "missing"
            why = f"since the app setting {_APP_SETTING} is {setting}: set {_APP_SETTING}=1, or "
            if sys.version_info >= (3, 13):
                why = "on Python 3.13 and later: "
            warnings.warn(
                f"The worker calls no extension hooks {why}hand over the app, "
                "TimerExtension.configure(app=app), or decorate v1 functions with "
                "@TimerExtension.timed, above this call",
                RuntimeWarning,
                stacklevel=2,
            )

    @classmethod
    def pre_invocation_app_level(
        cls,
        logger: logging.Logger,
        context: Context,
        func_args: Optional[Dict[str, object]] = None,
        *args: object,
        **kwargs: object,
    ) -> None:
        """Called by the worker before each invocation: logs that it starts, and notes when."""
        try:
            log = logger if cls.logger is None else cls.logger
            log.info(f"Recording start time of {context.function_name}")
        except Exception:
            _report()
        cls.start_timestamps[context.invocation_id] = perf_counter()
        if len(cls.start_timestamps) > _UNWATCHED_STARTS:
            # An invocation that raises gets no post hook, but the worker lets go of its context.
            with contextlib.suppress(TypeError):  # a SimpleNamespace takes no weak reference
                weakref.finalize(context, cls.start_timestamps.pop, context.invocation_id, None)

    @classmethod
    def post_invocation_app_level(
        cls,
        logger: logging.Logger,
        context: Context,
        func_args: Optional[Dict[str, object]] = None,
        func_ret: Optional[object] = None,
        *args: object,
        **kwargs: object,
    ) -> None:
        """Called by the worker after each invocation that returned: reports the elapsed time."""
        end = perf_counter()
        start = cls.start_timestamps.pop(context.invocation_id, None)
        if start is None:
            return
        elapsed = end - start
        sec = str(elapsed)
        try:
            log = logger if cls.logger is None else cls.logger
            log.info(f"Time taken to execute {context.function_name} is {sec} sec")
        except Exception:
            _report()
        if cls.append_to_http_response and isinstance(func_ret, HttpResponse):
            try:
                _lengthen_body(func_ret, f" (TimeElapsed: {sec} sec)", cls._added_name)
            except Exception:
                _report()
        if cls.server_timing_header:
            try:
                _add_server_timing(func_ret, context.function_name, elapsed, cls._added_name)
            except Exception:
                _report()

    @classmethod
    def timed(cls, function: _Function) -> _Function:
        """Time one function, on every Python: the decorator for where no hooks run.

        It reports as the hooks do, also of a function that raises. Where the worker calls the hooks
        (outside a worker, in a unit test say, where Python version and app setting let it) it
        returns the function as it is. It goes right above the ``def``::

            @app.route(route="hello")
            @TimerExtension.timed
            def hello(req: func.HttpRequest) -> func.HttpResponse:
                return func.HttpResponse("Hello!")

        Parameters
        ----------
        function : function or bound method
            A function of the app, sync or async. It is reported under ``context.function_name``
            where it takes ``context``; else, where the ``function.json`` beside it names it (v1),
            under the name of their folder; else under its own. What is returned has its signature,
            type hints, file and kind (sync or async).

        Raises
        ------
        TypeError
            It is a generator function, as an orchestrator is, or no function at all.
        """
        if not hasattr(function, "__code__"):
            raise TypeError(
                "@TimerExtension.timed goes right above the def, below @app.route(...) and any "
                f"other decorator of the SDK: it takes a function, not {type(function).__name__}"
            )
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                "only sync and async functions can be timed, not a generator function such as "
                f"{function.__name__}: TimerExtension.configure(app=app) times orchestrators"
            )
        if _worker_calls_hooks():
            return function
        cls._may_warn = False
        return cast(_Function, _hook_function(cls, function, _function_name(function)))


def _lengthen_body(response: Any, suffix: str, added_name: str) -> None:
    if response.status_code != 200 and int(response.status_code) in _FIXED_BODY_STATUSES:
        return
    with _response_lock:
        # HttpResponse has no public way to set its body; every version of the SDK keeps it here.
        body, charset, headers = response._HttpResponse__body, response.charset, {}
        if response.headers:
            headers = {name.lower(): value for name, value in response.headers.items()}
            if (
                not _BODY_DESCRIBING_HEADERS.isdisjoint(headers)
                or not headers.get("etag", "W/").startswith("W/")
                # An answer to HEAD, with the length of what GET would send.
                or (not body and headers.get("content-length", "0") != "0")
            ):
                return
            # The worker sends a Content-Type that the function set, not the response's own charset.
            parameter = _CHARSET_PARAMETER.search(headers.get("content-type", ""))
            charset = parameter.group(1) if parameter else charset
        body = body.replace(getattr(response, added_name, b""), b"", 1)
        try:
            if charset == "utf-8" or codecs.lookup(charset).name == "utf-8":
                added = suffix.encode()
                body += added
            else:
                # By way of the text, so that a byte-order mark stands at the start alone.
                body = (body.decode(charset) + suffix).encode(charset)
                added = suffix.encode(charset)[len("".encode(charset)) :]
        except (LookupError, ValueError):  # no such charset, or a body that is not text in it
            return
        # The length first: headers that refuse it then leave both as they were.
        if "content-length" in headers:
            response.headers["Content-Length"] = str(len(body))
        response._HttpResponse__body = body
        setattr(response, added_name, added)


def _add_server_timing(response: Any, function_name: str, elapsed: float, added_name: str) -> None:
    # A response of any framework; the text and dicts that functions return too have no headers.
    headers: Any = getattr(response, "headers", None)
    if not (hasattr(headers, "items") and hasattr(headers, "__setitem__")):
        return
    added = f"{_NOT_TOKEN.sub('_', function_name)};dur={elapsed * 1000:.3f}"
    with _response_lock:
        found = [header for header in headers.items() if header[0].lower() == "server-timing"]
        entries = ", ".join(str(value) for _, value in found).split(",")
        # On the headers, since copies of a response share those; a dict takes no attribute.
        holder = headers if hasattr(headers, "__dict__") else response
        ours = [entry for entry in entries if entry.strip() == getattr(holder, added_name, None)]
        for entry in ours[:1]:  # an extension beside this one may have added the same
            entries.remove(entry)
        entries.append(f" {added}")
        setattr(holder, added_name, added)
        # All in one header, since the worker sends one of a name.
        headers[found[0][0] if found else "Server-Timing"] = ",".join(entries).lstrip(" ,")


# --------------------------------------------------------------------------------------------------
# Hooks where no worker calls them: on Python 3.13 and later, or with the app setting off. This half
# stays as it is in an extension of your own: of its class it needs app, _invocation and the hooks.

# The app setting that makes the worker call extension hooks, and the values that it reads as on
# and off: https://learn.microsoft.com/azure/azure-functions/functions-app-settings
_APP_SETTING = "PYTHON_ENABLE_WORKER_EXTENSIONS"
_ON = {"1", "true", "t", "yes", "y"}
_OFF = {"0", "false", "f", "no", "n"}

# What the hooks get as their logger. Unlike the worker's, it writes user logs.
_logger = logging.getLogger(__name__)


def _worker_calls_hooks() -> bool:
    """The worker's own rule; nothing else tells an extension whether its hooks will run."""
    setting = os.environ.get(_APP_SETTING, "").strip().lower()
    if sys.version_info[:2] == (3, 9) and "FUNCTIONS_WORKER_RUNTIME" in os.environ:
        return setting not in _OFF
    return setting in _ON and sys.version_info < (3, 13)


def _hook_app(extension: Any, app: Any) -> None:
    """Put the hooks around what the worker takes from the app: it asks once, after the import."""
    get_functions = app.get_functions

    def get_hooked_functions() -> Any:
        functions = get_functions()
        for function in functions:
            try:
                user_function, name = function.get_user_function(), function.get_function_name()
                if hasattr(user_function, "__code__"):  # the worker itself refuses any other
                    hooked = _hook_function(extension, user_function, name, app)
                    function.get_user_function = lambda hooked=hooked: hooked
            except Exception:
                _report()
        return functions

    app.get_functions = get_hooked_functions


def _function_name(function: Any) -> str:
    """In the v1 programming model a function goes by its folder, where function.json names it."""
    with contextlib.suppress(Exception):  # there is none, or none that the host can read
        folder = Path(inspect.getfile(inspect.unwrap(function))).absolute().parent
        definition = json.loads((folder / "function.json").read_text(encoding="utf-8-sig"))
        if function.__name__ == (definition.get("entryPoint") or "main"):
            return folder.name
    return cast(str, function.__name__)


def _hook_function(extension: Any, function: Any, name: str, app: Any = None) -> Any:
    """The function with both hooks around it, raise or not; an app's while that is handed over."""

    def call_pre_hook(func_args: Dict[str, Any]) -> Optional[_Invocation]:
        outer = extension._invocation.get()()
        # What an invocation calls, or starts as a task, while it runs is part of it.
        if (outer is not None and outer._runs) or app not in (None, extension.app):
            return None
        invocation = _Invocation(name, func_args)
        # Weakly, so that neither its thread nor a task that it started keeps what has ended.
        extension._invocation.set(weakref.ref(invocation))
        try:
            extension.pre_invocation_app_level(_logger, invocation, func_args)
        except Exception:
            _report()
        return invocation

    def call_post_hook(invocation: _Invocation, func_args: Any, func_ret: object) -> None:
        try:
            extension.post_invocation_app_level(_logger, invocation, func_args, func_ret)
        except Exception:
            _report()
        invocation._runs = False

    def call(args: Any, kwargs: Any) -> object:
        invocation, func_ret = call_pre_hook(kwargs), None
        try:
            func_ret = function(*args, **kwargs)
            return func_ret
        finally:
            if invocation is not None:
                call_post_hook(invocation, kwargs, func_ret)

    async def call_async(args: Any, kwargs: Any) -> object:
        invocation, func_ret = call_pre_hook(kwargs), None
        try:
            func_ret = await function(*args, **kwargs)
            return func_ret
        finally:
            if invocation is not None:
                call_post_hook(invocation, kwargs, func_ret)

    # The worker takes context.function_directory from the file that inspect.getfile names, and only
    # compiling sets that: hence as of the function's own file, on its line, as tracebacks show it.
    source = "def wrapper(*args, **kwargs): return call(args, kwargs)"
    if inspect.iscoroutinefunction(function):
        source = "async def wrapper(*args, **kwargs): return await call_async(args, kwargs)"
    namespace: Dict[str, Any] = {"call": call, "call_async": call_async}
    lines_before = "\n" * (function.__code__.co_firstlineno - 1)
    exec(compile(lines_before + source, function.__code__.co_filename, "exec"), namespace)
    wrapper: Any = functools.wraps(function)(namespace["wrapper"])
    if getattr(function, "__annotate__", function) is None:  # on Python 3.14, set by durable's SDK
        wrapper.__annotations__ = function.__annotations__
    return wrapper


class _Invocation:
    """One call of a function where no worker calls the hooks. To them it is the context."""

    _ids = itertools.count()
    _workers_context: Any = None

    def __init__(self, name: str, func_args: Dict[str, Any]) -> None:
        vars(self).update(_runs=True, invocation_id=str(next(self._ids)), function_name=name)
        context = func_args.get("context")
        with contextlib.suppress(Exception):  # it may be anything: a durable function's is text
            if context is not None and isinstance(context.function_name, str):
                vars(self).update(_workers_context=context, function_name=context.function_name)

    def __getattr__(self, name: str) -> Any:
        if self._workers_context is None:
            raise AttributeError(f"no {name}: the function does not take the worker's context")
        return getattr(self._workers_context, name)

    def __setattr__(self, name: str, value: object) -> None:
        # What a hook leaves there, the function finds on the context that it takes.
        is_own = self._workers_context is None or name in vars(self)
        object.__setattr__(self if is_own else self._workers_context, name, value)


def _report() -> None:
    """Show on stderr what went wrong in a hook; where there is none, nowhere."""
    with contextlib.suppress(Exception):
        sys.stderr.write(traceback.format_exc())
