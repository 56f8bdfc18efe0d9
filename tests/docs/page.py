"""Parse a page of the documentation: files to write, diffs to apply and commands to run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(
    r"(?:^(?:In )?`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMAND = re.compile(r"\$ (?P<text>.+?)(?:\s+# exit code (?P<code>\d+))?")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file that the line above it names."""

    kind: str
    body: str
    path: str | None


@dataclass(frozen=True)
class Command:
    """A command of a console block: its text, its documented exit code, and the lines that its output must contain."""

    text: str
    code: int
    output: tuple[str, ...]


def sections(page: Path) -> dict[str, list[Block]]:
    """Return the blocks of each ``##`` section by its title; blocks before the first title are under ``""``."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    titled = zip(["", *parts[1::2]], parts[0::2], strict=True)
    return {title: [Block(m["kind"], m["body"], m["path"]) for m in BLOCK.finditer(text)] for title, text in titled}


def commands(body: str) -> list[Command]:
    """Return the commands of a console block, each with the output that is shown below it."""
    listed: list[Command] = []
    for line in body.splitlines():
        match = COMMAND.fullmatch(line)
        if match:
            listed.append(Command(match["text"], int(match["code"] or 0), ()))
        else:
            last = listed.pop()
            listed.append(Command(last.text, last.code, (*last.output, line)))
    return listed


def is_shown(line: str, output: str) -> bool:
    """Return whether ``output`` contains a line of the documentation, in which ``…`` matches any text."""
    return re.search(".*".join(re.escape(part) for part in line.strip().split("…")), output) is not None


def patched(text: str, diff: str) -> str:
    """Return ``text`` with a diff applied; each hunk, separated by ``@@``, must match in exactly one place."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"occurs {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    return text
