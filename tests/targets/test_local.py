from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from hil.config.spec import TargetSpec
from hil.errors import LabError, TargetUnreachable, UserError
from hil.targets import start_agent
from hil.targets.bundle import cache_folder
from hil.targets.target import open_target
from hil.targets.words import MOST_KEPT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_default_store_is_in_the_users_cache(tmp_path: Path) -> None:
    """Without ``store`` the agent's store is in the user's cache folder."""
    with open_target("cpu", TargetSpec()).start_agent() as agent:
        assert agent.hello["store"] == str(cache_folder() / "store") == str(tmp_path / "cache/pytest-hil/store")
        assert agent.hello["executable"] == sys.executable


def test_a_missing_interpreter(tmp_path: Path) -> None:
    """A configured interpreter that cannot be started makes the target unreachable, with a message of one line."""
    with pytest.raises(TargetUnreachable, match="on target 'cpu': No such file"):
        open_target("cpu", TargetSpec(python=str(tmp_path / "python"))).start_agent()


def test_a_program_that_is_not_an_agent(tmp_path: Path) -> None:
    """If the program is not an agent, the message quotes what it wrote."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho nonsense; echo 'no such module' >&2; exit 3\n")
    script.chmod(0o755)
    with pytest.raises(TargetUnreachable, match=r"did not start.*no such module.*on target 'cpu'"):
        open_target("cpu", TargetSpec(python=str(script))).start_agent()


def test_a_login_banner_is_skipped(tmp_path: Path) -> None:
    """Output before the agent's greeting is skipped."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\necho "Welcome to Ubuntu 22.04"\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    with open_target("cpu", TargetSpec(python=str(script))).start_agent() as agent:
        assert agent.probe()["cores"] >= 1


@pytest.mark.parametrize("kind", ["labgrid", "pool"])
def test_several_boards_are_not_one(kind: str) -> None:
    """A command for a single board refuses a target of several boards, without a fallback."""
    with pytest.raises(UserError, match=f"kind '{kind}' is several boards.*on target 'boards'.*name "):
        open_target("boards", TargetSpec.model_validate({"kind": kind, "members": ("one",)}))


def test_the_probe_returns_facts_of_the_machine() -> None:
    """The probe returns the facts of the machine."""
    with open_target("cpu", TargetSpec()).start_agent() as agent:
        facts = agent.probe()
    assert facts["memory"]["total"] > 0
    assert facts["python"].count(".") == 2
    assert set(facts["runtimes"]) == {"onnxruntime", "tensorrt"}
    assert {"machine", "kernel", "cpu_model", "numpy", "clocks", "hostname"} <= set(facts)


def test_closing_twice() -> None:
    """A client may be closed twice; using it afterwards is a lab error."""
    agent = open_target("cpu", TargetSpec()).start_agent()
    agent.close()
    agent.close()
    with pytest.raises(LabError, match="the agent is closed: on target 'cpu'"):
        agent.probe()


def test_the_result_of_a_command() -> None:
    """A command reads its input and returns its exit code and both outputs; a missing program has code 127."""
    target = open_target("cpu", TargetSpec())
    done = target.run(["sh", "-c", "cat; echo err >&2; exit 7"], b"given")
    assert (done.code, done.out, done.err) == (7, b"given", b"err\n")
    assert target.run(["no-such-program"]).code == 127
    assert target.run(["/"]).code == 126


def test_limits_of_a_commands_output() -> None:
    """Only the end of stderr is kept, too much output is a lab error, and large input and output do not deadlock."""
    target = open_target("cpu", TargetSpec())
    done = target.run(["sh", "-c", "head -c 5000000 /dev/zero >&2; echo end >&2"])
    assert len(done.err) == MOST_KEPT
    assert done.err.endswith(b"\0end\n")
    with pytest.raises(LabError, match=r"head wrote more than 64 MiB of output: on target 'cpu'"):
        target.run(["head", "-c", "80000000", "/dev/zero"])
    assert target.run(["cat"], bytes(3 << 20)).out == bytes(3 << 20)
    assert target.run(["true"], bytes(3 << 20)).code == 0


def test_the_deadline_holds_during_a_flood_of_stderr() -> None:
    """A command that keeps writing to stderr is killed at its deadline."""
    began = time.monotonic()
    with pytest.raises(LabError, match=r"did not end within 0\.3 s"):
        open_target("cpu", TargetSpec()).run(["sh", "-c", "yes >&2"], timeout=0.3)
    assert time.monotonic() - began < 5


def test_a_greeting_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single bytes that keep arriving do not extend the time limit of the greeting."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nwhile :; do printf x; sleep 0.2; done\n")
    script.chmod(0o755)
    monkeypatch.setattr(start_agent, "GREETING_PATIENCE", 1.5)
    began = time.monotonic()
    with pytest.raises(TargetUnreachable, match=r"did not start within 1.5 s: on target 'cpu'"):
        open_target("cpu", TargetSpec(python=str(script))).start_agent()
    assert time.monotonic() - began < 6


def test_an_agents_stderr_is_cleaned(tmp_path: Path) -> None:
    """A board's stderr is quoted in the message without control characters."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nprintf '\\033[2Jred\\007\\n' >&2; exit 3\n")
    script.chmod(0o755)
    with pytest.raises(TargetUnreachable, match=r"\\x1b\[2Jred\\x07") as caught:
        open_target("cpu", TargetSpec(python=str(script))).start_agent()
    assert str(caught.value).isprintable()


def test_a_command_ends_with_its_deadline() -> None:
    """A command beyond its deadline is killed with its children."""
    began = time.monotonic()
    with pytest.raises(LabError, match=r"sh did not end within 0.2 s and was killed: on target 'cpu'"):
        open_target("cpu", TargetSpec()).run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.2)
    assert time.monotonic() - began < 5
