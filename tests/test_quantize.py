from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
import pytest
from onnx import helper

from hil.agent.runtimes.onnxruntime import open_session
from hil.checks import int8
from hil.checks.comparison import Comparison
from hil.config.spec import CalibrationSpec
from hil.errors import EngineBuildError, UserError
from hil.files.digests import file_digest
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import read_signature
from hil.quantize import Quantized, key_parts, quantize, read_ranges, samples_digest
from hil.results import Verdict
from tests.memory_data import MemoryData
from tests.models import convnet, images, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.runtimes import QdqLayout

LAYOUTS: tuple[QdqLayout, ...] = ("onnxruntime", "tensorrt")
METHODS = ("entropy", "minmax", "percentile")


def spec(**changes: Any) -> CalibrationSpec:
    """Return a calibration table, min-max unless the test sets another method."""
    return CalibrationSpec(**{"data": "memory", "method": "minmax", **changes})


def run(path: Path, image: np.ndarray) -> np.ndarray:
    """Return the logits of a model for some images."""
    session = open_session(str(path), onnxruntime.SessionOptions())
    return np.asarray(session.run(None, {"image": image})[0])


@pytest.fixture
def data() -> MemoryData:
    """100 images, a number that no stride divides."""
    return MemoryData(image=images(100))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", METHODS)
def test_every_weighted_node_is_quantized(tmp_path: Path, data: MemoryData, layout: QdqLayout, method: str) -> None:
    """Every weighted node reads INT8 with valid symmetric ranges, and the outputs are close to the model's."""
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
    if method != "entropy":  # ONNX Runtime's entropy method clips strongly with few samples
        fresh = images(50, seed=1)
        comparison = Comparison("int8").consume(
            [[("logits", run(model, fresh))]], [[("logits", run(made.path, fresh))]]
        )
        assert comparison.judge().verdict is Verdict.PASSED


def test_calibration_consumes_the_declared_samples(tmp_path: Path, data: MemoryData) -> None:
    """The record has the number and the digest of the consumed samples, which are the first ``samples`` of the data."""
    made = quantize(convnet(tmp_path / "m.onnx"), tmp_path, data, spec(samples=70))
    assert made.provenance["samples"] == 70
    assert made.provenance["samples_digest"] == samples_digest(data, 70)
    assert made.provenance["samples_digest"] != samples_digest(data, 71)


def test_a_stored_model_is_reused(tmp_path: Path, data: MemoryData) -> None:
    """A second request with the same key does not calibrate again."""
    model = convnet(tmp_path / "m.onnx")
    first = quantize(model, tmp_path / "out", data, spec())
    passes = data.passes
    second = quantize(model, tmp_path / "out", data, spec())
    assert (second, data.passes) == (first, passes)


def test_everything_that_changes_the_ranges_changes_the_key(tmp_path: Path, data: MemoryData) -> None:
    """Model, data, samples, method, percentile, exclusions and layout each give another model."""
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
    assert len({quantized.key for quantized in made}) == len(made)
    assert len({quantized.digest for quantized in made}) == len(made)


@pytest.mark.parametrize("damage", ["model", "record", "no model", "no record", "cut before it was recorded"])
def test_a_damaged_store_is_made_again(tmp_path: Path, data: MemoryData, damage: str) -> None:
    """After a flipped byte, an unreadable record or a missing file, the same model is calibrated again."""
    model = convnet(tmp_path / "m.onnx")
    first = quantize(model, tmp_path / "out", data, spec())
    record = first.path.with_suffix(".json")
    if damage == "model":
        first.path.write_bytes(first.path.read_bytes()[:-1] + b"\0")
    elif damage == "record":
        record.write_text('{"key":')
    elif damage == "cut before it was recorded":
        first.path.write_bytes(first.path.read_bytes()[:-100])
        changed = {**json.loads(record.read_text()), "digest": file_digest(first.path)}
        record.write_text(json.dumps(changed))
    else:
        (first.path if damage == "no model" else record).unlink()
    passes = data.passes
    second = quantize(model, tmp_path / "out", data, spec())
    assert second.digest == first.digest
    assert second.damaged == (not damage.startswith("no "))
    assert data.passes > passes
    assert json.loads(record.read_text())["digest"] == first.digest
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".onnx"]


def test_processes_give_the_same_model(tmp_path: Path) -> None:
    """A different hash seed does not change the model."""
    convnet(tmp_path / "m.onnx", norm=True)
    code = (
        "import sys; from pathlib import Path; from tests.models import images; from hil.quantize import quantize;"
        "from tests.memory_data import MemoryData; from hil.config.spec import CalibrationSpec as S;"
        "print(quantize(Path('m.onnx'), Path(sys.argv[1]), MemoryData(image=images(40)), S(data='x')).digest)"
    )
    path = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    digests = {
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
    assert len(digests) == 1


def test_the_quantizer_is_silent(
    tmp_path: Path, data: MemoryData, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Quantizing prints, logs and warns of nothing, and restores the settings of logging."""
    before = (list(logging.getLogger().handlers), logging.root.manager.disable)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quantize(convnet(tmp_path / "m.onnx"), tmp_path, data, spec(method="entropy"))
    assert (*capfd.readouterr(), caplog.text, caught) == ("", "", "", [])
    assert (list(logging.getLogger().handlers), logging.root.manager.disable) == before


def test_old_opsets_are_converted_and_the_ir_version_kept(tmp_path: Path, data: MemoryData) -> None:
    """Old opsets are converted to 13 for scales per channel; the IR version stays readable for old runtimes."""
    made = onnx.load(quantize(convnet(tmp_path / "m.onnx", opset=11), tmp_path, data, spec()).path)
    assert max(entry.version for entry in made.opset_import if not entry.domain) >= 13
    assert made.ir_version == 7
    assert {entry.domain for entry in made.opset_import if entry.domain == "com.microsoft"} == set()


def test_batch_norm_is_folded(tmp_path: Path, data: MemoryData) -> None:
    """A batch norm becomes part of its convolution, so that both runtimes can fuse the following nodes."""
    made = quantize(convnet(tmp_path / "m.onnx", norm=True), tmp_path, data, spec())
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(made.path).graph.node}
    assert len(made.provenance["quantized"]) == 2


def test_nodes_without_names_are_quantized(tmp_path: Path, data: MemoryData) -> None:
    """Nodes without names are quantized and listed too."""
    made = quantize(convnet(tmp_path / "m.onnx", named=False), tmp_path, data, spec())
    assert made.provenance["quantized"] == ["Conv_0", "MatMul_4"]


def test_a_fixed_batch_is_the_stride(tmp_path: Path, data: MemoryData) -> None:
    """A model of batch 4 is calibrated with four samples at a time."""
    data.stride = 4
    made = quantize(convnet(tmp_path / "m.onnx", batch=4), tmp_path, data, spec())
    assert (made.provenance["stride"], made.provenance["samples"]) == (4, 100)


def test_excluded_nodes_stay_in_float_with_the_reason(tmp_path: Path, data: MemoryData) -> None:
    """Excluded nodes are listed with the reason; an unknown name is an error."""
    model = convnet(tmp_path / "m.onnx")
    made = quantize(model, tmp_path, data, spec(exclude_nodes=("head",)), layout="tensorrt")
    assert made.provenance["quantized"] == ["conv"]
    assert "exclude_nodes names node head" in made.provenance["skipped"]["dense"]
    with pytest.raises(UserError, match="did you mean 'head'"):
        quantize(model, tmp_path, data, spec(exclude_nodes=("haed",)))


def test_a_model_with_qdq_nodes_is_used_as_it_is(tmp_path: Path, data: MemoryData) -> None:
    """A model with Q/DQ nodes is not quantized again, and its record states that they are foreign."""
    first = quantize(convnet(tmp_path / "m.onnx"), tmp_path, data, spec())
    second = quantize(first.path, tmp_path, data, spec())
    assert second.path == first.path
    assert second.provenance["foreign"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_calibration_data_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    """Calibration data with a single NaN or infinity is refused, and no file is written."""
    bad = images(20)
    bad[7, 0, 0, 0] = value
    with pytest.raises(UserError, match="NaN or infinity"):
        quantize(convnet(tmp_path / "m.onnx"), tmp_path / "out", MemoryData(image=bad), spec())
    assert list((tmp_path / "out").iterdir()) == []


def test_too_little_data_is_refused(tmp_path: Path, data: MemoryData) -> None:
    """If more samples are requested than exist, calibration is refused instead of using fewer."""
    with pytest.raises(UserError, match="asks for 101 samples"):
        quantize(convnet(tmp_path / "m.onnx"), tmp_path, data, spec(samples=101))


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    """A model without convolution or matrix product has no INT8 form."""
    model = write(tmp_path / "m.onnx", [helper.make_node("Sin", ["x"], ["y"])], {"x": ["n", 4]}, {"y": ["n", 4]})
    with pytest.raises(EngineBuildError, match="nothing of model m could be quantized"):
        quantize(model, tmp_path, MemoryData(x=np.ones((8, 4), np.float32)), spec())


def test_an_unsupported_operator_is_named(tmp_path: Path) -> None:
    """The error is one line with operator, node and opset, without a traceback of the quantizer."""
    model = write(
        tmp_path / "m.onnx", [helper.make_node("Foo", ["x"], ["y"], name="odd")], {"x": ["n", 4]}, {"y": ["n", 4]}
    )
    with pytest.raises(EngineBuildError, match=r"operator Foo of node 'odd' \(opset 13\)"):
        quantize(model, tmp_path, MemoryData(x=np.ones((8, 4), np.float32)), spec())


def test_a_record_without_our_seal_is_ignored(tmp_path: Path, data: MemoryData) -> None:
    """A file whose record was forged or made on another machine is made again, and not reported as damaged."""
    model = convnet(tmp_path / "m.onnx")
    first = quantize(model, tmp_path / "out", data, spec())
    record = first.path.with_suffix(".json")
    facts = json.loads(record.read_text())
    first.path.write_bytes(convnet(tmp_path / "o.onnx", norm=True).read_bytes())
    record.write_text(json.dumps({**facts, "digest": file_digest(first.path)}))
    second = quantize(model, tmp_path / "out", data, spec())
    assert (second.digest, second.damaged) == (first.digest, False)


def changed(path: Path, change: Callable[[onnx.ModelProto], onnx.ModelProto]) -> Path:
    """Return the file after ``change`` of its content."""
    onnx.save(change(onnx.load(str(path))), str(path))
    return path


def with_weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of IR version 3, whose weights are inputs too."""
    values = [onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in model.graph.initializer]
    model.graph.input.extend(values)
    model.ir_version = 3
    return onnx.version_converter.convert_version(model, 9) if model.opset_import[0].version > 9 else model


def with_a_function(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose dense layer is a call of a local function."""
    dense = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    opsets = [onnx.helper.make_opsetid("", 17)]
    model.functions.append(onnx.helper.make_function("own", "Dense", ["a", "b"], ["c"], [dense], opsets))
    head = next(node for node in model.graph.node if node.op_type == "MatMul")
    head.op_type, head.domain = "Dense", "own"
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    model.ir_version = 9
    return model


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layers_in_a_local_function_are_quantized(tmp_path: Path, data: MemoryData, layout: QdqLayout) -> None:
    """Layers in a local function are quantized."""
    model = changed(convnet(tmp_path / "m.onnx", opset=17), with_a_function)
    made = quantize(model, tmp_path / "out", data, spec(), layout=layout)
    assert len(made.provenance["quantized"]) == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_that_are_inputs_are_quantized(tmp_path: Path, data: MemoryData, layout: QdqLayout) -> None:
    """Weights that an old exporter lists as inputs are constants; the batch norm is folded as in any model."""
    model = changed(convnet(tmp_path / "m.onnx", norm=True, opset=9), with_weights_as_inputs)
    made = quantize(model, tmp_path / "out", data, spec(), layout=layout)
    assert len(made.provenance["quantized"]) == 2
    assert {one.name for one in read_signature(made.path).inputs} == {"image"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_in_constant_nodes_have_a_scale_for_each_channel(
    tmp_path: Path, data: MemoryData, layout: QdqLayout
) -> None:
    """Weights in Constant nodes are quantized as initializers are, not as activations."""

    def with_constants(model: onnx.ModelProto) -> onnx.ModelProto:
        nodes = [onnx.helper.make_node("Constant", [], [one.name], value=one) for one in model.graph.initializer]
        nodes += list(model.graph.node)
        model.graph.ClearField("node")
        model.graph.ClearField("initializer")
        model.graph.node.extend(nodes)
        return model

    model = convnet(tmp_path / "m.onnx", opset=17)
    whole = quantize(model, tmp_path / "whole", data, spec(), layout=layout)
    made = quantize(changed(model, with_constants), tmp_path / "made", data, spec(), layout=layout)
    assert [one.op_type for one in onnx.load(made.path).graph.node if one.op_type == "Constant"] == []
    image = read_signature(model).inputs[0]
    sizes = [size for size in image.shape[1:] if isinstance(size, int)]
    feed = {image.name: np.random.default_rng(2).random((2, *sizes), np.float32)}
    np.testing.assert_array_equal(cpu_session(made.path).run(None, feed), cpu_session(whole.path).run(None, feed))


@pytest.mark.parametrize(("flat", "constant"), [(True, False), (False, False), (True, True)])
def test_sparse_weights_are_quantized(tmp_path: Path, flat: bool, constant: bool) -> None:
    """Layers with sparse weights are quantized as with the same weights in full, whatever form their indices have."""
    weight = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32) * (np.arange(8) % 3 > 0)
    where = np.flatnonzero(weight) if flat else np.argwhere(weight)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")
    samples = MemoryData(x=np.random.default_rng(1).normal(size=(64, 16)).astype(np.float32))

    def with_sparse_weight(model: onnx.ModelProto) -> onnx.ModelProto:
        values = onnx.numpy_helper.from_array(weight[weight != 0], "w")
        indices = onnx.numpy_helper.from_array(where.astype(np.int64), "where")
        model.graph.ClearField("initializer")
        sparse = onnx.helper.make_sparse_tensor(values, indices, weight.shape)
        if constant:
            model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], sparse_value=sparse))
        else:
            model.graph.sparse_initializer.append(sparse)
        return model

    model = write(tmp_path / "m.onnx", [node], {"x": ["n", 16]}, {"y": ["n", 8]}, {"w": weight}, opset=17)
    whole = quantize(model, tmp_path / "whole", samples, spec())
    made = quantize(changed(model, with_sparse_weight), tmp_path / "sparse", samples, spec())
    assert made.provenance["quantized"] == ["dense"]
    feed = {"x": np.random.default_rng(2).normal(size=(4, 16)).astype(np.float32)}
    np.testing.assert_array_equal(cpu_session(made.path).run(None, feed), cpu_session(whole.path).run(None, feed))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_float16_model_is_quantized(tmp_path: Path, layout: QdqLayout) -> None:
    """The opset is raised to one whose Q/DQ nodes accept float16, and the file can be loaded."""
    weight = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float16)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")
    half = onnx.TensorProto.FLOAT16
    model = write(tmp_path / "m.onnx", [node], {"x": ["n", 16]}, {"y": ["n", 8]}, {"w": weight}, opset=17, dtype=half)
    samples = MemoryData(x=np.random.default_rng(1).normal(size=(64, 16)).astype(np.float16))
    made = quantize(model, tmp_path / "out", samples, spec(), layout=layout)
    assert made.provenance["quantized"] == ["dense"]
    cpu_session(made.path)
