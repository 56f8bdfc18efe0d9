"""The search for the nodes to keep in floating point: it finds the needed ones, and its result is a trial that held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from hil.quantize.tuning import Candidate, OutOfBuildsError, Search, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

LAYERS = [Candidate((f"layer{number}",), noise=1.0 / (number + 1), cost=float(number % 3 + 1)) for number in range(40)]
GROUPS = [Candidate(("add0", "add1")), Candidate(("mul0",))]


def engine(needed: frozenset[str], most: int = 1000) -> tuple[Callable[[tuple[str, ...]], Trial], list[int]]:
    """Return a function that judges an engine, which passes if ``needed`` stay in float, and the list of its builds."""
    built: list[int] = []
    cost = {node: one.cost for one in LAYERS for node in one.nodes}

    def attempt(keep: tuple[str, ...]) -> Trial:
        if len(built) >= most:
            raise OutOfBuildsError
        built.append(len(keep))
        missed = {} if needed <= set(keep) else {"parity.outputs": "it differs"}
        share = 1 - sum(cost.get(node, 0.0) for node in keep) / sum(cost.values())
        return Trial(keep, not missed, missed, bool(missed), {}, None, share)

    return attempt, built


@given(st.sets(st.sampled_from([node for one in [*LAYERS, *GROUPS] for node in one.nodes]), max_size=3))
@example({"layer0", "layer38"})  # the first and the last of the search's order
def test_what_is_needed_is_kept_and_nothing_else(needed: set[str]) -> None:
    """The search keeps exactly the nodes that the tolerances need."""
    search = Search(LAYERS, GROUPS, engine(frozenset(needed))[0])
    best = search.run()
    assert best is not None
    whole = {node for one in [*LAYERS, *GROUPS] if needed & set(one.nodes) for node in one.nodes}
    assert set(best.keep) == whole


@given(st.sets(st.sampled_from([one.nodes[0] for one in LAYERS[:8]]), max_size=2), st.integers(0, 25))
def test_the_builds_are_limited(needed: set[str], most: int) -> None:
    """No more engines are built than allowed, none is built twice, and the result is one of the trials."""
    attempt, built = engine(frozenset(needed), most)
    search = Search(LAYERS, GROUPS, attempt)
    best = search.run()
    assert len(built) <= most
    assert len(search.trials) == len(built) == len({trial.keep for trial in search.trials})
    assert best is None or (best.holds and best in search.trials)


def test_two_sensitive_layers_of_forty_are_found_in_25_builds() -> None:
    """Two layers among the noisiest eight are found in 25 builds, with 80 % of the multiply-adds in INT8."""
    attempt, built = engine(frozenset({"layer2", "layer7"}))
    best = Search(LAYERS, GROUPS, attempt).run()
    assert best is not None
    assert best.keep == ("layer2", "layer7")
    assert best.share > 0.8
    assert len(built) <= 25


def test_a_search_without_a_trial_that_holds_has_no_result() -> None:
    """If the tolerances hold in no trial, there is no result; one layer always stays in INT8."""
    attempt, _ = engine(frozenset({"no such node"}))
    search = Search(LAYERS, GROUPS, attempt)
    assert search.run() is None
    assert max(trial.share for trial in search.trials) == 1
    assert min(trial.share for trial in search.trials) > 0


def test_one_layer_alone_is_never_kept() -> None:
    """A network with a single layer is tried only once, in INT8."""
    attempt, built = engine(frozenset({"layer0"}))
    assert Search(LAYERS[:1], (), attempt).run() is None
    assert built == [0]


def test_of_equal_shares_the_fastest_engine_is_the_result() -> None:
    """Nodes without multiply-adds stay in floating point if that is faster."""
    speeds = {("a", "b"): 1.4, ("b",): 1.2}

    def attempt(keep: tuple[str, ...]) -> Trial:
        return Trial(keep, bool(keep), {} if keep else {"parity.task": "lost"}, not keep, {}, speeds.get(keep), 1.0)

    best = Search((), [Candidate(("a",)), Candidate(("b",))], attempt).run()
    assert best is not None
    assert best.keep == ("a", "b")
