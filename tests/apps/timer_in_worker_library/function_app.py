"""An app for the worker library. It is timed in the way that the setting TIMED_BY states."""

from __future__ import annotations  # The worker library must resolve the hints of wrappers.

import json
import os
import time

import azure.functions as func

from python_worker_extension_timer import TimerExtension

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
blueprint = func.Blueprint()
is_timed_by_app = os.environ["TIMED_BY"] == "app"


def timed(function):
    return function if is_timed_by_app else TimerExtension.timed(function)


@app.route(route="greet")
@timed
def greet(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


@app.route(route="greet_async")
@timed
async def greet_async(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


@blueprint.route(route="greet_from_blueprint")
@timed
def greet_from_blueprint(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


@app.route(route="fail")
@timed
def fail(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("no greeting")


@app.route(route="fail_async")
@timed
async def fail_async(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("no greeting")


@app.route(route="sleep")
@timed
def sleep(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(0.2)
    return func.HttpResponse("slept")


@app.function_name("ShowContext")
@app.route(route="show_context")
@timed
def show_context(req: func.HttpRequest, context: func.Context) -> str:
    names = ("function_name", "function_directory", "invocation_id")
    shown = {name: getattr(context, name) for name in names}
    return json.dumps({**shown, "timed_ids": [*TimerExtension.start_timestamps]})


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
@timed
def tick(timer: func.TimerRequest) -> None:
    assert timer.past_due


@app.queue_trigger(arg_name="message", queue_name="in", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="copy", queue_name="out", connection="AzureWebJobsStorage")
@timed
def copy_message(message: func.QueueMessage, copy: func.Out[str]) -> None:
    copy.set(message.get_body().decode())


options = {"append_to_http_response": True, "server_timing_header": True}
TimerExtension.configure(app=app if is_timed_by_app else None, **options)

app.register_functions(blueprint)
