"""Test the timer's package: its files, Python versions and requirements."""

import python_worker_extension_timer
from conftest import PACKAGE


def test_the_package_contains_one_module_and_py_typed():
    files = sorted(path.name for path in PACKAGE.iterdir() if path.name != "__pycache__")

    assert files == ["__init__.py", "py.typed"]


def test_the_package_exports_only_timer_extension():
    assert python_worker_extension_timer.__all__ == ["TimerExtension"]


def test_setup_declares_every_python_from_3_7_to_3_14(setup_arguments):
    versions = [
        line.rsplit(" ", 1)[1] for line in setup_arguments["classifiers"] if ":: 3." in line
    ]

    assert versions == [f"3.{minor}" for minor in range(7, 15)]
    assert setup_arguments["python_requires"] == ">=3.7"


def test_azure_functions_is_the_only_requirement_on_every_python(setup_arguments):
    assert setup_arguments["install_requires"] == ["azure-functions >= 1.7.0, < 3.0.0"]
    worker_library = 'azure-functions-runtime == 1.3.*; python_version >= "3.13"'
    assert setup_arguments["extras_require"] == {
        "dev": ["pytest", "setuptools", "wheel", "twine", worker_library]
    }
