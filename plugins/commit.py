"""Which commit was judged: that of the repository that ``hil.toml`` lies in."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 5.0


def commit_of(folder: Path) -> tuple[str | None, bool | None]:
    """The commit, and whether tracked files differ from it; ``None`` where that cannot be told."""
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return None, None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changed is None else bool(changed)


def _git(folder: Path, *arguments: str) -> str | None:
    # Looking must not write: without this, git refreshes its index while somebody else may be committing.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - git is wherever the user has it
            capture_output=True,
            timeout=PATIENCE,
            check=True,
            text=True,
            errors="replace",
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):  # no git, no repository, somebody else's, too slow
        return None
    return done.stdout.strip()
