"""Finds the commit of the repository that contains ``hil.toml``, and the run's files that differ from the commit."""

from __future__ import annotations

import contextlib
import functools
import os
import site
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATIENCE = 20.0
"""The maximum seconds that one git command may take."""
NAMED = 10
"""The number of changed files that a report lists."""
ELSEWHERE = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX"})
"""Variables set by git hooks, which would make git use another repository."""
OURS = Path(hil.__file__).parent
OWN = ("", "fixtures", "plugins", "suites", "../conftest.py")
"""The folders and files of hil itself, relative to ``OURS``. In hil's repository, ``fixtures``, ``plugins`` and
``suites`` are links to folders beside ``hil``, and pytest loads the ``conftest.py`` there."""


@dataclass(frozen=True)
class Commit:
    """A commit, and the files that differ from it.

    Attributes:
        sha: the commit's hash; ``None`` if there is no commit, or git fails.
        dirty: whether files of the run differ from the commit or are not in it; ``None`` if unknown.
        changed: at most ``NAMED`` of these files; a path inside the repository is relative to its root.
    """

    sha: str | None = None
    dirty: bool | None = None
    changed: tuple[str, ...] = ()

    def combined(self, later: Commit) -> Commit:
        """Return this state of a run combined with a ``later`` one of the same run.

        The result is dirty if either state is dirty, and otherwise unknown if either state is unknown. If the two
        commits differ, all fields are unknown.
        """
        if self.sha != later.sha:
            return Commit()
        both = {self.dirty, later.dirty}
        dirty = True if True in both else None if None in both else False
        return Commit(self.sha, dirty, tuple(dict.fromkeys((*self.changed, *later.changed)))[:NAMED])


def commit_of(folder: Path, files: Iterable[Path] = (), *, others: bool = True) -> Commit:
    """Return the commit of the repository that contains ``folder``, and the files that differ from the commit.

    These are all changed tracked files, and those of ``files`` that are not tracked. If ``others`` is false, only
    ``files`` are examined. Without a repository or git, all fields of the result are unknown.
    """
    sha = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    top = _git(folder, "rev-parse", "--show-toplevel")
    if not sha or not top:
        return Commit()
    root = Path(top.removesuffix("\n"))
    status = _git(root, "status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=untracked")
    listed = _git(root, "ls-files", "-v", "-z", "--recurse-submodules")
    if status is None or listed is None:
        return Commit(sha.strip())
    entries = [(line[0], line[2:]) for line in listed.split("\0") if line]
    used = {_shown(path, root) for path in _places(files)}
    changed = {*_modified(status), *(name for tag, name in entries if tag != "H" and os.path.lexists(root / name))}
    changed = (changed if others else changed & used) | (used - {name for _, name in entries})
    return Commit(sha.strip(), bool(changed), tuple(sorted(changed)[:NAMED]))


def _modified(status: str) -> Iterator[str]:
    """Yield the paths in the output of ``git status -z``; for a renamed file, the new path."""
    lines = iter(status.split("\0"))
    for line in lines:
        if line:
            yield line[3:]
        if line[:1] in {"R", "C"}:
            next(lines, None)


def _places(files: Iterable[Path]) -> Iterator[Path]:
    for file in files:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            yield file.parent.resolve() / file.name
            yield file.resolve()


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def imported() -> Iterator[Path]:
    """Yield the file of each imported module that is neither installed nor a part of hil.

    These are conftests, tests, modules with callables that ``hil.toml`` names, and project modules that those import.
    """
    places = {str(place) for place in _installed()}

    @functools.cache  # thousands of modules are in a few hundred folders
    def is_installed(folder: str) -> bool:
        parent = os.path.dirname(folder)  # noqa: PTH120 - pathlib takes half a second for all modules
        return folder in places or (parent != folder and is_installed(parent))

    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        path = os.path.abspath(file)  # noqa: PTH100 - as above
        if not is_installed(path) and not is_installed(os.path.realpath(path)):
            yield Path(path)


def _installed() -> set[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    places: list[str | Path] = [*(sysconfig.get_paths()[name] for name in names), *(OURS / name for name in OWN)]
    places += [*site.getsitepackages(), site.getusersitepackages()]
    return {path for place in places for path in (Path(place).absolute(), Path(place).resolve())}


def _git(folder: Path, *arguments: str) -> str | None:
    # Without GIT_OPTIONAL_LOCKS=0, git may write its index while another process commits.
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - git is looked up on the user's PATH
            capture_output=True,
            timeout=PATIENCE,
            check=True,
            text=True,
            errors="replace",
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):  # git is missing, fails or times out
        return None
    return done.stdout
