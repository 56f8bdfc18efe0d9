from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import hil.agent
from hil.targets import bundle

if TYPE_CHECKING:
    import pytest


def test_the_same_sources_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The archive depends only on the sources' content: not on times, modes, order or other files."""
    before = bundle.agent_bytes()
    copy = tmp_path / "agent"
    shutil.copytree(Path(hil.agent.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.py"):
        os.utime(path, (time.time(), 1))
        path.chmod(0o755)
    (copy / "notes.txt").write_text("not a part of it")
    monkeypatch.setattr(hil.agent, "__file__", str(copy / "__init__.py"))
    assert bundle.agent_bytes() == before


def test_the_archive_is_named_by_its_digest(tmp_path: Path) -> None:
    """The file's name has the beginning of its SHA-256; a damaged file is rewritten."""
    path, digest = bundle.agent_archive(tmp_path)
    assert path.name == f"agent-{digest[:12]}.pyz"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    path.write_bytes(b"damage")
    assert bundle.agent_archive(tmp_path) == (path, digest)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert list(tmp_path.iterdir()) == [path]


def test_the_archive_has_only_the_agent(tmp_path: Path) -> None:
    """The archive has the agent's modules and ``__main__.py``; nothing else of hil is sent to a target."""
    names = zipfile.ZipFile(bundle.agent_archive(tmp_path)[0]).namelist()
    assert "__main__.py" in names
    assert all(name == "__main__.py" or name.startswith("hil_agent/") for name in names)
    assert all(name.endswith(".py") for name in names)


def test_the_supervisor_needs_no_numpy(tmp_path: Path) -> None:
    """The supervisor starts and exits in an interpreter without any package."""
    path, _ = bundle.agent_archive(tmp_path)
    command = [sys.executable, "-I", "-S", "-B", str(path), "--store", str(tmp_path / "store")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=30)
    assert b'"hello"' in done.stdout
    assert done.stderr == b""
    assert not list(tmp_path.rglob("*.pyc"))
