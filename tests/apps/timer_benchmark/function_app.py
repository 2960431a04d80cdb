"""The app of tests/benchmark.py: the same function without a timer, and with each number of lines.

Options belong to a class, so each number of lines has its own class. Each class decorates a
function: otherwise, a worker that calls hooks would call those of this class for every function.
"""

import math

import azure.functions as func

from python_worker_extension_timer import TimerExtension

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


class OneLine(TimerExtension):
    pass


class NoLine(TimerExtension):
    pass


@app.route(route="untimed")
def untimed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


@app.route(route="both_lines")
@TimerExtension.timed
def both_lines(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


@app.route(route="one_line")
@OneLine.timed
def one_line(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


@app.route(route="no_line")
@NoLine.timed
def no_line(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


TimerExtension.configure()
OneLine.configure(log_min_seconds=0)
NoLine.configure(log_min_seconds=math.inf)
