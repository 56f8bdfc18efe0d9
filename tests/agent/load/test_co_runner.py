"""Memory that is held and a command that runs beside: real processes, ended whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.config.spec import TargetSpec
from hil.errors import LabError
from hil.targets.target import open_target

if TYPE_CHECKING:
    from hil.targets.client import AgentClient

MIB = 1 << 20
FAMILY = "(setsid sleep {n} &) ; sleep {n} & trap '' TERM; sleep {n}"
"""A shell that ignores being asked to end, with a child, and one that went off into a session of its own."""


def running(word: str) -> list[int]:
    """Processes with ``word`` on their command line; those that ended are none."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ended = folder.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z"
            words = folder.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words and not ended and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def gone(word: str, seconds: float = 10.0) -> bool:
    """Whether they end in time."""
    limit = time.monotonic() + seconds
    while running(word):
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_reserve_is_really_there(agent: AgentClient) -> None:
    """Every page is written, in a process of its own, and given back at the end."""
    (told,) = agent.call("load_begin", {"reserve": 200 * MIB})[0]["loads"]
    assert resident(told["pid"]) > 200 * MIB
    assert agent.call("load_end")[0]["ended"] == []
    assert not Path(f"/proc/{told['pid']}").exists()


def test_a_reserve_that_does_not_fit_is_refused(agent: AgentClient) -> None:
    """Before a page is touched: else the kernel would end somebody."""
    with pytest.raises(LabError, match=r"cannot be reserved: \d+ MiB are available: on target 'bench': lower"):
        agent.call("load_begin", {"reserve": 1 << 50})


def test_a_co_runner_ends_with_all_that_it_started(agent: AgentClient) -> None:
    """Its children, those that left for a session of their own, and one that will not be asked."""
    agent.call("load_begin", {"co_runner": ["sh", "-c", FAMILY.format(n=7401)]})
    limit = time.monotonic() + 10
    while len(running("7401")) < 3 and time.monotonic() < limit:
        time.sleep(0.02)
    assert len(running("7401")) == 3
    assert agent.call("load_end")[0]["ended"] == []
    assert not running("7401")


def test_words_are_words(agent: AgentClient, tmp_path: Path) -> None:
    """No shell reads them."""
    agent.call("load_begin", {"co_runner": ["tail", "-f", f"/dev/null; touch {tmp_path}/x", "$(id)", "/dev/null"]})
    agent.call("load_end")
    assert not list(tmp_path.glob("x"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_loads_die_with_the_agent(agent: AgentClient, how: signal.Signals) -> None:
    """However the supervisor ends, nothing of a load is left."""
    order = {"reserve": 50 * MIB, "co_runner": ["sh", "-c", FAMILY.format(n=7402)]}
    agent.call("load_begin", order)
    assert len(running(str(50 * MIB))) == 1
    os.kill(agent.hello["pid"], how)
    assert gone("7402")
    assert gone(str(50 * MIB))


def test_a_killed_keeper_takes_the_command_along(agent: AgentClient) -> None:
    """Should memory run out and the kernel choose the process in between."""
    agent.call("load_begin", {"co_runner": ["sleep", "7403"]})
    for pid in running("--load"):
        os.kill(pid, signal.SIGKILL)
    assert gone("7403")
    (told,) = agent.call("load_end")[0]["ended"]
    assert told == "co_runner was not there all the time: it was killed"


def started(word: str, agent: AgentClient) -> list[int]:
    """A co-runner with three processes of that word, one in a session of its own; the two that keep it."""
    agent.call("load_begin", {"co_runner": ["sh", "-c", FAMILY.format(n=word)]})
    limit = time.monotonic() + 10
    while len(running(word)) < 3 and time.monotonic() < limit:
        time.sleep(0.02)
    keepers = running("--load")
    assert (len(running(word)), len(keepers)) == (3, 2)
    return sorted(keepers)


@pytest.mark.parametrize("which", [0, 1])
def test_either_keeper_clears_up_after_the_other(agent: AgentClient, which: int) -> None:
    """At once, without being asked, those in a session of their own included."""
    keepers = started("7404", agent)
    os.kill(keepers[which], signal.SIGKILL)
    assert gone("7404")
    assert agent.call("load_end")[0]["ended"] == ["co_runner was not there all the time: it was killed"]


def test_the_agent_clears_up_after_both(agent: AgentClient) -> None:
    """By the mark in their environment; a process of the user's own without it stays."""
    with subprocess.Popen(["/bin/sleep", "7406"]) as own:
        for pid in started("7405", agent):
            os.kill(pid, signal.SIGKILL)
        agent.call("load_end")
        assert not running("7405")
        assert own.poll() is None
        own.kill()


def test_the_next_session_clears_up_after_all(agent: AgentClient, store: Path) -> None:
    """Agent and keepers killed at once: what they left would load the board unseen."""
    keepers = started("7407", agent)
    for pid in (agent.hello["pid"], *keepers):
        os.kill(pid, signal.SIGKILL)
    assert running("7407")
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as following:
        following.hold("token", "tester")
        following.call("load_begin", {"reserve": MIB})
        assert not running("7407")


def test_an_early_end_is_told(agent: AgentClient) -> None:
    """By the state, while it is to be there, and at its end; whatever its exit code is."""
    agent.call("load_begin", {"co_runner": ["sh", "-c", "sleep 0.6; exit 0"]})
    time.sleep(0.6)
    told = agent.call("state", {"quick": True})[0]["load_ended"]
    assert len(told) == 1
    assert "co_runner was not there all the time: it ended with exit code 0 after" in told[0]
    assert agent.call("load_end")[0]["ended"] == told


@pytest.mark.parametrize(("command", "why"), [(["/no/such"], "No such file"), (["/"], "Permission denied")])
def test_what_cannot_be_started_is_an_error(agent: AgentClient, command: list[str], why: str) -> None:
    """With the reason, and nothing is left of it."""
    with pytest.raises(LabError, match=f"co_runner did not start: it cannot be started: {why}"):
        agent.call("load_begin", {"co_runner": command})
    assert not running("--load")


def test_loads_of_one_session_take_turns(agent: AgentClient, store: Path) -> None:
    """Two agents of a run never load the board twice at once."""
    agent.call("load_begin", {"reserve": 10 * MIB})
    spans = []
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as mate:
        mate.hold("token", "tester")

        def second() -> None:
            mate.call("load_begin", {"reserve": 10 * MIB})
            spans.append(time.monotonic())

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.7)
        ended = time.monotonic()
        assert not spans
        agent.call("load_end")
        thread.join()
    assert spans[0] >= ended


def test_loads_need_the_target_held(store: Path) -> None:
    """Who does not hold the target changes nothing on it."""
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as other:
        for op in ("load_begin", "prepare"):
            with pytest.raises(LabError, match="hold it first"):
                other.call(op, {"services": [], "lock": False})
