"""The INT8 audit in a real session on the CPU: models that contain ranges, have a fixed batch or have no labels."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.agent.store.blobs import Store
from hil.agent.store.build_inputs import for_build
from hil.config.load import load
from hil.config.spec import CalibrationSpec
from hil.plan import expand
from hil.quantize import quantize
from hil.results import Cause, Verdict
from hil.session import Request, Session
from tests.memory_data import MemoryData
from tests.models import convnet, images

if TYPE_CHECKING:
    from pathlib import Path

    from hil.results import CheckResult

TABLE = """
[models.{name}]
path = "{name}.onnx"
data = "validation.npz"
precisions = ["fp32", "int8"]
batch = {batch}
task = "classification"

[models.{name}.calibration]
data = "{name}.npz"
method = "minmax"
"""
BAD_SETS = {
    "scaled": (images(60) * 255, "int8.calibration_set", "preprocessed differently"),
    "near_copy": (
        np.concatenate([images(59), images(80, seed=1)[:1] * np.float32(1.01)]),
        "int8.disjoint",
        "slightly changed",
    ),
    "dark": (images(60) * np.float32(0.2), "int8.ranges", "clipping removes"),
}
"""By model: calibration data, the check that must fail, and a part of its reason."""
ROUTES = ("explicit", "implicit")
"""Models with a quantized ``deployed``, and with calibration data whose route is not used."""
AUDIT = ("int8.calibration_set", "int8.ranges", "int8.repeatable", "int8.cache", "int8.disjoint")


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, CheckResult]]:
    """Return the audit's results by model and check, from one session; only the validation data has labels."""
    root = tmp_path_factory.mktemp("audit")
    np.savez(root / "validation.npz", image=images(80, seed=1), labels=np.arange(80) % 4)
    for name in ("plain", "fixed", "quantized", *BAD_SETS):
        convnet(root / f"{name}.onnx", batch=20) if name == "fixed" else convnet(root / f"{name}.onnx")
        np.savez(root / f"{name}.npz", image=BAD_SETS[name][0] if name in BAD_SETS else images(60))
    spec = CalibrationSpec(data="memory", method="minmax")
    quantize(root / "quantized.onnx", root, MemoryData(image=images(64)), spec).path.rename(root / "quantized.onnx")
    tables = [TABLE.format(name=name, batch=20 if name == "fixed" else 1) for name in ("plain", "fixed", "quantized")]
    tables += [TABLE.format(name=name, batch=1) for name in BAD_SETS]
    for route in ROUTES:
        table = TABLE.replace('method = "minmax"', f'route = "{route}"').format(name=route, batch=1)
        tables.append(table.replace(f'"{route}.onnx"', '"plain.onnx"\ndeployed = {int8 = "quantized.onnx"}'))
        np.savez(root / f"{route}.npz", image=images(60))
    (root / "hil.toml").write_text("".join(tables))
    config = load(root / "hil.toml")
    request = Request(config, "cpu", "fail", 0.0, "run", root / "report", progress=lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        with closing(Session.open(request)) as session:
            results: dict[str, dict[str, CheckResult]] = {}
            for row in expand(config, "cpu").rows:
                if row.id == BAD_SETS[row.model][1] if row.model in BAD_SETS else row.id in AUDIT:
                    results.setdefault(row.model, {})[row.id] = session.judge(row).result
    return results


def test_a_model_without_calibration_labels_is_audited(audit: dict[str, dict[str, CheckResult]]) -> None:
    """Without labels the classes are the FP32 model's predictions, and every check passes."""
    results = audit["plain"]
    assert "by the FP32 model's answers" in results["int8.calibration_set"].reason
    for check in AUDIT:
        assert results[check].verdict is Verdict.PASSED, results[check].reason
    assert results["int8.cache"].details["scales"]["image"] > 0


def test_the_audit_respects_a_fixed_batch(audit: dict[str, dict[str, CheckResult]]) -> None:
    """The checks that run the model pass for a model with a fixed batch."""
    for check in ("int8.calibration_set", "int8.ranges", "int8.repeatable", "int8.disjoint"):
        assert audit["fixed"][check].verdict is Verdict.PASSED, audit["fixed"][check].reason


@pytest.mark.parametrize("name", ["quantized", *ROUTES])
def test_ranges_that_came_with_the_model_are_audited(audit: dict[str, dict[str, CheckResult]], name: str) -> None:
    """For a model with its own ranges, ``int8.repeatable`` is unsupported and ``int8.calibration_set`` is warned."""
    results = audit[name]
    assert results["int8.ranges"].verdict is Verdict.PASSED, results["int8.ranges"].reason
    assert results["int8.ranges"].measurement is not None
    assert (results["int8.repeatable"].verdict, results["int8.repeatable"].cause) == (
        Verdict.NOT_RUN,
        Cause.UNSUPPORTED,
    )
    assert "own Q/DQ nodes" in results["int8.repeatable"].reason
    assert results["int8.calibration_set"].verdict is Verdict.WARNED
    assert "is not known" in results["int8.calibration_set"].reason


@pytest.mark.parametrize("name", BAD_SETS)
def test_a_bad_calibration_set_fails_its_check(audit: dict[str, dict[str, CheckResult]], name: str) -> None:
    """Each kind of bad calibration data fails the check that covers it."""
    _, check, reason = BAD_SETS[name]
    assert audit[name][check].verdict is Verdict.FAILED
    assert reason in audit[name][check].reason


def test_a_repeated_build_has_its_own_calibration_cache(tmp_path: Path) -> None:
    """On the implicit route ``again`` gives the build its own cache, so that TensorRT calibrates again."""
    store = Store(str(tmp_path / "store"))
    facts = {"runtime": "tensorrt", "runtime_version": "8.6.0", "gpu": None, "model": "m", "calibration": "c"}
    implicit: dict[str, Any] = {"algorithm": "entropy2", "batch": 1, "samples": 1, "data": {}}
    places = [
        for_build(store, {"options": {"implicit": {**implicit, **more}}}, facts)["paths"]["calibration_cache"]
        for more in ({}, {}, {"again": True})
    ]
    assert places[0] == places[1] != places[2]
