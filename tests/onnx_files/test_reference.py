from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hil.checks.comparison import Comparison
from hil.errors import EngineBuildError, HilError, UserError
from hil.onnx_files.reference import open_reference
from hil.results import Judgement, Verdict
from tests.memory_data import MemoryData
from tests.models import convnet, images, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small network of dynamic batch."""
    return convnet(tmp_path / "m.onnx")


@pytest.fixture
def data() -> MemoryData:
    """Seven images."""
    return MemoryData(image=images(7))


def logits(model: Path, data: MemoryData) -> np.ndarray:
    """What the model gives for all of the data at once."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, data.inputs)[0])


def test_outputs_come_back_batch_by_batch(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """The same values as of one plain session, in order, the last batch shorter."""
    reference = open_reference(model, data, 3, tmp_path)
    batches = [dict(batch)["logits"] for batch in reference.batches(3)]
    assert [len(batch) for batch in batches] == [3, 3, 1]
    np.testing.assert_allclose(np.concatenate(batches), logits(model, data), rtol=1e-5, atol=1e-6)
    assert (reference.names, reference.count) == (("logits",), 7)
    assert "ONNX Runtime" in reference.source


@pytest.mark.parametrize("limit", [1, 3, 4, 7, 100])
def test_a_limit_cuts_within_a_batch(tmp_path: Path, model: Path, data: MemoryData, limit: int) -> None:
    """No more samples than asked for, whether run with the limit or read with it."""
    for reference in (open_reference(model, data, 3, tmp_path), open_reference(model, data, 3, tmp_path, limit=limit)):
        read = [dict(batch)["logits"] for batch in reference.batches(3, limit)]
        assert sum(map(len, read)) == min(limit, 7)


def test_the_second_time_nothing_is_run(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """The same model, data and batch are read from the cache; another of them is not."""
    first = open_reference(model, data, 3, tmp_path)
    passes = data.passes
    assert open_reference(model, data, 3, tmp_path) == first
    assert data.passes == passes
    others = [
        open_reference(model, data, 2, tmp_path),
        open_reference(model, MemoryData(image=images(7, seed=1)), 3, tmp_path),
        open_reference(convnet(tmp_path / "o.onnx", norm=True), data, 3, tmp_path),
    ]
    assert len({getattr(one, "folder", None) for one in [first, *others]}) == 4


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "index", "escape"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, model: Path, data: MemoryData, damage: str) -> None:
    """A flipped byte, a file cut short or gone, a broken index, a path out of the folder: run afresh."""
    first = open_reference(model, data, 3, tmp_path)
    folder = next((tmp_path / "reference").iterdir())
    file, index = folder / "0.npy", folder / "index.json"
    content = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        file.write_bytes(content[:-4])
    elif damage == "gone":
        file.unlink()
    elif damage == "escape":
        (tmp_path / "reference" / "0.npy").write_bytes(content)
        index.write_text(index.read_text().replace('"0.npy"', '"../0.npy"'))
    else:
        index.write_text("[]")
    again = open_reference(model, data, 3, tmp_path)
    assert again == first
    assert (folder / "0.npy").read_bytes() == content


def test_index_and_data_do_not_vouch_for_each_other(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """Outputs with a record of them that fits, as whoever writes both can make it, are not what a run here wrote."""
    first = open_reference(model, data, 3, tmp_path)
    folder = next((tmp_path / "reference").iterdir())
    content, text = (folder / "0.npy").read_bytes(), (folder / "index.json").read_text()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    last = 128 + 4 * 4  # the last batch's record: numpy's header and one sample of four floats
    old, new = (hashlib.sha256(one[-last:]).hexdigest() for one in (content, changed))
    assert old in text
    (folder / "0.npy").write_bytes(changed)
    (folder / "index.json").write_text(text.replace(old, new))
    assert open_reference(model, data, 3, tmp_path) == first
    assert (folder / "0.npy").read_bytes() == content


def test_outputs_of_another_model_under_its_name(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """A sealed folder that was copied over this one's answers another question."""
    first = open_reference(model, data, 3, tmp_path)
    folder = next((tmp_path / "reference").iterdir())
    open_reference(convnet(tmp_path / "o.onnx", norm=True), data, 3, tmp_path)
    [other] = [one for one in (tmp_path / "reference").iterdir() if one != folder]
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    assert open_reference(model, data, 3, tmp_path) == first


def test_what_changes_after_it_was_opened_is_not_used(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """Each record is hashed when it is read."""
    reference = open_reference(model, data, 3, tmp_path)
    file = next((tmp_path / "reference").iterdir()) / "0.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"0\.npy was changed while the run read it"):
        list(reference.batches(3))


def test_nothing_half_written_stays(tmp_path: Path, data: MemoryData) -> None:
    """A model that fails at its second batch leaves no folder behind."""
    fixed = convnet(tmp_path / "m.onnx", batch=3)
    with pytest.raises(HilError):
        open_reference(fixed, data, 3, tmp_path)
    assert list((tmp_path / "reference").iterdir()) == []


def test_outputs_of_changing_size_are_kept(tmp_path: Path) -> None:
    """A detector gives as many rows as it finds: each batch keeps its own shape."""
    model = write(
        tmp_path / "m.onnx", [helper.make_node("Compress", ["x", "keep"], ["y"], axis=1)],
        {"x": ["n", 4]}, {"y": ["n", "found"]}, {"keep": np.array([True, False, True, False])},
    )  # fmt: skip
    reference = open_reference(model, MemoryData(x=np.ones((3, 4), np.float32)), 1, tmp_path)
    assert [dict(batch)["y"].shape for batch in reference.batches(1)] == [(1, 2)] * 3


def test_another_batch_size_is_refused(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """Outputs are kept as they were run: asking for others is a mistake, not a reshuffle."""
    with pytest.raises(UserError, match="batch 3"):
        list(open_reference(model, data, 3, tmp_path).batches(2))


def test_no_samples_are_no_reference(tmp_path: Path, model: Path) -> None:
    """Zero samples: said, and nothing kept."""
    with pytest.raises(UserError, match="no samples"):
        open_reference(model, MemoryData(image=images(0)), 3, tmp_path)


@pytest.mark.parametrize(
    ("operator", "domain", "dtype", "words"),
    [
        ("Foo", "", TensorProto.FLOAT, r"operator Foo of node 'odd' \(opset 13\)"),
        ("Foo", "my.domain", TensorProto.FLOAT, r"operator Foo of node 'odd' \(opset 1 of domain my.domain\)"),
        ("Gelu", "", TensorProto.FLOAT, r"operator Gelu of node 'odd' \(opset 13\)"),
        ("Relu", "", TensorProto.BFLOAT16, r"operator Relu of node 'odd' \(opset 13\)"),
    ],
)
def test_an_unsupported_operator_is_named(tmp_path: Path, operator: str, domain: str, dtype: int, words: str) -> None:
    """Operator, node and opset, in one line, with ONNX Runtime's words."""
    node = helper.make_node(operator, ["x"], ["y"], name="odd", domain=domain)
    model = write(tmp_path / "m.onnx", [node], {"x": ["n", 4]}, {"y": ["n", 4]}, dtype=dtype, domain=domain)
    with pytest.raises(EngineBuildError, match=words) as caught:
        open_reference(model, MemoryData(x=np.ones((2, 4), np.float32)), 1, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not onnx at all", None])
def test_an_unreadable_model_is_the_users_mistake(tmp_path: Path, model: Path, content: bytes | None) -> None:
    """Empty, text, or cut in half: one line, no traceback."""
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2] if content is None else content)
    with pytest.raises((UserError, EngineBuildError), match="model m") as caught:
        open_reference(model, MemoryData(image=images(2)), 1, tmp_path)
    assert "\n" not in str(caught.value)


def test_inputs_that_the_model_refuses_are_told(tmp_path: Path, model: Path) -> None:
    """ONNX Runtime's own words on a wrong shape."""
    with pytest.raises(EngineBuildError, match="image"):
        open_reference(model, MemoryData(image=np.ones((2, 3, 6, 6), np.float32)), 1, tmp_path)


SAVED = {"logits": np.arange(28, dtype=np.float32).reshape(7, 4)}


def against(tmp_path: Path, model: Path, data: MemoryData, arrays: dict[str, np.ndarray]) -> Judgement:
    """The verdict of an engine that gives ``SAVED`` on a saved reference."""
    anything: dict[str, Any] = dict(arrays)  # numpy 1.26 has no allow_pickle, newer ones type it among the arrays
    np.savez(tmp_path / "outputs.npz", **anything)
    reference = open_reference(model, data, 3, tmp_path, tmp_path / "outputs.npz")
    engine = [[("logits", SAVED["logits"][start : start + 3])] for start in range(0, 7, 3)]
    return Comparison("fp32", samples=7, batch=3).consume(reference.batches(3), engine).judge()


def test_saved_outputs_are_the_reference(tmp_path: Path, model: Path, data: MemoryData) -> None:
    """What was saved from training takes ONNX Runtime's place."""
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
    ids=["more", "renamed", "float64", "uint8", "one short", "a batch", "no rows", "twice", "nan", "uneven"],
)
def test_saved_outputs_that_differ_fail_as_parity(
    tmp_path: Path, model: Path, data: MemoryData, arrays: dict[str, np.ndarray]
) -> None:
    """Names, dtypes and lengths are not checked away: they reach the comparison and fail there."""
    assert against(tmp_path, model, data, arrays).verdict is Verdict.FAILED


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut"])
def test_an_unreadable_file_of_outputs_is_the_users_mistake(
    tmp_path: Path, model: Path, data: MemoryData, content: bytes | None
) -> None:
    """Not there, empty, or no archive."""
    if content is not None:
        (tmp_path / "outputs.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"outputs\.npz"):
        open_reference(model, data, 3, tmp_path, tmp_path / "outputs.npz")
