"""Idioms translated from another language, and functions named after a bare participle, do not come back."""

from __future__ import annotations

import ast
import re

import pytest

from tests.test_floors import ROOT

IDIOMS = {
    "hang together": "are consistent",
    "hangs together": "is consistent",
    "be had": "is available, is supported",
    "needs it not": "does not need it",
    "who wants": "that needs",
    "a slip": "a mistake, a typo",
    "in so many words": "explicitly",
    "says so": "states it, reports it",
    "say so": "state it, report it",
    "said so": "stated it, reported it",
    "told apart": "distinguished",
    "that is none": "that is not one",
    "which is none": "which is not one",
    "the surer": "the stricter",
    "worse of both": "worse of the two",
}
VERBS = {"told", "said", "seen", "found", "taken", "kept", "given", "wanted", "gone", "mended"}
FOLDERS = ("hil", "plugins", "suites", "fixtures", "tests", "benchmarks", "docs", "examples", "changelog", ".")
IDIOM = re.compile(r"\b(" + "|".join(re.sub(" ", r"\\s+", i) for i in IDIOMS) + r")\b", re.IGNORECASE)


def texts(folder: str) -> dict[str, str]:
    """Return the text files of a top-level folder by path; `.` means the files of the root alone."""
    paths = ROOT.glob("*") if folder == "." else (ROOT / folder).rglob("*")
    named = {
        p.relative_to(ROOT).as_posix(): p for p in paths if p.is_file() and p.suffix in {".md", ".j2", ".toml", ".py"}
    }
    return {
        name: path.read_text(encoding="utf-8")
        for name, path in sorted(named.items())
        if name != "tests/test_language.py"
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_translated_idiom(folder: str) -> None:
    """No text of the project holds an idiom of the list, not even across a line break."""
    files = texts(folder)
    assert files, f"nothing to read in {folder}"
    offences = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {' '.join(match.group().split())!r}: "
        f"write {IDIOMS[' '.join(match.group().lower().split())]!r}"
        for name, text in files.items()
        for match in IDIOM.finditer(text)
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("folder", [r for r in FOLDERS if r not in ("docs", "changelog", ".")])
def test_functions_are_named_after_what_they_return(folder: str) -> None:
    """No function is called by a bare participle such as `told`."""
    trees = {name: ast.parse(text) for name, text in texts(folder).items() if name.endswith(".py")}
    assert trees, f"nothing to read in {folder}"
    offences = [
        f"{name}:{node.lineno}: {node.name}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in VERBS
    ]
    assert not offences, "\n".join(offences)
