from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hil.errors import LabError, TargetHeld, Unsupported, UserError
from hil.results import Evidence
from hil.session import Session

if TYPE_CHECKING:
    from tests.session.conftest import MakesRequests


def test_skipping_starts_nothing(make_request: MakesRequests) -> None:
    """Under ``skip`` no agent is started, and requesting one raises ``Unsupported`` with the reason."""
    with closing(Session.open(make_request("board", "skip"))) as session:
        assert session.evidence is Evidence.CPU_FALLBACK
        with pytest.raises(Unsupported, match="on target 'board'"):
            _ = session.agent


def test_fail_raises_a_lab_error(make_request: MakesRequests) -> None:
    """Under ``fail`` the run ends with the reason."""
    with pytest.raises(LabError, match="on target 'board'"):
        Session.open(make_request("board", "fail"))


def test_only_processes_of_one_run_share_the_target(make_request: MakesRequests) -> None:
    """A second run gets an error with the holder, not a fallback, until the last process of the first has ended."""
    first, second = Session.open(make_request()), Session.open(make_request())
    first.close()
    for fallback in ("cpu", "skip"):
        with pytest.raises(TargetHeld, match=r"held by .* from host .* since"):
            Session.open(make_request(fallback=fallback, run_id="two"))
    second.close()
    Session.open(make_request(run_id="two")).close()


def test_an_unavailable_container_is_never_replaced(make_request: MakesRequests) -> None:
    """Workers outside the container or a fallback to the CPU would give other numbers, so the run ends."""
    with pytest.raises(LabError, match=r"podman (has no image none|is not installed).* on target 'contained': "):
        Session.open(make_request("contained"))


@pytest.mark.parametrize(("target", "keys"), [("misled", "board, gpu"), ("threaded", "threads")])
def test_a_key_of_another_runtime_is_refused(make_request: MakesRequests, target: str, keys: str) -> None:
    """A key that the target's runtime would ignore is a user error."""
    with pytest.raises(UserError, match=rf"\[targets.{target}\] has {keys}, which only runtime"):
        Session.open(make_request(target))


def test_an_unconfirmed_board_is_never_replaced(make_request: MakesRequests) -> None:
    """A board that cannot be confirmed is a lab error, also with a fallback, and the target is free afterwards."""
    with pytest.raises(LabError, match=r"board orin-nx-16gb is not confirmed, .*on target 'module'"):
        Session.open(make_request("module", "cpu"))
    Session.open(make_request()).close()


def test_a_machine_without_its_gpu_falls_back(make_request: MakesRequests, messages: list[str]) -> None:
    """Without TensorRT or a GPU the CPU replaces the target, with the reason in the message."""
    try:
        import tensorrt  # noqa: F401 - only a check that it is installed
    except ImportError:
        pass
    else:
        pytest.skip("TensorRT is installed here")
    with closing(Session.open(make_request("gpu"))) as session:
        assert (session.evidence, session.used, session.board) == (Evidence.CPU_FALLBACK, "cpu", None)
        assert "tensorrt cannot be used" in str(session.fallback_reason)
    assert "never counts as gpu" in messages[0]
