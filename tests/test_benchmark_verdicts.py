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
    """The bounds equal published values: 0 of 100 is at most 2.95 % at 95 %; 100 of 100 gives the mirrored bound."""
    assert list(table.bounds(0, 100, 0.95)) == pytest.approx([0, 1 - 0.05**0.01])
    assert list(table.bounds(100, 100, 0.95)) == pytest.approx([0.05**0.01, 1])
    assert list(table.bounds(10, 100, 0.975)) == pytest.approx([0.0490, 0.1762], abs=1e-4)


@pytest.mark.parametrize(("hits", "met", "outright"), [(10, True, True), (25, True, False), (40, False, False)])
def test_a_bar_is_missed_if_the_bound_is_beyond_it(hits: int, *, met: bool, outright: bool) -> None:
    """With a bar of 1 %, 1.25 % of 2,000 meets it by no more than chance, which the last line states; 2 % misses it."""
    cell = table.cell("what", "noise", hits, 2000, bar=0.01, sense="at most")
    assert (cell.met, cell.outright) == (met, outright)
    assert table.passed([cell]) is met
    assert ("by no more than chance" in table.last_line([cell])) is (met and not outright)


def test_a_table_without_bars_does_not_pass() -> None:
    """A table without a bar of ours, or without cells, does not pass."""
    assert not table.passed([])
    assert not table.passed([table.cell("what", "noise", 0, 10, bar=None, sense="at most")])
    with pytest.raises(ValueError, match="is not a rate"):
        table.cell("what", "noise", 3, 2, bar=None, sense="at most")


@pytest.mark.parametrize("model", noise.MODELS, ids=lambda model: str(model.name))
@pytest.mark.parametrize("q", [0.5, 0.99])
def test_the_true_quantile_is_true(model: noise.Noise, q: float) -> None:
    """A share q of 200 autocorrelated series lies below the quantile, within sampling error."""
    series = model.draw(np.random.default_rng(1), 200, 1000)
    shares = (series <= model.quantile(q)).mean(axis=1)
    assert abs(shares.mean() - q) <= 4 * shares.std(ddof=1) / np.sqrt(len(shares)) + 1e-9


@pytest.mark.parametrize("model", timings.MODELS)
def test_runs_differ_by_the_requested_deviation(model: str) -> None:
    """A requested deviation of 2 % between runs is met, and a seed gives the same numbers again."""
    first, again = (timings.values(np.random.default_rng(2), model, (40, 30), sd=0.02) for _ in range(2))
    assert np.log(first).std() == pytest.approx(0.02, rel=0.15)
    assert (first == again).all()


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, Verdict.PASSED), (2.0, Verdict.FAILED), (1.0, Verdict.INCONCLUSIVE)]
)
def test_sampling_ends_once_the_verdict_is_certain(share: float, expected: Verdict) -> None:
    """Far from the limit the first interim analysis decides; at the limit the budget ends as inconclusive."""
    model = noise.MODELS[0]
    series = next(percentile.drawn(model, 1, limits.BUDGET, 3, "test"))
    verdict, samples = limits.ended(series, model.quantile(0.99) / share)
    assert verdict is expected
    assert samples == (limits.BUDGET if expected is Verdict.INCONCLUSIVE else 688)


def test_each_peer_applies_its_rule() -> None:
    """Each peer's rule reports a slowdown of 8 %, except asv's, which requires 10 %; no rule reports a speed-up."""
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
def test_the_command_fails_if_a_cell_does(
    hits: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code and last line depend on the cells, and a quick run writes no result."""

    def cells(trials: int, _seed: int) -> list[table.Cell]:
        return [table.cell("what", "noise", hits, trials, bar=0.01, sense="at most")]

    monkeypatch.setattr(command, "BLOCKS", {"one": (cells, table.text)})
    assert command.main(["--quick", "--out", str(tmp_path)]) == code
    assert capsys.readouterr().out.splitlines()[-1] == f"cells within their bar: {1 - code} of 1 (bar: 1 of 1)"
    assert not list(tmp_path.iterdir())
