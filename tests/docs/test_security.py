"""``docs/security.md``: each row of the threat tables names an existing test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table in a section, without its header."""
    text = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [line.split(" | ") for line in re.findall(r"^\| (.+) \|$", text, re.MULTILINE)[1:]]


def test_each_row_names_a_test() -> None:
    """Each row names the file and the function of an existing test."""
    lines = rows("What is kept out")
    assert len(lines) > 20
    for _, _, _, test in lines:
        path, _, name = test.strip("`").partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name.startswith("test_"), test
        assert name in names, test


def test_every_attacker_is_introduced() -> None:
    """The attackers of the tables are those that the page introduces, and each of them has a row."""
    known = [name for name, _ in rows("Who")]
    assert {who for who, *_ in rows("What is kept out")} == set(known)
    assert set(known) & {who for who, *_ in rows("What is not")}
