"""``docs/tutorial.md``: its commands are run by ``python -m tests.docs.tutorial``; a difference from the page fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.page import Block, commands, sections
from tests.docs.tutorial import PAGE, Different, Reader
from tests.zoo.packages import PACKAGES

if TYPE_CHECKING:
    from pathlib import Path


def console(text: str) -> list[Block]:
    """Return a console block."""
    return [Block("console", text, None)]


@pytest.mark.parametrize(
    "text",
    [
        "$ exit 1\n",
        "$ true    # exit code 1\n",
        "$ echo one\ntwo\n",
        "$ echo 'Traceback (most recent call last):'\n",
    ],
)
def test_a_command_that_ends_otherwise_is_refused(tmp_path: Path, text: str) -> None:
    """A different exit code, output that is missing, and a traceback are differences."""
    with pytest.raises(Different):
        Reader(tmp_path).follow(console(text))


def test_files_are_written_and_changed(tmp_path: Path) -> None:
    """Blocks with a path are written, diffs are applied, and commands are counted."""
    blocks = [Block("text", "a\nb\n", "one/file"), Block("diff", "-b\n+c\n", "one/file")]
    assert Reader(tmp_path).follow([*blocks, *console("$ cat one/file\nc\n")]) == 1


def test_every_command_of_the_page_is_executed() -> None:
    """Each block is a file, a diff of a file, commands or a board to start, and each step has commands."""
    for title, blocks in sections(PAGE).items():
        assert [block for block in blocks if block.kind == "console"], title
        assert all(block.path or block.kind == "sh" or commands(block.body) for block in blocks), title


def test_the_model_is_that_of_the_tests() -> None:
    """The page installs the version of the detector's package that the tests of third-party models use."""
    (listed,) = [line.split()[0] for line in PACKAGES.read_text(encoding="utf-8").splitlines() if "nudenet" in line]
    assert listed in PAGE.read_text(encoding="utf-8")


def test_nothing_of_this_repository_reaches_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's commands see no module of this repository, and no variable of CI or pytest."""
    monkeypatch.setenv("PYTHONPATH", "here")
    monkeypatch.setenv("CI", "true")
    Reader(tmp_path).follow(console('$ echo "$PYTHONPATH$CI$PYTEST_CURRENT_TEST."\n.\n'))
    with pytest.raises(Different):
        Reader(tmp_path).follow(console('$ test -n "$PYTHONPATH$CI$PYTEST_CURRENT_TEST"\n'))
