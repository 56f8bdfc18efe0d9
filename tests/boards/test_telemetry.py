"""Telemetry of simulated boards while an engine is timed, also with a failing tegrastats."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.checks import energy
from hil.results import Limit, Sense, Verdict
from hil.series import Series
from hil.targets.target import open_target
from tests.agent.models import tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.targets.answers import Timed
    from tests.boards.board import SimulatedBoard

POWER = {
    "jp46": "POM_5V_IN",
    "jp51": "sum of VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0",
    "jp62": "VDD_IN",
    "jp70": "VIN",
    "jp72": "sum of VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0",
}
"""The source of the total power on each board."""
NO_COLUMNS = {"t", "interval", "taken", "sources", "not_readable", "warmup", "state"}
TROUBLE = {
    "missing": (None, "not found in PATH or /usr/bin", 0.5),
    "hanging": ("exec sleep 600", "printed no line for 2 s", 2.5),
}
"""Failures of tegrastats: the program's text (None: no program), the reason reported, and the seconds to time."""


def timed(board: SimulatedBoard, folder: Path, seconds: float) -> Timed:
    """Time a window on the board; assert that no tegrastats process is left."""
    feed = {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
    with open_target("board", board.spec()).start_agent() as agent:
        agent.hold("token", "tester")
        built = agent.build(agent.put_blob(tiny(folder / "tiny.onnx")), "fp32", "onnxruntime", {}, 120)
        with agent.load(built.key, {"threads": 1}, 120) as worker:
            window = worker.time([feed], warmup=0.1, seconds=seconds, min_samples=5, max_samples=10**7)
        assert not [one for one in board.processes() if "tegrastats" in one.command or "sleep 600" in one.command]
    return window


@pytest.mark.parametrize("board", POWER, indirect=True)
def test_each_generation_is_read(board: SimulatedBoard, tmp_path: Path) -> None:
    """On every generation, thermal zones, clocks, alerts, rails and total power are read at about 10 Hz."""
    telemetry = timed(board, tmp_path, 0.8).telemetry
    names = set(telemetry) - NO_COLUMNS
    assert {len(telemetry[name]) for name in names} == {len(telemetry["t"])}
    assert len(telemetry["t"]) >= 7
    assert "tegrastats" not in telemetry["not_readable"]
    kinds = board.shell("sh", "-c", "cat /sys/class/thermal/thermal_zone*/type").stdout.split()
    zones = {f"temperature.{kind}" for kind in kinds}
    assert zones == {name for name in (*names, *telemetry["not_readable"]) if name.startswith("temperature.")}
    assert zones & names
    assert {"clock.gpu", "clock.policy0"} <= names
    assert telemetry["sources"]["power.total"] == POWER[board.generation]
    assert 0.5 < telemetry["power.total"][-1] < 100
    assert "power.NC" not in names
    assert not any(name.endswith("pwm-fan") for name in names)


@pytest.mark.parametrize("kind", TROUBLE)
def test_a_failing_tegrastats_is_reported(board: SimulatedBoard, kind: str, tmp_path: Path) -> None:
    """If tegrastats fails, its columns are absent and the reason is reported; all other columns are there."""
    body, why, seconds = TROUBLE[kind]
    program = board.file("/usr/bin/tegrastats")
    if body is None:
        program.unlink()
    else:
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    telemetry = timed(board, tmp_path, seconds).telemetry
    assert telemetry["not_readable"]["tegrastats"].startswith(why)
    assert "tegrastats" not in telemetry["sources"].values()
    assert telemetry["sources"]["power.total"] == "VDD_IN"
    assert None not in telemetry["power.total"]


@contextlib.contextmanager
def drawing(board: SimulatedBoard, milliamperes: int) -> Iterator[None]:
    """Make the board draw this current within 5 %, rewritten every 30 ms, until the context ends."""
    meter = next(board.root.glob("sys/class/hwmon/*/in1_label"), None)
    assert meter is not None
    current = meter.with_name("curr1_input")
    rng, over = random.Random(1), threading.Event()  # noqa: S311 - repeatable, not secret

    def draw() -> None:
        while not over.wait(0.03):
            current.write_text(f"{int(milliamperes * rng.uniform(0.95, 1.05))}\n")

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_energy_is_judged_by_the_board_s_own_meter(board: SimulatedBoard, tmp_path: Path) -> None:
    """Energy is mean power times time per inference, here at 2 A. With a frozen meter, the row does not pass."""
    with drawing(board, 2000):
        moving = timed(board, tmp_path, 4.5)
    still = timed(board, tmp_path, 4.5)
    volts = int(next(board.root.glob("sys/class/hwmon/*/in1_input")).read_text()) / 1000
    for window, verdict in ((moving, Verdict.PASSED), (still, Verdict.INCONCLUSIVE)):
        series = Series(window.start, window.duration, 2, window.method, {"windows": [window.telemetry], "looks": 1})
        expected = 2.0 * volts * float(window.start[-1] + window.duration[-1] - window.start[0]) / series.n
        limit = Limit(value=1.1 * expected, unit="J", sense=Sense.AT_MOST, source="hil.toml:1 energy")
        judgement = energy.inference(series, limit, 0.99)
        assert judgement.verdict is verdict, judgement.reason
        if verdict is Verdict.PASSED:
            assert judgement.measurement is not None
            assert judgement.measurement.value == pytest.approx(expected, rel=0.02)
