"""The facts that a result records about its engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hil.config.spec import TargetSpec
from hil.session.records import _about, environment, target
from hil.targets.answers import BuiltEngine
from tests.jetson.trees import AGX_ORIN, ORIN_NX, Tree

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_loaded_engine_told_stands_apart_from_its_build() -> None:
    """Two sources, two places; what is the same for all engines of the target is no fact of one of them."""
    built = BuiltEngine(
        "k", "d", 1, 0.1, cached=False, runtime="tensorrt", runtime_version="8.6.0", log="", about={"a": 1}
    )
    told = {"device_memory_size": 64, "layers": 3, "warnings": ["w"], "ranges": None, "cuda": "ctypes"}
    assert _about(built, told) == {"a": 1, "loaded": {"device_memory_size": 64, "layers": 3, "warnings": ["w"]}}
    assert _about(built, {}) == {"a": 1}


def held(tree: Tree | None, root: Path, **other: Any) -> Any:
    """Return the part of a session that the environment of a measurement needs."""
    facts = {"machine": "aarch64", "memory": {"total": 5, "available": 3}}
    if tree is not None:
        facts["board"] = tree.facts(root, **other)
    engines = SimpleNamespace(facts=lambda *_: {})
    spec = TargetSpec()
    state = SimpleNamespace(contract=SimpleNamespace(plain=dict))
    told = {"facts": facts, "spec": spec, "board": None, "fallback_reason": None, "engines": engines, "state": state}
    return SimpleNamespace(used="orin", parts=lambda _: (), **told)


def test_two_jetpacks_are_two_environments(tmp_path: Path) -> None:
    """Board, serial number, versions and power mode are recorded by name, so that two environments differ visibly."""
    row: Any = SimpleNamespace(model="m", precision="fp32")
    libraries = {"nvinfer": "10.3.0.30", "cudnn": "9.3.0"}
    found = environment(held(ORIN_NX, tmp_path / "a", libraries=libraries), row)["identity"]
    other = environment(held(AGX_ORIN, tmp_path / "b"), row)["identity"]
    assert {key for key in found if found[key] != other[key]} >= {"module", "l4t", "jetpack", "cuda", "tensorrt"}
    assert found["serial"] == ORIN_NX.serial
    mode = environment(held(ORIN_NX, tmp_path / "a", libraries=libraries, power_mode="15W"), row)["identity"]
    assert {key for key in found if found[key] != mode[key]} == {"power_mode"}


def test_the_raw_facts_are_the_targets_alone(tmp_path: Path) -> None:
    """What may change without a difference to any measurement makes no other environment; the report keeps it whole."""
    session = held(ORIN_NX, tmp_path)
    row: Any = SimpleNamespace(model="m", precision="fp32")
    told = target(session)["facts"]
    assert told["board"]["compatible"] == list(ORIN_NX.compatible)
    assert told["identity"]["module"] == "orin-nx-16gb"
    assert "board" not in environment(session, row)
    moved = held(ORIN_NX, tmp_path, groups=[], devices=[], not_readable={"cuinit": "it hangs"})
    assert environment(moved, row) == environment(session, row)


def test_a_machine_that_is_no_jetson_has_no_identity(tmp_path: Path) -> None:
    """Nothing is claimed of it, be its facts empty or absent."""
    row: Any = SimpleNamespace(model="m", precision="fp32")
    told = held(None, tmp_path)
    told.facts["board"] = {"compatible": None}
    for session in (held(None, tmp_path), told):
        assert "identity" not in environment(session, row)
        assert "identity" not in target(session)["facts"]
