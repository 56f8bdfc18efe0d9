"""Services that the contract stops: unless each is confirmed as stopped, the row is inconclusive."""

from __future__ import annotations

import pytest

from hil.state import OF_MEMORY, Contract, Finding, State, judge


def service_findings(before: object, after: object) -> list[Finding]:
    """Return the findings about services in one window with these readings."""
    window = {"state": {"before": {"services": before}, "after": {"services": after}}}
    return [one for one in judge(Contract(), State(), [window], State()) if "service" in one.text]


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_stopped_services_disturb_nobody(state: str) -> None:
    """A failed unit has no process, like an inactive one."""
    assert service_findings({"robot": state}, {"robot": state}) == []
    assert service_findings(None, 5) == []


@pytest.mark.parametrize("state", ["active", "activating", "reloading", "deactivating", ""])
def test_a_service_that_runs_again_is_from_outside(state: str) -> None:
    """A running service before or after the window is enough; it also counts for memory."""
    for readings in (({"robot": state}, {"robot": "inactive"}), ({"robot": "inactive"}, {"robot": state})):
        (one,) = service_findings(*readings)
        assert one == Finding("load", "outside", f"service robot, which had to be stopped, was {state}")
        assert one.kind in OF_MEMORY


def test_a_service_that_nobody_can_tell_of_is_from_outside() -> None:
    """A service whose state is unreadable is not confirmed as stopped."""
    (one,) = service_findings({"robot": None}, {"robot": "inactive"})
    assert (one.source, one.text) == ("outside", "it cannot be confirmed that service robot was stopped")
