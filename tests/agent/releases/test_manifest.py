"""Manifests: no path leaves the release's folder, and no two paths are one file, whatever the content."""

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


def manifest_of(*paths: Any, **more: Any) -> dict[str, Any]:
    """Return a manifest with these paths."""
    files = [{"path": path, "sha256": DIGEST, "size": 1, **more} for path in paths]
    return parse(json.dumps({"schema": 1, "files": files}).encode())


def test_valid_paths() -> None:
    """Plain relative paths of up to four parts are accepted."""
    listed = entries(manifest_of("engines/digits-int8.plan", "config/robot-7.yaml", "report.json"))
    assert [entry.path for entry in listed] == ["engines/digits-int8.plan", "config/robot-7.yaml", "report.json"]


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
def test_invalid_paths(path: Any) -> None:
    """Absolute, upward, hidden and too deep paths, special characters, the manifest's own name and non-strings fail."""
    with pytest.raises(Failure, match="the manifest is invalid"):
        entries(manifest_of(path))


@pytest.mark.parametrize(
    "paths", [("a", "a"), ("a", "A"), ("a", "a/b"), ("a/b", "A/c"), ("a/B", "A/b"), ("a/b/c", "a/b")]
)
def test_colliding_paths(paths: tuple[str, str]) -> None:
    """Two paths that are equal or differ only by case are rejected, and so is a path that is a folder of another."""
    with pytest.raises(Failure, match="the manifest is invalid"):
        entries(manifest_of(*paths))


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
def test_malformed_manifests(content: bytes) -> None:
    """Any content that is not a manifest raises ``Failure`` and nothing else."""
    with pytest.raises(Failure, match="the manifest is invalid"):
        entries(parse(content))


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "", "a", "/", "b.c"]), max_size=6).map("/".join))
def test_no_path_leaves_the_release(path: str) -> None:
    """An accepted path stays inside the release's folder and is in normal form."""
    try:
        accepted = valid_path(path)
    except Failure:
        return
    joined = posixpath.normpath(posixpath.join("/releases/x", accepted))
    assert joined == f"/releases/x/{path}"
