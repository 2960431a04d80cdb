"""The timer's package: one module, for the Pythons and with the requirements that are promised."""

from conftest import PACKAGE


def test_the_package_is_one_module_with_its_types():
    files = sorted(path.name for path in PACKAGE.iterdir() if path.name != "__pycache__")

    assert files == ["__init__.py", "py.typed"]


def test_every_python_from_3_7_to_3_14_is_declared(declared):
    versions = [line.rsplit(" ", 1)[1] for line in declared["classifiers"] if ":: 3." in line]

    assert versions == [f"3.{minor}" for minor in range(7, 15)]
    assert declared["python_requires"] == ">=3.7"


def test_each_python_gets_the_line_of_the_sdk_that_is_for_it_and_nothing_else(declared):
    assert declared["install_requires"] == [
        'azure-functions >= 1.7.0, < 2.0.0; python_version < "3.13"',
        'azure-functions >= 2.0.0, < 3.0.0; python_version >= "3.13"',
    ]
    assert declared["extras_require"] == {"dev": ["pytest", "setuptools", "wheel", "twine"]}
