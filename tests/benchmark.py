"""What timing an invocation costs: python tests/benchmark.py

Each figure is the median of several runs, taken in turn so that a noisy moment falls on all of
them; each ratio is the median of the ratios within a run. Last come what handing over adds to the
start of an app, and the memory that a million invocations that raise leave behind.
"""

import logging
import os
import statistics
import sys
import time
import uuid

# Where the worker calls the hooks no function is decorated, and no app is timed.
os.environ["PYTHON_ENABLE_WORKER_EXTENSIONS"] = "0"

import azure.functions
from azure.functions import AppExtensionBase, HttpResponse

from python_worker_extension_timer import TimerExtension

if not hasattr(azure.functions, "FunctionApp"):
    sys.exit("The benchmark hands over an app, which azure-functions 1.7 does not have.")

RUNS = 15
BATCHES = 30
BATCH = 100


class TutorialsWay(AppExtensionBase):
    """The same two hooks as the tutorial has them."""

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


Timer = type("Timer", (TimerExtension,), {})
AppendingTimer = type("AppendingTimer", (TimerExtension,), {})


class Context:
    """As the worker's: what it holds is read through properties."""

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


LOGGERS = {
    "a logger that writes": make_logger("on", logging.INFO),
    "logging off": make_logger("off", logging.WARNING),
}


def hello(req):
    return req


def make_app(count):
    app = azure.functions.FunctionApp()
    for number in range(count):
        app.function_name(f"f{number}")(app.route(route=f"f{number}")(hello))
    return app


def take_in(app):
    """The functions, as the worker takes them from an app."""
    return [function.get_user_function() for function in app.get_functions()]


AppendingTimer.configure(append_to_http_response=True)
handed_over = make_app(1)
Timer.configure(app=handed_over)

# Each row: what it is, the extension whose hooks are called, the function that is called.
ROWS = [
    ("the tutorial's way", TutorialsWay, None),
    ("this extension", Timer, None),
    ("this extension, append_to_http_response=True", AppendingTimer, None),
    ("a function between the two hooks", Timer, hello),
    ("a decorated function", None, Timer.timed(hello)),
    ("a function of a handed-over app", None, take_in(handed_over)[0]),
]


def run(logger, extension, function):
    """Microseconds that an invocation takes, the mean of several thousand."""
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


def starts(count=100):
    """Milliseconds that handing over adds to the indexing of an app of so many functions."""
    added = []
    for _ in range(RUNS):
        seconds = []
        for app_or_none in (None, make_app(count)):
            app = app_or_none or make_app(count)
            start = time.perf_counter()
            Timer.configure(app=app_or_none)
            take_in(app)
            seconds.append(time.perf_counter() - start)
        added.append((seconds[1] - seconds[0]) * 1000)
    return statistics.median(added)


def grown(extension):
    """MiB by which a million invocations that raise, and so get no post hook, grow the process."""
    import resource  # not on Windows

    class Raising(extension):
        pass

    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1_000_000):
        Raising.pre_invocation_app_level(LOGGERS["logging off"], Context(str(uuid.uuid4())), {})
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Raising.init()  # forgets them, for what is measured next
    return (after - before) * unit / 2**20


def main():
    # The peak is what is read, so this comes before anything else.
    memory = []
    if sys.platform != "win32":
        memory = [(label, grown(extension)) for label, extension, _ in (ROWS[1], ROWS[0])]

    print(f"Python {sys.version.split()[0]}, azure-functions {azure.functions.__version__}")
    for name, logger in LOGGERS.items():
        Timer.configure(app=handed_over, logger=logger)
        print(f"\nMicroseconds per invocation, {name}\n")
        runs = [[run(logger, *row[1:]) for row in ROWS] for _ in range(RUNS)]
        for index, (label, *_) in enumerate(ROWS):
            if index < 3:
                ratio = statistics.median(figures[index] / figures[0] for figures in runs)
                compared = f"{ratio:6.2f} times the tutorial's way"
            else:
                more = statistics.median(figures[index] - figures[3] for figures in runs)
                compared = f"{more:+6.2f} than with the hooks"
            median = statistics.median(figures[index] for figures in runs)
            print(f"  {label:46}{median:8.2f}  {compared}")

    print("\nMilliseconds that handing over adds to the start of an app of 100 functions\n")
    print(f"  {'':46}{starts():8.2f}")

    print("\nMiB grown over a million invocations that raise\n")
    for label, mib in memory:
        print(f"  {label:46}{mib:8.2f}")


if __name__ == "__main__":
    main()
