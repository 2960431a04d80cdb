"""Time each invocation of an Azure Functions app, and show the time in the log and in the response.

A worker extension with the package, class and option names of Microsoft's tutorial:
https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions

The first half is the extension; replace that half to write your own. The second half calls the pre
hook and the post hook of an extension when the worker doesn't; leave that half unchanged.
"""

from __future__ import annotations

import ast
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
import uuid
import warnings
import weakref
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import azure.functions
from azure.functions import AppExtensionBase, Context, HttpResponse

if TYPE_CHECKING:
    from typing import Protocol

    class _InfoLogger(Protocol):
        def info(self, __message: str) -> object: ...


__all__ = ["TimerExtension"]

# If a function raises, the worker doesn't call the post hook, so the start time stays stored. While
# more than this many start times are stored, a new one is removed with its invocation's context.
_MAX_PENDING_STARTS = 4000


class TimerExtension(AppExtensionBase):
    """Logs how long each invocation takes, and can show the time in the HTTP response.

    ``configure(app=app)`` times a whole app; the decorator ``timed`` times one function. On Python
    3.7 to 3.12, with the app setting ``PYTHON_ENABLE_WORKER_EXTENSIONS=1``, the worker calls the
    hooks, and importing the module is enough to get the log lines.

    Times come from a monotonic clock, in seconds. Errors in the timing never reach the app: if a
    logger or a response raises, the traceback is written to stderr.

    https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
    """

    # Options, documented in configure().
    append_to_http_response: bool
    log_min_seconds: float | None
    logger: _InfoLogger | None
    server_timing_header: bool

    start_timestamps: dict[str, float]  # invocation id -> start time, until the post hook
    _added_attribute: str  # name of the attribute that records what was added to a response

    # Used by the second half; see init().
    app: azure.functions.FunctionRegister | None
    _may_warn: bool
    _invocation: ContextVar[SimpleNamespace]

    @classmethod
    def init(cls) -> None:
        """Set the defaults. The SDK calls this once per class, when the class is created."""
        cls.append_to_http_response = False
        cls.log_min_seconds = None
        cls.logger = None
        cls.server_timing_header = False
        cls.start_timestamps = {}
        # Extensions based on this module may run side by side, so the name is unique to the class.
        cls._added_attribute = f"_{cls.__module__}_{cls.__qualname__}"

        # For the second half. It can't set these itself, because the SDK calls init() before the
        # second half is defined.
        cls.app = None
        cls._may_warn = True
        cls._invocation = ContextVar(cls.__name__, default=SimpleNamespace(context=None))

    @classmethod
    def configure(
        cls,
        *args: object,
        app: azure.functions.FunctionRegister | None = None,
        append_to_http_response: bool = False,
        log_min_seconds: float | None = None,
        logger: _InfoLogger | None = None,
        server_timing_header: bool = False,
        **kwargs: object,
    ) -> None:
        """Set the options. Call this when the app is imported; omitted options get their defaults.

        Parameters
        ----------
        app : azure.functions.FunctionApp, AsgiFunctionApp, WsgiFunctionApp or DFApp, default None
            The app to time. The log shows its registered function names. The hooks are called on
            every Python version, even if ``PYTHON_ENABLE_WORKER_EXTENSIONS`` is off.
        append_to_http_response : bool, default False
            Append `` (TimeElapsed: <seconds> sec)`` to the body of an ``HttpResponse``, in its
            charset. This makes JSON and XML invalid. Nothing is appended if the status is 1xx, 204,
            205, 206 or 304; if a header ``Content-Encoding``, ``Content-Range``, ``Content-MD5``,
            ``Digest``, ``Content-Digest``, ``Repr-Digest`` or a strong ``ETag`` describes the body;
            if the body is empty but ``Content-Length`` isn't 0, as in a response to HEAD; or if the
            charset isn't UTF-8 and can't decode the body.
        log_min_seconds : float, default None
            ``None`` logs the start and the elapsed time of each invocation. A number logs only the
            elapsed time, if it is at least that many seconds: 0 logs each invocation, ``math.inf``
            none. On the Functions host, the log lines cost far more time than the timing does.
        logger : logging.Logger, default None
            The logger for the log lines, or any object with an ``info(message)`` method. Default:
            the worker's logger, whose lines don't reach Application Insights, or the logger
            ``python_worker_extension_timer`` if the worker doesn't call the hooks.
        server_timing_header : bool, default False
            Add ``<function name>;dur=<milliseconds>`` to the ``Server-Timing`` header of any
            response object, that is, one with a ``status_code`` and mutable ``headers``. Browsers
            show this header: https://www.w3.org/TR/server-timing/

        Raises
        ------
        TypeError
            If an option has a wrong type or value. The configuration is left unchanged.

        Warns
        -----
        UserWarning
            If an argument is unknown. The argument is ignored.
        RuntimeWarning
            Once, in a worker, if nothing calls the hooks: the worker doesn't, no app is passed, and
            no function has been decorated.
        """
        for option, value in (
            ("append_to_http_response", append_to_http_response),
            ("server_timing_header", server_timing_header),
        ):
            if not isinstance(value, bool):
                raise TypeError(f"{option} must be True or False, not {value!r}")
        if log_min_seconds is not None and (
            isinstance(log_min_seconds, bool)
            or not isinstance(log_min_seconds, (int, float))
            or not log_min_seconds >= 0  # also rejects NaN
        ):
            raise TypeError(f"log_min_seconds must be int or float >= 0, not {log_min_seconds!r}")
        if logger is not None and not callable(getattr(logger, "info", None)):
            raise TypeError(f"logger must have an info() method; got {logger!r}")
        _check_app(app)

        cls.append_to_http_response = append_to_http_response
        cls.log_min_seconds = log_min_seconds
        cls.logger = logger
        cls.server_timing_header = server_timing_header
        _set_up_hooks(cls, app, cls.timed, args, kwargs)

    @classmethod
    def pre_invocation_app_level(
        cls,
        logger: logging.Logger,
        context: Context,
        func_args: dict[str, object] | None = None,
        *args: object,
        **kwargs: object,
    ) -> None:
        """Log that the invocation starts, and store its start time."""
        if cls.log_min_seconds is None:
            try:
                log = logger if cls.logger is None else cls.logger
                log.info(f"Recording start time of {context.function_name}")
            except Exception:
                _report()
        starts, key = cls.start_timestamps, context.invocation_id
        starts[key] = start = perf_counter()
        if len(starts) > _MAX_PENDING_STARTS:
            # A retry has the same invocation id, but a later start time, which must not be removed.
            weakref.finalize(
                context, lambda s, k, t: s.get(k) == t and s.pop(k, None), starts, key, start
            )

    @classmethod
    def post_invocation_app_level(
        cls,
        logger: logging.Logger,
        context: Context,
        func_args: dict[str, object] | None = None,
        func_ret: object = None,
        *args: object,
        **kwargs: object,
    ) -> None:
        """Report the elapsed time. The worker calls this only if the function returned."""
        end = perf_counter()
        start = cls.start_timestamps.pop(context.invocation_id, None)
        if start is None:
            return
        seconds = end - start
        elapsed = str(seconds)
        # Each of the three parts has its own try block: if one part fails, the others still run.
        if cls.log_min_seconds is None or seconds >= cls.log_min_seconds:
            try:
                log = logger if cls.logger is None else cls.logger
                log.info(f"Time taken to execute {context.function_name} is {elapsed} sec")
            except Exception:
                _report()
        if cls.append_to_http_response and isinstance(func_ret, HttpResponse):
            try:
                _append_to_body(func_ret, f" (TimeElapsed: {elapsed} sec)", cls._added_attribute)
            except Exception:
                _report()
        if cls.server_timing_header:
            try:
                _add_server_timing(func_ret, context.function_name, seconds, cls._added_attribute)
            except Exception:
                _report()

    @classmethod
    def timed(cls, function: _Function) -> _Function:
        """Decorate one function to time it, on any Python version.

        Place the decorator directly above the ``def``::

            @app.route(route="hello")
            @TimerExtension.timed
            def hello(req: func.HttpRequest) -> func.HttpResponse:

        Parameters
        ----------
        function : function or bound method
            A function of the app, sync or async. It is logged as ``context.function_name`` if it
            has a ``context`` parameter; otherwise, in the v1 model, as the name of its folder if
            the ``function.json`` there refers to it; otherwise under its own name.

        Returns
        -------
        function
            A wrapper with the signature, type hints and source file of the function. If the
            function raises, the wrapper reports its time as well. If the worker calls the hooks,
            the function is returned unchanged.

        Raises
        ------
        TypeError
            If ``function`` is a generator function, such as an orchestrator, or isn't a function.
        """
        return _decorate(cls, function)


# Concurrent invocations may return the same response object. The lock keeps its body and headers
# consistent. But the worker reads the object after the hooks, so every client gets the time of the
# last invocation. The lock is reentrant, as a finalizer may call a hook while the lock is held.
_response_lock = threading.RLock()

# Nothing is appended with these statuses. 1xx, 204, 205 and 304 allow no body: with the last three,
# the Functions host drops the body and closes the connection. With 206, the headers state which
# part of the content the body is. https://www.rfc-editor.org/rfc/rfc9110#section-15
_FIXED_BODY_STATUSES = {*range(100, 200), 204, 205, 206, 304}

# Headers that describe the exact bytes of the body: appending to the body would make them wrong.
_BODY_DESCRIBING_HEADERS = {
    "content-encoding", "content-range", "content-md5", "digest", "content-digest", "repr-digest"
}

_CHARSET_PARAMETER = re.compile(r';\s*charset\s*=\s*"?([^\s;"]+)', re.IGNORECASE)


def _append_to_body(response: Any, suffix: str, added_attribute: str) -> None:
    _response_lock.acquire()  # acquire() and release() take half the time of a with statement
    try:
        status = response.status_code
        if status != 200 and int(status) in _FIXED_BODY_STATUSES:  # int() is slow
            return
        # HttpResponse has no public way to set its body; every version of the SDK keeps it here.
        body, charset, headers = response._HttpResponse__body, response.charset, {}
        if response.headers:
            headers = {name.lower(): value for name, value in response.headers.items()}
            is_described = not _BODY_DESCRIBING_HEADERS.isdisjoint(headers)
            has_strong_etag = not headers.get("etag", "W/").startswith("W/")
            is_response_to_head = not body and headers.get("content-length", "0") != "0"
            if is_described or has_strong_etag or is_response_to_head:
                return
            # If the function set a Content-Type header, the worker ignores response.charset.
            parameter = _CHARSET_PARAMETER.search(headers.get("content-type", ""))
            charset = parameter.group(1) if parameter else charset
        if hasattr(response, added_attribute):  # an app may return the same response every time
            body = body.replace(getattr(response, added_attribute), b"", 1)
        try:
            if charset == "utf-8" or codecs.lookup(charset).name == "utf-8":  # the lookup is slow
                added = suffix.encode()
                body += added
            else:
                # Decode and encode the whole text: a byte-order mark may only be at its start.
                body = (body.decode(charset) + suffix).encode(charset)
                added = suffix.encode(charset)[len("".encode(charset)) :]  # without that mark
        except (LookupError, ValueError):  # unknown charset, or a body that can't be decoded
            return
        if "content-length" in headers:
            response.headers["Content-Length"] = str(len(body))
        response._HttpResponse__body = body
        setattr(response, added_attribute, added)
    finally:
        _response_lock.release()


# Matches a character that is not allowed in an HTTP token, such as a Server-Timing metric name:
# https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
_NOT_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


def _add_server_timing(response: Any, name: str, seconds: float, added_attribute: str) -> None:
    # Responses of every framework have a status_code and headers; strings and other values don't.
    headers: Any = getattr(response, "headers", None)
    if not (hasattr(response, "status_code") and hasattr(headers, "__setitem__")):
        return
    added = f"{_NOT_TOKEN.sub('_', name)};dur={seconds * 1000:.3f}"
    with _response_lock:
        found = [header for header in headers.items() if header[0].lower() == "server-timing"]
        # This also splits at commas inside quoted strings; the join below undoes that.
        entries = ", ".join(str(value) for _, value in found).split(",")
        # Copies of a response share its headers, so the headers remember what was added.
        added_before = getattr(headers, added_attribute, None)
        ours = [entry for entry in entries if entry.strip() == added_before]
        if ours:  # remove one only: another extension may have added an identical entry
            entries.remove(ours[0])
        entries.append(f" {added}")
        setattr(headers, added_attribute, added)
        # Use a single header: the worker sends only one header per name.
        headers[found[0][0] if found else "Server-Timing"] = ",".join(entries).lstrip(" ,")


# --------------------------------------------------------------------------------------------------
# This half calls the hooks when the worker doesn't: on Python 3.13 and later, or if the app setting
# is off. Keep this half unchanged in your own extension. It uses the name and hooks of the class,
# the name of the decorator, configure()'s parameter names, and the attributes that init() sets.

# The app setting that makes the worker call extension hooks, and the values that the worker treats
# as on and off: https://learn.microsoft.com/azure/azure-functions/functions-app-settings
_APP_SETTING = "PYTHON_ENABLE_WORKER_EXTENSIONS"
_ON = {"1", "true", "t", "yes", "y"}
_OFF = {"0", "false", "f", "no", "n"}

_Function = TypeVar("_Function", bound=Callable[..., object])

# The logger passed to the hooks. Unlike the worker's logger, it writes user logs.
_logger = logging.getLogger(__name__)


def _worker_calls_hooks() -> bool:
    """Return whether the worker calls hooks. An extension can't ask, so apply the worker's rule."""
    setting = os.environ.get(_APP_SETTING, "").strip().lower()
    # The worker for Python 3.9 treats a missing setting as on. Outside a worker, missing means off.
    if sys.version_info[:2] == (3, 9) and "FUNCTIONS_WORKER_RUNTIME" in os.environ:
        return setting not in _OFF
    return setting in _ON and sys.version_info < (3, 13)


def _check_app(app: object) -> None:
    app_type = getattr(azure.functions, "FunctionRegister", ())  # not in azure-functions 1.7
    if app is not None and not isinstance(app, app_type):
        raise TypeError(
            f"app must be a function app, such as azure.functions.FunctionApp(), not {app!r}. For "
            "FastAPI or Flask, wrap the web app in AsgiFunctionApp or WsgiFunctionApp. For a "
            "blueprint, pass the app that it is registered with."
        )


def _set_up_hooks(extension: Any, app: Any, decorator: Any, args: Any, kwargs: Any) -> None:
    """Last step of configure(): wrap the app's functions if necessary, and warn about mistakes."""
    extension.app = app
    worker_calls_hooks = _worker_calls_hooks()
    if app is not None and not worker_calls_hooks:
        _wrap_functions_of(app, extension)

    # Accept any argument, as the SDK's base class does, but don't ignore a misspelt one silently.
    # Warn instead of logging: the host drops what is logged during import. Warn last: an app may
    # turn warnings into errors.
    name = extension.__name__
    unknown = [*map(repr, args), *kwargs]
    if unknown:
        parameters = inspect.signature(extension.configure).parameters.values()
        known = [option.name for option in parameters if option.kind is option.KEYWORD_ONLY]
        message = (
            f"{name}.configure() got unknown arguments: {', '.join(unknown)}. It accepts "
            f"{', '.join(known)}."
        )
        warnings.warn(message, UserWarning, stacklevel=3)
    in_worker = "FUNCTIONS_WORKER_RUNTIME" in os.environ
    if in_worker and not worker_calls_hooks and app is None and extension._may_warn:
        extension._may_warn = False
        setting = os.environ.get(_APP_SETTING) or "missing"
        reason = f"because the app setting {_APP_SETTING} is {setting}"
        remedy = f"; or set {_APP_SETTING}=1"
        if sys.version_info >= (3, 13):
            reason, remedy = "on Python 3.13 and later", ""
        message = (
            f"Nothing calls the hooks of {name}: the worker doesn't, {reason}. Pass the app, "
            f"{name}.configure(app=app); or decorate v1 functions with "
            f"@{name}.{decorator.__name__} above this call{remedy}."
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _wrap_functions_of(app: Any, extension: Any) -> None:
    """Make the app return wrapped functions when the worker asks for them, after the import."""
    # Another extension may have set get_functions on the app. Look up the method of the class only
    # when the worker asks for the functions, because a tracer may patch the class after this call.
    set_on_app = vars(app).get("get_functions")

    def get_wrapped_functions() -> Any:
        functions = set_on_app() if set_on_app else type(app).get_functions(app)
        for function in functions:
            user_function = function.get_user_function()
            if hasattr(user_function, "__code__"):  # the worker rejects objects without it
                wrapper = _wrap(extension, user_function, function.get_function_name(), app)
                function.get_user_function = lambda wrapper=wrapper: wrapper
        return functions

    app.get_functions = get_wrapped_functions


def _decorate(extension: Any, function: _Function) -> _Function:
    if not hasattr(function, "__code__"):
        raise TypeError(
            "the decorator goes right above the def, below @app.route(...) and any other decorator "
            f"of the SDK; it takes a function, not {type(function).__name__}"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"can't decorate the generator function {function.__name__}; for an orchestrator, use "
            f"{extension.__name__}.configure(app=app)"
        )
    if _worker_calls_hooks():
        return function
    extension._may_warn = False
    wrapper: _Function = _wrap(extension, function, _function_name(function))
    return wrapper


def _function_name(function: Any) -> str:
    """Return the folder's name for the entry point of a v1 function, else the function's name."""
    # There may be no readable function.json next to the module of the function.
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        # Other decorators may have wrapped the function, or a functools.partial of it. If they have
        # wrapped an object with __call__, use the outermost wrapper: the object has no __name__.
        innermost = inspect.unwrap(function)
        if isinstance(innermost, functools.partial):
            innermost = innermost.func
        original = innermost if hasattr(innermost, "__code__") else function
        module: Any = sys.modules.get(original.__module__)
        folder = Path(module.__file__).parent
        definition = json.loads((folder / "function.json").read_text(encoding="utf-8-sig"))
        if original.__name__ == (definition.get("entryPoint") or "main"):
            return folder.name
    return str(function.__name__)


def _wrap(extension: Any, function: Any, name: str, app: Any = None) -> Any:
    """Return a wrapper that calls the hooks before and after each call of ``function``."""

    def call(args: Any, kwargs: Any) -> object:
        func_ret = None
        invocation = _begin_invocation(extension, app, name, kwargs)
        try:
            func_ret = function(*args, **kwargs)
            return func_ret
        finally:
            _end_invocation(extension, invocation, kwargs, func_ret)

    async def call_async(args: Any, kwargs: Any) -> object:
        func_ret = None
        invocation = _begin_invocation(extension, app, name, kwargs)
        try:
            func_ret = await function(*args, **kwargs)
            return func_ret
        finally:
            _end_invocation(extension, invocation, kwargs, func_ret)

    is_async = inspect.iscoroutinefunction(function)
    return _make_wrapper(function, call_async if is_async else call)


def _begin_invocation(extension: Any, app: Any, name: str, func_args: Any) -> Any:
    """Call the pre hook, and return a record for _end_invocation(); None if no hook is called."""
    # Calls made, and tasks started, during an invocation belong to it and get no hooks.
    is_part = extension._invocation.get().context is not None
    if is_part or app not in (None, extension.app):  # configure() may have got another app since
        return None
    # The thread and the tasks that the function starts may hold this record after the invocation.
    # A context of None says that the invocation has ended, so that later calls get hooks again.
    invocation = SimpleNamespace(context=_context_for(name, func_args))
    extension._invocation.set(invocation)
    try:
        extension.pre_invocation_app_level(_logger, invocation.context, func_args)
    except Exception:
        _report()
    except BaseException:  # SystemExit and the like end the invocation
        invocation.context = None
        raise
    return invocation


def _end_invocation(extension: Any, invocation: Any, func_args: Any, func_ret: object) -> None:
    """Call the post hook, also if the function raised: the hook can use sys.exc_info()."""
    if invocation is None:
        return
    try:
        extension.post_invocation_app_level(_logger, invocation.context, func_args, func_ret)
    except Exception:
        _report()
    finally:
        invocation.context = None


def _context_for(name: str, func_args: Any) -> Any:
    """Return the worker's context if the function takes it, otherwise a _Context."""
    context = func_args.get("context")
    if context is not None:
        # The argument may be anything; for an orchestrator it is a string.
        with contextlib.suppress(Exception):
            if isinstance(context.function_name, str) and isinstance(context.invocation_id, str):
                return context
    return _Context(name)


class _Context:
    """The context passed to the hooks if the function doesn't take the worker's."""

    # This prefix makes invocation ids unique across processes and restarts.
    _process = uuid.uuid4().hex
    _count = itertools.count()

    def __init__(self, function_name: str) -> None:
        self.function_name = function_name
        self.invocation_id = f"{self._process}-{next(self._count)}"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"this context has no {name}; add a context parameter to the function to get the "
            "worker's context"
        )


def _make_wrapper(function: Any, call: Any) -> Any:
    """Return a wrapper that passes its arguments to ``call`` and looks like ``function``."""
    # The worker derives context.function_directory from inspect.getfile(wrapper). So compile the
    # wrapper with the function's file and line, which tracebacks then show, but with no column:
    # otherwise, tracebacks would underline part of that line as if it were the wrapper's code.
    source = "def wrapper(*args, **kwargs): return call(args, kwargs)"
    if inspect.iscoroutinefunction(call):
        source = "async def wrapper(*args, **kwargs): return await call(args, kwargs)"
    tree = ast.parse(source)
    node: Any
    for node in ast.walk(tree):
        node.lineno = node.end_lineno = function.__code__.co_firstlineno
        node.col_offset = node.end_col_offset = -1
    namespace = {"call": call}
    exec(compile(tree, function.__code__.co_filename, "exec"), namespace)
    wrapper = functools.wraps(function)(namespace["wrapper"])
    # On Python 3.14, wraps() copies __annotate__, not __annotations__. __annotate__ is None if
    # somebody, such as the Durable Functions SDK, has set __annotations__.
    if getattr(function, "__annotate__", function) is None:
        wrapper.__annotations__ = function.__annotations__
    return wrapper


def _report() -> None:
    """Write the current traceback to stderr, if there is a stderr."""
    with contextlib.suppress(Exception):
        sys.stderr.write(traceback.format_exc())
