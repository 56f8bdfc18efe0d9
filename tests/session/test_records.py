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


def test_facts_of_the_loaded_engine_are_recorded_under_loaded() -> None:
    """Build facts and load facts are separate; facts of the whole target are not recorded per engine."""
    built = BuiltEngine(
        "k", "d", 1, 0.1, cached=False, runtime="tensorrt", runtime_version="8.6.0", log="", about={"a": 1}
    )
    loaded = {"device_memory_size": 64, "layers": 3, "warnings": ["w"], "ranges": None, "cuda": "ctypes"}
    assert _about(built, loaded) == {"a": 1, "loaded": {"device_memory_size": 64, "layers": 3, "warnings": ["w"]}}
    assert _about(built, {}) == {"a": 1}


def session_on(tree: Tree | None, root: Path, opened: Any = None, **other: Any) -> Any:
    """Return the part of a session that the environment of a measurement needs; ``opened`` is its first reading."""
    facts = {"machine": "aarch64", "memory": {"total": 5, "available": 3}}
    if tree is not None:
        facts["board"] = tree.facts(root, **other)
    engines = SimpleNamespace(facts=lambda *_: {})
    spec = TargetSpec()
    state = SimpleNamespace(contract=SimpleNamespace(plain=dict), opened=opened)
    parts = {"facts": facts, "spec": spec, "board": None, "fallback_reason": None, "engines": engines, "state": state}
    parts["member"] = None
    return SimpleNamespace(used="orin", parts=lambda _: (), **parts)


def test_two_jetpacks_are_two_environments(tmp_path: Path) -> None:
    """The identity of an environment names board, serial number, versions and power mode."""
    row: Any = SimpleNamespace(model="m", precision="fp32")
    libraries = {"nvinfer": "10.3.0.30", "cudnn": "9.3.0"}
    orin_nx = environment(session_on(ORIN_NX, tmp_path / "a", libraries=libraries), row)["identity"]
    agx_orin = environment(session_on(AGX_ORIN, tmp_path / "b"), row)["identity"]
    assert {key for key in orin_nx if orin_nx[key] != agx_orin[key]} >= {"module", "l4t", "jetpack", "cuda", "tensorrt"}
    assert orin_nx["serial"] == ORIN_NX.serial
    mode_15w = environment(session_on(ORIN_NX, tmp_path / "a", libraries=libraries, power_mode="15W"), row)["identity"]
    assert {key for key in orin_nx if orin_nx[key] != mode_15w[key]} == {"power_mode"}


def test_raw_facts_are_recorded_with_the_target_only(tmp_path: Path) -> None:
    """The report has all facts of the target, also those that are not in an environment."""
    session = session_on(ORIN_NX, tmp_path)
    row: Any = SimpleNamespace(model="m", precision="fp32")
    recorded = target(session)["facts"]
    assert recorded["board"]["compatible"] == list(ORIN_NX.compatible)
    assert recorded["identity"]["module"] == "orin-nx-16gb"
    assert "board" not in environment(session, row)
    other_groups = session_on(ORIN_NX, tmp_path, groups=[], devices=[], not_readable={"cuinit": "it does not return"})
    assert environment(other_groups, row) == environment(session, row)


def test_the_limits_of_all_clocks_are_recorded(tmp_path: Path) -> None:
    """The environment has the limits of the GPU's and the processors' clocks, and no current values."""
    row: Any = SimpleNamespace(model="m", precision="fp32")
    gpu = {"governor": "nvhost_podgov", "min": 306_000_000, "max": 918_000_000}
    opened = {"clocks": {"gpu": {**gpu, "cur": 612_000_000}}}
    assert environment(session_on(ORIN_NX, tmp_path, opened), row)["clocks"] == {"gpu": gpu}
    assert environment(session_on(ORIN_NX, tmp_path), row)["clocks"] == {}


def test_only_a_jetson_has_an_identity(tmp_path: Path) -> None:
    """A machine that is not a Jetson has no identity, whether its board facts are empty or absent."""
    row: Any = SimpleNamespace(model="m", precision="fp32")
    empty_facts = session_on(None, tmp_path)
    empty_facts.facts["board"] = {"compatible": None}
    for session in (session_on(None, tmp_path), empty_facts):
        assert "identity" not in environment(session, row)
        assert "identity" not in target(session)["facts"]
