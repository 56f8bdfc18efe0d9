"""Seals for caches: what is read back was written by this user's own runs, and nobody changed it meanwhile.

A digest beside what it is the digest of proves nothing against whoever writes both: a copied folder, a restored
archive, another tool. So a seal is made with a key that lies elsewhere, and what has another one is made again.
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
    """Whether ``sealed`` is the seal of ``facts``."""
    return isinstance(sealed, str) and hmac.compare_digest(sealed.encode(), seal(facts).encode())


def _folder() -> Path:
    """Where the store of a local target is, too: both are kept or lost together."""
    place = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(place) if Path(place).is_absolute() else Path("~/.cache").expanduser()) / "pytest-hil"


@cache
def key_in(folder: Path) -> bytes:
    """The key in ``folder``, made once. Where none can be kept it is of this process: its caches last no longer."""
    place = folder / "cache-key"
    try:
        if not place.exists():
            folder.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(prefix=".key-", dir=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(secrets.token_bytes(LENGTH))
                os.link(beside, place)  # whole, and never over another process's
            except FileExistsError:
                pass
            finally:
                Path(beside).unlink()
        key = place.read_bytes()
    except (OSError, RuntimeError):
        key = b""
    return key if len(key) == LENGTH else secrets.token_bytes(LENGTH)
