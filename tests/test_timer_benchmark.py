"""Test the benchmark of the timer and the benchmark's app."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from commands import running_host
from conftest import APPS, TESTS, get, needs_v2

LINES = {"untimed": 0, "both_lines": 2, "one_line": 1, "no_line": 0}


def run_benchmark(*urls):
    options = "--connections 2 --seconds 0.1 --rounds 2".split()
    command = [sys.executable, str(TESTS / "benchmark.py"), *urls, *options]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)


@needs_v2
def test_the_functions_of_the_app_log_as_many_lines_as_their_names_say():
    with running_host(APPS / "timer_benchmark") as (process, url, _):
        assert {get(f"{url}/api/{name}").body for name in LINES} == {b"hello"}
        process.kill()
        log = process.stdout.read()

    assert {name: log.count(f" {name}") for name in LINES} == LINES


@needs_v2
def test_the_benchmark_prints_a_row_for_each_url_and_counts_responses_with_404_as_errors():
    with running_host(APPS / "timer_benchmark") as (process, url, _), ThreadPoolExecutor(1) as pool:
        pool.submit(process.stdout.read)  # If nobody reads the log, the host stops at some time.
        urls = [f"{url}/api/{name}" for name in [*LINES, "missing"]]
        stdout = run_benchmark(*urls).stdout
        process.kill()

    header, untimed, *others, missing = stdout.split("\n\n")[0].splitlines()
    assert header == "requests/s  share  median ms  95 % ms  errors  URL"
    assert untimed.split()[1] == "1.00"
    for row, url in zip([untimed, *others], urls[:-1]):
        assert re.fullmatch(rf" *\d+\.\d( +\d+\.\d\d){{3}} +0  {url}", row)
    assert re.fullmatch(rf" +0\.0 +0\.00 +nan +nan +[1-9]\d*  {urls[-1]} \(status 404\)", missing)
