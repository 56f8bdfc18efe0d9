from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from hil.config.spec import TargetSpec
from hil.errors import LabError, TargetUnreachable
from hil.targets import start_agent
from hil.targets.bundle import cache_folder
from hil.targets.target import open_target
from hil.targets.words import MOST_KEPT

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


@pytest.mark.parametrize("kind", ["labgrid"])
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


def test_a_command_tells_how_it_ended() -> None:
    """Exit code, both outputs, what it was given; a program that is not there is 127, as over a network."""
    target = open_target("cpu", TargetSpec())
    done = target.run(["sh", "-c", "cat; echo err >&2; exit 7"], b"given")
    assert (done.code, done.out, done.err) == (7, b"given", b"err\n")
    assert target.run(["no-such-program"]).code == 127
    assert target.run(["/"]).code == 126


def test_what_a_command_writes_is_bounded() -> None:
    """Of stderr the end is kept, too much output is the lab's error, and large input and output flow both ways."""
    target = open_target("cpu", TargetSpec())
    done = target.run(["sh", "-c", "head -c 5000000 /dev/zero >&2; echo end >&2"])
    assert len(done.err) == MOST_KEPT
    assert done.err.endswith(b"\0end\n")
    with pytest.raises(LabError, match=r"head wrote more than 64 MiB of output: on target 'cpu'"):
        target.run(["head", "-c", "80000000", "/dev/zero"])
    assert target.run(["cat"], bytes(3 << 20)).out == bytes(3 << 20)
    assert target.run(["true"], bytes(3 << 20)).code == 0


def test_a_flood_of_errors_keeps_no_deadline_waiting() -> None:
    """A command that only writes to stderr ends with its time."""
    began = time.monotonic()
    with pytest.raises(LabError, match="was not done after 1 s"):
        open_target("cpu", TargetSpec()).run(["sh", "-c", "yes >&2"], timeout=1)
    assert time.monotonic() - began < 5


def test_a_greeting_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is no greeting: the time for it is one for all of it."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nwhile :; do printf x; sleep 0.2; done\n")
    script.chmod(0o755)
    monkeypatch.setattr(start_agent, "GREETING_PATIENCE", 1.5)
    began = time.monotonic()
    with pytest.raises(TargetUnreachable, match=r"did not start within 1.5 s: on target 'cpu'"):
        open_target("cpu", TargetSpec(python=str(script))).start_agent()
    assert time.monotonic() - began < 6


def test_what_an_agent_wrote_is_words(tmp_path: Path) -> None:
    """A board's stderr reaches the message without what a terminal would obey."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nprintf '\\033[2Jred\\007\\n' >&2; exit 3\n")
    script.chmod(0o755)
    with pytest.raises(TargetUnreachable, match=r"\\x1b\[2Jred\\x07") as caught:
        open_target("cpu", TargetSpec(python=str(script))).start_agent()
    assert str(caught.value).isprintable()


def test_a_command_ends_with_its_deadline() -> None:
    """It is killed with all that it started."""
    began = time.monotonic()
    with pytest.raises(LabError, match=r"sh was not done after 0.2 s and was killed: on target 'cpu'"):
        open_target("cpu", TargetSpec()).run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.2)
    assert time.monotonic() - began < 5
