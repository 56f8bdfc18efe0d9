from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.board.as_root import PROGRAM, SUDOERS
from hil.cli import board
from hil.errors import UserError
from tests.board.conftest import bare
from tests.plugins.project import Project

if TYPE_CHECKING:
    from tests.board.sandbox import Sandbox

__all__ = ["bare"]
HIL = "import sys; from hil.cli import main; sys.exit(main())"
HELPER = Path(board.__file__).parents[1] / "board" / "helper.py"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A config with the target ``cpu``, this machine itself."""
    return Project.make(tmp_path)


def test_a_dry_run_prints_what_would_be_installed_and_changes_nothing(project: Project) -> None:
    """``--dry-run`` lists each file with owner and mode, and the helper with its digest, and changes nothing."""
    done = project.hil("board", "setup", "cpu", "--service", "robot", "--dry-run")
    assert done.code == 0, done.out
    digest = hashlib.sha256(HELPER.read_bytes()).hexdigest()
    for piece in (f"{PROGRAM} (root:root, 0755): sha256 {digest}", "robot", "would be installed on cpu"):
        assert piece in done.out
    assert not Path(SUDOERS).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("setup", "cpuu"), "did you mean 'cpu'"),
        (("setup", "cpu", "--service", "../x", "--dry-run"), "is not a valid service name: on target 'cpu'"),
        (("setup", "cpu", "--service=--force", "--dry-run"), "is not a valid service name"),
        (("setup",), "TARGET"),
        (("remove",), "TARGET"),
        (("sutep", "cpu"), "sutep"),
    ],
)
def test_a_wrong_call_is_the_users_mistake(project: Project, arguments: tuple[str, ...], message: str) -> None:
    """A wrong call gives one message and exit code 4."""
    done = project.hil("board", *arguments)
    assert (done.code, message in done.out, "Traceback" in done.out) == (4, True, False), done.out


def test_set_up_and_removed_by_root(project: Project, bare: Sandbox) -> None:
    """Without a terminal, ``hil board setup`` and ``remove`` need ``--yes``; they report each step."""

    def hil(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*bare.into, sys.executable, "-c", HIL, "board", *arguments, f"--config={project.root}/hil.toml"]
        return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)

    for verb in ("setup", "remove"):
        asked = hil(verb, "cpu")
        assert (asked.returncode, "on target 'cpu': pass --yes" in asked.stderr) == (4, True)
    first = hil("setup", "cpu", "--yes")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines()[0] == f"{PROGRAM} was written"
    assert first.stdout.splitlines()[-1] == "the helper answers"
    refused = hil("setup", "cpu", "--service", "robot", "--yes")
    assert refused.returncode == 11
    assert "this board has no service robot" in refused.stderr
    assert "on target 'cpu'" in refused.stderr
    removed = hil("remove", "cpu", "--yes")
    assert (removed.returncode, "was removed" in removed.stdout) == (0, True)
    assert hil("remove", "cpu", "--yes").stdout == "there was nothing to remove\n"


def test_a_password_is_read_from_a_terminal_only() -> None:
    """Without a terminal, as in a pipeline, the message states what to do instead of entering a password."""
    with pytest.raises(UserError, match="run this in a terminal, or as root on the board"):
        board._ask_password("password: ")  # noqa: SLF001 - only the prompt, without a board that requests a password
