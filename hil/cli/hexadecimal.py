"""Check that commits and digests on the command line are not abbreviated, since an abbreviation may be ambiguous."""

from __future__ import annotations

from hil.errors import UserError

LENGTHS = {"commit": (40, 64), "digest": (64,)}


def full_hex(text: str | None, kind: str) -> str | None:
    """Return ``text`` unchanged; ``kind`` is ``commit`` or ``digest``.

    Raise ``UserError`` unless ``text`` is ``None`` or has all hexadecimal digits of this kind, in lower case.
    """
    if text is not None and (len(text) not in LENGTHS[kind] or set(text) - set("0123456789abcdef")):
        raise UserError(f"{text[:80]!r} is not a full {kind}: give all of its hexadecimal digits")
    return text
