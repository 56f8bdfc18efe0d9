"""``.npz`` data is compared with the model; no array is renamed, converted, padded or dropped."""

from __future__ import annotations

import numpy as np
import pytest

from hil.errors import UserError
from tests.datasets.project import Project

X = np.arange(20, dtype=np.float32).reshape(10, 2)


def test_batches_hold_inputs_and_labels(project: Project) -> None:
    """Batches have the inputs by name, ``labels`` under "" and ``labels.OUT`` under OUT, in the file's order."""
    data = project.open(project.save(x=X, labels=np.arange(10), **{"labels.y": X * 2}))
    batches = list(data.batches(4))
    assert [batch.start for batch in batches] == [0, 4, 8]
    assert [len(batch.inputs["x"]) for batch in batches] == [4, 4, 2]
    assert batches[1].labels[""].tolist() == [4, 5, 6, 7]
    np.testing.assert_array_equal(batches[2].labels["y"], X[8:] * 2)
    assert (data.count, data.has_labels, data.synthetic, data.name) == (10, True, False, "data.npz")


def test_a_limit_takes_the_first(project: Project) -> None:
    """A pass reads at most the requested number of samples, or all samples if there are fewer."""
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
        ({"x": X, "labels": np.arange(9)}, "different lengths (10 of 'x', 9 of 'labels')"),
        ({"x": X[:0]}, "holds zero samples"),
        ({}, "has nothing, but the inputs are 'x'"),
    ],
)
def test_data_that_does_not_match_the_model_is_refused(
    project: Project, arrays: dict[str, np.ndarray], message: str
) -> None:
    """Arrays that do not fit the model are refused with one message that names model and mismatch."""
    with pytest.raises(UserError) as error:
        project.open(project.save(**arrays))
    assert message in str(error.value)
    assert "model m" in str(error.value)


def test_digest_is_of_the_content(project: Project) -> None:
    """Equal arrays have the same digest, compressed or not; a changed value, label or order changes it."""
    first = project.open(project.save(x=X)).digest
    np.savez_compressed(project.root / "other.npz", x=X)
    assert project.open("other.npz").digest == first
    changed = X.copy()
    changed[9, 1] += 1
    assert project.open(project.save(x=changed)).digest != first
    assert project.open(project.save(x=X, labels=np.arange(10))).digest != first
    assert project.open(project.save(x=X[::-1].copy())).digest != first


def test_equal_samples_have_equal_digests(project: Project) -> None:
    """A sample's digest depends only on its inputs, not on label or position."""
    data = project.open(project.save(x=np.stack([X[0], X[1], X[0]]), labels=np.arange(3)))
    first, second, third = data.sample_digests()
    assert first == third != second


def test_a_fixed_batch_is_used(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model with a fixed batch of 4 gets four samples at a time; a remainder is an error."""
    project = Project(tmp_path_factory.mktemp("fixed"), shape=[4, 2])
    data = project.open(project.save(x=X[:8]))
    assert [len(batch.inputs["x"]) for batch in data.batches(4)] == [4, 4]
    with pytest.raises(UserError, match="write batch = 4 under"):
        next(data.batches(1))
    with pytest.raises(UserError, match=r"6 samples of data\.npz leave 2 over"):
        next(data.batches(4, 6))
    assert data.digest


def test_dimensions_of_one_name_have_one_size(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Dimensions with the same name must have the same size, within ``shapes``."""
    root = tmp_path_factory.mktemp("dynamic")
    project = Project(root, shape=["batch", "side", "side"], extra="shapes.side = [1, 2, 3]")
    assert project.open(project.save(x=np.zeros((1, 3, 3), np.float32))).count == 1
    with pytest.raises(UserError, match=r'"side", "x\[2\]"\]'):
        project.open(project.save(x=np.zeros((1, 3, 2), np.float32)))
    with pytest.raises(UserError, match=r"hil.toml allows 1 to 3"):
        project.open(project.save(x=np.zeros((1, 4, 4), np.float32)))


def test_names_in_the_config_are_the_models(project: Project) -> None:
    """Ranges for an unknown input and shapes for an unknown dimension are user errors."""
    with pytest.raises(UserError, match=r"ranges.z: there is no such input"):
        project.open(project.save(x=X), ranges={"z": (0, 1)})
    project.extra = "shapes.bacth = [1, 1, 1]"
    with pytest.raises(UserError, match=r"hil.toml:4: .*did you mean 'batch'"):
        project.open(project.save(x=X))


def test_a_missing_source(project: Project) -> None:
    """The message for a missing file names the file and the line of the config."""
    with pytest.raises(UserError, match=r"hil.toml:3: .*absent.npz does not exist: model m"):
        project.open("absent.npz")
