"""The user's ``ssh_config`` as text for paramiko: what was included is put in, and what would run a command disarmed.

paramiko passes over ``Include`` and runs what stands behind ``Match exec``. Here no config starts a program: such a
block gets the key ``TRAP``, which then tells that it was reached.
"""

from __future__ import annotations

import glob
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAP = "hilmatch"
LINE = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.+)")  # paramiko's own notion of a line
WITHOUT_VALUE = {"all", "canonical", "final"}
CRITERIA = {"host", "originalhost", "user", "localuser"}
DEPTH = 16  # readconf.c: READCONF_MAX_DEPTH


def config_text(path: Path) -> str:
    """The config at ``path`` with its includes, ready for ``paramiko.SSHConfig``; empty where there is none.

    Raises ``UserError`` for a file that cannot be read, or includes that cannot be put in without a change of sense.
    """
    return "\n".join(_lines(path, path.parent, "Host *", 0)) if path.exists() else ""


def _lines(path: Path, folder: Path, block: str, depth: int) -> Iterator[str]:
    """``block`` is the line that opened the block in which ``path`` was included."""
    if depth > DEPTH:
        raise UserError(f"{path} is included {depth} levels deep: an SSH config may go {DEPTH} deep: look for a circle")
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: make it readable, or take it away") from None
    outer = block
    for line in text.splitlines():
        found = LINE.match(line.strip())
        key = found[1].lower() if found else ""
        if found and key == "include":
            for name in _included(found[2], folder, path):
                yield from _lines(name, folder, block, depth + 1)
                yield from _disarmed(block)
            continue
        if key in {"host", "match"}:
            if depth and outer != "Host *":
                raise UserError(
                    f"{path} has a block of its own and is included within `{outer}`, which pytest-hil cannot follow: "
                    f"move the Include to the top of {folder / 'config'}"
                )
            block = line.strip()
            yield from _disarmed(block)
        else:
            yield line


def _included(value: str, folder: Path, path: Path) -> list[Path]:
    """The files that an ``Include`` names: relative to ``~/.ssh``, in lexical order."""
    try:
        patterns = shlex.split(value)
    except ValueError as error:
        raise UserError(f"{path} has `Include {value}`: {error}: close the quotes") from None
    places = [str(folder / with_home(pattern)) for pattern in patterns]
    return [Path(name) for place in places for name in sorted(glob.glob(place))]  # noqa: PTH207 - may be absolute


def with_home(text: str) -> Path:
    """A path with its ``~`` or ``~user`` replaced. Raises ``ValueError`` for a home folder that nobody has."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r} leads to the home folder of an account that is not there") from None


def _disarmed(block: str) -> Iterator[str]:
    """A ``Host`` or ``Match`` line without what cannot be judged; the trap stands in the block then."""
    found = LINE.match(block)
    if not found or found[1].lower() != "match":
        yield block
        return
    kept: list[str] = []
    traps: list[str] = []
    words = iter(_split(found[2]))
    for word in words:
        name = word.lower().lstrip("!")
        if name in WITHOUT_VALUE:
            kept.append(word.lower())
        elif name in CRITERIA:
            kept += [word.lower(), *_value(words, block)]
        else:
            traps.append(name)
            next(words, "")
    yield f"Match {shlex.join(kept) if kept else 'all'}"
    if traps:
        yield f"{TRAP} {' '.join(traps)}"


def _value(words: Iterator[str], block: str) -> Iterator[str]:
    """What a criterion is compared with."""
    try:
        yield next(words)
    except StopIteration:
        raise UserError(f"the SSH config has `{block}`, which lacks a value: complete the line") from None


def _split(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError as error:
        raise UserError(f"the SSH config has `Match {value}`: {error}: close the quotes") from None
