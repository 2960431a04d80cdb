"""Time each invocation of an Azure Functions app, and show the time in the log and in the response.

A worker extension with the package, class and option names of Microsoft's tutorial:
https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions

The first half is the extension; replace that half to write your own. The second half calls the pre
hook and the post hook of an extension for an app passed to configure() and for decorated functions;
leave that half unchanged.
"""

from __future__ import annotations

import ast
import codecs
import contextlib
import copy
import functools
import inspect
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
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import azure.functions
from azure.functions import AppExtensionBase, Context, HttpResponse

if TYPE_CHECKING:
    from typing import Protocol

    class _InfoLogger(Protocol):
        def info(self, __message: str) -> object: ...


__all__ = ["TimerExtension"]

# If the worker calls the hooks and a function raises, no post hook follows, and the start time
# stays stored. While more than this many are stored, the start time of a new invocation is removed
# when its context is garbage-collected.
_PENDING_STARTS_THRESHOLD = 4000


class TimerExtension(AppExtensionBase):
    """Logs how long each invocation takes, and can show the time in the HTTP response.

    ``configure(app=app)`` times a whole app; the decorator ``timed`` times one function. Both work
    on every Python version, whether the app setting ``PYTHON_ENABLE_WORKER_EXTENSIONS`` is on or
    off. If an app uses neither, the worker calls the hooks as in the tutorial: on Python 3.7 to
    3.12, if the app setting is on. In that case, importing the module is enough to get log lines.

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
    _invocation: ContextVar[_Invocation | None]

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

        # For the second half, which can't set these itself: the SDK calls init() before the
        # second half is defined.
        cls.app = None
        cls._invocation = ContextVar(cls.__name__, default=None)

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
            The app to time. Each function is logged under its registered name.
        append_to_http_response : bool, default False
            Append `` (TimeElapsed: <seconds> sec)`` to the body of an ``HttpResponse``, in its
            charset. This makes JSON and XML invalid. Nothing is appended if the status is 1xx, 204,
            205, 206 or 304; if the response has one of the headers ``Content-Encoding``,
            ``Content-Range``, ``Content-MD5``, ``Digest``, ``Content-Digest`` and ``Repr-Digest``,
            or a strong ``ETag``; if the body is empty but ``Content-Length`` isn't 0, as in a
            response to HEAD; or if the charset isn't UTF-8 and can't decode the body.
        log_min_seconds : float, default None
            ``None`` logs the start and the elapsed time of each invocation. A number logs only the
            elapsed time, if it is at least that many seconds: 0 logs each invocation, ``math.inf``
            none. On the Functions host, the log lines cost far more time than the timing does.
        logger : logging.Logger, default None
            The logger for the log lines, or any object with an ``info(message)`` method. The
            default is the logger ``python_worker_extension_timer``; if the worker calls the hooks,
            the default is the worker's logger, whose lines don't reach Application Insights. If the
            logger is a ``logging.Logger``, the record of the elapsed time has the attributes
            ``timed_function`` (str), ``elapsed_seconds`` (float) and, only if the function raised,
            ``exception_type`` (str).
        server_timing_header : bool, default False
            Add ``<function name>;dur=<milliseconds>`` to the ``Server-Timing`` header of each
            ``HttpResponse``, and of each Starlette response, which functions return with HTTP
            streams. Browsers show this header: https://www.w3.org/TR/server-timing/

        Raises
        ------
        TypeError
            If an option has a wrong type or value. The configuration is left unchanged.

        Warns
        -----
        UserWarning
            If an argument is unknown. The argument is ignored.
        RuntimeWarning
            In a worker: if nothing is timed so far, because no app has been passed, no function has
            been decorated, and the worker doesn't call the hooks; or if the previous call passed
            the app and this call doesn't, so that the app is no longer timed.
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
        _set_up_hooks(cls, app, "timed", args, kwargs)

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
            log = logger if cls.logger is None else cls.logger
            _attempt(lambda: log.info(f"Recording start time of {context.function_name}"))
        starts, key = cls.start_timestamps, context.invocation_id
        starts[key] = start = perf_counter()
        if len(starts) > _PENDING_STARTS_THRESHOLD:
            with contextlib.suppress(TypeError):  # a SimpleNamespace can't be weakly referenced
                weakref.finalize(context, _remove_start, starts, key, start)

    @classmethod
    def post_invocation_app_level(
        cls,
        logger: logging.Logger,
        context: Context,
        func_args: dict[str, object] | None = None,
        func_ret: object = None,
        *args: object,
        exception: BaseException | None = None,
        **kwargs: object,
    ) -> None:
        """Report the elapsed time. If the function raised, the worker doesn't call this."""
        end = perf_counter()
        start = cls.start_timestamps.pop(context.invocation_id, None)
        if start is None:
            return
        seconds, name, attribute = end - start, context.function_name, cls._added_attribute
        elapsed = f"{seconds} sec"
        if cls.log_min_seconds is None or seconds >= cls.log_min_seconds:
            message = f"Time taken to execute {name} is {elapsed}"
            # Attributes of the log record. Not function_name: azure-functions-logging sets it.
            # No value is None: OpenTelemetry warns about None.
            attributes: dict[str, object] = {"timed_function": name, "elapsed_seconds": seconds}
            if exception is not None:
                attributes["exception_type"] = exception_type = type(exception).__name__
                message += f" (raised {exception_type})"
            log = logger if cls.logger is None else cls.logger
            _attempt(_log_with_attributes, log, message, attributes)
        if cls.append_to_http_response and isinstance(func_ret, HttpResponse):
            _attempt(_append_to_body, func_ret, f" (TimeElapsed: {elapsed})", attribute)
        if cls.server_timing_header:
            _attempt(_add_server_timing, func_ret, name, seconds, attribute)

    @classmethod
    def timed(cls, function: _Function) -> _Function:
        """Decorate one function to time it.

        Once a function is decorated, the worker doesn't call the hooks any more. So decorate each
        function that you want to time, or pass the app to ``configure()``. Place the decorator
        below those of the SDK; in most cases, directly above the ``def``::

            @app.route(route="hello")
            @TimerExtension.timed
            def hello(req: func.HttpRequest) -> func.HttpResponse:

        Parameters
        ----------
        function : function or bound method
            A function of the app, sync or async. It is logged as ``context.function_name`` if it
            gets the worker's ``context``; otherwise, in the v1 model, under the name of its folder
            if the ``function.json`` there refers to it; otherwise under the name of its ``def``.

        Returns
        -------
        function
            A wrapper with the signature, type hints and source file of the function.

        Raises
        ------
        TypeError
            If ``function`` is a generator function, such as an orchestrator, or isn't a function.
        """
        return _decorate(cls, function)


def _remove_start(starts: dict[str, float], key: str, start: float) -> None:
    # A retry has the same invocation id, but a later start time, which must stay.
    if starts.get(key) == start:
        starts.pop(key, None)


def _log_with_attributes(log: Any, message: str, attributes: dict[str, object]) -> None:
    if not isinstance(log, (logging.Logger, logging.LoggerAdapter)):
        log.info(message)
        return
    try:
        log.info(message, extra=attributes)
    except (KeyError, TypeError):
        # The app's record factory sets the same names, or its subclass of Logger takes no extra.
        log.info(message)


# Concurrent invocations may return the same response object. The lock keeps its body and headers
# consistent. But the worker reads the object after the hooks, so a client may get the time of an
# invocation whose post hook ran later. The lock is reentrant: while a thread holds it, the garbage
# collector may close an unfinished coroutine of a timed function, which calls a post hook there.
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
    with _response_lock:
        if int(response.status_code) in _FIXED_BODY_STATUSES:
            return
        # HttpResponse has no public way to set its body; every version of the SDK keeps it here.
        body, headers = response._HttpResponse__body, response.headers
        values = {name.lower(): value for name, value in headers.items()}
        is_described = not _BODY_DESCRIBING_HEADERS.isdisjoint(values)
        has_strong_etag = not values.get("etag", "W/").startswith("W/")
        # Decide this while the old suffix is still in the body: without the suffix, a response that
        # is returned again with an otherwise empty body would look like a response to HEAD.
        is_response_to_head = not body and values.get("content-length", "0") != "0"
        if is_described or has_strong_etag or is_response_to_head:
            return
        # An app may return the same response every time: remove what the last invocation added.
        body = body.replace(getattr(response, added_attribute, b""), b"", 1)
        # If the function set a Content-Type header, the worker ignores response.charset.
        parameter = _CHARSET_PARAMETER.search(values.get("content-type", ""))
        charset = parameter.group(1) if parameter else response.charset
        try:
            if codecs.lookup(charset).name == "utf-8":
                added = suffix.encode()
                body += added
            else:
                # Decode and encode the whole text: a byte-order mark may only be at its start.
                body = (body.decode(charset) + suffix).encode(charset)
                added = suffix.encode(charset)[len("".encode(charset)) :]  # without that mark
        except (LookupError, ValueError):  # unknown charset, or a body that can't be decoded
            return
        if "content-length" in values:
            # Don't change the headers in place: copies of the response, with other bodies, share
            # them. Unlike copy(), deepcopy() keeps the attribute that _add_server_timing() sets.
            headers = copy.deepcopy(headers)
            headers["Content-Length"] = str(len(body))
        response._HttpResponse__body = body
        response._HttpResponse__headers = headers
        setattr(response, added_attribute, added)


# Matches a character that is not allowed in an HTTP token, such as a Server-Timing metric name:
# https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
_NOT_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


def _add_server_timing(response: Any, name: str, seconds: float, added_attribute: str) -> None:
    added = f"{_NOT_TOKEN.sub('_', name)};dur={seconds * 1000:.3f}"
    with _response_lock:
        headers: Any = getattr(response, "headers", None)
        # Only responses have a status_code. Headers without a __dict__, such as a plain dict, can't
        # remember what was added.
        if not (hasattr(response, "status_code") and hasattr(headers, "__dict__")):
            return
        found = [header for header in headers.items() if header[0].lower() == "server-timing"]
        # This also splits at commas inside quoted strings; the join below undoes that.
        entries = ", ".join(str(value) for _, value in found).split(",")
        # Copies of a response share its headers, so the headers remember what was added.
        added_before = getattr(headers, added_attribute, None)
        ours = [entry for entry in entries if entry.strip() == added_before]
        if ours:  # remove only one: another extension may have added an identical entry
            entries.remove(ours[0])
        entries.append(f" {added}")
        setattr(headers, added_attribute, added)
        # Use a single header: the worker sends only one header per name.
        headers[found[0][0] if found else "Server-Timing"] = ",".join(entries).lstrip(" ,")


# --------------------------------------------------------------------------------------------------
# This half calls the hooks for an app passed to configure() and for decorated functions. Keep this
# half unchanged in your own extension. It uses the name and the hooks of the class, the parameter
# names of configure(), and the attributes that init() sets for this half.


def _check_app(app: object) -> None:
    app_type = getattr(azure.functions, "FunctionRegister", ())  # not in azure-functions 1.7
    if app is not None and not isinstance(app, app_type):
        raise TypeError(
            f"app must be a function app, such as azure.functions.FunctionApp(), not {app!r}. For "
            "FastAPI or Flask, wrap the web app in AsgiFunctionApp or WsgiFunctionApp. For a "
            "blueprint, pass the app that it is registered with."
        )


def _set_up_hooks(extension: Any, app: Any, decorator: str, args: Any, kwargs: Any) -> None:
    """Last step of configure(): make the app call the hooks, and warn about mistakes."""
    previous_app, extension.app = extension.app, app
    if app is not None:
        _unregister_hooks(extension)
        _wrap_functions_of(app, extension)
    # Warn last: an app may turn warnings into errors. Warn instead of logging: the host drops log
    # lines that are written during import.
    _warn_about_unknown_arguments(extension, [*map(repr, args), *kwargs])
    if app is None and "FUNCTIONS_WORKER_RUNTIME" in os.environ:
        _warn_if_no_effect(extension, previous_app, decorator)


def _unregister_hooks(extension: Any) -> None:
    """Take the hooks out of the SDK's registry, so that the worker doesn't call them as well."""
    registry: Any = azure.functions.ExtensionMeta.get_application_hooks()
    for name in ("pre_invocation_app_level", "post_invocation_app_level"):
        hooks, own = getattr(registry, name), getattr(extension, name)
        hooks[:] = [hook for hook in hooks if hook.ext_impl != own]


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


_Function = TypeVar("_Function", bound=Callable[..., object])


def _decorate(extension: Any, function: _Function) -> _Function:
    if not hasattr(function, "__code__"):
        raise TypeError(
            f"the decorator of {extension.__name__} takes a function, not "
            f"{type(function).__name__}. Place the decorator directly above the def; in the v2 "
            "model, below @app.route(...) and any other decorator of the SDK."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"can't decorate the generator function {function.__name__}. For an orchestrator, pass "
            f"the app to {extension.__name__}.configure() in the v2 model; in the v1 model, "
            "decorate a main(context) that calls the result of Orchestrator.create()."
        )
    _unregister_hooks(extension)
    wrapper: _Function = _wrap(extension, function, _function_name(function))
    return wrapper


def _function_name(function: Any) -> str:
    """Return the folder's name for the entry point of a v1 function, else the function's name."""
    # There may be no readable function.json next to the module of the function.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # Other decorators may have wrapped the function, or a functools.partial of it. If the
        # innermost object is a callable object, which has no __name__, use the outermost wrapper.
        innermost = inspect.unwrap(function)
        if isinstance(innermost, functools.partial):
            innermost = innermost.func
        original = innermost if hasattr(innermost, "__code__") else function
        module: Any = sys.modules.get(original.__module__)
        folder = Path(module.__file__).parent
        text = (folder / "function.json").read_text(encoding="utf-8-sig")
        # The host accepts comments and trailing commas. Match strings, as they may contain "//".
        text = re.sub(r'("(?:\\.|[^"\\])*")|//[^\r\n]*|/\*.*?\*/', r"\1", text, flags=re.DOTALL)
        definition = json.loads(re.sub(r",(?=\s*[\]}])", "", text))
        if original.__name__ == (definition.get("entryPoint") or "main"):
            return folder.name
    return str(function.__name__)


_WRAPPER = """
{async_}def wrapper(*args, **kwargs):
    with new_invocation(kwargs) as invocation:
        invocation.func_ret = {await_}function(*args, **kwargs)
        return invocation.func_ret
"""


def _wrap(extension: Any, function: Any, name: str, app: Any = None) -> Any:
    """Return a wrapper that looks like ``function`` and calls the hooks around each call of it."""
    # The worker derives context.function_directory from inspect.getfile(wrapper). So compile the
    # wrapper with the function's file and line, which tracebacks then show, but with no column:
    # otherwise, tracebacks would underline part of that line as if it were the wrapper's code.
    is_async = inspect.iscoroutinefunction(function)
    tree = ast.parse(_WRAPPER.format(async_="async " * is_async, await_="await " * is_async))
    node: Any
    for node in ast.walk(tree):
        node.lineno = node.end_lineno = function.__code__.co_firstlineno
        node.col_offset = node.end_col_offset = -1
    new_invocation = functools.partial(_Invocation, extension, app, name)
    namespace = {"new_invocation": new_invocation, "function": function}
    exec(compile(tree, function.__code__.co_filename, "exec"), namespace)
    wrapper = functools.wraps(function)(namespace["wrapper"])
    # On Python 3.14, wraps() copies __annotate__, not __annotations__. __annotate__ is None if
    # somebody, such as the Durable Functions SDK, has set __annotations__.
    if getattr(function, "__annotate__", function) is None:
        wrapper.__annotations__ = function.__annotations__
    return wrapper


# The logger passed to the hooks. Unlike the worker's logger, it writes user logs.
_logger = logging.getLogger(__name__)


class _Invocation:
    """Calls the hooks around a ``with`` block, except in the cases explained in __enter__()."""

    context: Any = None  # set while the invocation runs
    func_ret: object = None

    def __init__(self, extension: Any, app: Any, name: str, func_args: Any) -> None:
        self.extension, self.app, self.name, self.func_args = extension, app, name, func_args

    def __enter__(self) -> _Invocation:
        # Calls made, and tasks started, during an invocation belong to it: no hook is called for
        # them. When it ends, its context becomes None; in tasks that go on, hooks are called again.
        outer = self.extension._invocation.get()
        is_part = outer is not None and outer.context is not None
        # A later configure() call may have passed another app, or none.
        is_current = self.app is None or self.app is self.extension.app
        if is_current and not is_part:
            self.context = _context_for(self.name, self.func_args)
            self.extension._invocation.set(self)
            hook = self.extension.pre_invocation_app_level
            try:
                _attempt(hook, _logger, self.context, self.func_args)
            except BaseException:  # such as SystemExit: then __exit__() isn't called
                self._end()
                raise
        return self

    def __exit__(self, _: object, exception: BaseException | None, __: object) -> None:
        if self.context is None:
            return
        hook = self.extension.post_invocation_app_level
        failure = {} if exception is None else {"exception": exception}
        try:
            _attempt(hook, _logger, self.context, self.func_args, self.func_ret, **failure)
        finally:
            self._end()

    def _end(self) -> None:
        # The thread, and tasks that the function started, may keep a reference to this object. So
        # drop the request and the response. A context of None says that the invocation has ended.
        self.context = self.func_args = self.func_ret = None


def _context_for(name: str, func_args: Any) -> Any:
    """Return the worker's context if the function takes it, otherwise a _MinimalContext."""
    context = func_args.get("context")
    if context is not None:
        # The argument may be anything; for an orchestrator it is a string.
        with contextlib.suppress(Exception):
            if isinstance(context.function_name, str) and isinstance(context.invocation_id, str):
                return context
    return _MinimalContext(name)


class _MinimalContext:
    """The context passed to the hooks if the function doesn't take the worker's."""

    def __init__(self, function_name: str) -> None:
        self.function_name = function_name
        self.invocation_id = str(uuid.uuid4())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"this context has no {name}; add a context parameter to the function to get the "
            "worker's context"
        )


def _warn_about_unknown_arguments(extension: Any, unknown: list[str]) -> None:
    # Accept any argument, as the SDK's base class does, but don't ignore a misspelt one silently.
    if unknown:
        parameters = inspect.signature(extension.configure).parameters.values()
        known = [option.name for option in parameters if option.kind is option.KEYWORD_ONLY]
        message = (
            f"{extension.__name__}.configure() ignores {', '.join(unknown)}. Its options are "
            f"keyword arguments, such as app=app: {', '.join(known)}."
        )
        warnings.warn(message, UserWarning, stacklevel=4)


def _warn_if_no_effect(extension: Any, previous_app: Any, decorator: str) -> None:
    name = extension.__name__
    if previous_app is not None:
        message = (
            f"{name} no longer has an effect on the app: an earlier {name}.configure() call passed "
            "the app, and this call doesn't. Pass app=app in each call."
        )
    elif _is_registered(extension) and not _worker_calls_hooks():
        setting = os.environ.get(_APP_SETTING) or "missing"
        reason = f"because the app setting {_APP_SETTING} is {setting}"
        remedy = f"; or set {_APP_SETTING}=1"
        if sys.version_info >= (3, 13):
            reason, remedy = "on Python 3.13 and later", ""
        message = (
            f"{name} has no effect so far: no app is passed, no function is decorated, and the "
            f"worker doesn't call it {reason}. In the v2 model, pass the app: {name}.configure("
            f"app=app). Or decorate functions with @{name}.{decorator} above this call{remedy}."
        )
    else:
        return
    warnings.warn(message, RuntimeWarning, stacklevel=4)


def _is_registered(extension: Any) -> bool:
    """Return whether the SDK has the hooks, so that a worker may call them."""
    registry: Any = azure.functions.ExtensionMeta.get_application_hooks()
    hook = extension.pre_invocation_app_level
    return hook in [registered.ext_impl for registered in registry.pre_invocation_app_level]


# The app setting that makes the worker call extension hooks, and the values that the worker treats
# as on and off: https://learn.microsoft.com/azure/azure-functions/functions-app-settings
_APP_SETTING = "PYTHON_ENABLE_WORKER_EXTENSIONS"
_ON = {"1", "true", "t", "yes", "y"}
_OFF = {"0", "false", "f", "no", "n"}


def _worker_calls_hooks() -> bool:
    """Return whether the worker calls hooks, by its rule: an extension can't ask the worker."""
    setting = os.environ.get(_APP_SETTING, "").strip().lower()
    # The worker for Python 3.9 treats a missing setting as on.
    is_on = setting not in _OFF if sys.version_info[:2] == (3, 9) else setting in _ON
    return is_on and sys.version_info < (3, 13)


def _attempt(function: Callable[..., object], *args: object, **kwargs: object) -> None:
    """Call the function. If it raises, write the traceback to stderr, if there is a stderr."""
    try:
        function(*args, **kwargs)
    except Exception:
        # Not traceback.print_exc(): if there is no stderr, it would print to stdout.
        with contextlib.suppress(Exception):
            sys.stderr.write(traceback.format_exc())
