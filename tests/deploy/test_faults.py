"""After a fault at any time, the robot runs one complete release, and ``hil releases`` names it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.deploy.faults import FAULTS, deployment, run

if TYPE_CHECKING:
    from tests.deploy.fleet import Fleet


@pytest.mark.long
def test_a_fault_of_each_kind(fleet: Fleet) -> None:
    """One fault of each kind on the same robot; ``python -m benchmarks.deploy`` runs 200."""
    fleet.target(health_within="1.5 s")
    began = time.monotonic()
    child = deployment(fleet)
    assert child.wait()[0] == "deployed"
    length = time.monotonic() - began
    rows = [run(fleet, fault, seed, length) for seed, fault in enumerate(FAULTS)]
    wrong = [f"{row['fault']} at {row['moment']} s: {row['why']}: {row.get('told')}" for row in rows if not row["held"]]
    assert not wrong, "\n".join(wrong)
