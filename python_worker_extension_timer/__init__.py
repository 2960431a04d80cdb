"""Measure each invocation of an Azure Functions app, log it, show it in the HTTP response.

A worker extension: it follows, name for name, the tutorial "Develop Python worker extensions for
Azure Functions", https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
"""

import codecs
import contextlib
import functools
import inspect
import itertools
import logging
import os
import re
import sys
import threading
import traceback
import warnings
import weakref
from collections import deque
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Deque, Dict, Optional, Set, Type, TypeVar, cast

import azure.functions
from azure.functions import AppExtensionBase, Context, HttpResponse

if sys.version_info >= (3, 8):
    from typing import Protocol
else:
    Protocol = object

__all__ = ["TimerExtension"]

# The app setting that makes the worker call extension hooks, and the values that it reads as on
# and off: https://learn.microsoft.com/azure/azure-functions/functions-app-settings
_APP_SETTING = "PYTHON_ENABLE_WORKER_EXTENSIONS"
_ON = {"1", "true", "t", "yes", "y"}
_OFF = {"0", "false", "f", "no", "n"}

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

# Apps return one response object from many invocations, on many threads at a time.
_response_lock = threading.RLock()

# So many pending starts are left alone, and so many of those that seem to be gone: see _watch.
_UNWATCHED_STARTS = 4000
_GONE_STARTS_KEPT = 4000

# Where the lines go that no worker hands a logger for.
_logger = logging.getLogger(__name__)

_Function = TypeVar("_Function", bound=Callable[..., object])


class _InfoLogger(Protocol):
    @property
    def info(self) -> Callable[[str], object]: ...


class TimerExtension(AppExtensionBase):
    """Logs how long each invocation takes, and can show it in the HTTP response.

    ``configure(app=app)`` times a whole app, the decorator ``timed`` one function. On Python 3.7 to
    3.12, with the app setting ``PYTHON_ENABLE_WORKER_EXTENSIONS=1``, the worker calls the hooks:
    there the import alone gives the log lines.

    Times are in seconds, by a clock that never runs backwards. What goes wrong in the timing itself
    never reaches the app: should a logger or a response fail, its traceback goes to stderr.

    https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
    """

    # The configuration; configure() says what each is. An app that never calls it has these.
    app: "Optional[azure.functions.FunctionRegister]" = None
    append_to_http_response: bool = False
    logger: Optional[_InfoLogger] = None
    server_timing_header: bool = False

    # Invocation id -> start, from the pre hook to the post hook.
    start_timestamps: Dict[str, float]

    # Ids of invocations whose context is gone, the newest last; see _watch.
    _gone: Deque[str]

    # Whether configure() has said that no hook will run: each module of a v1 app calls it.
    _told: bool

    # Where no worker calls the hooks: the ids of the invocations that run, and of the one that the
    # running code is part of.
    _running: Set[str]
    _current: "ContextVar[Optional[str]]"

    # Under these names a response keeps our suffix, the Content-Length that we set and our entry,
    # until it is returned again. They are the class's own, since an extension made out of this one
    # may run beside it.
    _suffix_name: str
    _length_name: str
    _entry_name: str

    @classmethod
    def init(cls) -> None:
        """Called by the SDK, once, when the app imports the extension."""
        cls.start_timestamps = {}
        cls._gone = deque()
        cls._told = False
        cls._running = set()
        cls._current = ContextVar(cls.__name__, default=None)
        ours = f"_{cls.__module__}_{cls.__qualname__}"
        cls._suffix_name, cls._length_name = f"{ours}_suffix", f"{ours}_length"
        cls._entry_name = f"{ours}_entry"

    @classmethod
    def configure(
        cls,
        *args: object,
        app: "Optional[azure.functions.FunctionRegister]" = None,
        append_to_http_response: bool = False,
        logger: Optional[_InfoLogger] = None,
        server_timing_header: bool = False,
        **kwargs: object,
    ) -> None:
        """Set every option; call it where the app imports the extension.

        Each call states the whole configuration: an option not given is at its default.

        Parameters
        ----------
        app : azure.functions.FunctionApp, AsgiFunctionApp, WsgiFunctionApp or DFApp, default None
            The function app. Where the worker calls no hooks (Python 3.13 and later, or the app
            setting off) its functions are timed all the same, under their registered names.
        append_to_http_response : bool, default False
            Lengthen the body of an ``azure.functions.HttpResponse`` by
            `` (TimeElapsed: <seconds> sec)``, in the response's charset. The body is then no longer
            valid JSON or XML, durable's ``create_check_status_response`` included. A response whose
            body must not change stays as it is: one of status 1xx, 204, 205, 206 or 304; one with a
            ``Content-Encoding``, ``Content-Range``, digest or strong ``ETag`` header, or with a
            ``Content-Length`` that is not the body's; and one whose body is not text in its
            charset. (A UTF-8 body is lengthened whatever its bytes.) A function that returns
            ``str`` or sets an ``Out[HttpResponse]`` is logged, but no body is lengthened.
        logger : logging.Logger, default None
            Where the log lines go: a logger, or any object with a callable ``info(message)``.
            With ``logging.getLogger("timer")`` they are user logs, which reach Application Insights
            under their invocation. By default the hooks write to the worker's own logger, which
            never does; what is timed without them goes to ``python_worker_extension_timer``.
        server_timing_header : bool, default False
            Add ``<function name>;dur=<milliseconds>`` to the ``Server-Timing`` header of what the
            function returned, behind what the function put there itself: an ``HttpResponse``, or
            any response with a mutable mapping ``headers``, such as Starlette's. Browsers show it
            beside the request: https://www.w3.org/TR/server-timing/

        Raises
        ------
        TypeError
            An option is not of its type; the configuration is then as it was.

        Warns
        -----
        UserWarning
            An argument is none of the above. It has no effect.
        RuntimeWarning
            The worker will not call the hooks, and no app is handed over. It comes once.

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

        # The SDK's contract is that any argument is accepted, yet a misspelt one must not vanish.
        # Warnings, not log lines: the host drops what is logged while an app is being imported.
        unknown = [repr(arg) for arg in args] + list(kwargs)
        if unknown:
            _warn(
                f"TimerExtension.configure() does not know {', '.join(unknown)}; its options are "
                "app, append_to_http_response, logger and server_timing_header, given by name",
                UserWarning,
            )
        if _worker_calls_hooks():
            return
        if app is not None:
            _time_app(cls, app)
        elif "FUNCTIONS_WORKER_RUNTIME" in os.environ and not cls._told:
            cls._told = True
            setting = os.environ.get(_APP_SETTING) or "missing"
            why = f"since the app setting {_APP_SETTING} is {setting}: set {_APP_SETTING}=1, or "
            if sys.version_info >= (3, 13):
                why = "on Python 3.13 and later: "
            _warn(
                f"The worker calls no extension hooks {why}hand over the app, TimerExtension."
                "configure(app=app), or decorate v1 functions with @TimerExtension.timed",
                RuntimeWarning,
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
        invocation_id = context.invocation_id
        try:
            log = logger if cls.logger is None else cls.logger
            log.info(f"Recording start time of {context.function_name}")
        except Exception:
            _report()
        cls.start_timestamps[invocation_id] = perf_counter()
        if len(cls.start_timestamps) > _UNWATCHED_STARTS:
            _watch(cls, invocation_id, context)

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
                _lengthen_body(cls, func_ret, f" (TimeElapsed: {sec} sec)")
            except Exception:
                _report()
        if cls.server_timing_header:
            try:
                _add_server_timing(cls, func_ret, context.function_name, elapsed)
            except Exception:
                _report()

    @classmethod
    def timed(cls, function: _Function) -> _Function:
        """Time one function, on every Python: the decorator for where no hooks run.

        It reports as the hooks do, by the same options, and logs the time of a function that raises
        too. Where the worker calls the hooks it returns the function as it is, so that nothing is
        timed twice; outside a worker, in a unit test say, the app setting alone decides. It goes
        right above the ``def``, below the trigger's decorator::

            @app.route(route="hello")
            @TimerExtension.timed
            def hello(req: func.HttpRequest) -> func.HttpResponse:
                return func.HttpResponse("Hello!")

        Parameters
        ----------
        function : function or bound method
            A function of the app, sync or async. Where it takes ``context`` it is reported under
            ``context.function_name``; else in the v1 programming model under the name of the folder
            that its file and ``function.json`` are in, in the v2 model under its own.

        Returns
        -------
        function
            One that the worker, and a type checker, take for the same: the signature, the type
            hints, the file and the kind (sync or async) are the function's own.

        Raises
        ------
        TypeError
            It is a generator function, as an orchestrator is, or no function at all.

        https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
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
        code = getattr(inspect.unwrap(function), "__code__", function.__code__)
        folder = Path(code.co_filename).absolute().parent
        name = folder.name if (folder / "function.json").is_file() else function.__name__
        return cast(_Function, _time_function(cls, function, name))


def _warn(message: str, category: Type[Warning]) -> None:
    """Say it at the app's line that calls configure(); where stderr is closed, nowhere."""
    with contextlib.suppress(ValueError):  # of the closed file
        warnings.warn(message, category, stacklevel=3)


def _worker_calls_hooks() -> bool:
    """The worker's own rule; nothing else tells an extension whether its hooks will run."""
    setting = os.environ.get(_APP_SETTING, "").strip().lower()
    if sys.version_info[:2] == (3, 9) and "FUNCTIONS_WORKER_RUNTIME" in os.environ:
        return setting not in _OFF
    return setting in _ON and sys.version_info < (3, 13)


def _time_app(timer: Type[TimerExtension], app: Any) -> None:
    """Time what the worker takes from the app: it asks for all functions once, after the import."""
    get_functions = app.get_functions

    def get_timed_functions() -> Any:
        functions = get_functions()
        for function in functions:
            try:
                user_function, name = function.get_user_function(), function.get_function_name()
                if hasattr(user_function, "__code__"):  # the worker itself refuses any other
                    timed = _time_function(timer, user_function, name, app)
                    function.get_user_function = lambda timed=timed: timed
            except Exception:
                _report()
        return functions

    app.get_functions = get_timed_functions


def _time_function(timer: Type[TimerExtension], function: Any, name: str, app: Any = None) -> Any:
    """The function, timed by the two hooks; one of a handed-over app, while that is configured."""

    def start(args: Any, kwargs: Any) -> _Invocation:
        known = name if app is not None else _name_in_context(function, args, kwargs)
        return _Invocation(timer, known or name, app)

    def call(args: Any, kwargs: Any) -> object:
        with start(args, kwargs) as invocation:
            invocation.func_ret = function(*args, **kwargs)
        return invocation.func_ret

    async def call_async(args: Any, kwargs: Any) -> object:
        with start(args, kwargs) as invocation:
            invocation.func_ret = await function(*args, **kwargs)
        return invocation.func_ret

    # The worker takes context.function_directory from the file that the function was compiled
    # from (inspect.getfile), which nothing can set on all of Python 3.7 to 3.14. So the wrapper
    # is compiled as of that file, on the line of the function, where tracebacks show it.
    source = "def wrapper(*args, **kwargs): return call(args, kwargs)"
    if inspect.iscoroutinefunction(function):
        source = "async def wrapper(*args, **kwargs): return await call_async(args, kwargs)"
    namespace: Dict[str, Any] = {"call": call, "call_async": call_async}
    lines_before = "\n" * (function.__code__.co_firstlineno - 1)
    exec(compile(lines_before + source, function.__code__.co_filename, "exec"), namespace)
    wrapper: Any = functools.wraps(function)(namespace["wrapper"])
    if getattr(function, "__annotate__", function) is None:  # on Python 3.14, set by durable's SDK
        wrapper.__annotations__ = function.__annotations__
    # Python 3.10 and earlier read a type hint by the parameter's default, too.
    defaults = function.__defaults__ or ()
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    positional = dict(zip(names[len(names) - len(defaults) :], defaults))
    wrapper.__kwdefaults__ = {**positional, **(function.__kwdefaults__ or {})}
    return wrapper


def _name_in_context(function: Any, args: Any, kwargs: Any) -> Optional[str]:
    try:
        if args:  # the worker passes all by name, a unit test may not
            kwargs = inspect.signature(function).bind_partial(*args, **kwargs).arguments
        name = getattr(kwargs.get("context"), "function_name", None)
        return name if isinstance(name, str) else None
    except Exception:  # a test's context may do anything
        return None


class _Invocation:
    """One call of a function where no worker calls the hooks; to them it is the context."""

    _ids = itertools.count()

    def __init__(self, timer: Type[TimerExtension], function_name: str, app: object) -> None:
        self.timer, self.function_name, self.app = timer, function_name, app
        self.invocation_id = str(next(self._ids))
        self.func_ret: object = None

    def __enter__(self) -> "_Invocation":
        # A timed function that this one calls, or wraps, is part of the same invocation.
        timer = self.timer
        if self.app in (None, timer.app) and timer._current.get() not in timer._running:
            timer._running.add(self.invocation_id)
            timer._current.set(self.invocation_id)
            try:
                timer.pre_invocation_app_level(_logger, cast(Context, self))
            except Exception:  # of an extension made out of this one: the worker goes on, too
                _report()
        return self

    def __exit__(self, *error: object) -> None:
        timer = self.timer
        if self.invocation_id in timer._running:
            try:
                timer.post_invocation_app_level(_logger, cast(Context, self), None, self.func_ret)
            except Exception:
                _report()
            finally:
                timer._running.discard(self.invocation_id)


def _watch(timer: Type[TimerExtension], invocation_id: str, context: object) -> None:
    """Drop the start of an invocation that raised, and so gets no post hook.

    The worker holds the context of an invocation that runs, and then lets it go. Some contexts take
    no weak reference, and a test may drop its own: so the newest that seem to be gone stay.
    """

    def let_go() -> None:
        if invocation_id in timer.start_timestamps:
            timer._gone.append(invocation_id)
        if len(timer._gone) > _GONE_STARTS_KEPT:
            timer.start_timestamps.pop(timer._gone.popleft(), None)

    try:
        weakref.finalize(context, let_go)
    except TypeError:  # a SimpleNamespace, say
        let_go()


def _report() -> None:
    """Show on stderr what went wrong in the timing; where that is closed, nowhere."""
    with contextlib.suppress(Exception):
        traceback.print_exc()


def _lengthen_body(timer: Type[TimerExtension], response: Any, suffix: str) -> None:
    if response.status_code != 200 and int(response.status_code) in _FIXED_BODY_STATUSES:
        return
    with _response_lock:
        # HttpResponse has no public way to set its body; every version of the SDK keeps it here.
        body, charset, headers = response._HttpResponse__body, response.charset, {}
        last_suffix = getattr(response, timer._suffix_name, "")
        if response.headers:
            headers = {name.lower(): value for name, value in response.headers.items()}
            length = headers.get("content-length")
            last_length = getattr(response.headers, timer._length_name, None)
            if (
                not _BODY_DESCRIBING_HEADERS.isdisjoint(headers)
                or not headers.get("etag", "W/").startswith("W/")
                # It describes something else: what GET would send, in an answer to HEAD.
                or length not in (None, last_length, str(len(body)))
            ):
                return
            # The worker sends a Content-Type that the function set, not the response's own charset.
            parameter = _CHARSET_PARAMETER.search(headers.get("content-type", ""))
            charset = parameter.group(1) if parameter else charset
        try:
            if charset == "utf-8" or codecs.lookup(charset).name == "utf-8":
                body = _with_suffix(body, last_suffix.encode(), suffix.encode())
            else:
                # By way of the text, so that a byte-order mark stands at the start alone.
                body = _with_suffix(body.decode(charset), last_suffix, suffix).encode(charset)
        except (LookupError, ValueError):  # no such charset, or a body that is not text in it
            return
        response._HttpResponse__body = body
        setattr(response, timer._suffix_name, suffix)
        if "content-length" in headers:
            response.headers["Content-Length"] = length = str(len(body))
            # Kept on the headers, since copies of a response share those, but not the body.
            setattr(response.headers, timer._length_name, length)


def _with_suffix(body: Any, last: Any, suffix: Any) -> Any:
    """The body with the suffix at its end, without that of last time where it still stands."""
    start = body.rfind(last) if last else -1
    if start < 0:
        return body + suffix
    # By views, so that a large body is not copied twice.
    view = memoryview(body) if isinstance(body, bytes) else body
    return suffix[:0].join((view[:start], view[start + len(last) :], suffix))


def _add_server_timing(
    timer: Type[TimerExtension], response: Any, function_name: str, elapsed: float
) -> None:
    # A response of any framework; the text and dicts that functions return too have no headers.
    headers: Any = getattr(response, "headers", None)
    if not (hasattr(headers, "items") and hasattr(headers, "__setitem__")):
        return
    entry = f"{_NOT_TOKEN.sub('_', function_name)};dur={elapsed * 1000:.3f}"
    with _response_lock:
        found = [header for header in headers.items() if header[0].lower() == "server-timing"]
        given = ", ".join(value for _, value in found)
        keeper = headers if hasattr(headers, "__dict__") else response
        last = getattr(keeper, timer._entry_name, None)
        if last:
            given = re.sub(rf"(^|,) *{re.escape(last)} *(?=,|$)", "", given, count=1).lstrip(", ")
        setattr(keeper, timer._entry_name, entry)
        # All in one header, since the worker sends one of a name.
        headers[found[0][0] if found else "Server-Timing"] = f"{given}, {entry}" if given else entry
