"""Measure how many requests per second each URL serves, and how fast.

    python tests/benchmark.py URL [URL ...] [--connections 20] [--seconds 5] [--rounds 3]

The URLs must be served already. To measure what the timer costs, run ``func start`` in the folder
tests/apps/timer_benchmark, or ``python tests/stand_in_host.py tests/apps/timer_benchmark``. Then
pass the URLs http://localhost:7071/api/untimed, .../both_lines, .../one_line and .../no_line. All
four functions do the same; their names say how many lines the timer logs for an invocation.
"""

import argparse
import http.client
import math
import statistics
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

NOTES = """
requests/s: median of the rounds. share: median of requests/s divided by the first URL's, by round.
median ms, 95 % ms: latencies of all rounds. errors: exceptions, and statuses of 400 or more."""


def http_url(text):
    text.encode("ascii")  # raises ValueError if a character must be escaped
    url = urllib.parse.urlsplit(text)
    if url.scheme != "http" or not url.hostname or url.port == 0:
        raise ValueError(text)
    return url


def send_requests(url, end):
    """Send requests over one connection until ``end``; return the latencies and the errors."""
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    target = (url.path or "/") + (url.query and f"?{url.query}")
    latencies, errors, now = [], [], -math.inf  # Send at least one request.
    while now < end:
        start, error = time.perf_counter(), None
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            response.read()
            if response.status >= 400:
                error = f"status {response.status}"
        except (OSError, http.client.HTTPException) as exception:
            error = repr(exception)
            connection.close()  # The next request opens a new connection.
            time.sleep(0.01)  # If the server has stopped, don't keep the machine busy.
        now = time.perf_counter()
        if error:
            errors.append(error)
        else:
            latencies.append((now - start) * 1000)
    connection.close()
    return latencies, errors


def measure(url, connections, seconds):
    """Return the requests per second, the latencies and the errors."""
    start = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        futures = [pool.submit(send_requests, url, start + seconds) for _ in range(connections)]
    latencies, errors = (sum(lists, []) for lists in zip(*[f.result() for f in futures]))
    return len(latencies) / (time.perf_counter() - start), latencies, errors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("urls", metavar="URL", nargs="+", type=http_url, help="begins with http://")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5, help="for each URL in each round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not (options.connections > 0 and 0 < options.seconds < math.inf and options.rounds > 0):
        parser.error("--connections, --seconds and --rounds must be positive numbers")

    for url in options.urls:
        _, errors = send_requests(url, end=0)  # This also warms up the function.
        if errors and not errors[0].startswith("status"):
            sys.exit(f"benchmark: no response from {url.geturl()}: {errors[0]}")
    rounds = [
        [measure(url, options.connections, options.seconds) for url in options.urls]
        for _ in range(options.rounds)
    ]
    print("requests/s  share  median ms  95 % ms  errors  URL")
    for url, *results in zip(options.urls, *rounds):
        rates, latencies, errors = zip(*results)
        ratios = [rate / first[0][0] for rate, first in zip(rates, rounds) if first[0][0]]
        rate, share = statistics.median(rates), statistics.median(ratios or [math.nan])
        ordered, errors = sorted(sum(latencies, [])) or [math.nan], sum(errors, [])
        median, high = statistics.median(ordered), ordered[math.ceil(len(ordered) * 0.95) - 1]
        line = f"{rate:10.1f}{share:7.2f}{median:11.2f}{high:9.2f}{len(errors):8}  {url.geturl()}"
        print(line + (f" ({errors[0]})" if errors else ""))
    print(NOTES)


if __name__ == "__main__":
    main()
