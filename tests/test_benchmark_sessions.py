"""The benchmark of separate sessions: its simulation, and continuing a stopped run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.results.judging import sessions as judging
from benchmarks.sessions import simulated
from benchmarks.sessions.chain import ROUND, Chain

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("case", simulated.CASES, ids=lambda case: str(case.name))
def test_simulated_sessions_of_one_engine_report_no_change(case: simulated.Case) -> None:
    """A machine that is 40 % slower in one session, or varies in each, gives almost no false change."""
    random = np.random.default_rng(2)
    assert simulated.alarms(random, 25, "Gaussian", case, 0.4) <= 1


def test_a_simulated_change_of_the_code_is_found() -> None:
    """A row that is 40 % worse is called worse if the noise is known and nothing points to another machine."""
    slower = simulated.Case("the code is slower", one_sided=True, control=False)
    random = np.random.default_rng(3)
    assert simulated.alarms(random, 20, "Gaussian", slower, 0.4) == 20


def test_there_is_a_cell_for_each_claimed_one() -> None:
    """The simulation has as many cells as its bar requires."""
    assert len(simulated.CASES) * len(simulated.SHIFTS) == judging.SIMULATED_CELLS


def test_a_third_of_the_pairs_is_disturbed_on_one_side() -> None:
    """A third of the pairs of neighbours has one disturbed session, and none has two."""
    pairs = list(zip(ROUND, (*ROUND[1:], ROUND[0]), strict=True))
    assert sum(any(pair) for pair in pairs) == len(pairs) / 3
    assert not any(all(pair) for pair in pairs)


def test_recorded_sessions_are_not_run_again(tmp_path: Path) -> None:
    """Recorded sessions and pairs are not run again, and each row is read as it was written."""
    rows = [
        *(
            {"kind": "session", "chain": "chain", "number": at, "variant": "plain", "disturbed": "", "id": str(at)}
            for at in range(3)
        ),
        *({"kind": "pair", "number": at, "code": 0, "rows": [], "disturbed": ["", ""]} for at in (1, 2)),
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chain = Chain(tmp_path)
    chain.pairs(2, pytest.fail)
    assert chain.rows == rows
