from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hil.targets.answers import error_of
from hil.targets.words import Tail


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_tail_keeps_the_end(pieces: list[bytes], most: int) -> None:
    """A ``Tail`` holds exactly the last bytes of all that was added."""
    tail = Tail(most)
    for piece in pieces:
        tail.add(piece)
    assert bytes(tail) == b"".join(pieces)[-most:]


def test_an_error_of_the_board_is_cleaned() -> None:
    """Text of an agent's error reply is quoted without control characters."""
    error = error_of({"kind": "store", "message": "\x1b[2Jgone\nline", "advice": "\x07"}, "board")
    assert str(error) == "\\x1b[2Jgone line: on target 'board': \\x07"
