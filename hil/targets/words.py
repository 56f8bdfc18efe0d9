"""Limits how much text of a board is kept and quoted."""

from __future__ import annotations

MOST_KEPT = 1 << 20  # bytes of a command's stderr; its end usually names the error
SLICE = 1 << 16
QUOTED = 200  # characters that a message quotes at most


class Tail:
    """Keeps the last ``most`` bytes of all pieces added; uses at most three times this memory."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        """Start empty."""
        self._most = most
        self._tail = bytearray()

    def add(self, piece: bytes) -> None:
        """Add a piece. Bytes before the last ``most`` may be dropped."""
        self._tail += piece[-self._most :]
        if len(self._tail) > 2 * self._most:  # not for each piece, because this moves the kept bytes
            del self._tail[: -self._most]

    def __bytes__(self) -> bytes:
        return bytes(self._tail[-self._most :])
