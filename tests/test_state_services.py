"""Services that the contract stops: unless each is confirmed as stopped, a disturbance is reported."""

from __future__ import annotations

import pytest

from hil.state import OF_MEMORY, Contract, Finding, State, judge


def service_findings(before: object, after: object) -> list[Finding]:
    """Return the findings about services in one window with these readings."""
    window = {"state": {"before": {"services": before}, "after": {"services": after}}}
    return [finding for finding in judge(Contract(), State(), [window], State()) if "service" in finding.text]


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_stopped_services_are_no_disturbance(state: str) -> None:
    """An inactive or failed unit is not a disturbance: neither has a process."""
    assert service_findings({"robot": state}, {"robot": state}) == []
    assert service_findings(None, 5) == []


@pytest.mark.parametrize("state", ["active", "activating", "reloading", "deactivating", ""])
def test_a_service_that_runs_again_is_from_outside(state: str) -> None:
    """A service that runs before or after the window is a disturbance from outside, also for memory checks."""
    for readings in (({"robot": state}, {"robot": "inactive"}), ({"robot": "inactive"}, {"robot": state})):
        (finding,) = service_findings(*readings)
        assert finding == Finding("load", "outside", f"service robot, which had to be stopped, was {state}")
        assert finding.kind in OF_MEMORY


def test_an_unreadable_service_is_from_outside() -> None:
    """A service whose state is unreadable is not confirmed as stopped, so it is a disturbance from outside."""
    (finding,) = service_findings({"robot": None}, {"robot": "inactive"})
    assert (finding.source, finding.text) == ("outside", "it cannot be confirmed that service robot was stopped")
