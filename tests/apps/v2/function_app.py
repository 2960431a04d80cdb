import asyncio

import azure.functions as func

from python_worker_extension_timer import TimerExtension

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

TimerExtension.configure(app=app, append_to_http_response=True)


@app.route(route="HttpTrigger")
def HttpTrigger(req: func.HttpRequest) -> func.HttpResponse:
    name = req.params.get("name")
    if not name:
        try:
            name = req.get_json().get("name")
        except (ValueError, AttributeError):  # no JSON, or no object
            pass

    if name:
        return func.HttpResponse(
            f"Hello, {name}. This HTTP triggered function executed successfully."
        )
    return func.HttpResponse(
        "This HTTP triggered function executed successfully. Pass a name in the query string "
        "or in the request body for a personalized response."
    )


@app.route(route="AsyncHttpTrigger")
async def AsyncHttpTrigger(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(0.1)
    return func.HttpResponse("This function waited for a tenth of a second.")
