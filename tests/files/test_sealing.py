"""Seals are made with one key for each user, which is created once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.files import sealing

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_seal_is_of_all_facts_and_of_this_users_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal is valid only for the same facts and the same key, which only its user can read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    sealed = sealing.seal({"a": 1, "b": [2]})
    sealing.key_in.cache_clear()
    assert sealing.is_sealed({"b": [2], "a": 1}, sealed)
    assert not sealing.is_sealed({"a": 1, "b": [3]}, sealed)
    assert not any(sealing.is_sealed({"a": 1, "b": [2]}, other) for other in (None, "", 7, "é"))
    assert (tmp_path / "one/pytest-hil/cache-key").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    assert not sealing.is_sealed({"a": 1, "b": [2]}, sealed)


def test_a_key_that_cannot_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stored key, a process recognizes only its own seals."""
    (tmp_path / "pytest-hil").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sealed = sealing.seal({})
    assert sealing.is_sealed({}, sealed)
    sealing.key_in.cache_clear()
    assert not sealing.is_sealed({}, sealed)
