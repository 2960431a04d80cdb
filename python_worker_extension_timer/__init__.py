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
import uuid
import warnings
import weakref
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, TypeVar, cast

import azure.functions
from azure.functions import AppExtensionBase, Context, HttpResponse

if TYPE_CHECKING:
    from typing import Protocol

    class _InfoLogger(Protocol):
        def info(self, __message: str) -> object: ...


__all__ = ["TimerExtension"]

# With these statuses a body must stay as it is: the host fails any body with 1xx, 204, 205 or 304,
# and with 206 the headers say which part it is: https://www.rfc-editor.org/rfc/rfc9110#section-15
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

# An invocation that raises gets no post hook, so its start stays pending. Above this many, each
# further start is dropped with the context of its invocation.
_MAX_UNWATCHED_STARTS = 4000


class TimerExtension(AppExtensionBase):
    """Logs how long each invocation takes, and can show it in the HTTP response.

    ``configure(app=app)`` times a whole app, the decorator ``timed`` one function. On Python 3.7 to
    3.12, with the app setting ``PYTHON_ENABLE_WORKER_EXTENSIONS=1``, the worker calls the hooks:
    there the import alone gives the log lines.

    Times are in seconds, by a clock that never runs backwards. What goes wrong in the timing itself
    never reaches the app: should a logger or a response fail, its traceback goes to stderr.

    https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
    """

    # The options; configure() says what each one is.
    append_to_http_response: bool
    logger: "Optional[_InfoLogger]"
    server_timing_header: bool

    start_timestamps: Dict[str, float]  # invocation id -> start, from the pre to the post hook
    _added_attribute: str  # where a response and its headers keep what the last post hook added

    # Of the second half, see init().
    app: "Optional[azure.functions.FunctionRegister]"
    _may_warn: bool
    _invocation: "ContextVar[SimpleNamespace]"

    @classmethod
    def init(cls) -> None:
        """Called by the SDK, once for each class, when the app imports the extension."""
        cls.append_to_http_response = cls.server_timing_header = False
        cls.logger = None
        cls.start_timestamps = {}
        # The class's own, since an extension made out of this one may run beside it.
        cls._added_attribute = f"_{cls.__module__}_{cls.__qualname__}"

        # For the second half, which cannot set these: the SDK calls init() before that exists.
        cls.app = None
        cls._may_warn = True
        cls._invocation = ContextVar(cls.__name__, default=SimpleNamespace(context=None))

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
            Lengthen the body of an ``HttpResponse`` by `` (TimeElapsed: <seconds> sec)``, in its
            charset; JSON and XML are then no longer valid. A body that must not change stays as it
            is: of status 1xx, 204, 205, 206 or 304; described by a header ``Content-Encoding``,
            ``Content-Range``, strong ``ETag`` or digest; empty, with a ``Content-Length`` other
            than 0, as in an answer to HEAD; not text in its charset, where that is not UTF-8.
        logger : logging.Logger, default None
            Where the log lines go: a logger, or any object with a callable ``info(message)``. A
            logger of your own makes them user logs, which Application Insights gets. The default is
            the worker's or, where that calls no hooks, ``python_worker_extension_timer``.
        server_timing_header : bool, default False
            Add ``<function name>;dur=<milliseconds>`` to the ``Server-Timing`` header of a response
            of any framework: what has a ``status_code`` and mutable ``headers``. Browsers show it:
            https://www.w3.org/TR/server-timing/

        Raises
        ------
        TypeError
            An option is not of its type; the configuration is then as it was.

        Warns
        -----
        UserWarning
            An argument is none of the above; it has no effect.
        RuntimeWarning
            No hook will run, no app is handed over and no function has been decorated: said once.
        """
        for option, value in (
            ("append_to_http_response", append_to_http_response),
            ("server_timing_header", server_timing_header),
        ):
            if not isinstance(value, bool):
                raise TypeError(f"{option} must be True or False, not {value!r}")
        if logger is not None and not callable(getattr(logger, "info", None)):
            raise TypeError(f"logger must be a logger, or have a callable info, not {logger!r}")
        _check_app(app)

        cls.append_to_http_response = append_to_http_response
        cls.logger = logger
        cls.server_timing_header = server_timing_header
        _hand_over(cls, app, cls.timed, args, kwargs)

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
        if len(cls.start_timestamps) > _MAX_UNWATCHED_STARTS:
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
        seconds = end - start
        elapsed = str(seconds)
        try:
            log = logger if cls.logger is None else cls.logger
            log.info(f"Time taken to execute {context.function_name} is {elapsed} sec")
        except Exception:
            _report()
        if cls.append_to_http_response and isinstance(func_ret, HttpResponse):
            try:
                _lengthen_body(func_ret, f" (TimeElapsed: {elapsed} sec)", cls._added_attribute)
            except Exception:
                _report()
        if cls.server_timing_header:
            try:
                _add_server_timing(func_ret, context.function_name, seconds, cls._added_attribute)
            except Exception:
                _report()

    @classmethod
    def timed(cls, function: "_Function") -> "_Function":
        """Time one function, on every Python: the decorator, right above the ``def``.

            @app.route(route="hello")
            @TimerExtension.timed
            def hello(req: func.HttpRequest) -> func.HttpResponse:

        The time of a function that raises is reported, too. Where the worker calls the hooks the
        function is returned as it is.

        Parameters
        ----------
        function : function or bound method
            A function of the app, sync or async. It goes by ``context.function_name`` where it
            takes ``context``; else, where the ``function.json`` beside it names it (v1), by their
            folder; else by its own name. What is returned has its signature, type hints and file.

        Raises
        ------
        TypeError
            It is a generator function, as an orchestrator is, or no function at all.
        """
        return _decorate(cls, function)


def _lengthen_body(response: Any, suffix: str, added_attribute: str) -> None:
    with _response_lock:
        # HttpResponse has no public way to set its body; every version of the SDK keeps it here.
        body, charset, headers = response._HttpResponse__body, response.charset, {}
        if response.headers:
            headers = {name.lower(): value for name, value in response.headers.items()}
            # The worker sends a Content-Type that the function set, not the response's own charset.
            parameter = _CHARSET_PARAMETER.search(headers.get("content-type", ""))
            charset = parameter.group(1) if parameter else charset
        is_usual = response.status_code == 200 and not headers  # saves most responses the question
        if not is_usual and not _may_be_longer(body, response.status_code, headers):
            return
        if hasattr(response, added_attribute):
            body = body.replace(getattr(response, added_attribute), b"", 1)
        try:
            if charset == "utf-8" or codecs.lookup(charset).name == "utf-8":  # a lookup takes long
                added = suffix.encode()
                body += added
            else:
                # By way of the text, so that a byte-order mark stands at the start alone.
                body = (body.decode(charset) + suffix).encode(charset)
                added = suffix.encode(charset)[len("".encode(charset)) :]
        except (LookupError, ValueError):  # no such charset, or a body that is not text in it
            return
        if "content-length" in headers:
            response.headers["Content-Length"] = str(len(body))
        response._HttpResponse__body = body
        setattr(response, added_attribute, added)


def _may_be_longer(body: bytes, status_code: Any, headers: Dict[str, str]) -> bool:
    """Whether a longer body goes with the status and the headers."""
    return not (
        int(status_code) in _FIXED_BODY_STATUSES
        or not _BODY_DESCRIBING_HEADERS.isdisjoint(headers)
        or not headers.get("etag", "W/").startswith("W/")
        or (not body and headers.get("content-length", "0") != "0")  # an answer to HEAD
    )


def _add_server_timing(response: Any, name: str, seconds: float, added_attribute: str) -> None:
    # Responses of all frameworks have both; the text and data that functions return have not.
    headers: Any = getattr(response, "headers", None)
    if not (hasattr(response, "status_code") and hasattr(headers, "__setitem__")):
        return
    added = f"{_NOT_TOKEN.sub('_', name)};dur={seconds * 1000:.3f}"
    with _response_lock:
        found = [header for header in headers.items() if header[0].lower() == "server-timing"]
        # A comma inside quoted text parts an entry, too, which the join below makes whole again.
        entries = ", ".join(str(value) for _, value in found).split(",")
        # On the headers, since copies of a response share those; a dict takes no attribute.
        holder = headers if hasattr(headers, "__dict__") else response
        added_before = getattr(holder, added_attribute, None)
        ours = [entry for entry in entries if entry.strip() == added_before]
        if ours:  # only one of them: an extension beside this one may have added the same
            entries.remove(ours[0])
        entries.append(f" {added}")
        setattr(holder, added_attribute, added)
        # All in one header, since the worker sends one of a name.
        headers[found[0][0] if found else "Server-Timing"] = ",".join(entries).lstrip(" ,")


# --------------------------------------------------------------------------------------------------
# Hooks where no worker calls them: on Python 3.13 and later, or with the app setting off. This half
# stays as it is in an extension of your own: of its class it needs the hooks, configure() for the
# names of its options, and what init() sets for it.

# The app setting that makes the worker call extension hooks, and the values that it reads as on
# and off: https://learn.microsoft.com/azure/azure-functions/functions-app-settings
_APP_SETTING = "PYTHON_ENABLE_WORKER_EXTENSIONS"
_ON = {"1", "true", "t", "yes", "y"}
_OFF = {"0", "false", "f", "no", "n"}

_Function = TypeVar("_Function", bound=Callable[..., object])

# What the hooks get as their logger. Unlike the worker's, it writes user logs.
_logger = logging.getLogger(__name__)


def _worker_calls_hooks() -> bool:
    """The worker's own rule; nothing else tells an extension whether its hooks will run."""
    setting = os.environ.get(_APP_SETTING, "").strip().lower()
    if sys.version_info[:2] == (3, 9) and "FUNCTIONS_WORKER_RUNTIME" in os.environ:
        return setting not in _OFF
    return setting in _ON and sys.version_info < (3, 13)


def _check_app(app: object) -> None:
    app_type = getattr(azure.functions, "FunctionRegister", ())  # 1.7 has none
    if app is not None and not isinstance(app, app_type):
        raise TypeError(
            f"app must be a function app, such as azure.functions.FunctionApp(), not {app!r}: "
            "hand over the app that a blueprint is registered with"
        )


def _hand_over(extension: Any, app: Any, decorator: Any, args: Any, kwargs: Any) -> None:
    """The end of configure(): have the hooks called, and warn of what has no effect."""
    extension.app = app
    name, hooks_run = extension.__name__, _worker_calls_hooks()
    if app is not None and not hooks_run:
        _wrap_app(extension, app)

    # Any argument is taken, as by the SDK's base class, yet a misspelt one must not vanish. The
    # host drops what is logged at import, hence warnings; last, since an app may make them errors.
    unknown = [*map(repr, args), *kwargs]
    if unknown:
        parameters = inspect.signature(extension.configure).parameters.values()
        known = [f"{option.name}=" for option in parameters if option.kind is option.KEYWORD_ONLY]
        message = f"{name}.configure() does not know {', '.join(unknown)}, only {', '.join(known)}"
        warnings.warn(message, UserWarning, stacklevel=3)
    in_worker = "FUNCTIONS_WORKER_RUNTIME" in os.environ
    if in_worker and not hooks_run and app is None and extension._may_warn:
        extension._may_warn = False
        setting = os.environ.get(_APP_SETTING) or "missing"
        why = f"since the app setting {_APP_SETTING} is {setting}: set {_APP_SETTING}=1, or "
        if sys.version_info >= (3, 13):
            why = "on Python 3.13 and later: "
        message = (
            f"The worker calls no extension hooks {why}hand over the app, {name}.configure(app=app)"
            f", or decorate v1 functions with @{name}.{decorator.__name__}, above this call"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _wrap_app(extension: Any, app: Any) -> None:
    """Wrap what the worker takes from the app: it asks once, after the import."""
    get_functions = app.get_functions

    def get_wrapped_functions() -> Any:
        functions = get_functions()
        for function in functions:
            user_function = function.get_user_function()
            if hasattr(user_function, "__code__"):  # the worker itself refuses any other
                wrapper = _wrap(extension, user_function, function.get_function_name(), app)
                function.get_user_function = lambda wrapper=wrapper: wrapper
        return functions

    app.get_functions = get_wrapped_functions


def _decorate(extension: Any, function: _Function) -> _Function:
    if not hasattr(function, "__code__"):
        raise TypeError(
            "the decorator goes right above the def, below @app.route(...) and any other decorator "
            f"of the SDK: it takes a function, not {type(function).__name__}"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"a generator function such as {function.__name__} cannot be decorated: "
            f"{extension.__name__}.configure(app=app) takes orchestrators"
        )
    if _worker_calls_hooks():
        return function
    extension._may_warn = False
    return cast(_Function, _wrap(extension, function, _function_name(function)))


def _function_name(function: Any) -> str:
    """In the v1 programming model a function goes by its folder, where function.json names it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no readable function.json
        folder = Path(inspect.getfile(inspect.unwrap(function))).absolute().parent
        definition = json.loads((folder / "function.json").read_text(encoding="utf-8-sig"))
        if function.__name__ == (definition.get("entryPoint") or "main"):
            return folder.name
    return cast(str, function.__name__)


def _wrap(extension: Any, function: Any, name: str, app: Any = None) -> Any:
    """The function with a call of each hook around it; the post hook's also after it raised."""

    def begin(func_args: Dict[str, Any]) -> Optional[SimpleNamespace]:
        # What an invocation calls, or starts as a task, while it runs is part of it.
        is_part = extension._invocation.get().context is not None
        if is_part or app not in (None, extension.app):  # a later configure() may name another
            return None
        # The thread, and the tasks that the function starts, keep this record: empty once it ended.
        invocation = SimpleNamespace(context=_context_for(name, func_args))
        extension._invocation.set(invocation)
        try:
            extension.pre_invocation_app_level(_logger, invocation.context, func_args)
        except Exception:
            _report()
        except BaseException:  # a hook that exits ends the invocation
            invocation.context = None
            raise
        return invocation

    def end(invocation: SimpleNamespace, func_args: Dict[str, Any], func_ret: object) -> None:
        try:
            extension.post_invocation_app_level(_logger, invocation.context, func_args, func_ret)
        except Exception:
            _report()
        finally:
            invocation.context = None

    def call(args: Any, kwargs: Any) -> object:
        invocation, func_ret = begin(kwargs), None
        try:
            func_ret = function(*args, **kwargs)
            return func_ret
        finally:
            if invocation is not None:
                end(invocation, kwargs, func_ret)

    async def call_async(args: Any, kwargs: Any) -> object:
        invocation, func_ret = begin(kwargs), None
        try:
            func_ret = await function(*args, **kwargs)
            return func_ret
        finally:
            if invocation is not None:
                end(invocation, kwargs, func_ret)

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


def _context_for(name: str, func_args: Dict[str, Any]) -> Any:
    """The worker's own context, where the function takes it."""
    context = func_args.get("context")
    if context is not None:
        with contextlib.suppress(Exception):  # it may be anything: a durable function's is text
            if isinstance(context.function_name, str) and isinstance(context.invocation_id, str):
                return context
    return _Context(name)


class _Context:
    """What the hooks get as their context where the function does not take the worker's."""

    # An invocation id that no other process has, and no later start of this one.
    _process = uuid.uuid4().hex
    _count = itertools.count()

    def __init__(self, function_name: str) -> None:
        self.function_name = function_name
        self.invocation_id = f"{self._process}-{next(self._count)}"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no {name}: the function does not take the worker's context")


def _report() -> None:
    """Show on stderr what went wrong in a hook; where there is none, nowhere."""
    with contextlib.suppress(Exception):
        sys.stderr.write(traceback.format_exc())
