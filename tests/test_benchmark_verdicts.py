from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.verdicts import __main__ as command
from benchmarks.verdicts import limits, noise, peers, percentile, table, timings
from hil.results import Verdict

if TYPE_CHECKING:
    from pathlib import Path


def test_bounds_are_the_published_ones() -> None:
    """None of a hundred is at most 2.95 % at 95 %, the rule of three; all of them is the mirror image."""
    assert list(table.bounds(0, 100, 0.95)) == pytest.approx([0, 1 - 0.05**0.01])
    assert list(table.bounds(100, 100, 0.95)) == pytest.approx([0.05**0.01, 1])
    assert list(table.bounds(10, 100, 0.975)) == pytest.approx([0.0490, 0.1762], abs=1e-4)


@pytest.mark.parametrize(("hits", "met", "outright"), [(10, True, True), (25, True, False), (40, False, False)])
def test_a_bar_is_missed_where_the_bound_is_beyond_it(hits: int, *, met: bool, outright: bool) -> None:
    """1.25 % of 2,000 may be chance where 1 % is allowed, and is told as that; 2 % is not."""
    one = table.cell("what", "noise", hits, 2000, bar=0.01, sense="at most")
    assert (one.met, one.outright) == (met, outright)
    assert table.passed([one]) is met
    assert ("by no more than chance" in table.last_line([one])) is (met and not outright)


def test_a_table_that_asks_nothing_passes_nothing() -> None:
    """Other tools' rates alone are no success, nor is an empty table."""
    assert not table.passed([])
    assert not table.passed([table.cell("what", "noise", 0, 10, bar=None, sense="at most")])
    with pytest.raises(ValueError, match="no rate"):
        table.cell("what", "noise", 3, 2, bar=None, sense="at most")


@pytest.mark.parametrize("model", noise.MODELS, ids=lambda model: str(model.name))
@pytest.mark.parametrize("q", [0.5, 0.99])
def test_the_true_quantile_is_true(model: noise.Noise, q: float) -> None:
    """A share q of 200 autocorrelated series lies below the quantile, within sampling error."""
    series = model.draw(np.random.default_rng(1), 200, 1000)
    shares = (series <= model.quantile(q)).mean(axis=1)
    assert abs(shares.mean() - q) <= 4 * shares.std(ddof=1) / np.sqrt(len(shares)) + 1e-9


@pytest.mark.parametrize("model", timings.MODELS)
def test_runs_differ_by_what_is_said(model: str) -> None:
    """Two per cent between runs come out as such, and the same numbers for the same seed."""
    first, again = (timings.values(np.random.default_rng(2), model, (40, 30), sd=0.02) for _ in range(2))
    assert np.log(first).std() == pytest.approx(0.02, rel=0.15)
    assert (first == again).all()


@pytest.mark.parametrize(("share", "said"), [(0.5, Verdict.PASSED), (2.0, Verdict.FAILED), (1.0, Verdict.INCONCLUSIVE)])
def test_sampling_ends_where_the_limit_is_settled(share: float, said: Verdict) -> None:
    """Far from the limit the first look decides; on it the budget is spent and nothing is said."""
    model = noise.MODELS[0]
    series = next(percentile.drawn(model, 1, limits.BUDGET, 3, "test"))
    verdict, samples = limits.ended(series, model.quantile(0.99) / share)
    assert verdict is said
    assert samples == (limits.BUDGET if said is Verdict.INCONCLUSIVE else 688)


def test_each_peer_calls_what_its_rule_says() -> None:
    """A slowdown of 8 % is over the thresholds of 5 % and under asv's factor; nobody calls what is faster."""
    random = np.random.default_rng(4)
    base, cand = (
        timings.values(random, "Gaussian", (8, peers.HISTORY), sd=1e-4, statistic=peers.statistics) for _ in range(2)
    )
    called = {name: int(rule(base, 1.08 * cand).sum()) for name, rule in peers.RULES.items()}
    assert called.pop("asv p < 0.002 and factor 1.1") == 0
    assert called == dict.fromkeys(called, 8)
    quiet = {name: int(rule(base, 0.95 * base).sum()) for name, rule in peers.RULES.items()}
    assert quiet == dict.fromkeys(quiet, 0)
    assert peers.ours(base, 1.08 * cand, 5, either=False).all()
    assert not peers.ours(base, base, 5, either=True).any()


@pytest.mark.parametrize(("hits", "code"), [(0, 0), (20, 1)])
def test_the_command_fails_where_a_cell_does(
    hits: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code and last line follow from the cells, and a quick run writes no result."""

    def cells(trials: int, _seed: int) -> list[table.Cell]:
        return [table.cell("what", "noise", hits, trials, bar=0.01, sense="at most")]

    monkeypatch.setattr(command, "BLOCKS", {"one": (cells, table.text)})
    assert command.main(["--quick", "--out", str(tmp_path)]) == code
    assert capsys.readouterr().out.splitlines()[-1] == f"cells within their bar: {1 - code} of 1 (bar: 1 of 1)"
    assert not list(tmp_path.iterdir())
