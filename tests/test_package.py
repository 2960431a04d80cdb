"""The package: setup.py builds an sdist and a wheel, which pip can install."""

import sys
import tarfile
import venv
import zipfile

import pytest

import python_worker_extension_timer
from commands import copy_project, run_python
from conftest import PACKAGE, ROOT

NAME = PACKAGE.name


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """The folder of the sdist and the wheel, built as a release is."""
    project = copy_project(tmp_path_factory.mktemp("copy") / "project")
    run_python("setup.py", "sdist", "bdist_wheel", cwd=project)
    return project / "dist"


@pytest.fixture(scope="session")
def sdist(dist):
    (file,) = dist.glob("*.tar.gz")
    return file


@pytest.fixture(scope="session")
def wheel(dist):
    (file,) = dist.glob("*-py3-none-any.whl")
    return file


def files_in(folder):
    """Return the source files in a folder of the project, as paths relative to the project."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_sdist_contains_all_files_that_the_tests_need(sdist):
    with tarfile.open(str(sdist)) as archive:
        files = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}

    top_level = {"readme.md", "LICENSE", "setup.py", ".gitignore"}
    assert top_level | files_in(NAME) | files_in("tests") <= files
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]


def test_the_wheel_contains_the_package_with_py_typed_and_nothing_else(wheel):
    with zipfile.ZipFile(str(wheel)) as archive:
        files = set(archive.namelist())

    metadata = {name for name in files if ".dist-info/" in name}
    assert files - metadata == files_in(NAME)
    assert f"{NAME}/py.typed" in files
    assert [name for name in metadata if name.endswith("/LICENSE")]


def test_twine_check_passes(sdist, wheel, tmp_path):
    check = ("-m", "twine", "check", "--strict", sdist, wheel)

    output = run_python(*check, cwd=tmp_path, NO_COLOR="1")

    assert output.count("PASSED") == 2


@pytest.mark.parametrize("built", ["sdist", "wheel"])
def test_the_package_installs_into_an_empty_environment(built, request, package_index, tmp_path):
    # Installing pip into the environment would take longer than the rest of the test.
    windows = sys.platform == "win32"
    venv.create(str(tmp_path / "venv"), symlinks=not windows)
    python = tmp_path / "venv" / ("Scripts/python.exe" if windows else "bin/python")
    into = ("--prefix", tmp_path / "venv", "--ignore-installed")

    run_python("-m", "pip", "install", *into, request.getfixturevalue(built), cwd=tmp_path)

    printed = f"{NAME}.__file__, {NAME}.__all__"
    output = run_python("-I", "-c", f"import {NAME}; print({printed})", cwd=tmp_path, python=python)
    assert output.startswith(str(tmp_path / "venv"))
    assert output.endswith(f"{python_worker_extension_timer.__all__}\n")
