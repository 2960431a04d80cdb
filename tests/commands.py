"""Commands run as a person would: the local host's, and what installs or builds this project."""

import contextlib
import functools
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
    return [sys.executable, str(TESTS / "local_host.py"), *map(str, arguments)]


def host_environment(**settings: str) -> Dict[str, str]:
    """The environment of a machine that has only Python and this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != APP_SETTING}
    environment.pop(WORKER_RUNTIME, None)
    environment.update({"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}, **settings)
    return environment


def run(command: Union[str, List[str]], cwd: Path, **settings: str) -> str:
    """Run a command to its end, as one who has installed this package would; what it printed."""
    environment = host_environment(**settings)
    del environment["PYTHONPATH"]
    result = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=str(cwd),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=300,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def run_host(*arguments: object, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run ``python tests/local_host.py`` to its end, on a free port."""
    return subprocess.run(
        host_command(*arguments, "--once", "--port", 0),
        env=host_environment(**settings),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


@contextlib.contextmanager
def running_host(app: Path) -> Iterator[Tuple["subprocess.Popen[str]", str]]:
    """``python tests/local_host.py APP`` while it serves, on a free port: the process, the URL."""
    # What runs in the background of a shell ignores Ctrl-C, and so would what the tests start.
    listen_to_ctrl_c = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        host_command(app, "--port", 0),
        env=host_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=None if sys.platform == "win32" else listen_to_ctrl_c,
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            output = ""
            for line in process.stdout:
                output += line
                if "Serving until Ctrl-C." in line:
                    break
            yield process, re.search(r"http://localhost:\d+", output).group()
        finally:
            watchdog.cancel()
            process.kill()


def copy_project(folder: Path) -> Path:
    """The project as a clone holds it: with nothing that a build or a test left behind."""
    folder.mkdir()
    left_behind = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in (".ci", ".gitignore", "LICENSE", "readme.md", "setup.py", "tests", PACKAGE.name):
        if (ROOT / name).is_dir():
            shutil.copytree(str(ROOT / name), str(folder / name), ignore=left_behind)
        elif (ROOT / name).is_file():  # an unpacked sdist has no .ci
            shutil.copy(str(ROOT / name), str(folder))
    return folder


def run_python(*arguments: object, cwd: Path, python: object = sys.executable, **settings) -> str:
    """Run Python to its end; what it printed."""
    return run([str(python), *map(str, arguments)], cwd, **settings)
