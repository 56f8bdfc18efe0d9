from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hil.errors import LabError, TargetHeld, Unsupported, UserError
from hil.results import Evidence
from hil.session import Session

if TYPE_CHECKING:
    from tests.session.conftest import Asks


@pytest.mark.parametrize(("target", "evidence"), [("cpu", Evidence.HOST), ("stand-in", Evidence.EMULATED)])
def test_evidence_is_what_was_held(ask: Asks, target: str, evidence: Evidence) -> None:
    """The CPU that was asked for is the host, a declared stand-in is emulated; neither is ever a device."""
    with closing(Session.open(ask(target))) as session:
        assert (session.evidence, session.requested, session.used) == (evidence, target, target)
        assert not session.is_fallback
        assert session.facts["cores"] >= 1


def test_a_fallback_is_reported(ask: Asks, messages: list[str]) -> None:
    """Another machine than the one asked for: the lowest evidence, the reason kept, the user told."""
    with closing(Session.open(ask("board"))) as session:
        assert (session.evidence, session.requested, session.used) == (Evidence.CPU_FALLBACK, "board", "cpu")
        assert "on target 'board'" in str(session.fallback_reason)
    assert "never counts as board" in messages[0]


def test_skipping_starts_nothing(ask: Asks) -> None:
    """Under ``skip`` there is no agent, and whoever asks for one hears why."""
    with closing(Session.open(ask("board", "skip"))) as session:
        assert session.evidence is Evidence.CPU_FALLBACK
        with pytest.raises(Unsupported, match="on target 'board'"):
            _ = session.agent


def test_failing_is_the_labs_fault(ask: Asks) -> None:
    """Under ``fail`` the run ends with the reason."""
    with pytest.raises(LabError, match="on target 'board'"):
        Session.open(ask("board", "fail"))


@pytest.mark.parametrize("fallback", ["cpu", "skip", "fail"])
def test_a_held_target_is_never_replaced(ask: Asks, fallback: str) -> None:
    """Somebody else's target is not unreachable: whatever the fallback, the second run hears who has it."""
    with (
        closing(Session.open(ask())),
        pytest.raises(TargetHeld, match=r"held by .* from host .* since"),
    ):
        Session.open(ask(fallback=fallback, run_id="two"))


def test_processes_of_one_run_hold_together(ask: Asks) -> None:
    """The run's id opens the target to each of its processes, and the last to leave lets go of it."""
    first, second = Session.open(ask()), Session.open(ask())
    first.close()
    with pytest.raises(TargetHeld):
        Session.open(ask(run_id="two"))
    second.close()
    Session.open(ask(run_id="two")).close()


def test_a_container_that_cannot_be_had_is_never_done_without(ask: Asks) -> None:
    """Workers beside the container, or on the CPU instead, would make every number another one."""
    with pytest.raises(LabError, match=r"podman (has no image none|is not there).* on target 'contained': "):
        Session.open(ask("contained"))


@pytest.mark.parametrize(("target", "keys"), [("misled", "board, gpu"), ("threaded", "threads")])
def test_a_key_of_another_runtime_is_refused(ask: Asks, target: str, keys: str) -> None:
    """A board that nobody can confirm, or threads that nobody sets, would be read and ignored."""
    with pytest.raises(UserError, match=rf"\[targets.{target}\] has {keys}, which only runtime"):
        Session.open(ask(target))


@pytest.mark.parametrize("fallback", ["cpu", "skip", "fail"])
@pytest.mark.parametrize(
    ("target", "message"), [("module", "board orin-nx-16gb"), ("numbered", "serial 1424721012345")]
)
def test_a_board_that_is_not_confirmed_is_never_replaced(ask: Asks, target: str, message: str, fallback: str) -> None:
    """This machine is no Jetson: whatever the fallback, the run ends with what was found and what to do."""
    with pytest.raises(LabError, match=rf"{message} is not confirmed, .*on target '{target}'"):
        Session.open(ask(target, fallback))
    Session.open(ask()).close()


def test_a_machine_without_its_gpu_falls_back(ask: Asks, messages: list[str]) -> None:
    """Where TensorRT or the GPU is not there the CPU takes its place, by name and with the reason."""
    try:
        import tensorrt  # noqa: F401 - only a check that it is installed
    except ImportError:
        pass
    else:
        pytest.skip("TensorRT is installed here")
    with closing(Session.open(ask("gpu"))) as session:
        assert (session.evidence, session.used, session.board) == (Evidence.CPU_FALLBACK, "cpu", None)
        assert "tensorrt cannot be used" in str(session.fallback_reason)
    assert "never counts as gpu" in messages[0]
    with pytest.raises(LabError, match="tensorrt cannot be used"):
        Session.open(ask("gpu", "fail"))
