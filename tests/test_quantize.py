from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from hil.checks import int8
from hil.checks.comparison import Comparison
from hil.config.spec import CalibrationSpec
from hil.errors import EngineBuildError, UserError
from hil.files.digests import file_digest
from hil.quantize import Quantized, key_parts, quantize, read_ranges, samples_digest
from hil.results import Verdict
from tests.memory_data import MemoryData
from tests.models import convnet, images, write

if TYPE_CHECKING:
    from pathlib import Path

    from hil.runtimes import QdqLayout

LAYOUTS: tuple[QdqLayout, ...] = ("onnxruntime", "tensorrt")
METHODS = ("entropy", "minmax", "percentile")


def spec(**given: Any) -> CalibrationSpec:
    """A calibration table, min-max unless the test says otherwise."""
    return CalibrationSpec(**{"data": "memory", "method": "minmax", **given})


def run(path: Path, image: np.ndarray) -> np.ndarray:
    """The logits of a model for some images."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])


@pytest.fixture
def data() -> MemoryData:
    """100 images, a number that no stride divides."""
    return MemoryData(image=images(100))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", METHODS)
def test_a_model_is_quantized_whole(tmp_path: Path, data: MemoryData, layout: QdqLayout, method: str) -> None:
    """Every weighted node takes INT8 with sound symmetric ranges, and the outputs are near the model's."""
    model = convnet(tmp_path / "m.onnx")
    made = quantize(model, tmp_path / "out", data, spec(method=method), layout=layout)
    assert made.provenance["quantized"] == ["conv", "head"]
    ranges = read_ranges(made.path)
    facts = int8.CacheFacts(
        recorded=made.provenance["parts"],
        recomputed=key_parts(model, data, spec(method=method), layout),
        scales=ranges.scales,
        zero_points=ranges.zero_points,
        quantizable=ranges.quantizable,
        skipped=made.provenance["skipped"],
    )
    judgement = int8.cache(facts)
    assert judgement.verdict is Verdict.PASSED, judgement.reason
    if method != "entropy":  # ONNX Runtime's entropy clips hard where samples are few
        fresh = images(50, seed=1)
        comparison = Comparison("int8").consume(
            [[("logits", run(model, fresh))]], [[("logits", run(made.path, fresh))]]
        )
        assert comparison.judge().verdict is Verdict.PASSED


def test_calibration_consumes_the_declared_samples(tmp_path: Path, data: MemoryData) -> None:
    """Count and digest of what was consumed are those of the first samples declared."""
    made = quantize(convnet(tmp_path / "m.onnx"), tmp_path, data, spec(samples=70))
    assert made.provenance["samples"] == 70
    assert made.provenance["samples_digest"] == samples_digest(data, 70)
    assert made.provenance["samples_digest"] != samples_digest(data, 71)


def test_a_stored_model_is_taken_again(tmp_path: Path, data: MemoryData) -> None:
    """The same key is not calibrated twice."""
    model = convnet(tmp_path / "m.onnx")
    first = quantize(model, tmp_path / "out", data, spec())
    passes = data.passes
    again = quantize(model, tmp_path / "out", data, spec())
    assert (again, data.passes) == (first, passes)


def test_whatever_the_ranges_depend_on_changes_the_key(tmp_path: Path, data: MemoryData) -> None:
    """Model, data, samples, method, percentile, exclusions and layout each make another model."""
    model = convnet(tmp_path / "m.onnx")
    other = convnet(tmp_path / "o.onnx", norm=True)
    made: list[Quantized] = [
        quantize(model, tmp_path, data, spec()),
        quantize(other, tmp_path, data, spec()),
        quantize(model, tmp_path, MemoryData(image=images(100, seed=2)), spec()),
        quantize(model, tmp_path, data, spec(samples=10)),
        quantize(model, tmp_path, data, spec(method="percentile")),
        quantize(model, tmp_path, data, spec(method="percentile", percentile=99.0)),
        quantize(model, tmp_path, data, spec(exclude_nodes=("head",))),
        quantize(model, tmp_path, data, spec(), layout="tensorrt"),
    ]
    assert len({one.key for one in made}) == len(made)
    assert len({one.digest for one in made}) == len(made)


@pytest.mark.parametrize("damage", ["model", "record", "no model", "no record", "cut before it was recorded"])
def test_a_damaged_store_is_made_again(tmp_path: Path, data: MemoryData, damage: str) -> None:
    """A flipped byte, an unreadable record or a missing half: calibrated afresh, to the same model."""
    model = convnet(tmp_path / "m.onnx")
    first = quantize(model, tmp_path / "out", data, spec())
    record = first.path.with_suffix(".json")
    if damage == "model":
        first.path.write_bytes(first.path.read_bytes()[:-1] + b"\0")
    elif damage == "record":
        record.write_text('{"key":')
    elif damage == "cut before it was recorded":
        first.path.write_bytes(first.path.read_bytes()[:-100])
        noted = {**json.loads(record.read_text()), "digest": file_digest(first.path)}
        record.write_text(json.dumps(noted))
    else:
        (first.path if damage == "no model" else record).unlink()
    passes = data.passes
    again = quantize(model, tmp_path / "out", data, spec())
    assert again.digest == first.digest
    assert again.damaged == (not damage.startswith("no "))
    assert data.passes > passes
    assert json.loads(record.read_text())["digest"] == first.digest
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".onnx"]


def test_the_same_twice_in_other_processes(tmp_path: Path) -> None:
    """Another hash seed does not give another model."""
    convnet(tmp_path / "m.onnx", norm=True)
    code = (
        "import sys; from pathlib import Path; from tests.models import images; from hil.quantize import quantize;"
        "from tests.memory_data import MemoryData; from hil.config.spec import CalibrationSpec as S;"
        "print(quantize(Path('m.onnx'), Path(sys.argv[1]), MemoryData(image=images(40)), S(data='x')).digest)"
    )
    path = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    found = {
        subprocess.run(
            [sys.executable, "-c", code, seed],
            env={**path, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_the_quantizer_is_silent(
    tmp_path: Path, data: MemoryData, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing printed, logged or warned of, and logging stays as it was."""
    before = (list(logging.getLogger().handlers), logging.root.manager.disable)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quantize(convnet(tmp_path / "m.onnx"), tmp_path, data, spec(method="entropy"))
    assert (*capfd.readouterr(), caplog.text, caught) == ("", "", "", [])
    assert (list(logging.getLogger().handlers), logging.root.manager.disable) == before


def test_old_opsets_are_lifted_and_the_ir_kept(tmp_path: Path, data: MemoryData) -> None:
    """Scales a channel need opset 13; the IR version stays what old runtimes read."""
    made = onnx.load(quantize(convnet(tmp_path / "m.onnx", opset=11), tmp_path, data, spec()).path)
    assert max(entry.version for entry in made.opset_import if not entry.domain) >= 13
    assert made.ir_version == 7
    assert {entry.domain for entry in made.opset_import if entry.domain == "com.microsoft"} == set()


def test_batch_norm_is_folded(tmp_path: Path, data: MemoryData) -> None:
    """A batch norm becomes part of its convolution, so that both runtimes can fuse what follows."""
    made = quantize(convnet(tmp_path / "m.onnx", norm=True), tmp_path, data, spec())
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(made.path).graph.node}
    assert len(made.provenance["quantized"]) == 2


def test_nodes_without_names_are_quantized(tmp_path: Path, data: MemoryData) -> None:
    """Exporters leave names empty; each node is still accounted for."""
    made = quantize(convnet(tmp_path / "m.onnx", named=False), tmp_path, data, spec())
    assert made.provenance["quantized"] == ["Conv_0", "MatMul_4"]


def test_a_fixed_batch_is_fed_as_it_is(tmp_path: Path, data: MemoryData) -> None:
    """A model of batch 4 is calibrated by fours."""
    made = quantize(convnet(tmp_path / "m.onnx", batch=4), tmp_path, data, spec())
    assert (made.provenance["stride"], made.provenance["samples"]) == (4, 100)


def test_excluded_nodes_stay_in_float_with_the_reason(tmp_path: Path, data: MemoryData) -> None:
    """What the config excludes is listed; a name that is not there is a mistake."""
    model = convnet(tmp_path / "m.onnx")
    made = quantize(model, tmp_path, data, spec(exclude_nodes=("head",)), layout="tensorrt")
    assert made.provenance["quantized"] == ["conv"]
    assert "exclude_nodes names node head" in made.provenance["skipped"]["dense"]
    with pytest.raises(UserError, match="did you mean 'head'"):
        quantize(model, tmp_path, data, spec(exclude_nodes=("haed",)))


def test_a_model_with_qdq_nodes_is_used_as_it_is(tmp_path: Path, data: MemoryData) -> None:
    """Quantizing twice would lose twice; where its ranges come from is not known and said so."""
    first = quantize(convnet(tmp_path / "m.onnx"), tmp_path, data, spec())
    again = quantize(first.path, tmp_path, data, spec())
    assert again.path == first.path
    assert again.provenance["foreign"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_calibration_data_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    """One NaN would spoil every range after it."""
    bad = images(20)
    bad[7, 0, 0, 0] = value
    with pytest.raises(UserError, match="NaN or infinity"):
        quantize(convnet(tmp_path / "m.onnx"), tmp_path / "out", MemoryData(image=bad), spec())
    assert list((tmp_path / "out").iterdir()) == []


def test_too_little_data_is_refused(tmp_path: Path, data: MemoryData) -> None:
    """More samples asked than there are: said at once, not calibrated on fewer."""
    with pytest.raises(UserError, match="asks for 101 samples"):
        quantize(convnet(tmp_path / "m.onnx"), tmp_path, data, spec(samples=101))


def test_nothing_to_quantize_is_said(tmp_path: Path) -> None:
    """A model without convolution or matrix product has no INT8 form."""
    model = write(tmp_path / "m.onnx", [helper.make_node("Sin", ["x"], ["y"])], {"x": ["n", 4]}, {"y": ["n", 4]})
    with pytest.raises(EngineBuildError, match="nothing of model m could be quantized"):
        quantize(model, tmp_path, MemoryData(x=np.ones((8, 4), np.float32)), spec())


def test_an_unsupported_operator_is_named(tmp_path: Path) -> None:
    """One line with operator, node and opset; no traceback of the quantizer's."""
    model = write(
        tmp_path / "m.onnx", [helper.make_node("Foo", ["x"], ["y"], name="odd")], {"x": ["n", 4]}, {"y": ["n", 4]}
    )
    with pytest.raises(EngineBuildError, match=r"operator Foo of node 'odd' \(opset 13\)"):
        quantize(model, tmp_path, MemoryData(x=np.ones((8, 4), np.float32)), spec())


def test_a_record_that_nobody_here_sealed_is_no_record(tmp_path: Path, data: MemoryData) -> None:
    """A file with a record that fits, from another machine or forged, is made again; that is no damage."""
    model = convnet(tmp_path / "m.onnx")
    first = quantize(model, tmp_path / "out", data, spec())
    record = first.path.with_suffix(".json")
    facts = json.loads(record.read_text())
    first.path.write_bytes(convnet(tmp_path / "o.onnx", norm=True).read_bytes())
    record.write_text(json.dumps({**facts, "digest": file_digest(first.path)}))
    again = quantize(model, tmp_path / "out", data, spec())
    assert (again.digest, again.damaged) == (first.digest, False)
