"""``did you mean``: the most similar name, or the names to choose from."""

from __future__ import annotations

import pytest

from hil.errors import did_you_mean


@pytest.mark.parametrize(
    ("word", "names", "hint"),
    [
        ("limts", ["limits", "path"], ": did you mean 'limits'?"),
        ("X", ["x"], ": did you mean 'x'?"),
        ("zebra", ["limits", "path"], ": there is limits, path"),
        ("zebra", [], ""),
        ("zebra", [str(number) for number in range(20)], ": there is 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …"),
    ],
)
def test_hints(word: str, names: list[str], hint: str) -> None:
    """The hint has the most similar name, or else the first names, or is empty without names."""
    assert did_you_mean(word, names) == hint
