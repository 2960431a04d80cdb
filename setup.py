from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist

TUTORIAL = "https://learn.microsoft.com/azure/azure-functions/develop-python-worker-extensions"


class SourceDistribution(sdist):
    """Adds the files that setuptools doesn't include by default; replaces a MANIFEST.in."""

    # setuptools looks for README.md in capitals, and warns if there is none.
    READMES = ("readme.md",)

    def make_distribution(self):
        self.filelist.extend(["readme.md", "LICENSE", ".gitignore"])
        self.filelist.graft("tests")
        self.filelist.global_exclude("*.py[cod]")
        self.filelist.remove_duplicates()
        super().make_distribution()


setup(
    name="python-worker-extension-timer",
    version="1.1.0",
    description="An Azure Functions worker extension that times each invocation of a Python app",
    long_description=Path(__file__).with_name("readme.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    project_urls={"Tutorial": TUTORIAL},
    license="MIT",
    keywords="azure-functions worker extension timer elapsed-time server-timing",
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Environment :: Web Environment",
        "Intended Audience :: Developers",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.7",
        "Programming Language :: Python :: 3.8",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: WWW/HTTP",
        "Topic :: System :: Monitoring",
        "Typing :: Typed",
    ],
    packages=["python_worker_extension_timer"],
    # This makes an editable install a plain path entry, which type checkers and editors can follow.
    package_dir={"": "."},
    package_data={"python_worker_extension_timer": ["py.typed"]},
    python_requires=">=3.7",
    install_requires=["azure-functions >= 1.7.0, < 3.0.0"],
    extras_require={
        "dev": [
            "pytest",
            "setuptools",
            "wheel",
            "twine",
            'azure-functions-runtime == 1.3.*; python_version >= "3.13"',
        ]
    },
    cmdclass={"sdist": SourceDistribution},
)
