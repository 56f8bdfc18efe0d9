"""The state contract on a board across a network: its readings, its waits and the disturbances of a session."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from hil.board import install
from hil.config.load import load
from hil.errors import LabError, UserError
from hil.plan import expand
from hil.results import Verdict
from hil.session import Request, Session
from hil.targets.target import open_target
from tests.boards.faults import set_window, until
from tests.boards.generations import facts_of
from tests.boards.test_setup import PASSWORD, clocks_become, locked
from tests.plugins.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.results import CheckResult
    from tests.boards.board import SimulatedBoard

GENERATIONS = pytest.mark.parametrize("board", ["jp46", "jp51", "jp62", "jp70", "jp72"], indirect=True)


class Opens(Protocol):
    """Opens a session on the board, with keys of its table."""

    def __call__(self, **keys: Any) -> Session:
        """Return the session; the test closes it."""


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The toy project, with a timed window of 1.5 s."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = Project.make(tmp_path)
    set_window(project, 1.5)
    return project


@pytest.fixture
def start(board: SimulatedBoard, local: Project, messages: list[str]) -> Opens:
    """Return a function that opens a session of ``local`` on the board, in this process."""
    runs = itertools.count()

    def opened(**keys: Any) -> Session:
        text = local.toml.read_text().partition("[targets.orin]")[0]
        local.toml.write_text(f"{text}{board.toml('orin', **keys)}")
        report = local.root / "report"
        return Session.open(
            Request(load(local.toml), "orin", "fail", 0.0, f"run {next(runs)}", report, messages.append)
        )

    return opened


@pytest.fixture
def messages() -> list[str]:
    """The messages of a session."""
    return []


def row_result(session: Session, check: str = "latency.p99") -> CheckResult:
    """Return the result of one row."""
    row = next(one for one in expand(session.config, "orin").rows if one.id == check)
    return session.judge(row).result


def while_timing(session: Session, messages: list[str], act: Callable[[], object], delay: float = 1.0) -> CheckResult:
    """Judge a row; call ``act`` ``delay`` seconds after its timing began."""
    session.engines.provisioned("toy", "fp32")
    messages.clear()

    def later() -> None:
        limit = time.monotonic() + 60
        while not any("timing for" in line for line in messages) and time.monotonic() < limit:
            time.sleep(0.01)
        time.sleep(delay)
        act()

    thread = threading.Thread(target=later)
    thread.start()
    try:
        return row_result(session)
    finally:
        thread.join()


def default_mode(board: SimulatedBoard) -> str:
    """Return the default power mode."""
    return board.shell("nvpmodel", "-q").stdout.partition("NV Power Mode:")[2].split()[0]


def other_mode(board: SimulatedBoard) -> str:
    """Return a power mode other than the default."""
    modes = [one["name"] for one in facts_of(board.generation)["power_modes"]["modes"]]
    return next(str(name) for name in modes if name != default_mode(board))


@GENERATIONS
def test_each_generation_is_read(board: SimulatedBoard) -> None:
    """Mode, GPU and CPU clocks, temperatures and alerts are read; facts that need root have a reason instead."""
    with open_target("orin", board.spec()).start_agent() as agent:
        readings = agent.call("state")[0]
    assert readings["power_mode"] == default_mode(board)
    gpu = readings["clocks"]["gpu"]
    assert 0 < gpu["min"] <= gpu["max"]
    assert any(part.startswith("policy") for part in readings["clocks"])
    assert readings["locked"] is False
    assert readings["temperature"]
    assert readings["gpu_clients"] is None
    assert "gpu_clients" in readings["not_readable"]
    assert readings["memory_available"] > 0
    if board.generation in {"jp51", "jp62", "jp72"}:
        assert {"oc1", "oc2", "oc3"} <= set(readings["over_current"])
    if board.generation != "jp46":
        assert "gpu-throttle-alert" in readings["throttle"]


def test_an_undisturbed_board_passes(board: SimulatedBoard, start: Opens) -> None:
    """On a cool, undisturbed board in the declared mode, the measurement alone decides."""
    with closing(start(power_mode=default_mode(board), start_below="90 °C", free_memory="1 MiB")) as session:
        result = row_result(session)
    assert result.verdict is Verdict.PASSED, result.reason
    assert "state" not in result.details


def test_a_wrong_mode_at_the_start_ends_the_session(board: SimulatedBoard, start: Opens) -> None:
    """Another mode than declared is a lab error with the command that sets it; an unknown mode is a user error."""
    declared = other_mode(board)
    with pytest.raises(LabError, match=f"the power mode is {default_mode(board)}, not {declared}: .*sudo nvpmodel -m"):
        start(power_mode=declared)
    with pytest.raises(UserError, match="which the board does not have"):
        start(power_mode="TURBO")


def test_a_mode_changed_while_timing_is_inconclusive(board: SimulatedBoard, start: Opens, messages: list[str]) -> None:
    """A power mode that changes makes the row inconclusive; if a mode is declared, no further row is timed."""
    mode, other = default_mode(board), other_mode(board)
    with closing(start()) as session:
        result = while_timing(session, messages, lambda: board.power_mode(other))
        assert result.verdict is Verdict.INCONCLUSIVE
        assert f"the power mode changed from {mode} to {other}" in result.reason
    board.power_mode(mode)
    with closing(start(power_mode=mode)) as session:
        board.power_mode(other)
        with pytest.raises(LabError, match=f"the power mode is {other}, not {mode}"):
            row_result(session, "latency.p99")


def test_a_mode_changed_between_windows_is_inconclusive(board: SimulatedBoard, start: Opens) -> None:
    """A power mode that changed after the session's first reading makes the row inconclusive."""
    other = other_mode(board)
    with closing(start()) as session:
        board.power_mode(other)
        result = row_result(session)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert f"to {other}" in result.reason


def test_throttling_without_heat_is_inconclusive(board: SimulatedBoard, start: Opens, messages: list[str]) -> None:
    """A throttle alert without a rise in temperature makes the row inconclusive, even if it ends within the window."""

    def blink() -> None:
        board.throttle(on=True)
        time.sleep(0.3)
        board.throttle(on=False)

    with closing(start()) as session:
        result = while_timing(session, messages, blink, delay=0.6)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "gpu-throttle-alert became active although gpu-thermal did not become hotter" in result.reason


def test_throttling_by_the_model_counts_against_it(board: SimulatedBoard, start: Opens, messages: list[str]) -> None:
    """Throttling after heating by the model's load is reported, and the measurement decides."""

    def heat() -> None:
        board.temperature(95)
        time.sleep(0.3)  # longer than a sampling interval: the heat must come before the alert
        board.throttle(on=True)

    with closing(start()) as session:
        result = while_timing(session, messages, heat)
    assert result.verdict is Verdict.PASSED, result.reason
    assert "caused by the model itself: gpu-throttle-alert became active as" in result.reason


def test_throttling_far_from_the_trip_point_is_inconclusive(
    board: SimulatedBoard, start: Opens, messages: list[str]
) -> None:
    """Throttling while the temperature is far below the trip point makes the row inconclusive."""

    def warm() -> None:
        board.temperature(70)
        time.sleep(0.3)
        board.throttle(on=True)

    with closing(start()) as session:
        result = while_timing(session, messages, warm, delay=0.5)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "far from the 99.0 °C at which it throttles" in result.reason


def test_a_clock_limit_changed_and_reset_is_inconclusive(
    board: SimulatedBoard, start: Opens, messages: list[str]
) -> None:
    """A clock limit that changes and returns within the window makes the row inconclusive."""
    device = board.facts["devfreq"][0]
    least, most = device["min_freq"], device["max_freq"]

    def blink() -> None:
        board.gpu_clock(least, most // 2, least)
        time.sleep(0.4)
        board.gpu_clock(least, most, least)

    with closing(start()) as session:
        result = while_timing(session, messages, blink, delay=0.5)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "the max clock of gpu varied" in result.reason


@pytest.mark.parametrize(
    ("act", "readings"),
    [
        (lambda board: board.over_current(1, 5000), "over-current counter oc1 rose by"),
        (lambda board: board.swap(50_000), "swap grew by"),
        (lambda board: board.gpu_clock(1, 2, 2), "gpu clock changed from"),
    ],
)
def test_other_disturbances_are_inconclusive(
    start: Opens, messages: list[str], board: SimulatedBoard, act: Callable[[SimulatedBoard], None], readings: str
) -> None:
    """Under-voltage, swapping and changed clocks make a row inconclusive."""
    with closing(start()) as session:
        result = while_timing(session, messages, lambda: act(board))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert readings in result.reason


def test_a_hot_board_is_waited_for(board: SimulatedBoard, start: Opens, messages: list[str]) -> None:
    """The session reports that it waits for cooling. If the board stays hot, the error lists all temperatures."""

    def cool() -> None:
        until(lambda: any("to cool" in line for line in messages), 60, "a wait for cooling")
        board.temperature(50)

    board.temperature(80)
    threading.Thread(target=cool, daemon=True).start()
    with closing(start(start_below="65 °C", cool_within="60 s")) as session:
        assert row_result(session).verdict is Verdict.PASSED
    assert any("to cool: 80.0 °C, " in line for line in messages)
    board.temperature(80)
    with pytest.raises(LabError, match=r"did not get cooler than 65 °C within 1 s \(.*80\.0 °C.*\): on target 'orin'"):
        start(start_below="65 °C", cool_within="1 s")


def test_locked_clocks_without_the_helper_are_an_error(start: Opens) -> None:
    """If the clocks cannot be locked, the session ends before timing and names the helper."""
    with pytest.raises(LabError, match="run `hil board setup orin`"):
        start(clocks="locked")


def set_up(board: SimulatedBoard) -> None:
    """Install the helper as the board's user."""
    board.allow_sudo(PASSWORD)
    with open_target("orin", board.spec()) as target:
        install.install(target, install.plan(target, ()), lambda _: PASSWORD)


def test_clocks_are_locked_for_the_session(board: SimulatedBoard, start: Opens, messages: list[str]) -> None:
    """Clocks stay locked during the session; unlocking them makes rows inconclusive."""
    set_up(board)
    with closing(start(clocks="locked")) as session:
        assert locked(board)
        assert any("clocks lock" in line for line in messages)
        result = row_result(session)
        assert result.verdict is Verdict.PASSED, result.reason
    assert clocks_become(board, are_locked=False)
    with closing(start(clocks="locked")) as session:
        result = while_timing(session, messages, lambda: board.gpu_clock(306_000_000, 612_000_000, 306_000_000))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "the clocks were not locked" in result.reason


def test_gpu_clients_are_read_through_the_helper(board: SimulatedBoard, start: Opens) -> None:
    """A row with declared GPU clients is inconclusive without the helper, or if another client uses the GPU."""
    with closing(start(gpu_clients=["Xorg"])) as session:
        assert "the GPU's clients cannot be read" in row_result(session).reason
    set_up(board)
    board.gpu_clients(("Xorg", 1200, 4096))
    with closing(start(gpu_clients=["Xorg"])) as session:
        result = row_result(session, "latency.p99")
        assert result.verdict is Verdict.PASSED, result.reason
    with closing(start()) as session:
        result = row_result(session, "latency.p99")
        assert result.verdict is Verdict.PASSED, result.reason
        assert {(one["source"], "Xorg" in one["text"]) for one in result.details["state"]} == {("noted", True)}
    board.gpu_clients()
    with closing(start(gpu_clients=[])) as session:
        assert "every process in it has size 0" in row_result(session).reason
    board.gpu_clients(("Xorg", 1200, 4096), ("blender", 77, 4096))
    with closing(start(gpu_clients=["Xorg"])) as session:
        result = row_result(session, "latency.p99")
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "blender (process 77) used the GPU" in result.reason


@pytest.mark.parametrize("board", ["jp46", "jp62"], indirect=True)
def test_loads_run_on_the_board_and_end_there(board: SimulatedBoard, start: Opens) -> None:
    """Co-runner and memory reserve are processes on the board, and none is left at the end."""
    commands: set[str] = set()
    stop = threading.Event()

    def record() -> None:
        while not stop.wait(0.1):
            commands.update(one.command for one in board.processes())

    thread = threading.Thread(target=record, daemon=True)
    with closing(start(co_runner="sleep 7601", reserve_memory="50 MiB")) as session:
        thread.start()
        result = row_result(session)
        stop.set()
        thread.join()
        assert result.verdict is Verdict.PASSED, result.reason
        remaining = [one.command for one in board.processes()]
    assert any("sleep 7601" in one for one in commands)
    assert any("--load reserve" in one for one in commands)
    assert not any("7601" in one or "--load" in one for one in remaining)
