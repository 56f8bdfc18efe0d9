"""A page of the documentation as what it tells its reader to do: files to write, text to change, commands to run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(
    r"(?:^(?:In )?`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMAND = re.compile(r"\$ (?P<words>.+?)(?:\s+# exit code (?P<code>\d+))?")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file that the line before it names."""

    kind: str
    body: str
    path: str | None


@dataclass(frozen=True)
class Command:
    """A command of a console block: its words, the exit code promised, and the lines that its output must hold."""

    words: str
    code: int
    output: tuple[str, ...]


def chapters(page: Path) -> dict[str, list[Block]]:
    """The blocks of each ``##`` section by its title; those before the first one are under ``""``."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    titled = zip(["", *parts[1::2]], parts[0::2], strict=True)
    return {title: [Block(m["kind"], m["body"], m["path"]) for m in BLOCK.finditer(text)] for title, text in titled}


def commands(body: str) -> list[Command]:
    """The commands of a console block, each with the output that is shown below it."""
    found: list[Command] = []
    for line in body.splitlines():
        match = COMMAND.fullmatch(line)
        if match:
            found.append(Command(match["words"], int(match["code"] or 0), ()))
        else:
            last = found.pop()
            found.append(Command(last.words, last.code, (*last.output, line)))
    return found


def shown(line: str, output: str) -> bool:
    """Whether a line of the documentation stands in ``output``; ``…`` stands for anything on that line."""
    return re.search(".*".join(re.escape(part) for part in line.strip().split("…")), output) is not None


def patched(text: str, diff: str) -> str:
    """``text`` after a diff block; each of its pieces, parted by ``@@``, must fit in exactly one place."""
    for piece in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = piece.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"found {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    return text
