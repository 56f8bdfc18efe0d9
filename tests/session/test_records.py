"""What a result records of the engine that it is about."""

from __future__ import annotations

from hil.session.records import _about
from hil.targets.answers import BuiltEngine


def test_what_a_loaded_engine_told_stands_apart_from_its_build() -> None:
    """Two sources, two places; what is the same for all engines of the target is no fact of one of them."""
    built = BuiltEngine(
        "k", "d", 1, 0.1, cached=False, runtime="tensorrt", runtime_version="8.6.0", log="", about={"a": 1}
    )
    told = {"device_memory_size": 64, "layers": 3, "warnings": ["w"], "ranges": None, "cuda": "ctypes"}
    assert _about(built, told) == {"a": 1, "loaded": {"device_memory_size": 64, "layers": 3, "warnings": ["w"]}}
    assert _about(built, {}) == {"a": 1}
