from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from hil.config.spec import TargetSpec
from hil.errors import LabError, TargetUnreachable
from hil.targets.base import open_target
from hil.targets.bundle import cache_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_store_is_the_users_cache_unless_said_otherwise(tmp_path: Path) -> None:
    """Without ``store`` the agent keeps its things in the user's cache folder."""
    with open_target("cpu", TargetSpec()).start_agent() as agent:
        assert agent.hello["store"] == str(cache_folder() / "store") == str(tmp_path / "cache/pytest-hil/store")
        assert agent.hello["executable"] == sys.executable


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    """A configured interpreter that cannot be started makes the target unreachable, in one line."""
    with pytest.raises(TargetUnreachable, match="on target 'cpu': No such file"):
        open_target("cpu", TargetSpec(python=str(tmp_path / "python"))).start_agent()


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    """A program that answers anything else is named with what it wrote."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho nonsense; echo 'no such module' >&2; exit 3\n")
    script.chmod(0o755)
    with pytest.raises(TargetUnreachable, match=r"did not start.*no such module.*on target 'cpu'"):
        open_target("cpu", TargetSpec(python=str(script))).start_agent()


def test_a_login_banner_does_no_harm(tmp_path: Path) -> None:
    """What a wrapper prints before the agent starts is passed over."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\necho "Welcome to Ubuntu 22.04"\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    with open_target("cpu", TargetSpec(python=str(script))).start_agent() as agent:
        assert agent.probe()["cores"] >= 1


@pytest.mark.parametrize("kind", ["ssh", "labgrid"])
def test_kinds_not_driven_yet_are_unreachable(kind: str) -> None:
    """A kind this version cannot drive says so, so that a fallback may answer."""
    with pytest.raises(TargetUnreachable, match=f"kind '{kind}' is not driven.*on target 'board'.*local"):
        open_target("board", TargetSpec.model_validate({"kind": kind, "host": "board.invalid"}))


def test_the_probe_tells_the_machine() -> None:
    """Facts of the machine are there; what cannot be read is None and never zero."""
    with open_target("cpu", TargetSpec()).start_agent() as agent:
        facts = agent.probe()
    assert facts["memory"]["total"] > 0
    assert facts["python"].count(".") == 2
    assert set(facts["runtimes"]) == {"onnxruntime", "tensorrt"}
    assert {"machine", "kernel", "cpu_model", "numpy", "clocks", "hostname"} <= set(facts)


def test_closing_twice_is_nothing() -> None:
    """A closed client stays closed; using it is the lab's error in one line."""
    agent = open_target("cpu", TargetSpec()).start_agent()
    agent.close()
    agent.close()
    with pytest.raises(LabError, match="the agent is closed: on target 'cpu'"):
        agent.probe()
