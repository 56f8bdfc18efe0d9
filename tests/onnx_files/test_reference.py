from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hil.checks.comparison import Comparison
from hil.dtypes import for_file
from hil.errors import EngineBuildError, HilError, UserError
from hil.onnx_files.reference import open_reference
from hil.results import Judgement, Verdict
from tests.memory_data import MemoryData
from tests.models import convnet, images, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small network with a dynamic batch."""
    return convnet(tmp_path / "m.onnx")


@pytest.fixture
def data() -> MemoryData:
    """Seven images."""
    return MemoryData(image=images(7))


def logits(model: Path, data: MemoryData) -> np.ndarray:
    """The model's output for all of the data at once."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, data.inputs)[0])


def test_outputs_come_back_batch_by_batch(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """The batches of a reference have the values of one plain session, in order."""
    reference = open_reference(model, data, 3, tmp_path)
    batches = [dict(batch)["logits"] for batch in reference.batches(3)]
    assert [len(batch) for batch in batches] == [3, 3, 1]
    np.testing.assert_allclose(np.concatenate(batches), logits(model, data), rtol=1e-5, atol=1e-6)
    assert (reference.names, reference.count) == (("logits",), 7)
    assert "ONNX Runtime" in reference.source


@pytest.mark.parametrize("limit", [1, 3, 4, 7, 100])
def test_a_limit_cuts_within_a_batch(tmp_path: Path, model: Path, data: MemoryData, limit: int) -> None:
    """A limit of samples holds both when the reference is run and when it is read."""
    for reference in (open_reference(model, data, 3, tmp_path), open_reference(model, data, 3, tmp_path, limit=limit)):
        read = [dict(batch)["logits"] for batch in reference.batches(3, limit)]
        assert sum(map(len, read)) == min(limit, 7)


def test_outputs_are_cached(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """Outputs of equal model, data and batch size come from the cache; a change in any of them runs the model."""
    first = open_reference(model, data, 3, tmp_path)
    passes = data.passes
    assert open_reference(model, data, 3, tmp_path) == first
    assert data.passes == passes
    others = [
        open_reference(model, data, 2, tmp_path),
        open_reference(model, MemoryData(image=images(7, seed=1)), 3, tmp_path),
        open_reference(convnet(tmp_path / "o.onnx", norm=True), data, 3, tmp_path),
    ]
    assert len({getattr(reference, "folder", None) for reference in [first, *others]}) == 4


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "index", "escape"])
def test_a_damaged_cache_is_run_again(tmp_path: Path, model: Path, data: MemoryData, damage: str) -> None:
    """A reference is run again if a cached file is changed, cut, missing or outside of the folder."""
    first = open_reference(model, data, 3, tmp_path)
    folder = next((tmp_path / "reference").iterdir())
    file, index = folder / "0.npy", folder / "index.json"
    content = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "truncated":
        file.write_bytes(content[:-4])
    elif damage == "missing":
        file.unlink()
    elif damage == "escape":
        (tmp_path / "reference" / "0.npy").write_bytes(content)
        index.write_text(index.read_text().replace('"0.npy"', '"../0.npy"'))
    else:
        index.write_text("[]")
    again = open_reference(model, data, 3, tmp_path)
    assert again == first
    assert (folder / "0.npy").read_bytes() == content


def test_a_consistent_index_is_not_enough(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """Changed outputs with matching digests in the index are rejected, since the seal does not match."""
    first = open_reference(model, data, 3, tmp_path)
    folder = next((tmp_path / "reference").iterdir())
    content, text = (folder / "0.npy").read_bytes(), (folder / "index.json").read_text()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    last = 128 + 4 * 4  # the last batch's record: numpy's header and one sample of four floats
    old, new = (hashlib.sha256(array[-last:]).hexdigest() for array in (content, changed))
    assert old in text
    (folder / "0.npy").write_bytes(changed)
    (folder / "index.json").write_text(text.replace(old, new))
    assert open_reference(model, data, 3, tmp_path) == first
    assert (folder / "0.npy").read_bytes() == content


def test_outputs_of_another_model_under_its_name(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """A sealed folder that was copied from another model is rejected."""
    first = open_reference(model, data, 3, tmp_path)
    folder = next((tmp_path / "reference").iterdir())
    open_reference(convnet(tmp_path / "o.onnx", norm=True), data, 3, tmp_path)
    [other] = [path for path in (tmp_path / "reference").iterdir() if path != folder]
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    assert open_reference(model, data, 3, tmp_path) == first


def test_records_changed_after_opening_are_rejected(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """Each record is verified when it is read."""
    reference = open_reference(model, data, 3, tmp_path)
    file = next((tmp_path / "reference").iterdir()) / "0.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"0\.npy was changed while the run read it"):
        list(reference.batches(3))


def test_a_failed_run_leaves_no_folder(tmp_path: Path, data: MemoryData) -> None:
    """A model that fails at its second batch leaves no folder."""
    fixed = convnet(tmp_path / "m.onnx", batch=3)
    with pytest.raises(HilError):
        open_reference(fixed, data, 3, tmp_path)
    assert list((tmp_path / "reference").iterdir()) == []


def test_outputs_of_varying_size(tmp_path: Path) -> None:
    """A detector returns a varying number of rows: each batch keeps its shape."""
    model = write(
        tmp_path / "m.onnx", [helper.make_node("Compress", ["x", "keep"], ["y"], axis=1)],
        {"x": ["n", 4]}, {"y": ["n", "count"]}, {"keep": np.array([True, False, True, False])},
    )  # fmt: skip
    reference = open_reference(model, MemoryData(x=np.ones((3, 4), np.float32)), 1, tmp_path)
    assert [dict(batch)["y"].shape for batch in reference.batches(1)] == [(1, 2)] * 3


def test_another_batch_size_is_refused(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """Cached outputs can only be read with the batch size that they were run with."""
    with pytest.raises(UserError, match="batch 3"):
        list(open_reference(model, data, 3, tmp_path).batches(2))


def test_data_without_samples_is_an_error(tmp_path: Path, model: Path) -> None:
    """A data set without samples raises ``UserError``."""
    with pytest.raises(UserError, match="no samples"):
        open_reference(model, MemoryData(image=images(0)), 3, tmp_path)
    assert not list(tmp_path.glob("reference/*"))


@pytest.mark.parametrize(
    ("operator", "domain", "dtype", "message"),
    [
        ("Foo", "", TensorProto.FLOAT, r"operator Foo of node 'odd' \(opset 13\)"),
        ("Foo", "my.domain", TensorProto.FLOAT, r"operator Foo of node 'odd' \(opset 1 of domain my.domain\)"),
        ("Gelu", "", TensorProto.FLOAT, r"operator Gelu of node 'odd' \(opset 13\)"),
        ("Relu", "", TensorProto.BFLOAT16, r"operator Relu of node 'odd' \(opset 13\)"),
    ],
)
def test_an_unsupported_operator_is_named(tmp_path: Path, operator: str, domain: str, dtype: int, message: str) -> None:
    """An unsupported operator is refused in one line with operator, node, opset and ONNX Runtime's message."""
    node = helper.make_node(operator, ["x"], ["y"], name="odd", domain=domain)
    model = write(tmp_path / "m.onnx", [node], {"x": ["n", 4]}, {"y": ["n", 4]}, dtype=dtype, domain=domain)
    with pytest.raises(EngineBuildError, match=message) as caught:
        open_reference(model, MemoryData(x=np.ones((2, 4), np.float32)), 1, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not onnx at all", None])
def test_an_unreadable_model_is_the_users_mistake(tmp_path: Path, model: Path, content: bytes | None) -> None:
    """A model file that is empty, text or truncated raises an error of one line with the model's name."""
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2] if content is None else content)
    with pytest.raises((UserError, EngineBuildError), match="model m") as caught:
        open_reference(model, MemoryData(image=images(2)), 1, tmp_path)
    assert "\n" not in str(caught.value)


def test_rejected_inputs_are_reported(tmp_path: Path, model: Path) -> None:
    """If ONNX Runtime rejects the inputs, the error has its message."""
    with pytest.raises(EngineBuildError, match="image"):
        open_reference(model, MemoryData(image=np.ones((2, 3, 6, 6), np.float32)), 1, tmp_path)


def test_saved_outputs_of_a_model_without_a_batch_dimension(tmp_path: Path, model: Path) -> None:
    """Saved outputs of a model without a batch keep their ranks and dtypes, one row for each call."""
    vectors = for_file(np.arange(6, dtype=np.float32).astype("bfloat16").reshape(2, 3))
    np.savez(tmp_path / "outputs.npz", a=np.array([1, 2], np.float32), b=np.zeros((2, 0, 3), np.int64), c=vectors)
    data = MemoryData(x=np.ones((2, 4), np.float32))
    reference = open_reference(model, data, 1, tmp_path, tmp_path / "outputs.npz", per_call=True)
    calls = [dict(outputs) for outputs in reference.batches(1)]
    assert [[(array.shape, array.dtype.name) for array in call.values()] for call in calls] == [
        [((), "float32"), ((0, 3), "int64"), ((3,), "bfloat16")]
    ] * 2
    assert calls[1]["a"].tolist() == 2
    assert calls[1]["c"].tolist() == [3, 4, 5]


SAVED = {"logits": np.arange(28, dtype=np.float32).reshape(7, 4)}


def against(tmp_path: Path, model: Path, data: MemoryData, arrays: dict[str, np.ndarray]) -> Judgement:
    """Return the parity judgement of an engine that returns ``SAVED``, against the saved reference ``arrays``."""
    untyped: dict[str, Any] = dict(arrays)  # numpy 1.26 has no allow_pickle, newer ones type it among the arrays
    np.savez(tmp_path / "outputs.npz", **untyped)
    reference = open_reference(model, data, 3, tmp_path, tmp_path / "outputs.npz")
    engine = [[("logits", SAVED["logits"][start : start + 3])] for start in range(0, 7, 3)]
    return Comparison("fp32", samples=7, batch=3).consume(reference.batches(3), engine).judge()


def test_saved_outputs_are_the_reference(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """If outputs are saved with the data, an engine is compared with them and not with ONNX Runtime's outputs."""
    assert against(tmp_path, model, data, SAVED).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    "arrays",
    [
        {**SAVED, "more": np.ones((7, 1), np.float32)},
        {"renamed": SAVED["logits"]},
        {"logits": SAVED["logits"].astype(np.float64)},
        {"logits": SAVED["logits"].astype(np.uint8)},
        {"logits": SAVED["logits"][:6]},
        {"logits": SAVED["logits"][:3]},
        {"logits": SAVED["logits"][:0]},
        {"logits": np.concatenate([SAVED["logits"]] * 2)},
        {"logits": np.where(SAVED["logits"] == 5, np.float32(np.nan), SAVED["logits"])},
        {**SAVED, "more": np.ones((3, 1), np.float32)},
    ],
    ids=[
        "extra output",
        "renamed",
        "float64",
        "uint8",
        "one sample short",
        "one batch",
        "no rows",
        "twice",
        "nan",
        "uneven",
    ],
)
def test_saved_outputs_that_differ_fail_as_parity(
    tmp_path: Path, model: Path, data: MemoryData, arrays: dict[str, np.ndarray]
) -> None:
    """Saved outputs that do not fit the engine's fail the comparison, not the opening."""
    assert against(tmp_path, model, data, arrays).verdict is Verdict.FAILED


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut"])
def test_an_unreadable_file_of_outputs_is_the_users_mistake(
    tmp_path: Path, model: Path, data: MemoryData, content: bytes | None
) -> None:
    """A file that is missing, empty or not an archive raises ``UserError``."""
    if content is not None:
        (tmp_path / "outputs.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"outputs\.npz"):
        open_reference(model, data, 3, tmp_path, tmp_path / "outputs.npz")
