"""The inputs of ``.ci/run``: the README's two commands, and the lowest versions that the package allows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

MAIN_JOB = "<!-- setup: main job -->\n```console\n$ one && two\n$ three\n```\n"
TESTS = "<!-- setup: tests -->\n```bash\nfour\n```\n"


def extract(root: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Return the result of the extractor for one set-up command of the README in ``root``."""
    command = [sys.executable, str(root / ".ci" / "readme.py"), name]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def copy_extractor(folder: Path, repository: Path, text: str) -> Path:
    """Write the extractor and a README with ``text`` into ``folder``; return ``folder``."""
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / ".ci").mkdir()
    shutil.copy(repository / ".ci" / "readme.py", folder / ".ci")
    return folder


def test_lowest_versions_are_the_lower_bounds(repository: Path) -> None:
    """The lowest tested versions are exactly those of pyproject.toml."""
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = [line.replace(">=", "==") for line in project["dependencies"]]
    constraints = (repository / ".ci" / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in constraints if not line.startswith("#")] == promised


def test_no_array_file_gets_an_array_named_allow_pickle(repository: Path) -> None:
    """No file passes ``allow_pickle`` to ``np.savez``, which numpy before 2.1 stores as an array."""
    folders = ("hil", "tests", "benchmarks", "examples")
    files = [path for folder in folders for path in (repository / folder).rglob("*.py")]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    assert len(texts) > len(folders)
    assert [path.name for path, text in texts.items() if re.search(r"savez\w*\([^\n]*allow_pickle=", text)] == []


@pytest.mark.parametrize("name", ["main job", "tests"])
def test_readme_holds_its_two_commands(repository: Path, name: str) -> None:
    """Each set-up command can be extracted from the README and creates its own environment."""
    done = extract(repository, name)
    assert done.returncode == 0, done.stderr
    assert "-m venv .venv" in done.stdout
    assert "pytest" in done.stdout


def test_command_is_extracted_verbatim(repository: Path, tmp_path: Path) -> None:
    """The extracted commands are those of the README's block without the console's prompt."""
    copy = copy_extractor(tmp_path, repository, MAIN_JOB + "\nAnd:\n\n" + TESTS)
    assert extract(copy, "main job").stdout == "one && two\nthree\n"
    assert extract(copy, "tests").stdout == "four\n"


@pytest.mark.parametrize(
    "text",
    [MAIN_JOB, MAIN_JOB + TESTS + TESTS, MAIN_JOB + TESTS + TESTS.replace("tests", "more"), MAIN_JOB + TESTS[:18], ""],
    ids=["one", "twice", "three", "no block", "none"],
)
def test_any_other_number_of_commands_is_refused(repository: Path, tmp_path: Path, text: str) -> None:
    """A README without exactly the two set-up commands is refused."""
    done = extract(copy_extractor(tmp_path, repository, text), "main job")
    assert done.returncode == 1
    assert done.stderr.startswith("set-up commands of README.md: ")


SKIPS = """
import pytest


def test_passes():
    pass


def test_skips():
    pytest.skip({reason!r})
"""


@pytest.mark.parametrize(
    ("workers", "reason", "ci", "code"),
    [
        ([], "onnxruntime 1.10.0 is not there", "1", 1),
        (["-n1"], "onnxruntime 1.10.0 is not there", "1", 1),
        ([], "onnxruntime 1.10.0 is not there", "0", 0),
        ([], "python3.6 is not installed", "1", 0),
    ],
    ids=["part", "part with xdist", "part at home", "interpreter"],
)
def test_skip_for_a_missing_part_fails_under_ci(
    repository: Path, tmp_path: Path, workers: list[str], reason: str, ci: str, code: int
) -> None:
    """Under ``HIL_CI=1`` a test skipped for a missing part fails the run; a missing interpreter is only listed."""
    shutil.copy(repository / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_skips.py").write_text(SKIPS.format(reason=reason), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *workers]
    environment = {**os.environ, "HIL_CI": ci}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout
    if reason.startswith("python"):
        assert "interpreters that are not installed, so not tested: python3.6" in done.stdout
    assert ("a failure under HIL_CI: " + reason in done.stdout) == (code == 1)
