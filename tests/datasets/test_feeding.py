from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.datasets.feeding import Feeding
from hil.errors import UserError
from hil.onnx_files.signature import Signature, TensorSpec
from tests.datasets.project import Project

if TYPE_CHECKING:
    from pathlib import Path

X = TensorSpec("x", "float32", ("batch", 2))
SAMPLES = np.arange(6, dtype=np.float32).reshape(3, 2)


def feeding(*inputs: TensorSpec) -> Feeding:
    """Return how a model with ``x`` and these inputs is fed."""
    return Feeding(Signature((X, *inputs), ()), "m")


def test_samples_are_stacked_along_each_inputs_own_axis() -> None:
    """A state of shape [2, batch, 4] has its samples on axis 1."""
    state = TensorSpec("h", "float32", (2, "batch", 4), batch_axis=1)
    samples = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    fed = feeding(state).feeds({"x": SAMPLES, "h": samples}, 0)
    assert fed["h"].shape == (2, 3, 4)
    assert all(np.array_equal(fed["h"][:, row], samples[row]) for row in range(3))
    assert np.array_equal(fed["x"], SAMPLES)


def test_one_tensor_a_call_must_be_the_same_for_all_samples() -> None:
    """Samples that differ in an input without a batch axis cannot share a batch."""
    size = TensorSpec("size", "float32", (2,), batch_axis=None)
    rows = np.ones((3, 2), np.float32)
    assert feeding(size).feeds({"x": SAMPLES, "size": rows}, 0)["size"].shape == (2,)
    assert feeding(size).stride == 1
    rows[2, 1] = 9
    with pytest.raises(UserError, match=r"samples from 5 on .*: model m: write batch = 1"):
        feeding(size).feeds({"x": SAMPLES, "size": rows}, 5)


@pytest.mark.parametrize("shape", [(), (1,), ("batch",)])
def test_a_constant_is_fed_without_being_in_the_data(shape: tuple[int | str, ...]) -> None:
    """A constant, scalar or array, is fed to each sample without being in the data."""
    axis = 0 if shape == ("batch",) else None
    rate = TensorSpec("sr", "int64", shape, batch_axis=axis, value=16000)
    fed = feeding(rate).feeds({"x": SAMPLES}, 0)["sr"]
    assert fed.dtype == np.int64
    assert fed.shape == tuple(3 if size == "batch" else size for size in shape)
    assert (fed == 16000).all()
    assert feeding(rate).stride is None


def test_data_that_contradicts_a_constant_is_refused() -> None:
    """Data that contradicts a declared constant is refused."""
    rate = feeding(TensorSpec("sr", "int64", (), batch_axis=None, value=16000))
    rows = np.full(3, 16000)
    assert rate.feeds({"x": SAMPLES, "sr": rows}, 0)["sr"] == 16000
    rows[1] = 8000
    with pytest.raises(UserError, match="is not what the data has near sample 0"):
        rate.feeds({"x": SAMPLES, "sr": rows}, 0)


@pytest.mark.parametrize(("dtype", "value"), [("int64", 1.5), ("uint8", 300), ("float32", (1.0, 2.0, 3.0))])
def test_a_constant_that_the_input_cannot_hold_is_refused(dtype: str, value: object) -> None:
    """A constant that the input cannot hold is refused."""
    with pytest.raises(UserError, match="is not a value of c"):
        feeding(TensorSpec("c", dtype, (2,), batch_axis=None, value=value))  # type: ignore[arg-type]  # what is tested


def test_a_carried_state_begins_with_zeros() -> None:
    """A carried state that is not in the data begins with zeros."""
    state = TensorSpec("h", "float32", ("batch", 3), carry="hn")
    assert np.array_equal(feeding(state).feeds({"x": SAMPLES}, 0)["h"], np.zeros((3, 3), np.float32))


def test_declarations_are_part_of_the_digest(tmp_path: Path) -> None:
    """Declarations of inputs are part of the digest."""
    digests = set()
    for axis in ("0", "1", "'none'"):
        project = Project(tmp_path, shape=[None, None], extra=f"[models.m.inputs.x]\nbatch_axis = {axis}")
        sample = (1, 1) if axis == "'none'" else (1,)
        digests.add(project.open(project.save(x=np.zeros((1, *sample), np.float32))).digest)
    assert len(digests) == 3
