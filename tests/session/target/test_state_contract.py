"""A session keeps the state contract: real agents, real processes; what cannot be kept ends it with a reason."""

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


class Opens(Protocol):
    """Opens a session on the target ``bench``, of which the lines of its table are given."""

    def __call__(self, *keys: str) -> Session:
        """The session; the test closes it."""


@pytest.fixture
def start(tmp_path: Path, messages: list[str]) -> Opens:
    """One project, one short measurement."""
    project = Project.make(tmp_path)
    project.edit('budget = "4 s"', 'budget = "0.5 s"')
    project.edit('memory = "4 GiB"', 'memory = "4 GiB"\nfirst_inference = "60 s"')
    text = (project.root / "hil.toml").read_text()

    def opened(*keys: str) -> Session:
        path = project.root / "hil.toml"
        path.write_text(text + "\n[targets.bench]\n" + "\n".join(keys) + "\n")
        return Session.open(Request(load(path), "bench", "cpu", 0.0, "one", tmp_path / "report", messages.append))

    return opened


def row(session: Session, check: str) -> Row:
    """The row of the plan."""
    return next(one for one in expand(session.config, "bench").rows if one.id == check)


def judged(session: Session, check: str = "latency.p99") -> Outcome:
    """One row's outcome."""
    return session.judge(row(session, check))


def series(session: Session) -> dict[str, Any]:
    """What the timed series keeps."""
    path = session.report_dir / "samples" / "toy-fp32-saturated.npz"
    with np.load(path, allow_pickle=False) as arrays:
        facts: dict[str, Any] = json.loads(str(arrays["about"]))["facts"]
    return facts


def test_an_undeclared_state_disturbs_nobody(start: Opens) -> None:
    """Without a contract a PC is measured as before, and its readings are kept all the same."""
    with closing(start()) as session:
        found = judged(session).result
        assert found.verdict is Verdict.PASSED, found.reason
        assert "state" not in found.details
        facts = series(session)
    assert facts["windows"][0]["state"]["before"]["memory_available"] > 0
    assert facts["opened"]["memory_available"] > 0
    assert of_facts(facts) == []


def test_a_mode_nobody_can_confirm_ends_the_session(start: Opens) -> None:
    """A PC has no power modes: declared, it is the lab's error and nothing is left behind."""
    with pytest.raises(LabError, match=r"power mode MAXN cannot be confirmed \(there is no nvpmodel\): on target 'b"):
        start('power_mode = "MAXN"')
    start().close()  # the target is free again


def mode(wanted: str, found: str | None, conf: str = CONF) -> str:
    """Return the error message for a board in mode ``found``."""
    modes, default = nvpmodel.parse(conf)
    facts = {"board": {"power_modes": modes, "default_power_mode": default}}
    assert len(power_modes(facts["board"])) == len(modes)
    with pytest.raises((LabError, UserError)) as caught:
        power_check.check("orin", wanted, State(power_mode=found), facts)
    return f"{type(caught.value).__name__} {caught.value}"


def test_another_mode_names_the_command_that_sets_it() -> None:
    """The number by the board's own table; where parts of the GPU go on or off, a reboot; else no number is guessed."""
    assert mode("MODE_30W", "MAXN") == (
        "LabError the power mode is MAXN, not MODE_30W: on target 'orin': run `sudo nvpmodel -m 2` there"
    )
    assert mode("MODE_15W", "MAXN").endswith(
        "run `sudo nvpmodel -m 1` there and reboot it: the two modes use different parts of the GPU "
        "(their TPC masks differ)"
    )
    assert "with the ID that /etc/nvpmodel.conf gives MAXN" in mode("MAXN", "15W", "")


def test_a_mode_the_board_has_not_is_the_users_mistake() -> None:
    """With what was meant, and what there is."""
    assert mode("MODE_30", "MAXN") == (
        "UserError power_mode is 'MODE_30', which the board does not have (did you mean 'MODE_30W'?): "
        "on target 'orin': write one of MAXN, MODE_15W, MODE_30W in [targets.orin]"
    )


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ('stop_services = ["robot"]', "stop_services"),
        ('clocks = "locked"', "clocks"),
        ('stop_services = ["robot"]\nclocks = "locked"', "stop_services and clocks"),
    ],
)
def test_what_needs_root_needs_its_helper(start: Opens, key: str, asked: str) -> None:
    """Without it nothing is stopped or locked, so nothing is measured; the command that installs it is named."""
    if Path("/usr/local/sbin/pytest-hil-helper").exists():
        pytest.skip("the root helper is installed here")
    message = rf"^{asked} cannot be changed without the root helper .*`hil board setup bench`"
    with pytest.raises(LabError, match=message):
        start(key)


def test_too_little_memory_ends_the_session(start: Opens) -> None:
    """What was asked for and what there is."""
    with pytest.raises(LabError, match=r"free_memory requires .* and there is .*: on target 'bench': end"):
        start('free_memory = "9999999 GiB"')
    start('free_memory = "1 MiB"').close()


def test_a_board_that_does_not_cool_ends_the_session(start: Opens, messages: list[str]) -> None:
    """With every temperature; without any, nobody could say that it is cool enough."""
    if list(Path("/sys/class/thermal").glob("thermal_zone*/temp")):
        with pytest.raises(LabError, match=r"did not get cooler than -200 °C within 2 s \(.*°C\): on target 'bench'"):
            start('start_below = "-200 °C"', 'cool_within = "2 s"')
        assert any("to cool" in line for line in messages)
    else:
        with pytest.raises(LabError, match=r"start_below requires less than 65 °C and no temperature can be read"):
            start('start_below = "65 °C"')


@pytest.mark.parametrize("command", ["'", "''", "   "])
def test_a_co_runner_that_is_no_command_is_the_users_mistake(start: Opens, command: str) -> None:
    """Told before the target is touched."""
    with pytest.raises(UserError, match=r"co_runner is .*: on target 'bench'"):
        start(f'co_runner = "{command}"')


def test_a_co_runner_runs_while_timing_and_no_longer(start: Opens) -> None:
    """It is there during the window, gone after it, and part of the number's method."""
    seen: list[int] = []
    with closing(start('co_runner = "sleep 7501"')) as session:
        session.engines.provisioned("toy", "fp32")
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.05):
                seen.append(len(running("7501")))

        thread = threading.Thread(target=look)
        thread.start()
        outcome = judged(session, "latency.p99")
        done.set()
        thread.join()
        assert outcome.result.verdict is Verdict.PASSED, outcome.result.reason
        assert not running("7501")
    assert max(seen) >= 1
    assert next(iter(outcome.methods.values()))["co_runner"] == "sleep 7501"


def test_a_co_runner_that_ends_early_settles_nothing(start: Opens) -> None:
    """The board was less loaded than the number says: inconclusive, with how it ended."""
    with closing(start('co_runner = "sleep 0.7"')) as session:
        found = judged(session, "latency.p99").result
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "disturbed from outside: co_runner did not run all the time: it ended with exit code 0" in found.reason
    assert found.measurement is not None


def test_a_co_runner_that_does_not_start_is_an_error(start: Opens) -> None:
    """No number is taken without it."""
    with (
        closing(start('co_runner = "/no/such/program"')) as session,
        pytest.raises(LabError, match="co_runner did not start"),
    ):
        judged(session)


def test_reserved_memory_is_held_for_memory_rows_too(start: Opens) -> None:
    """The machine has that much less memory, the worker uses no more, and the method records it."""
    with closing(start()) as session:
        plain = judged(session, "memory.peak")
    size = 600 << 20
    with closing(start('reserve_memory = "600 MiB"', 'co_runner = "sleep 7502"')) as session:
        held = judged(session, "memory.peak")
        system = judged(session, "memory.system")
        assert not running(str(size))
    first, second = plain.result.measurement, held.result.measurement
    assert first is not None
    assert second is not None
    assert abs(first.value - second.value) < size / 4
    assert system.result.verdict is Verdict.PASSED
    known = next(iter(held.methods.values()))
    assert known["reserve_memory"] == size
    assert "co_runner" not in known
    assert first.method != second.method


def test_cold_starts_are_watched(start: Opens) -> None:
    """They have a co-runner too, and its end disturbs them."""
    with closing(start('co_runner = "sleep 0.6"')) as session:
        found = judged(session, "latency.first_inference")
    assert "co_runner did not run all the time" in found.result.reason
    assert next(iter(found.methods.values()))["co_runner"] == "sleep 0.6"


def test_a_key_that_was_not_asked_for_changes_no_method() -> None:
    """Numbers from before the contract stay comparable."""
    assert method(TargetSpec()) == {}
    full = TargetSpec.model_validate({"clocks": "locked", "co_runner": "x", "reserve_memory": "5 B"})
    assert method(full) == {"clocks": "locked", "co_runner": "x", "reserve_memory": 5}
    assert method(full, timed=False) == {"reserve_memory": 5}


def test_a_dead_agent_is_told_and_leaves_no_load(start: Opens) -> None:
    """Its co-runner ends with it, while the session hears that the target was lost."""
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
            judged(session)
        thread.join()
    limit = time.monotonic() + 10
    while running("7503") and time.monotonic() < limit:
        time.sleep(0.05)
    assert not running("7503")
