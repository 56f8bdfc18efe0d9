"""Converts the user's ``ssh_config`` to text for paramiko: with includes inserted and without commands.

No program of a config is run: a block with ``Match exec`` gets the key ``TRAP`` instead. A lookup that returns ``TRAP``
shows that such a block may apply to the host.
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
LINE = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.+)")  # as paramiko parses a line
WITHOUT_VALUE = {"all", "canonical", "final"}
CRITERIA = {"host", "originalhost", "user", "localuser"}
WHOLE_LINE = {"knownhostscommand", "localcommand", "proxycommand", "remotecommand"}
"""Keys whose value is a command up to the end of the line, also if it has a ``#``."""

DEPTH = 16  # readconf.c: READCONF_MAX_DEPTH


def config_text(path: Path) -> str:
    """Return the config at ``path`` with its includes, for ``paramiko.SSHConfig``; empty if there is no file.

    Raises ``UserError`` if a file cannot be read, or an include cannot be inserted without changing its meaning.
    """
    return "\n".join(_lines(path, path.parent, "Host *", 0)) if path.exists() else ""


def _lines(path: Path, folder: Path, block: str, depth: int) -> Iterator[str]:
    """Yield the lines of ``path`` with its includes inserted.

    ``block`` is the ``Host`` or ``Match`` line of the block that includes ``path``. ``depth`` counts nested includes,
    and ``folder`` is that of the user's config.
    """
    if depth > DEPTH:
        raise UserError(f"{path} is included {depth} levels deep: at most {DEPTH} are allowed: look for a loop")
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: make it readable, or delete it") from None
    outer = block
    for whole in text.splitlines():
        line = _without_comment(whole)
        match = LINE.match(line.strip())
        key = match[1].lower() if match else ""
        if match and key == "include":
            for name in _included(match[2], folder, path):
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


def _without_comment(line: str) -> str:
    """Return ``line`` without a comment behind its value, which OpenSSH ignores and paramiko does not.

    A comment begins with an unquoted ``#`` at the beginning of a word.
    """
    match = LINE.match(line.strip())
    if match is None or match[1].lower() in WHOLE_LINE:
        return line
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = quote.replace(letter, "")
        elif letter in "\"'":
            quote = letter
        elif letter == "#" and line[at - 1].isspace():
            return line[:at].rstrip()
    return line


def _included(value: str, folder: Path, path: Path) -> list[Path]:
    """Return the files that match the patterns of an ``Include``; a relative pattern starts at ``folder``.

    The files of each pattern are in lexical order.
    """
    try:
        patterns = shlex.split(value)
    except ValueError as error:
        raise UserError(f"{path} has `Include {value}`: {error}: close the quotes") from None
    places = [str(folder / with_home(pattern)) for pattern in patterns]
    return [Path(name) for place in places for name in sorted(glob.glob(place))]  # noqa: PTH207 - a pattern may be absolute


def with_home(text: str) -> Path:
    """Return ``text`` as a path with ``~`` or ``~user`` expanded. Raises ``ValueError`` for an unknown account."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r} is in the home folder of an account that does not exist") from None


def _disarmed(block: str) -> Iterator[str]:
    """Yield a ``Host`` or ``Match`` line without unsupported criteria, followed by ``TRAP`` if it had any."""
    match = LINE.match(block)
    if not match or match[1].lower() != "match":
        yield block
        return
    supported: list[str] = []
    traps: list[str] = []
    tokens = iter(_split(match[2]))
    for word in tokens:
        name = word.lower().lstrip("!")
        if name in WITHOUT_VALUE:
            supported.append(word.lower())
        elif name in CRITERIA:
            supported += [word.lower(), *_value(tokens, block)]
        else:
            traps.append(name)
            next(tokens, "")
    if "final" in supported and "all" in supported:  # paramiko takes "all" alone, or behind "canonical"
        supported[supported.index("all") :] = ["host", "*"]
    yield f"Match {shlex.join(supported) if supported else 'all'}"
    if traps:
        yield f"{TRAP} {' '.join(traps)}"


def _value(tokens: Iterator[str], block: str) -> Iterator[str]:
    """Yield the next word, the value of a criterion. Raise ``UserError`` if there is none."""
    try:
        yield next(tokens)
    except StopIteration:
        raise UserError(f"the SSH config has `{block}`, which lacks a value: complete the line") from None


def _split(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError as error:
        raise UserError(f"the SSH config has `Match {value}`: {error}: close the quotes") from None
