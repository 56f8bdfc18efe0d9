"""Which commit was judged: that of the repository that ``hil.toml`` lies in, and what the run used beside it."""

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
NAMED = 10
"""How many changed files a report names."""
ELSEWHERE = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX"})
"""Variables that a hook of git leaves behind, and that would have another repository answer."""
OURS = Path(hil.__file__).parent
ROOMS = ("", "fixtures", "plugins", "suites", "../conftest.py")
"""What is hil's: in its own repository three of the folders are links, and pytest finds a conftest above them."""


@dataclass(frozen=True)
class Commit:
    """A commit and what differs from it.

    Attributes:
        sha: the commit, ``None`` where there is none or git cannot be asked.
        dirty: whether the run used anything that the commit does not hold; ``None`` where that is unknown.
        changed: the first of these files, relative to the repository where they lie in it.
    """

    sha: str | None = None
    dirty: bool | None = None
    changed: tuple[str, ...] = ()

    def and_(self, later: Commit) -> Commit:
        """This one and what was found later: dirty if either was, unknown if either is, of no commit if they differ."""
        if self.sha != later.sha:
            return Commit()
        both = {self.dirty, later.dirty}
        dirty = True if True in both else None if None in both else False
        return Commit(self.sha, dirty, tuple(dict.fromkeys((*self.changed, *later.changed)))[:NAMED])


def commit_of(folder: Path, files: Iterable[Path] = (), *, others: bool = True) -> Commit:
    """The commit of the repository around ``folder``, and whether tracked files differ from it or ``files`` lack in it.

    A file is in the commit if it is tracked there, in a submodule too, under its own name and, for a link, under that
    of the file it leads to. Changes that git was asked to overlook (``assume-unchanged``, ``skip-worktree``) count.
    Without ``others`` only ``files`` are looked at: a run may write into what is tracked.
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
    """The files of ``git status -z``; of one that was renamed, where it is now."""
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
    """The files of all modules in this process but those that are installed, which no commit holds, and hil's own.

    These are conftests, tests, callables of ``hil.toml``, and whatever of the project's they import.
    """
    places = {str(place) for place in _installed()}

    @functools.cache  # a process has thousands of modules, in a few hundred folders
    def is_installed(folder: str) -> bool:
        parent = os.path.dirname(folder)  # noqa: PTH120 - a Path for each of them takes half a second
        return folder in places or (parent != folder and is_installed(parent))

    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        path = Path(file).absolute()
        if not is_installed(str(path)) and not is_installed(str(path.resolve())):
            yield path


def _installed() -> set[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    places: list[str | Path] = [*(sysconfig.get_paths()[name] for name in names), *(OURS / room for room in ROOMS)]
    places += [*site.getsitepackages(), site.getusersitepackages()]
    return {found for place in places for found in (Path(place).absolute(), Path(place).resolve())}


def _git(folder: Path, *arguments: str) -> str | None:
    # Looking must not write: without this, git refreshes its index while somebody else may be committing.
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - git is wherever the user has it
            capture_output=True,
            timeout=PATIENCE,
            check=True,
            text=True,
            errors="replace",
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):  # no git, no repository, somebody else's, too slow
        return None
    return done.stdout
