"""Services that were to be stopped: whatever is not seen to be stopped settles nothing."""

from __future__ import annotations

import pytest

from hil.state import OF_MEMORY, Contract, Finding, State, judge


def found(before: object, after: object) -> list[Finding]:
    """What is found in one window with these readings of services."""
    window = {"state": {"before": {"services": before}, "after": {"services": after}}}
    return [one for one in judge(Contract(), State(), [window], State()) if "service" in one.text]


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_stopped_services_disturb_nobody(state: str) -> None:
    """A unit that failed has no process either."""
    assert found({"robot": state}, {"robot": state}) == []
    assert found(None, 5) == []


@pytest.mark.parametrize("state", ["active", "activating", "reloading", "deactivating", ""])
def test_a_service_that_runs_again_is_from_outside(state: str) -> None:
    """Before or after, one is enough; it takes memory too."""
    for readings in (({"robot": state}, {"robot": "inactive"}), ({"robot": "inactive"}, {"robot": state})):
        (one,) = found(*readings)
        assert one == Finding("load", "outside", f"service robot, which had to be stopped, was {state}")
        assert one.kind in OF_MEMORY


def test_a_service_that_nobody_can_tell_of_is_from_outside() -> None:
    """No answer is no proof."""
    (one,) = found({"robot": None}, {"robot": "inactive"})
    assert (one.source, one.text) == ("outside", "it cannot be confirmed that service robot was stopped")
