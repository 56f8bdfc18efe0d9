"""Makes and checks seals: a seal proves that a cached file was written by this user's runs and was not changed.

A cached file without a valid seal is generated again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTH = 32
"""Bytes of a key."""


def seal(facts: Mapping[str, Any]) -> str:
    """Return the HMAC-SHA256 (hex) of ``facts``, which are plain JSON values, under this user's key."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hmac.new(key_in(_folder()), text.encode(), hashlib.sha256).hexdigest()


def is_sealed(facts: Mapping[str, Any], sealed: object) -> bool:
    """Return whether ``sealed`` is the seal of ``facts``."""
    return isinstance(sealed, str) and hmac.compare_digest(sealed.encode(), seal(facts).encode())


def _folder() -> Path:
    """Return the folder of the key."""
    place = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(place) if Path(place).is_absolute() else Path("~/.cache").expanduser()) / "pytest-hil"


@cache
def key_in(folder: Path) -> bytes:
    """Return the key that is stored in ``folder``; the first call creates it.

    If the key cannot be stored or read, return a random key for this process only. Seals made with it are invalid for
    other processes.
    """
    place = folder / "cache-key"
    try:
        if not place.exists():
            folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".key-", dir=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(secrets.token_bytes(LENGTH))
                os.link(temporary, place)  # atomic, and never replaces another process's key
            except FileExistsError:
                pass
            finally:
                Path(temporary).unlink()
        key = place.read_bytes()
    except (OSError, RuntimeError):
        key = b""
    return key if len(key) == LENGTH else secrets.token_bytes(LENGTH)
