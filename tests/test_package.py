"""The package: setup.py builds an sdist and a wheel, which pip can install."""

import re
import sys
import tarfile
import venv
import zipfile

import pytest

import python_worker_extension_timer
from commands import copy_project, run_python
from conftest import PACKAGE, ROOT

NAME = PACKAGE.name
BUILD = ("-W", "default", "setup.py", "sdist", "bdist_wheel")


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("copy") / "project")


@pytest.fixture(scope="session")
def output(project):
    """The output of the build command."""
    return run_python(*BUILD, cwd=project)


@pytest.fixture(scope="session")
def sdist(project, output):
    (file,) = (project / "dist").glob("*.tar.gz")
    return file


@pytest.fixture(scope="session")
def wheel(project, output):
    (file,) = (project / "dist").glob("*.whl")
    return file


@pytest.fixture(scope="session")
def dist_info(setup_arguments):
    return f"{setup_arguments['name'].replace('-', '_')}-{setup_arguments['version']}.dist-info"


def test_the_build_command_makes_an_sdist_and_a_wheel_for_any_python_3(
    sdist, wheel, setup_arguments
):
    name, version = setup_arguments["name"].replace("-", "_"), setup_arguments["version"]

    assert sdist.name.replace("-", "_") == f"{name}_{version}.tar.gz"
    assert wheel.name == f"{name}-{version}-py3-none-any.whl"


def test_the_metadata_of_the_project_causes_no_deprecation_warning(output, tmp_path):
    (tmp_path / "setup.py").write_text(
        "from setuptools import setup; setup(name='bare', packages=['bare'])"
    )
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "__init__.py").touch()
    bare = run_python(*BUILD, cwd=tmp_path)

    deprecation = r"\w*(?:DeprecationWarning|FutureWarning): .*"
    assert set(re.findall(deprecation, output)) == set(re.findall(deprecation, bare))


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


def test_the_wheel_contains_the_package_with_py_typed_and_nothing_else(wheel, dist_info):
    with zipfile.ZipFile(str(wheel)) as archive:
        files = archive.namelist()

    assert {name.split("/")[0] for name in files} == {NAME, dist_info}
    assert {name for name in files if name.startswith(NAME + "/")} == files_in(NAME)
    assert f"{NAME}/py.typed" in files
    assert [name for name in files if name.endswith("/LICENSE")]


def test_twine_check_passes(sdist, wheel, project):
    output = run_python("-m", "twine", "check", "--strict", sdist, wheel, cwd=project, NO_COLOR="1")

    assert output.count("PASSED") == 2


IMPORT = f"import {NAME}; print({NAME}.__file__, {NAME}.__all__)"


@pytest.mark.parametrize("built", ["sdist", "wheel"])
def test_the_package_installs_into_an_empty_environment(built, request, package_index, tmp_path):
    # Installing pip into the environment would take longer than the rest of the test.
    windows = sys.platform == "win32"
    venv.create(str(tmp_path / "venv"), symlinks=not windows)
    python = tmp_path / "venv" / ("Scripts/python.exe" if windows else "bin/python")
    into = ("--prefix", tmp_path / "venv", "--ignore-installed")

    run_python("-m", "pip", "install", *into, request.getfixturevalue(built), cwd=tmp_path)

    output = run_python("-I", "-c", IMPORT, cwd=tmp_path, python=python)
    assert output.startswith(str(tmp_path / "venv"))
    assert output.endswith(f"{python_worker_extension_timer.__all__}\n")
