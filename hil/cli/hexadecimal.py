"""Commits and digests as options take them: all of their digits, so that no other one has the same."""

from __future__ import annotations

from hil.errors import UserError

LENGTHS = {"commit": (40, 64), "digest": (64,)}


def whole(text: str | None, what: str) -> str | None:
    """``text``, the ``commit`` or ``digest`` that was given, if one was. Raises ``UserError`` for a part of one."""
    if text is not None and (len(text) not in LENGTHS[what] or set(text) - set("0123456789abcdef")):
        raise UserError(f"{text[:80]!r} is no {what} in full: give all of its hexadecimal digits")
    return text
