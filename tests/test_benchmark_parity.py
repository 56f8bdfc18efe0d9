from __future__ import annotations

import numpy as np
import pytest

from benchmarks.parity import engines, faults, holes, planting
from benchmarks.parity.graphs import MAKERS
from hil.diagnose.error_bounds import FLOORS
from hil.diagnose.running import on_host
from hil.diagnose.tensor_error import error


@pytest.mark.parametrize("name", holes.HOLES)
def test_nothing_passes_for_want_of_anything_compared(name: str) -> None:
    """Each of the eight comparisons of nothing, or of the wrong thing, fails here."""
    assert holes.ours(holes.HOLES[name]) is False


def test_polygraphy_lets_them_pass() -> None:
    """The table's other column is run too, where the peer is installed."""
    pytest.importorskip("polygraphy")
    assert all(row["theirs"] for row in holes.rows())


@pytest.mark.parametrize("number", range(len(faults.KINDS)))
def test_a_planted_fault_does_something_and_is_found(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fault of each kind, in the small graphs: none is a no-op, all are detected and named."""
    monkeypatch.setattr(planting, "GRAPHS", ("digits", "arm", "encoder"))
    drawn = planting.draw_fault(21, number)
    assert drawn.kind == faults.KINDS[number]
    if drawn.kind in faults.GRAPH_FAULTS and drawn.precision == "fp32":
        answers = [(on_host(drawn.reference, one), on_host(drawn.suspect, one)) for one in drawn.samples]
        assert max(error(want[name], have[name]) for want, have in answers for name in want) > FLOORS["fp32"]
    seen = planting.judge(drawn, engines.Engine())
    assert seen["accused"], seen
    assert seen["right"], seen


@pytest.mark.parametrize("number", range(3))
def test_a_healthy_engine_is_not_accused(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each precision, in the small graphs."""
    monkeypatch.setattr(planting, "GRAPHS", ("digits", "arm", "encoder"))
    seen = planting.judge(planting.draw_healthy(22, number), engines.Engine())
    assert not seen["accused"], seen
    assert seen["planted"] is None


@pytest.mark.parametrize("name", ["squeezenet", "encoder"])
def test_a_seed_draws_the_same_graph_again(name: str) -> None:
    """Weights and samples follow from the seed, so that a fault can be looked at again."""
    first, again, other = MAKERS[name](3), MAKERS[name](3), MAKERS[name](4)
    assert first.model.SerializeToString() == again.model.SerializeToString() != other.model.SerializeToString()
    (one,), (same,) = first.samples(1, 5), again.samples(1, 5)
    assert all(np.array_equal(one[key], same[key]) for key in one)
