"""Measure each invocation of an Azure Functions app, log it, show it in the HTTP response.

A worker extension: it follows, name for name, the tutorial "Develop Python worker extensions for
Azure Functions", https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
"""

import codecs
import functools
import inspect
import logging
import os
import re
import sys
import threading
import traceback
import warnings
import weakref
from time import perf_counter
from typing import Any, Callable, Dict, Optional, TypeVar, cast

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

# A response of one of these statuses has no body (https://www.rfc-editor.org/rfc/rfc9110#section-15),
# and the host fails one that has; a 206 has the part of one that its headers describe.
_FIXED_BODY_STATUSES = {*range(100, 200), 204, 205, 206, 304}

# Each of these describes the very bytes of the body: longer, they would no longer be what it says.
_BODY_DESCRIBING_HEADERS = {
    "content-encoding",
    "content-range",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
}

_CHARSET_PARAMETER = re.compile(r';\s*charset\s*=\s*"?([^\s;"]+)', re.IGNORECASE)

# What an HTTP token, and so a name in Server-Timing, is not made of:
# https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
_NOT_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")

# Apps return one response object from many invocations, on many threads at a time.
_headers_lock = threading.RLock()

# So many starts may stay behind for good; only an app that has more of them is looked after, see
# TimerExtension._watch.
_UNWATCHED_STARTS = 4000

_Function = TypeVar("_Function", bound=Callable[..., object])


class _InfoLogger(Protocol):
    @property
    def info(self) -> Callable[[str], object]: ...


class TimerExtension(AppExtensionBase):
    """Logs how long each invocation takes, and can show it in the HTTP response.

    Importing it is all that a function app needs for the log lines; ``configure()`` sets the
    options. The worker calls the hooks on Python 3.7 to 3.12, where the app setting
    ``PYTHON_ENABLE_WORKER_EXTENSIONS`` is ``1``; the ``timed`` decorator works everywhere.

    Times are in seconds, by a clock that never runs backwards. What goes wrong in the timing itself
    never reaches the app: should a logger or a response fail, its traceback goes to stderr.

    https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
    """

    # The configuration; configure() says what each is. An app that never calls it has these.
    append_to_http_response: bool = False
    logger: Optional[_InfoLogger] = None
    server_timing_header: bool = False

    # Invocation id -> start, from the pre hook to the post hook.
    start_timestamps: Dict[str, float]

    # Invocation id -> what gives its context, for as long as the worker holds that; and how many of
    # them there are when _watch looks next.
    _contexts: Dict[str, Callable[[], Optional[object]]]
    _look_at: int

    # Whether configure() has said that no hook will run: each module of a v1 app calls it.
    _told: bool

    @classmethod
    def init(cls) -> None:
        """Called by the SDK, once, when the app imports the extension."""
        cls.start_timestamps = {}
        cls._contexts = {}
        cls._look_at = 2 * _UNWATCHED_STARTS
        cls._told = False

    @classmethod
    def configure(
        cls,
        *args: object,
        append_to_http_response: bool = False,
        logger: Optional[_InfoLogger] = None,
        server_timing_header: bool = False,
        **kwargs: object,
    ) -> None:
        """Set every option; call it where the app imports the extension.

        Each call states the whole configuration: an option not given is at its default.

        Parameters
        ----------
        append_to_http_response : bool, default False
            Lengthen the body of an ``azure.functions.HttpResponse`` by
            `` (TimeElapsed: <seconds> sec)``, in the response's charset. A response whose body must
            not change stays as it is: one of status 1xx, 204, 205, 206 or 304, one with a
            ``Content-Encoding``, ``Content-Range`` or digest header, and one whose body is not text
            in its charset. (A UTF-8 body is lengthened whatever its bytes.)
        logger : logging.Logger, default None
            Where the log lines go: a logger, or any object with a callable ``info(message)``.
            With ``logging.getLogger("timer")`` they are user logs, which reach Application Insights
            under their invocation. By default the hooks write to the worker's own logger, which
            never does, and decorated functions to ``python_worker_extension_timer``.
        server_timing_header : bool, default False
            Add ``<function name>;dur=<milliseconds>`` to the ``Server-Timing`` header of an
            ``azure.functions.HttpResponse``, behind what the function put there itself. Browsers
            show it beside the request: https://www.w3.org/TR/server-timing/

        Raises
        ------
        TypeError
            An option is not of its type; the configuration is then as it was.

        Warns
        -----
        UserWarning
            An argument is none of the above. It has no effect.
        RuntimeWarning
            The worker that runs the app will not call the hooks; the warning says what to do. It
            comes once, however often this is called.

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
                f"logger must be a logger, with a callable info(message), not {logger!r}"
            )

        cls.append_to_http_response = append_to_http_response
        cls.logger = logger
        cls.server_timing_header = server_timing_header

        # The SDK's contract is that any argument is accepted, yet a misspelt one must not vanish.
        # Warnings, not log lines: the host drops what is logged while an app is being imported.
        unknown = [repr(arg) for arg in args] + list(kwargs)
        if unknown:
            warnings.warn(
                f"TimerExtension.configure() does not know {', '.join(unknown)}; its options are "
                "append_to_http_response, logger and server_timing_header, given by name",
                stacklevel=2,
            )
        in_worker = "FUNCTIONS_WORKER_RUNTIME" in os.environ
        if in_worker and not cls._told and not _worker_calls_hooks():
            cls._told = True
            warnings.warn(
                "Python 3.13 and later call no extension hooks: only functions decorated with "
                "@TimerExtension.timed are timed"
                if sys.version_info >= (3, 13)
                else "The worker calls no extension hooks, since the app setting "
                f"{_APP_SETTING} is {os.environ.get(_APP_SETTING) or 'missing'}: set "
                f"{_APP_SETTING}=1, or only functions decorated with @TimerExtension.timed are "
                "timed",
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
        invocation_id = context.invocation_id
        if len(cls.start_timestamps) >= _UNWATCHED_STARTS:
            cls._watch(invocation_id, context)
        try:
            log = logger if cls.logger is None else cls.logger
            log.info(f"Recording start time of {context.function_name}")
        except Exception:
            traceback.print_exc()
        cls.start_timestamps[invocation_id] = perf_counter()

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
        invocation_id = context.invocation_id
        if cls._contexts:
            cls._contexts.pop(invocation_id, None)
        start = cls.start_timestamps.pop(invocation_id, None)
        if start is None:
            return
        try:
            elapsed = end - start
            sec = str(elapsed)
            log = logger if cls.logger is None else cls.logger
            log.info(f"Time taken to execute {context.function_name} is {sec} sec")
            if cls.append_to_http_response and isinstance(func_ret, HttpResponse):
                _lengthen_body(func_ret, f" (TimeElapsed: {sec} sec)")
            if cls.server_timing_header and isinstance(func_ret, HttpResponse):
                _add_server_timing(func_ret, context.function_name, elapsed)
        except Exception:
            traceback.print_exc()

    @classmethod
    def timed(cls, function: _Function) -> _Function:
        """Time one function, on every Python: the decorator for where no hooks run.

        It reports as the hooks do, by the same options, and logs the time of a function that raises
        too. Where the worker calls the hooks it returns the function as it is, so that nothing is
        timed twice. It goes right above the ``def``, below the trigger's decorator::

            @app.route(route="hello")
            @TimerExtension.timed
            def hello(req: func.HttpRequest) -> func.HttpResponse:
                return func.HttpResponse("Hello!")

        Parameters
        ----------
        function : function
            A function of the app, sync or async. Where it takes ``context``, the invocation goes by
            ``context.function_name``, else by the function's own name.

        Returns
        -------
        function
            One that the worker, and a type checker, take for the same: the signature, the type
            hints, the file and the kind (sync or async) are the function's own.

        Raises
        ------
        TypeError
            It is not a function, as what a trigger decorator returns.

        https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions
        """
        if not inspect.isfunction(function):
            raise TypeError(
                "@TimerExtension.timed goes right above the def, below @app.route(...) and any "
                f"other decorator of the SDK: it takes a function, not {type(function).__name__}"
            )
        if _worker_calls_hooks():
            return cast(_Function, function)

        logger = logging.getLogger(__name__)

        def call(args: Any, kwargs: Any) -> object:
            context: Any = _Invocation(function, args, kwargs)
            func_ret = None
            cls.pre_invocation_app_level(logger, context)
            try:
                func_ret = function(*args, **kwargs)
                return func_ret
            finally:
                cls.post_invocation_app_level(logger, context, None, func_ret)

        async def call_async(args: Any, kwargs: Any) -> object:
            context: Any = _Invocation(function, args, kwargs)
            func_ret = None
            cls.pre_invocation_app_level(logger, context)
            try:
                func_ret = await function(*args, **kwargs)
                return func_ret
            finally:
                cls.post_invocation_app_level(logger, context, None, func_ret)

        # The worker takes context.function_directory from the file that the function was compiled
        # from (inspect.getfile), which nothing can set on all of Python 3.7 to 3.14. So the wrapper
        # is compiled as of that file, on the line of the function, where tracebacks show it.
        if inspect.iscoroutinefunction(function):
            source = "async def wrapper(*args, **kwargs): return await call(args, kwargs)"
            namespace: Dict[str, Any] = {"call": call_async}
        else:
            source = "def wrapper(*args, **kwargs): return call(args, kwargs)"
            namespace = {"call": call}
        code = function.__code__
        lines_before = "\n" * (code.co_firstlineno - 1)
        exec(compile(lines_before + source, code.co_filename, "exec"), namespace)
        return cast(_Function, functools.wraps(function)(namespace["wrapper"]))

    @classmethod
    def _watch(cls, invocation_id: str, context: object) -> None:
        """Now and then, drop the starts of invocations that raised: they get no post hook.

        The worker holds the context of an invocation that runs, and lets go of that of one that
        raised. Of a context that cannot be referred to weakly, or that a test dropped, nothing is
        known, so of those that seem to be gone the newest stay.
        """
        try:
            cls._contexts[invocation_id] = weakref.ref(context)
        except TypeError:  # a SimpleNamespace, say
            cls._contexts[invocation_id] = _no_context
        if len(cls._contexts) < cls._look_at:
            return
        # A copy, made in one step, since other threads go on adding and removing.
        contexts = cls._contexts.copy()
        gone = [gone_id for gone_id, held in contexts.items() if held() is None]
        for gone_id in gone[:-_UNWATCHED_STARTS]:
            cls._contexts.pop(gone_id, None)
            cls.start_timestamps.pop(gone_id, None)
        cls._look_at = len(cls._contexts) + _UNWATCHED_STARTS


class _Invocation:
    """The context of one call of a decorated function: an invocation may make several."""

    def __init__(self, function: Any, args: Any, kwargs: Any) -> None:
        if args:  # the worker passes all by name, a unit test may not
            kwargs = dict(zip(function.__code__.co_varnames, args), **kwargs)
        self.function_name = getattr(kwargs.get("context"), "function_name", function.__name__)
        self.invocation_id = str(id(self))


def _worker_calls_hooks() -> bool:
    """The worker's own rule; nothing else tells an extension whether its hooks will run."""
    setting = os.environ.get(_APP_SETTING, "").strip().lower()
    if sys.version_info >= (3, 13):
        return False
    if sys.version_info[:2] == (3, 9):
        return setting not in _OFF
    return setting in _ON


def _no_context() -> None:
    """Stands in for a weak reference to a context that takes none."""


def _lengthen_body(response: Any, suffix: str) -> None:
    if response.status_code != 200 and int(response.status_code) in _FIXED_BODY_STATUSES:
        return
    charset, has_length = response.charset, False
    if response.headers:
        headers = {name.lower(): value for name, value in response.headers.items()}
        if not _BODY_DESCRIBING_HEADERS.isdisjoint(headers):
            return
        has_length = "content-length" in headers
        # The worker sends a Content-Type that the function set, not the response's own charset.
        parameter = _CHARSET_PARAMETER.search(headers.get("content-type", ""))
        charset = parameter.group(1) if parameter else charset
    # HttpResponse has no public way to set its body; every version of the SDK keeps it here. What
    # the function gave it is kept beside, so that a response returned again shows the latest time
    # alone. No lock: the body is read first and set last, so that no other thread that returns this
    # very response can come between and have its own suffix taken for given.
    body = response._HttpResponse__body
    given = getattr(response, "_timer_given_body", body)
    try:
        if charset == "utf-8" or codecs.lookup(charset).name == "utf-8":
            body = given + suffix.encode()
        else:
            # By way of the text, so that a byte-order mark stands at the start alone.
            body = (given.decode(charset) + suffix).encode(charset)
    except (LookupError, ValueError):  # no such charset, or a body that is not text in it
        return
    response._timer_given_body = given
    response._HttpResponse__body = body
    if has_length:
        with _headers_lock:
            response.headers["Content-Length"] = str(len(response.get_body()))


def _add_server_timing(response: Any, function_name: str, elapsed: float) -> None:
    entry = f"{_NOT_TOKEN.sub('_', function_name)};dur={elapsed * 1000:.3f}"
    with _headers_lock:
        headers = response.headers
        now = ", ".join(v for name, v in headers.items() if name.lower() == "server-timing")
        # Returned again, a response has what we put there last time; the function's own stays.
        given, ours = getattr(response, "_timer_server_timing", (now, now))
        given = given if now == ours else now
        timing = f"{given}, {entry}" if given else entry
        response._timer_server_timing = given, timing
        # All in one header, since the worker sends one of a name.
        headers["Server-Timing"] = timing
