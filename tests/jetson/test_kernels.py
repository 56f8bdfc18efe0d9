"""A TensorRT without kernels for the board's GPU is reported; unknown kernels are not."""

from __future__ import annotations

from typing import Any

import pytest

from hil.jetson.kernels import kernels_text, lacking_kernels


def board(version: str, *known: str) -> dict[str, Any]:
    """Return a board's facts with these kernels."""
    return {"libraries": {"nvinfer": version, "cudnn": None}, "kernels": list(known)}


def test_an_orin_without_its_kernels() -> None:
    """TensorRT 10.13.3 lacks the kernels of an Orin; 10.16 uses those of sm_86 instead."""
    old = lacking_kernels(board("10.13.3.9", "75", "86", "110"), "8.7")
    new = lacking_kernels(board("10.16.2.10", "75", "80", "86", "110"), "8.7")
    assert old is not None
    assert new is not None
    assert (old.replaced, new.replaced) == (False, True)
    assert "none for this GPU (sm 87): it cannot build engines there" in old.text
    assert "uses the kernels of sm 86" in new.text
    assert "sm 87" in kernels_text({"board": board("10.13.3.9", "86")}, "8.7")


@pytest.mark.parametrize(
    ("facts", "sm"),
    [
        (board("10.16.2", "75", "87"), "8.7"),
        (board("10.3.0"), "8.7"),
        (board("10.16.2", "75"), None),
        (board("10.16.2", "75"), "N/A"),
        ({"kernels": "75"}, "8.7"),
        (None, "8.7"),
    ],
)
def test_nothing_is_known_to_be_lacking(facts: Any, sm: str | None) -> None:
    """No kernels are reported as lacking if the facts are unknown or the GPU's kernels are present."""
    assert lacking_kernels(facts, sm) is None
    assert not kernels_text({"board": facts}, sm)
