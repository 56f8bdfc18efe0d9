"""What a board wrote, kept within bounds."""

from __future__ import annotations

MOST_KEPT = 1 << 20  # bytes of what a command wrote to stderr: its end tells what went wrong
SLICE = 1 << 16
QUOTED = 200  # characters that a message repeats


class Tail:
    """The last ``most`` bytes of what is added, however much that is."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        """Empty."""
        self._most = most
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        """Keeps the end of all that came."""
        self._kept += piece[-self._most :]
        if len(self._kept) > 2 * self._most:  # not for each piece: what is kept is moved then
            del self._kept[: -self._most]

    def __bytes__(self) -> bytes:
        return bytes(self._kept[-self._most :])
