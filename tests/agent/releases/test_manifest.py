"""Manifests: no path leads out of a release, no file stands for two, whatever the bytes are."""

from __future__ import annotations

import json
import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.failure import Failure
from hil.agent.releases.manifest import LARGEST, entries, parse, valid_path

DIGEST = "0" * 64


def listed(*paths: Any, **more: Any) -> dict[str, Any]:
    """A manifest with these paths."""
    files = [{"path": path, "sha256": DIGEST, "size": 1, **more} for path in paths]
    return parse(json.dumps({"schema": 1, "files": files}).encode())


def test_what_a_release_has() -> None:
    """Plain relative names, some folders deep."""
    found = entries(listed("engines/digits-int8.plan", "config/robot-7.yaml", "report.json"))
    assert [entry.path for entry in found] == ["engines/digits-int8.plan", "config/robot-7.yaml", "report.json"]


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../a", "a/../b", "a/..", ".", "..", "", "a//b", "a/", "./a", "~/a", "a/.hidden", ".staging"),
        *(
            "a\0b",
            "a\nb",
            "a b",
            "a\\..\\b",
            "C:\\a",
            "a;b",
            "$HOME",
            "-rf",
            "é",
            "a/b/c/d/e",
            "x" * 300,
            None,
            3,
            ["a"],
        ),
        *("manifest.json", "MANIFEST.json"),
    ],
)
def test_what_no_release_has(path: Any) -> None:
    """Absolute, upwards, hidden, with letters that anything minds, too deep, the manifest's own, or no text."""
    with pytest.raises(Failure, match="the manifest is invalid"):
        entries(listed(path))


@pytest.mark.parametrize(
    "paths", [("a", "a"), ("a", "A"), ("a", "a/b"), ("a/b", "A/c"), ("a/B", "A/b"), ("a/b/c", "a/b")]
)
def test_two_that_may_be_one(paths: tuple[str, str]) -> None:
    """Twice the same, on a file system that does not tell cases apart as well; a file that is a folder too."""
    with pytest.raises(Failure, match="the manifest is invalid"):
        entries(listed(*paths))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"{}", b'{"schema": true, "files": []}', b'{"schema": 2, "files": []}', b"\xff", b"[" * 100000),
        b'{"schema": 1, "schema": 1, "files": []}',
        b'{"schema": 1, "files": []}',
        b'{"schema": 1, "files": [3]}',
        b" " * (LARGEST + 1),
        json.dumps({"schema": 1, "files": [{"path": "a", "sha256": "0" * 63, "size": 1}]}).encode(),
        json.dumps({"schema": 1, "files": [{"path": "a", "sha256": DIGEST, "size": True}]}).encode(),
        json.dumps({"schema": 1, "files": [{"path": "a", "sha256": DIGEST, "size": -1}]}).encode(),
        json.dumps({"schema": 1, "files": [{"path": "a", "sha256": DIGEST, "size": 1, "mode": 7}]}).encode(),
    ],
)
def test_what_is_no_manifest(content: bytes) -> None:
    """One refusal, nothing else."""
    with pytest.raises(Failure, match="the manifest is invalid"):
        entries(parse(content))


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "", "a", "/", "b.c"]), max_size=6).map("/".join))
def test_no_path_leads_out(path: str) -> None:
    """What is let through stays below the release's folder, and is spelt in one way alone."""
    try:
        kept = valid_path(path)
    except Failure:
        return
    joined = posixpath.normpath(posixpath.join("/releases/x", kept))
    assert joined == f"/releases/x/{path}"
