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

CONFIG = """
[models.net]
path = "net.onnx"
data = "validation.npz"
precisions = ["fp32", "int8"]
batch = {batch}
task = "classification"

[models.net.calibration]
data = "calibration.npz"
method = "minmax"
"""


def audited(root: Path, *, batch: int = 1, calibration: np.ndarray | None = None) -> dict[str, CheckResult]:
    """Return the audit's results of ``net.onnx`` in ``root``, with labels for the validation data only."""
    validation = images(80, seed=1)
    np.savez(root / "validation.npz", image=validation, labels=np.arange(80) % 4)
    np.savez(root / "calibration.npz", image=images(60) if calibration is None else calibration)
    (root / "hil.toml").write_text(CONFIG.format(batch=batch))
    config = load(root / "hil.toml")
    request = Request(config, "cpu", "fail", 0.0, "run", root / "report", progress=lambda _: None)
    rows = [row for row in expand(config, "cpu").rows if row.id.startswith("int8.") and row.id != "int8.drop"]
    with closing(Session.open(request)) as session:
        return {row.id: session.judge(row).result for row in rows}


def test_a_model_without_calibration_labels_is_audited(tmp_path: Path) -> None:
    """Without labels the classes are the FP32 model's predictions, and every check passes."""
    convnet(tmp_path / "net.onnx")
    results = audited(tmp_path)
    assert results["int8.calibration_set"].verdict is Verdict.PASSED, results["int8.calibration_set"].reason
    assert "by the FP32 model's answers" in results["int8.calibration_set"].reason
    for check in ("int8.ranges", "int8.repeatable", "int8.cache", "int8.disjoint"):
        assert results[check].verdict is Verdict.PASSED, results[check].reason
    assert results["int8.cache"].details["scales"]["image"] > 0


def test_the_audit_respects_a_fixed_batch(tmp_path: Path) -> None:
    """Every check that runs the model feeds its fixed batch."""
    convnet(tmp_path / "net.onnx", batch=20)
    results = audited(tmp_path, batch=20)
    for check in ("int8.calibration_set", "int8.ranges", "int8.repeatable", "int8.disjoint"):
        assert results[check].verdict is Verdict.PASSED, results[check].reason


def test_ranges_that_came_with_the_model_are_audited(tmp_path: Path) -> None:
    """A quantized model has no calibration to repeat, and whether its ranges settled is unknown."""
    spec = CalibrationSpec(data="memory", method="minmax")
    quantized = quantize(convnet(tmp_path / "float.onnx"), tmp_path, MemoryData(image=images(64)), spec)
    quantized.path.rename(tmp_path / "net.onnx")
    results = audited(tmp_path)
    assert results["int8.ranges"].verdict is Verdict.PASSED, results["int8.ranges"].reason
    assert results["int8.ranges"].measurement is not None
    assert (results["int8.repeatable"].verdict, results["int8.repeatable"].cause) == (
        Verdict.NOT_RUN,
        Cause.UNSUPPORTED,
    )
    assert results["int8.calibration_set"].verdict is Verdict.WARNED
    assert "is not known" in results["int8.calibration_set"].reason


@pytest.mark.parametrize(
    ("calibration", "check", "reason"),
    [
        (images(60) * 255, "int8.calibration_set", "preprocessed differently"),
        (
            np.concatenate([images(59), images(80, seed=1)[:1] * np.float32(1.01)]),
            "int8.disjoint",
            "slightly changed",
        ),
        (images(60) * np.float32(0.2), "int8.ranges", "clipping takes"),
    ],
)
def test_a_bad_calibration_set_fails_its_check(tmp_path: Path, calibration: Any, check: str, reason: str) -> None:
    """Each kind of bad calibration data fails the check that covers it."""
    convnet(tmp_path / "net.onnx")
    result = audited(tmp_path, calibration=calibration)[check]
    assert result.verdict is Verdict.FAILED
    assert reason in result.reason


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
