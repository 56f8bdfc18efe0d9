"""Check commits and digests on the command line: only the full number of digits is unique."""

from __future__ import annotations

from hil.errors import UserError

LENGTHS = {"commit": (40, 64), "digest": (64,)}


def full_hex(text: str | None, kind: str) -> str | None:
    """Return ``text`` unchanged. Raise ``UserError`` if it is an abbreviated ``commit`` or ``digest`` (``kind``)."""
    if text is not None and (len(text) not in LENGTHS[kind] or set(text) - set("0123456789abcdef")):
        raise UserError(f"{text[:80]!r} is not a full {kind}: give all of its hexadecimal digits")
    return text
