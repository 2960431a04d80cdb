"""Helpers that run commands: the stand-in host's, and those that install or build the project."""

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Dict, Iterator, List, Tuple, Union

from conftest import APP_SETTING, PACKAGE, ROOT, TESTS, WORKER_RUNTIME


def host_command(*arguments: object) -> List[str]:
    return [sys.executable, str(TESTS / "stand_in_host.py"), *map(str, arguments)]


def host_environment(**settings: str) -> Dict[str, str]:
    """Return the environment without a worker's variables, with this checkout on PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != APP_SETTING}
    environment.pop(WORKER_RUNTIME, None)
    environment.update({"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}, **settings)
    return environment


def run(command: Union[str, List[str]], cwd: Path, **settings: str) -> str:
    """Run a command as a user who has installed the package, and return the output."""
    environment = host_environment(**settings)
    del environment["PYTHONPATH"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    shell = isinstance(command, str)
    result = subprocess.run(command, shell=shell, cwd=cwd, env=environment, timeout=300, **output)
    assert result.returncode == 0, result.stdout
    return result.stdout


def run_host(*arguments: object, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run ``python tests/stand_in_host.py --once`` on a free port."""
    command = host_command(*arguments, "--once", "--port", 0)
    environment = host_environment(**settings)
    return subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=60
    )


@contextlib.contextmanager
def running_host(*arguments: object) -> Iterator[Tuple["subprocess.Popen[str]", str, str]]:
    """Run ``python tests/stand_in_host.py`` on a free port during a ``with`` block.

    Return the process, the URL, and the output until the host serves.
    """
    # If a shell runs the tests in the background, their child processes ignore Ctrl-C by default.
    listen_to_ctrl_c = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        host_command(*arguments, "--port", 0),
        env=host_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=None if sys.platform == "win32" else listen_to_ctrl_c,
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            before_serving = itertools.takewhile("Serving until Ctrl-C.\n".__ne__, process.stdout)
            output = "".join(before_serving)
            yield process, re.search(r"http://localhost:\d+", output).group(), output
        finally:
            watchdog.cancel()
            process.kill()


def copy_project(folder: Path) -> Path:
    """Copy the project as a clone contains it, without the files of a build or a test run."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in (".ci", ".gitignore", "LICENSE", "readme.md", "setup.py", "tests", PACKAGE.name):
        if (ROOT / name).is_dir():
            shutil.copytree(str(ROOT / name), str(folder / name), ignore=ignored)
        elif (ROOT / name).is_file():  # An unpacked sdist has no .ci.
            shutil.copy(str(ROOT / name), str(folder))
    return folder


def run_python(*arguments: object, cwd: Path, python: object = sys.executable, **settings) -> str:
    """Run Python, and return the output."""
    return run([str(python), *map(str, arguments)], cwd, **settings)
