import azure.functions as func

from python_worker_extension_timer import TimerExtension


@TimerExtension.timed
def main(req: func.HttpRequest) -> func.HttpResponse:
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


TimerExtension.configure(append_to_http_response=True)
