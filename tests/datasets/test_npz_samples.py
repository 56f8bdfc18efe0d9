"""``.npz`` data held against the model: nothing is renamed, converted, padded or dropped silently."""

from __future__ import annotations

import numpy as np
import pytest

from hil.errors import UserError
from tests.datasets.project import Project

X = np.arange(20, dtype=np.float32).reshape(10, 2)


def test_batches_hold_inputs_and_labels(project: Project) -> None:
    """Inputs by their names, ``labels`` under "", ``labels.OUT`` under OUT, in the file's order."""
    data = project.open(project.save(x=X, labels=np.arange(10), **{"labels.y": X * 2}))
    batches = list(data.batches(4))
    assert [batch.start for batch in batches] == [0, 4, 8]
    assert [len(batch.inputs["x"]) for batch in batches] == [4, 4, 2]
    assert batches[1].labels[""].tolist() == [4, 5, 6, 7]
    np.testing.assert_array_equal(batches[2].labels["y"], X[8:] * 2)
    assert (data.count, data.has_labels, data.synthetic, data.name) == (10, True, False, "data.npz")


def test_a_limit_takes_the_first(project: Project) -> None:
    """``samples = 3`` is the first three, whatever the batch."""
    data = project.open(project.save(x=X))
    assert [len(batch.inputs["x"]) for batch in data.batches(2, 3)] == [2, 1]
    assert sum(len(batch.inputs["x"]) for batch in data.batches(2, 99)) == 10


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": X}, "missing 'x'; unknown 'z'"),
        ({"X": X}, "did you mean 'x'?"),
        ({"x": X, "label": np.arange(10)}, "unknown 'label'"),
        ({"labels": np.arange(10)}, "has 'labels', but the inputs are 'x'; missing 'x'"),
        ({"x": X, "labels.why": np.arange(10)}, "there is no output 'why'"),
        ({"x": X, "labels": np.array(["a"] * 10)}, "save labels as numbers"),
        ({"x": X.astype(np.float64)}, "has 'x' as float64, but the input takes float32"),
        ({"x": X.reshape(10, 2, 1)}, "shaped [2, 1], but the input takes [2] per sample"),
        ({"x": X[:, :1]}, "shaped [1], but the input takes [2] per sample"),
        ({"x": X, "labels": np.arange(9)}, "holds 10 of 'x', 9 of 'labels'"),
        ({"x": X[:0]}, "holds zero samples"),
        ({}, "has nothing, but the inputs are 'x'"),
    ],
)
def test_what_does_not_match_is_refused(project: Project, arrays: dict[str, np.ndarray], message: str) -> None:
    """One message: both sides, the model, what to do."""
    with pytest.raises(UserError) as error:
        project.open(project.save(**arrays))
    assert message in str(error.value)
    assert "model m" in str(error.value)


def test_digest_is_of_the_content(project: Project) -> None:
    """The same arrays have one digest, compressed or not; a changed value, label or name has another."""
    first = project.open(project.save(x=X)).digest
    np.savez_compressed(project.root / "other.npz", x=X)
    assert project.open("other.npz").digest == first
    changed = X.copy()
    changed[9, 1] += 1
    assert project.open(project.save(x=changed)).digest != first
    assert project.open(project.save(x=X, labels=np.arange(10))).digest != first
    assert project.open(project.save(x=X[::-1].copy())).digest != first


def test_sample_digests_tell_equal_samples(project: Project) -> None:
    """Disjointness is by content: labels and position do not matter."""
    data = project.open(project.save(x=np.stack([X[0], X[1], X[0]]), labels=np.arange(3)))
    first, second, third = data.sample_digests()
    assert first == third != second


def test_the_models_own_batch_is_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Inputs fixed at batch 4 get four samples each time; a remainder is an error, never dropped or padded."""
    project = Project(tmp_path_factory.mktemp("fixed"), shape=[4, 2])
    data = project.open(project.save(x=X[:8]))
    assert [len(batch.inputs["x"]) for batch in data.batches(4)] == [4, 4]
    with pytest.raises(UserError, match="write batch = 4 under"):
        next(data.batches(1))
    with pytest.raises(UserError, match=r"6 samples of data\.npz leave 2 over"):
        next(data.batches(4, 6))
    assert data.digest


def test_one_name_of_a_dimension_is_one_size(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Dynamic dimensions take any size, within what ``shapes`` allows."""
    root = tmp_path_factory.mktemp("dynamic")
    project = Project(root, shape=["batch", "side", "side"], extra="shapes.side = [1, 2, 3]")
    assert project.open(project.save(x=np.zeros((1, 3, 3), np.float32))).count == 1
    with pytest.raises(UserError, match="shaped"):
        project.open(project.save(x=np.zeros((1, 3, 2), np.float32)))
    with pytest.raises(UserError, match=r"shapes.side allows 1 to 3"):
        project.open(project.save(x=np.zeros((1, 4, 4), np.float32)))


def test_names_in_the_config_are_the_models(project: Project) -> None:
    """Ranges of no input and shapes of no dimension are mistakes with their line."""
    with pytest.raises(UserError, match=r"ranges.z: there is no such input"):
        project.open(project.save(x=X), ranges={"z": (0, 1)})
    project.extra = "shapes.bacth = [1, 1, 1]"
    with pytest.raises(UserError, match=r"hil.toml:4: .*did you mean 'batch'"):
        project.open(project.save(x=X))


def test_a_source_that_is_not_there(project: Project) -> None:
    """The message names the file and where it was asked for."""
    with pytest.raises(UserError, match=r"hil.toml:3: .*absent.npz does not exist: model m"):
        project.open("absent.npz")
