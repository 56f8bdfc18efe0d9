"""The state contract in real sessions: what cannot be met ends the session with a reason."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from hil.agent.jetson import nvpmodel
from hil.config.load import load
from hil.config.spec import TargetSpec
from hil.errors import LabError, UserError
from hil.jetson.modes import power_modes
from hil.plan import expand
from hil.results import Verdict
from hil.session import Request, Session
from hil.session.target import power_mode_check as power_check
from hil.session.target.contract_method import method
from hil.state import State, of_facts
from tests.agent.load.test_co_runner import running
from tests.plugins.project import Project

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.outcome import Outcome

CONF = """
< POWER_MODEL ID=0 NAME=MAXN >
TPC_POWER_GATING TPC_PG_MASK 0
< POWER_MODEL ID=1 NAME=MODE_15W >
TPC_POWER_GATING TPC_PG_MASK 3
< POWER_MODEL ID=2 NAME=MODE_30W >
TPC_POWER_GATING TPC_PG_MASK 0
"""


class StartsSession(Protocol):
    """Opens a session on the target ``bench`` with these lines in its table."""

    def __call__(self, *keys: str) -> Session:
        """Return the session; the test closes it."""


@pytest.fixture
def start(tmp_path: Path, messages: list[str]) -> StartsSession:
    """Return a function that opens a session on a project with one short measurement."""
    project = Project.make(tmp_path)
    project.edit('budget = "4 s"', 'budget = "0.5 s"')
    project.edit('memory = "4 GiB"', 'memory = "4 GiB"\nfirst_inference = "60 s"')
    text = (project.root / "hil.toml").read_text()

    def open_session(*keys: str) -> Session:
        path = project.root / "hil.toml"
        path.write_text(text + "\n[targets.bench]\n" + "\n".join(keys) + "\n")
        return Session.open(Request(load(path), "bench", "cpu", 0.0, "one", tmp_path / "report", messages.append))

    return open_session


def row(session: Session, check: str) -> Row:
    """Return the planned row of one check."""
    return next(planned for planned in expand(session.config, "bench").rows if planned.id == check)


def judge(session: Session, check: str = "latency.p99") -> Outcome:
    """Return the outcome of one row."""
    return session.judge(row(session, check))


def series_facts(session: Session) -> dict[str, Any]:
    """Return the facts in the file of the timed series."""
    path = session.report_dir / "samples" / "toy-fp32-saturated.npz"
    with np.load(path, allow_pickle=False) as arrays:
        facts: dict[str, Any] = json.loads(str(arrays["about"]))["facts"]
    return facts


def test_without_a_contract_state_is_recorded_only(start: StartsSession) -> None:
    """Without a contract no verdict depends on the state, but its readings are recorded."""
    with closing(start()) as session:
        result = judge(session).result
        assert result.verdict is Verdict.PASSED, result.reason
        assert "state" not in result.details
        facts = series_facts(session)
    assert facts["windows"][0]["state"]["before"]["memory_available"] > 0
    assert facts["opened"]["memory_available"] > 0
    assert of_facts(facts) == []


def test_an_unconfirmable_power_mode_ends_the_session(start: StartsSession) -> None:
    """A power mode declared for a PC is a lab error, and the target is free afterwards."""
    with pytest.raises(LabError, match=r"power mode MAXN cannot be confirmed \(there is no nvpmodel\): on target 'b"):
        start('power_mode = "MAXN"')
    start().close()  # the target is free again


def mode_error(declared: str, current: str | None, conf: str = CONF) -> str:
    """Return the error for a board in mode ``current`` whose target declares ``declared``."""
    modes, default = nvpmodel.parse(conf)
    facts = {"board": {"power_modes": modes, "default_power_mode": default}}
    assert len(power_modes(facts["board"])) == len(modes)
    with pytest.raises((LabError, UserError)) as caught:
        power_check.check("orin", declared, State(power_mode=current), facts)
    return f"{type(caught.value).__name__} {caught.value}"


def test_a_wrong_power_mode_names_the_command_that_sets_it() -> None:
    """The error has the command that sets the mode, and asks for a reboot if the two modes' TPC masks differ."""
    assert mode_error("MODE_30W", "MAXN") == (
        "LabError the power mode is MAXN, not MODE_30W: on target 'orin': run `sudo nvpmodel -m 2` there"
    )
    assert mode_error("MODE_15W", "MAXN").endswith(
        "run `sudo nvpmodel -m 1` there and reboot it: the two modes use different parts of the GPU "
        "(their TPC masks differ)"
    )
    assert "with the ID that /etc/nvpmodel.conf gives MAXN" in mode_error("MAXN", "15W", "")


def test_a_power_mode_the_board_lacks_is_a_user_error() -> None:
    """A power mode that the board lacks is refused with a similar mode and the list of the board's modes."""
    assert mode_error("MODE_30", "MAXN") == (
        "UserError power_mode is 'MODE_30', which the board does not have (did you mean 'MODE_30W'?): "
        "on target 'orin': write one of MAXN, MODE_15W, MODE_30W in [targets.orin]"
    )


def test_keys_that_need_root_need_the_root_helper(start: StartsSession) -> None:
    """Without the helper the session ends, and the error names the keys and the command that installs it."""
    if Path("/usr/local/sbin/pytest-hil-helper").exists():
        pytest.skip("the root helper is installed here")
    message = r"^stop_services and clocks cannot be changed without the root helper .*`hil board setup bench`"
    with pytest.raises(LabError, match=message):
        start('stop_services = ["robot"]\nclocks = "locked"')


def test_too_little_memory_ends_the_session(start: StartsSession) -> None:
    """Too little free memory ends the session with the required and the available memory."""
    with pytest.raises(LabError, match=r"free_memory requires .*, but .* is free: on target 'bench': end"):
        start('free_memory = "9999999 GiB"')


def test_a_board_that_does_not_cool_ends_the_session(start: StartsSession, messages: list[str]) -> None:
    """A board that does not cool in time ends the session with all its temperatures."""
    if list(Path("/sys/class/thermal").glob("thermal_zone*/temp")):
        with pytest.raises(LabError, match=r"did not get cooler than -200 °C within 2 s \(.*°C\): on target 'bench'"):
            start('start_below = "-200 °C"', 'cool_within = "2 s"')
        assert any("to cool" in line for line in messages)
    else:
        with pytest.raises(LabError, match=r"start_below requires less than 65 °C, but no temperature can be read"):
            start('start_below = "65 °C"')


@pytest.mark.parametrize("command", ["'", "''", "   "])
def test_a_co_runner_that_is_not_a_command_is_a_user_error(start: StartsSession, command: str) -> None:
    """A command that cannot be split, or is empty, is refused before the session opens."""
    with pytest.raises(UserError, match=r"co_runner is .*: on target 'bench'"):
        start(f'co_runner = "{command}"')


def test_a_co_runner_runs_only_while_timing(start: StartsSession) -> None:
    """The co-runner runs during the window, ends with it, and is part of the method. Enough free memory is accepted."""
    counts: list[int] = []
    with closing(start('co_runner = "sleep 7501"', 'free_memory = "1 MiB"')) as session:
        session.engines.provisioned("toy", "fp32")
        done = threading.Event()

        def count_processes() -> None:
            while not done.wait(0.05):
                counts.append(len(running("7501")))

        thread = threading.Thread(target=count_processes)
        thread.start()
        outcome = judge(session, "latency.p99")
        done.set()
        thread.join()
        assert outcome.result.verdict is Verdict.PASSED, outcome.result.reason
        assert not running("7501")
    assert max(counts) >= 1
    assert next(iter(outcome.methods.values()))["co_runner"] == "sleep 7501"


def test_a_co_runner_that_ends_early_makes_the_row_inconclusive(start: StartsSession) -> None:
    """If the co-runner ends during the window, the row is inconclusive with its exit code."""
    with closing(start('co_runner = "sleep 0.7"')) as session:
        result = judge(session, "latency.p99").result
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "disturbed from outside: co_runner did not run all the time: it ended with exit code 0" in result.reason
    assert result.measurement is not None


def test_a_co_runner_that_does_not_start_is_an_error(start: StartsSession) -> None:
    """A co-runner that cannot be started is a lab error."""
    with (
        closing(start('co_runner = "/no/such/program"')) as session,
        pytest.raises(LabError, match="co_runner did not start"),
    ):
        judge(session)


def test_reserved_memory_applies_to_memory_rows(start: StartsSession) -> None:
    """The reserved memory is not counted for the worker, and the method records it."""
    size = 600 << 20
    with closing(start('reserve_memory = "600 MiB"', 'co_runner = "sleep 7502"')) as session:
        reserved = judge(session, "memory.peak")
        system = judge(session, "memory.system")
        assert not running(str(size))
    assert reserved.result.measurement is not None
    assert 0 < reserved.result.measurement.value < size
    assert system.result.verdict is Verdict.PASSED
    recorded = next(iter(reserved.methods.values()))
    assert recorded["reserve_memory"] == size
    assert "co_runner" not in recorded


def test_cold_starts_have_the_co_runner(start: StartsSession) -> None:
    """The co-runner runs during cold starts, and its early end disturbs their row."""
    with closing(start('co_runner = "sleep 0.6"')) as session:
        outcome = judge(session, "latency.first_inference")
    assert "co_runner did not run all the time" in outcome.result.reason
    assert next(iter(outcome.methods.values()))["co_runner"] == "sleep 0.6"


def test_an_unset_state_key_changes_no_method() -> None:
    """Only configured keys of the state contract are part of the method."""
    assert method(TargetSpec()) == {}
    full = TargetSpec.model_validate({"clocks": "locked", "co_runner": "x", "reserve_memory": "5 B"})
    assert method(full) == {"clocks": "locked", "co_runner": "x", "reserve_memory": 5}
    assert method(full, timed=False) == {"reserve_memory": 5}


def test_a_dead_agent_leaves_no_co_runner(start: StartsSession) -> None:
    """If the agent dies, its co-runner ends and the session raises a lab error."""
    with closing(start('co_runner = "sleep 7503"')) as session:
        pid = session.agent.hello["pid"]

        def kill() -> None:
            limit = time.monotonic() + 20
            while not running("7503") and time.monotonic() < limit:
                time.sleep(0.02)
            os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(LabError):
            judge(session)
        thread.join()
    limit = time.monotonic() + 10
    while running("7503") and time.monotonic() < limit:
        time.sleep(0.05)
    assert not running("7503")
