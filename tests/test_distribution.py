"""The contents of wheel and sdist: the complete package and nothing else."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

LINKED = ("plugins", "fixtures", "suites")
NOT_SHIPPED = ("ruff.toml", ".pyc", ".md")
"""Endings of files inside hil/ that only this repository needs."""


@pytest.fixture(scope="module")
def source(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git has or would add, without earlier build products; links stay links."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=repository, capture_output=True, text=True, check=True).stdout
    copy = tmp_path_factory.mktemp("source")
    for name in filter(None, names.split("\0")):
        if (repository / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, copy / name, follow_symlinks=False)
    return copy


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``chain`` has the sdist and the wheel built from it, ``direct`` the wheel built from the tree."""
    try:
        enough = int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        enough = False
    if not enough:
        pytest.skip("setuptools 77 is not installed: pip install -e .[dev]")
    folder = tmp_path_factory.mktemp("dist")
    build(source, folder / "chain")
    build(source, folder / "direct", "--wheel")
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> list[str]:
    """Return the files of the wheel that was built from the sdist."""
    return files_of_wheel(built / "chain")


@pytest.fixture(scope="module")
def sdist(built: Path) -> list[str]:
    """Return the files of the sdist, without its top folder."""
    (path,) = (built / "chain").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return sorted(member.name.partition("/")[2] for member in archive if member.isfile())


def build(source: Path, out: Path, *options: str) -> None:
    """Build with the setuptools of this environment; show its output on failure."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}{done.stderr}", pytrace=False)


def files_of_wheel(folder: Path) -> list[str]:
    """Return the names of the files in the only wheel of ``folder``."""
    (path,) = folder.glob("*.whl")
    return sorted(name for name in zipfile.ZipFile(path).namelist() if not name.endswith("/"))


def package_files(root: Path) -> list[str]:
    """Return the files of the package: those of ``hil`` and of the folders ``LINKED``, to which it has links."""
    files = [path.relative_to(root) for path in (root / "hil").rglob("*") if path.is_file()]
    files += [
        Path("hil") / path.relative_to(root)
        for folder in LINKED
        for path in (root / folder).rglob("*")
        if path.is_file()
    ]
    return sorted({str(path) for path in files if not path.name.endswith(NOT_SHIPPED)})


def test_linked_folders_are_links(repository: Path) -> None:
    """``hil`` has a link to each folder of ``LINKED``, so import name, wheel and checkout are one tree."""
    for folder in LINKED:
        assert (repository / "hil" / folder).is_symlink(), f"hil/{folder} is not a link"
        assert str((repository / "hil" / folder).readlink()) == f"../{folder}"


def test_wheel_holds_the_whole_package(wheel: list[str], source: Path) -> None:
    """The wheel has each module, template, schema and style sheet of ``hil``."""
    assert [name for name in wheel if ".dist-info/" not in name] == package_files(source)


def test_wheel_holds_one_top_level_package(wheel: list[str]) -> None:
    """The wheel installs only ``hil``: no tests, benchmarks, examples or second copy of the linked folders."""
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"hil"}


def test_wheel_holds_licence_and_type_marker(wheel: list[str]) -> None:
    """The wheel has the licence and ``py.typed``."""
    assert "hil/py.typed" in wheel
    assert [name for name in wheel if name.endswith(".dist-info/licenses/LICENSE")]


def test_wheel_and_sdist_install_the_same_files(built: Path, wheel: list[str]) -> None:
    """The wheel built from the sdist has the same files as the wheel built from the tree."""
    assert files_of_wheel(built / "direct") == wheel


def test_sdist_holds_the_package_and_how_to_build_it(sdist: list[str], wheel: list[str]) -> None:
    """The sdist has the wheel's files and the project's files, and no other folder."""
    assert set(sdist) >= {name for name in wheel if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in sdist} <= {
        "CHANGELOG.md",
        "LICENSE",
        "MANIFEST.in",
        "PKG-INFO",
        "README.md",
        "hil",
        "pyproject.toml",
        "pytest_hil.egg-info",
        "setup.cfg",
    }


def test_entry_points(built: Path) -> None:
    """The entry points are the pytest plugin and the ``hil`` command, and no others."""
    (path,) = (built / "chain").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        text = archive.read(name).decode()
    parsed = configparser.ConfigParser()
    parsed.read_string(text)
    assert {section: dict(parsed[section]) for section in parsed.sections()} == {
        "console_scripts": {"hil": "hil.cli:main"},
        "pytest11": {"hil": "hil.plugins.plugin"},
    }
