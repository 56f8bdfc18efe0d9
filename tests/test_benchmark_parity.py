from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.accuracy.graphs import weights, with_weights
from benchmarks.parity import engines, faults, holes, planting, third_party
from benchmarks.parity.graphs import MAKERS
from benchmarks.parity.kept import Kept
from hil.diagnose.error_bounds import FLOORS
from hil.diagnose.running import on_host
from hil.diagnose.tensor_error import error

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", holes.HOLES)
def test_a_comparison_of_nothing_fails(name: str) -> None:
    """Each of the eight comparisons of no values, or of the wrong values, fails."""
    assert holes.ours(holes.HOLES[name]) is False


def test_polygraphy_passes_a_comparison_of_nothing() -> None:
    """Polygraphy passes all eight comparisons, as the benchmark's table states."""
    pytest.importorskip("polygraphy")
    assert all(row["theirs"] for row in holes.rows())


SMALL = ("digits", "arm", "encoder")


@pytest.mark.parametrize("number", range(len(faults.KINDS)))
def test_a_planted_fault_is_detected(number: int) -> None:
    """One fault of each kind, in the small graphs, changes the outputs and is detected and named."""
    drawn = planting.draw_fault(21, number, SMALL)
    assert drawn.kind == faults.KINDS[number]
    if drawn.kind in faults.GRAPH_FAULTS and drawn.precision == "fp32":
        outputs = [(on_host(drawn.reference, feed), on_host(drawn.suspect, feed)) for feed in drawn.samples]
        assert max(error(right[name], wrong[name]) for right, wrong in outputs for name in right) > FLOORS["fp32"]
    row = planting.judge(drawn, engines.Engine())
    assert row["accused"], row
    assert row["right"], row


@pytest.mark.parametrize("number", range(3))
def test_a_healthy_engine_is_not_accused(number: int) -> None:
    """A healthy engine of each precision, in the small graphs, has no culprit."""
    row = planting.judge(planting.draw_healthy(22, number, SMALL), engines.Engine())
    assert not row["accused"], row
    assert row["planted"] is None


@pytest.mark.parametrize("name", ["squeezenet", "encoder"])
def test_a_seed_draws_the_same_graph_again(name: str) -> None:
    """Weights and samples depend only on the seed, so that a fault can be examined again."""
    first, again, other = MAKERS[name](3), MAKERS[name](3), MAKERS[name](4)
    assert first.model.SerializeToString() == again.model.SerializeToString() != other.model.SerializeToString()
    (sample,), (same,) = first.samples(1, 5), again.samples(1, 5)
    assert all(np.array_equal(sample[key], same[key]) for key in sample)


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """Rows of the same run are kept, a line that was cut is not, and rows of another seed are refused."""
    path, run = tmp_path / "rows.jsonl", {"part": "planted", "seed": 1}
    Kept(path, run).add({"number": 0})
    with path.open("a") as file:
        file.write('{"numb')
    again = Kept(path, run)
    assert again.rows == [{"number": 0}]
    again.add({"number": 1})
    assert Kept(path, run).rows == [{"number": 0}, {"number": 1}]
    with pytest.raises(SystemExit, match="this run uses"):
        Kept(path, {**run, "seed": 2})


def test_rows_that_are_there_are_not_made_again() -> None:
    """Only rows that are missing are computed."""
    (row,) = planting.rows(22, 1, SMALL, [{"kind": planting.HEALTHY, "number": 0}])
    assert (row["number"], row["kind"]) == (0, "weight")


def test_an_undamaged_engine_is_healthy_by_its_answers() -> None:
    """An engine that keeps its reference's answers is sound; for another one, a text states the share that changed."""
    model = third_party.third_party("digits").model
    assert third_party.unsound("digits", engines.optimized(model)) == ""
    zeros = {name: np.zeros_like(values) for name, values in weights(model).items()}
    assert third_party.unsound("digits", with_weights(model, zeros)).endswith("% of the answers changed")


def test_an_unsound_engine_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If each drawn engine changes more answers than a sound engine may, none is used as healthy, and the run ends."""
    monkeypatch.setattr(third_party, "NAMES", ("digits",))
    monkeypatch.setattr(planting, "TRIES", 2)
    assert planting.draw_healthy(22, 2, ("digits",)).unsound == ()
    monkeypatch.setattr(third_party, "MOST_SOUND", -1.0)
    planting._wrong.cache_clear()  # noqa: SLF001 - the limit changed
    with pytest.raises(SystemExit, match="no sound int8 engine"):
        planting.draw_healthy(22, 2, ("digits",))
    planting._wrong.cache_clear()  # noqa: SLF001 - the limit changes back
