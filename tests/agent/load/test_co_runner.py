"""Load during a measurement, by reserved memory and by a command: real processes, which end in every case."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.config.spec import TargetSpec
from hil.errors import LabError
from hil.targets.target import open_target
from tests.targets.sshd import becomes_true

if TYPE_CHECKING:
    from hil.targets.client import AgentClient

MIB = 1 << 20
SHELL = "(setsid sleep {n} &) ; sleep {n} & trap '' TERM; sleep {n}"
"""A command that starts three processes: one in a session of its own, an ordinary one, and one that ignores SIGTERM."""
RECORD = "import json, sys, time; open(sys.argv[1], 'w').write(json.dumps(sys.argv[2:])); time.sleep(7404)"


def running(word: str) -> list[int]:
    """Return the processes with ``word`` on their command line, without zombies."""
    ids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ended = folder.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z"
            arguments = folder.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in arguments and not ended and int(folder.name) != os.getpid():
            ids.append(int(folder.name))
    return ids


def have_ended(word: str, seconds: float = 10.0) -> bool:
    """Return whether the processes with ``word`` end within ``seconds``."""
    limit = time.monotonic() + seconds
    while running(word):
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_reserved_memory_is_resident(shared_agent: AgentClient) -> None:
    """A separate process makes the whole reserve resident, and ends with the load."""
    (load,) = shared_agent.call("load_begin", {"reserve": 200 * MIB})[0]["loads"]
    assert resident(load["pid"]) > 200 * MIB
    assert shared_agent.call("load_end")[0]["ended"] == []
    assert not Path(f"/proc/{load['pid']}").exists()


def test_a_reserve_that_does_not_fit_is_refused(shared_agent: AgentClient) -> None:
    """A reserve above the available memory is refused."""
    with pytest.raises(LabError, match=r"cannot be reserved: \d+ MiB are available: on target 'bench': lower"):
        shared_agent.call("load_begin", {"reserve": 1 << 50})


def test_a_co_runner_ends_with_all_that_it_started(shared_agent: AgentClient) -> None:
    """A co-runner ends with all its children, also those in other sessions and those that ignore SIGTERM."""
    shared_agent.call("load_begin", {"co_runner": ["sh", "-c", SHELL.format(n=7401)]})
    limit = time.monotonic() + 10
    while len(running("7401")) < 3 and time.monotonic() < limit:
        time.sleep(0.02)
    assert len(running("7401")) == 3
    assert shared_agent.call("load_end")[0]["ended"] == []
    assert not running("7401")


def test_no_shell_interprets_the_command(shared_agent: AgentClient, tmp_path: Path) -> None:
    """The arguments of a co-runner are passed unchanged."""
    file, words = tmp_path / "words", ["; true", "$(id)", "a  b", "*"]
    shared_agent.call("load_begin", {"co_runner": [sys.executable, "-c", RECORD, str(file), *words]})
    assert becomes_true(10, lambda: file.exists() and file.read_text() == json.dumps(words))
    shared_agent.call("load_end")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_loads_end_with_the_agent(agent: AgentClient, number: signal.Signals) -> None:
    """However the supervisor ends, no process of a load remains."""
    order = {"reserve": 50 * MIB, "co_runner": ["sh", "-c", SHELL.format(n=7402)]}
    agent.call("load_begin", order)
    assert len(running(str(50 * MIB))) == 1
    assert becomes_true(10, lambda: len(running("7402")) == 3)
    os.kill(agent.hello["pid"], number)
    assert have_ended("7402")
    assert have_ended(str(50 * MIB))


def test_killed_keepers_end_the_command(shared_agent: AgentClient) -> None:
    """If the load's keeper processes are killed, the co-runner's command is killed too."""
    shared_agent.call("load_begin", {"co_runner": ["sleep", "7403"]})
    for pid in running("--load"):
        os.kill(pid, signal.SIGKILL)
    assert have_ended("7403")
    (message,) = shared_agent.call("load_end")[0]["ended"]
    assert message == "co_runner did not run all the time: it was killed"


def start_co_runner(word: str, agent: AgentClient) -> list[int]:
    """Start a co-runner with three processes of ``word``; return its two keeper processes."""
    agent.call("load_begin", {"co_runner": ["sh", "-c", SHELL.format(n=word)]})
    limit = time.monotonic() + 10
    while len(running(word)) < 3 and time.monotonic() < limit:
        time.sleep(0.02)
    keepers = running("--load")
    assert (len(running(word)), len(keepers)) == (3, 2)
    return sorted(keepers)


@pytest.mark.parametrize("killed", [0, 1])
def test_either_keeper_ends_the_load_if_the_other_is_killed(shared_agent: AgentClient, killed: int) -> None:
    """If one keeper is killed, the other ends all processes of the load, also one in a session of its own."""
    keepers = start_co_runner("7404", shared_agent)
    os.kill(keepers[killed], signal.SIGKILL)
    assert have_ended("7404")
    assert shared_agent.call("load_end")[0]["ended"] == ["co_runner did not run all the time: it was killed"]


def test_the_agent_ends_the_load_if_both_keepers_are_killed(shared_agent: AgentClient) -> None:
    """If both keepers are killed, the agent ends the processes with the load's mark in their environment, no others."""
    with subprocess.Popen(["/bin/sleep", "7406"]) as own:
        for pid in start_co_runner("7405", shared_agent):
            os.kill(pid, signal.SIGKILL)
        shared_agent.call("load_end")
        assert not running("7405")
        assert own.poll() is None
        own.kill()


def test_the_next_session_ends_a_load_without_agent_and_keepers(agent: AgentClient, store: Path) -> None:
    """If agent and keepers are killed, the next session kills the processes of the load that still run."""
    keepers = start_co_runner("7407", agent)
    for pid in (agent.hello["pid"], *keepers):
        os.kill(pid, signal.SIGKILL)
    assert running("7407")
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as next_agent:
        next_agent.hold("token", "tester")
        next_agent.call("load_begin", {"reserve": MIB})
        assert not running("7407")


def test_an_early_end_is_reported(shared_agent: AgentClient) -> None:
    """If a co-runner ends early, even with exit code 0, both the board's state and the end of the load report it."""
    shared_agent.call("load_begin", {"co_runner": ["sh", "-c", "sleep 0.6; exit 0"]})
    time.sleep(0.6)
    messages = shared_agent.call("state", {"quick": True})[0]["load_ended"]
    assert len(messages) == 1
    assert "co_runner did not run all the time: it ended with exit code 0 after" in messages[0]
    assert shared_agent.call("load_end")[0]["ended"] == messages


@pytest.mark.parametrize(("command", "why"), [(["/no/such"], "No such file"), (["/"], "Permission denied")])
def test_a_command_that_cannot_start_is_an_error(shared_agent: AgentClient, command: list[str], why: str) -> None:
    """If the co-runner's command cannot be started, ``LabError`` has the reason, and no process remains."""
    with pytest.raises(LabError, match=f"co_runner did not start: it cannot be started: {why}"):
        shared_agent.call("load_begin", {"co_runner": command})
    assert not running("--load")


def test_agents_of_one_session_load_in_turn(agent: AgentClient, store: Path) -> None:
    """Two agents of a run never load the board at the same time."""
    agent.call("load_begin", {"reserve": 10 * MIB})
    begins = []
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as second_agent:
        second_agent.hold("token", "tester")

        def begin_second_load() -> None:
            second_agent.call("load_begin", {"reserve": 10 * MIB})
            begins.append(time.monotonic())

        thread = threading.Thread(target=begin_second_load)
        thread.start()
        time.sleep(0.7)
        ended = time.monotonic()
        assert not begins
        agent.call("load_end")
        thread.join()
    assert begins[0] >= ended


def test_loads_need_the_target_held(store: Path) -> None:
    """A session that does not hold the target can neither begin a load nor prepare the target."""
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as other:
        for op in ("load_begin", "prepare"):
            with pytest.raises(LabError, match="hold it first"):
                other.call(op, {"services": [], "lock": False})
