"""Measure what the timer costs: python tests/benchmark.py

The script needs the package to be installed, and prints

- the microseconds that the hooks take for an invocation, compared with the tutorial's hooks;
- the microseconds that an invocation takes if the worker doesn't call the hooks, compared with
  calling the pre hook, the function and the post hook directly;
- the milliseconds that ``configure(app=app)`` adds to the start of an app;
- the MiB by which the process grows if a million invocations raise.

Times and comparisons are medians of several runs. A run measures every row of a table once, so that
a busy moment of the machine affects all rows.
"""

import logging
import math
import operator
import os
import statistics
import sys
import time
import uuid

# If the worker called the hooks, no function would be decorated or wrapped.
os.environ["PYTHON_ENABLE_WORKER_EXTENSIONS"] = "0"
os.environ.pop("FUNCTIONS_WORKER_RUNTIME", None)

import azure.functions
from azure.functions import AppExtensionBase, HttpResponse

from python_worker_extension_timer import TimerExtension

if not hasattr(azure.functions, "FunctionApp"):
    sys.exit("The benchmark needs a FunctionApp, which azure-functions 1.7 does not have.")

RUNS = 15
BATCHES = 30
BATCH = 100


class TutorialTimer(AppExtensionBase):
    """The two hooks of the tutorial."""

    @classmethod
    def init(cls):
        cls.starts = {}

    @classmethod
    def pre_invocation_app_level(cls, logger, context, func_args=None, *args, **kwargs):
        logger.info(f"Recording start time of {context.function_name}")
        cls.starts[context.invocation_id] = time.time()

    @classmethod
    def post_invocation_app_level(
        cls, logger, context, func_args=None, func_ret=None, *args, **kwargs
    ):
        if context.invocation_id in cls.starts:
            elapsed = time.time() - cls.starts.pop(context.invocation_id)
            logger.info(f"Time taken to execute {context.function_name} is {elapsed} sec")
            if isinstance(func_ret, HttpResponse):
                func_ret._HttpResponse__body += f" (TimeElapsed: {elapsed} sec)".encode()


class Context:
    """A context with properties, like the worker's."""

    def __init__(self, invocation_id):
        self.__invocation_id = invocation_id

    @property
    def invocation_id(self):
        return self.__invocation_id

    @property
    def function_name(self):
        return "HttpTrigger"


def make_logger(name, level):
    logger = logging.getLogger(f"benchmark.{name}")
    logger.propagate = False
    logger.setLevel(level)
    logger.addHandler(logging.StreamHandler(open(os.devnull, "w")))
    return logger


WRITING_LOGGER = make_logger("on", logging.INFO)
LOGGER_WITHOUT_INFO = make_logger("off", logging.WARNING)


def make_timer(**options):
    timer = type("Timer", (TimerExtension,), {})
    timer.configure(**options)
    return timer


def hello(req):
    return req


def make_app(count):
    app = azure.functions.FunctionApp()
    for number in range(count):
        app.function_name(f"f{number}")(app.route(route=f"f{number}")(hello))
    return app


def load_functions(app):
    """Return an app's functions as the worker does, once, after importing the app."""
    return [function.get_user_function() for function in app.get_functions()]


APP = make_app(1)
Timer = make_timer(app=APP)

# Each row has a label, the extension whose hooks are called, and the function that is called.
HOOK_ROWS = [
    ("the tutorial's hooks, which append to the body", TutorialTimer, None),
    ("this extension's hooks: both log lines", Timer, None),
    ("  with log_min_seconds=0: one log line", make_timer(log_min_seconds=0), None),
    ("  with log_min_seconds=math.inf: no log line", make_timer(log_min_seconds=math.inf), None),
    ("  with append_to_http_response=True", make_timer(append_to_http_response=True), None),
]
FUNCTION_ROWS = [
    ("the pre hook, a function and the post hook", Timer, hello),
    ("a decorated function", None, Timer.timed(hello)),
    ("a function of an app passed to configure()", None, load_functions(APP)[0]),
]


def measure(logger, extension, function):
    """Return the mean time of an invocation, in microseconds."""
    pre = extension and extension.pre_invocation_app_level
    post = extension and extension.post_invocation_app_level
    seconds = 0.0
    for _ in range(BATCHES):
        contexts = [Context(str(number)) for number in range(BATCH)]
        responses = [HttpResponse("hello") for _ in range(BATCH)]
        start = time.perf_counter()
        for context, response in zip(contexts, responses):
            if pre:
                pre(logger, context, {})
            if function:
                function(req=response)
            if post:
                post(logger, context, {}, response)
        seconds += time.perf_counter() - start
    return seconds / (BATCHES * BATCH) * 1e6


def print_tables(title, logger):
    Timer.configure(app=APP, logger=logger)
    print(f"\nMicroseconds for each invocation, {title}")
    for heading, compare, sign, rows in (
        ("ratio to first row", operator.truediv, "", HOOK_ROWS),
        ("more than first row", operator.sub, "+", FUNCTION_ROWS),
    ):
        print(f"\n  {'':48}{'median':>8}{heading:>22}")
        runs = [[measure(logger, *row[1:]) for row in rows] for _ in range(RUNS)]
        for index, (label, *_) in enumerate(rows):
            median = statistics.median(run[index] for run in runs)
            compared = statistics.median(compare(run[index], run[0]) for run in runs)
            print(f"  {label:48}{median:8.2f}{compared:{sign}22.2f}")


def added_to_start(count):
    """Return the milliseconds that configure(app=app) adds for an app with ``count`` functions."""
    added = []
    for _ in range(RUNS):
        seconds = []
        for app_or_none in (None, make_app(count)):
            app = app_or_none or make_app(count)
            start = time.perf_counter()
            Timer.configure(app=app_or_none)
            load_functions(app)
            seconds.append(time.perf_counter() - start)
        added.append((seconds[1] - seconds[0]) * 1000)
    return statistics.median(added)


def memory_growth(extension, count):
    """Return the MiB by which ``count`` calls of only the pre hook make the process grow."""
    import resource  # This module does not exist on Windows.

    class Raising(extension):
        pass

    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count):
        Raising.pre_invocation_app_level(LOGGER_WITHOUT_INFO, Context(str(uuid.uuid4())), {})
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Raising.init()  # Free the memory for the next measurement.
    return (after - before) * unit / 2**20


def main():
    # The measured memory is the peak of the process, so measure the memory first.
    memory = []
    if sys.platform != "win32":
        for label, extension in ("this extension", Timer), ("the tutorial's timer", TutorialTimer):
            memory.append((label, memory_growth(extension, 1_000_000)))

    print(f"Python {sys.version.split()[0]}, azure-functions {azure.functions.__version__}")
    print_tables("with a logger that writes the lines", WRITING_LOGGER)
    print_tables("with a logger that drops the lines", LOGGER_WITHOUT_INFO)

    print("\nMilliseconds that configure(app=app) adds to the start of an app\n")
    print(f"  {'an app with 100 functions':48}{added_to_start(100):8.2f}")

    if memory:
        print("\nMiB by which the process grows if a million invocations raise\n")
    for label, growth in memory:
        print(f"  {label:48}{growth:8.2f}")


if __name__ == "__main__":
    main()
