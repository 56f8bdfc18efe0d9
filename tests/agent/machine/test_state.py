"""The agent's reading of a machine's state, from trees of files and from this machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from hil.agent.jetson.power_mode import PowerMode
from hil.agent.machine.gpu_clients import GpuClients, nvmap_list
from hil.agent.machine.sensors import Sensors
from hil.agent.machine.state import StateReader
from tests.agent.load.test_co_runner import running

if TYPE_CHECKING:
    from pathlib import Path

    from hil.targets.client import AgentClient

GPUS = ("57000000.gpu", "17000000.gp10b", "17000000.gv11b", "17000000.ga10b", "17000000.gpu", "gpu-gpc-0")
NVMAP = """CLIENT                        PROCESS      PID        SIZE
user               VLLM::EngineCor  1792595   14617792K
user                          Xorg     1200       2048K
user                         a b c       77          1M
user                          idle       78          0K
user                          Xorg     1200       1024K
total                                         15319584K
"""
CONF = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=MODE_30W >\n< PM_CONFIG DEFAULT=2 >\n"


def write(path: Path, text: object) -> None:
    """Write a file and create its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def clock(folder: Path, lowest: int, highest: int, now: int) -> None:
    """Write a GPU's devfreq folder."""
    for name, value in {"min_freq": lowest, "max_freq": highest, "cur_freq": now, "governor": "nvhost_podgov"}.items():
        write(folder / name, value)


def cpu(root: Path, number: int, lowest: int, highest: int, online: str = "0 1") -> None:
    """Write a cpufreq policy, in kHz as the kernel does."""
    folder = root / f"sys/devices/system/cpu/cpufreq/policy{number}"
    khz = {"min": lowest, "max": highest, "cur": highest}
    for key, value in khz.items():
        write(folder / f"scaling_{key}_freq", value)
    write(folder / "scaling_governor", "schedutil")
    write(folder / "affected_cpus", online)


def program(path: Path, script: str) -> str:
    """Write a stand-in for nvpmodel and return its path."""
    write(path, f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """A tree with an Orin's files."""
    sys = tmp_path / "sys"
    clock(sys / "class/devfreq/17000000.gpu", 306_000_000, 918_000_000, 306_000_000)
    cpu(tmp_path, 0, 729_600, 1_984_000)
    cpu(tmp_path, 4, 729_600, 1_984_000, online="")
    for at, (kind, value) in enumerate([("cpu-thermal", 48_500), ("gpu-thermal", 45_000), ("cv0-thermal", -256_000)]):
        write(sys / f"class/thermal/thermal_zone{at}/type", kind)
        write(sys / f"class/thermal/thermal_zone{at}/temp", value)
    for at, kind in enumerate(["pwm-fan", "gpu-throttle-alert", "hot-surface-alert", "devfreq-17000000.gpu"]):
        write(sys / f"class/thermal/cooling_device{at}/type", kind)
        write(sys / f"class/thermal/cooling_device{at}/cur_state", at)
    write(sys / "class/hwmon/hwmon0/name", "ina3221")
    write(sys / "class/hwmon/hwmon0/oc1_event_cnt", 99)
    write(sys / "class/hwmon/hwmon3/name", "soctherm_oc")
    for number, count in ((1, 0), (2, 1), (3, 40)):
        write(sys / f"class/hwmon/hwmon3/oc{number}_event_cnt", count)
    write(tmp_path / "proc/meminfo", "MemAvailable: 2048 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB")
    write(tmp_path / "etc/nvpmodel.conf", CONF)
    program(
        tmp_path / "usr/sbin/nvpmodel", "echo 'NVPM WARN: fan mode is not set!'\necho 'NV Power Mode: MAXN'\necho 0"
    )
    return tmp_path


def test_an_orin_s_state_is_complete(orin: Path) -> None:
    """Every fact is in base units under its name; fans, other meters and switched-off parts are left out."""
    state = StateReader(str(orin)).snapshot()
    assert state["power_mode"] == "MAXN"
    gpu = {"min": 306_000_000, "max": 918_000_000, "cur": 306_000_000, "governor": "nvhost_podgov"}
    cores = {"min": 729_600_000, "max": 1_984_000_000, "cur": 1_984_000_000, "governor": "schedutil"}
    assert state["clocks"] == {"gpu": gpu, "policy0": cores}
    assert state["locked"] is False
    assert state["temperature"] == {"cpu-thermal": 48.5, "gpu-thermal": 45.0}
    assert state["throttle"] == {"gpu-throttle-alert": 1, "hot-surface-alert": 2, "devfreq-17000000.gpu": 3}
    assert state["over_current"] == {"oc1": 0, "oc2": 1, "oc3": 40}
    assert (state["swap_used"], state["memory_available"]) == (40 << 10, 2 << 20)
    assert state["gpu_clients"] is None
    assert set(state["not_readable"]) == {"temperature.cv0-thermal", "clocks.emc", "gpu_clients"}


@pytest.mark.parametrize("name", GPUS)
def test_the_gpus_clock_is_found_by_generation(tmp_path: Path, name: str) -> None:
    """The GPU's devfreq folder has another name in each generation; other devices are ignored."""
    clock(tmp_path / "sys/class/devfreq/bwmgr2", 1, 2, 1)
    clock(tmp_path / "sys/class/devfreq" / name, 3, 4, 3)
    assert StateReader(str(tmp_path)).snapshot()["clocks"]["gpu"]["max"] == 4


def test_an_unknown_gpu_is_found_by_its_node(tmp_path: Path) -> None:
    """If the folder's name is unknown, the device tree node identifies the GPU."""
    clock(tmp_path / "sys/class/devfreq/odd", 3, 4, 3)
    write(tmp_path / "sys/class/devfreq/odd/device/of_node/name", "gpu")
    assert StateReader(str(tmp_path)).snapshot()["clocks"]["gpu"]["min"] == 3


def test_locked_means_one_frequency_each(orin: Path) -> None:
    """Clocks are locked if GPU and each online CPU have one frequency left and the memory runs at its highest."""
    clock(orin / "sys/class/devfreq/17000000.gpu", 9, 9, 9)
    assert StateReader(str(orin)).snapshot()["locked"] is False
    cpu(orin, 0, 5, 5)
    assert StateReader(str(orin)).snapshot()["locked"] is True
    emc = {"emc": {"min": 1, "max": 9, "cur": 9}}
    assert StateReader(str(orin)).snapshot(privileged=emc)["locked"] is True
    write(orin / "sys/kernel/nvpmodel_emc_cap/emc_iso_cap", 0)
    emc["emc"]["cur"] = 8
    assert StateReader(str(orin)).snapshot(privileged=emc)["locked"] is False


@pytest.mark.parametrize("place", ["nvpmodel_emc_cap/emc_iso_cap", "nvpmodel_clk_cap/emc"])
@pytest.mark.parametrize(
    ("cap", "now", "locked", "known"),
    [
        (2133, 2133, True, True),
        (2133, 3199, True, True),
        (2133, 665, False, True),
        (0, 3199, True, True),
        (0, 2133, False, True),
        (4266, 3199, True, True),
        (None, 3199, True, True),
        (None, 2133, True, False),
        (0.002133, 2133, True, False),
    ],
)
def test_memory_is_locked_at_what_its_mode_allows(
    orin: Path, place: str, cap: float | None, now: int, locked: bool, known: bool
) -> None:
    """Memory counts as locked at its mode's cap. If the cap is unknown, GPU and CPUs decide alone, with a reason."""
    clock(orin / "sys/class/devfreq/17000000.gpu", 9, 9, 9)
    cpu(orin, 0, 5, 5)
    if cap is not None:
        write(orin / "sys/kernel" / place, round(cap * 1_000_000))
    emc = {"emc": {"min": 204_000_000, "max": 3199_000_000, "cur": now * 1_000_000}}
    state = StateReader(str(orin)).snapshot(privileged=emc)
    assert state["locked"] is locked
    assert ("clocks.emc" not in state["not_readable"]) is known


def test_locked_is_none_if_a_limit_is_missing(orin: Path) -> None:
    """``locked`` is None if a limit of the GPU's clock, or every clock, cannot be read."""
    clock(orin / "sys/class/devfreq/17000000.gpu", 9, 9, 9)
    cpu(orin, 0, 5, 5)
    (orin / "sys/class/devfreq/17000000.gpu/min_freq").unlink()
    state = StateReader(str(orin)).snapshot()
    assert state["locked"] is None
    assert "clocks.gpu.min" in state["not_readable"]
    assert StateReader(str(orin / "empty")).snapshot()["locked"] is None


def test_the_trip_point_of_each_zone(orin: Path) -> None:
    """A zone's trip point is the lowest at which the kernel throttles or warns, not one for fans or shutdown."""
    zone = orin / "sys/class/thermal/thermal_zone1"
    for at, (kind, value) in enumerate([("active", 51_000), ("hot", 97_000), ("passive", 95_000), ("critical", 1_000)]):
        write(zone / f"trip_point_{at}_type", kind)
        write(zone / f"trip_point_{at}_temp", value)
    write(orin / "sys/class/thermal/thermal_zone0/trip_point_0_type", "passive")
    assert StateReader(str(orin)).snapshot()["trips"] == {"gpu-thermal": 95.0}


def test_state_and_sensors_use_the_same_names(orin: Path) -> None:
    """The board's state and a timed window's samples use the same names for zones and alerts."""
    for at in (7, 10, 11):
        write(orin / f"sys/class/thermal/thermal_zone{at}/type", "odd zone!")
        write(orin / f"sys/class/thermal/thermal_zone{at}/temp", at * 1000)
    kinds = ["devfreq-17000000.vic", "cpufreq-cpu0", "gpu-throttle-alert", "Processor", "thermal-cpufreq-0"]
    for at, kind in enumerate(kinds, 20):
        write(orin / f"sys/class/thermal/cooling_device{at}/type", kind)
        write(orin / f"sys/class/thermal/cooling_device{at}/cur_state", 0)
    state = StateReader(str(orin)).snapshot(quick=True)
    sensors = Sensors(str(orin / "sys"))
    names = {name for name, channel in sensors.channels.items() if channel.read() is not None}
    sensors.close()
    for kind in ("temperature", "throttle", "over_current"):
        assert {name for name in names if name.startswith(kind)} == {f"{kind}.{name}" for name in state[kind]}
    limits = {"limit.gpu.min", "limit.gpu.max", "limit.policy0.min", "limit.policy0.max"}
    assert limits <= names
    assert {"odd_zone_", "odd_zone_.2", "odd_zone_.3"} <= set(state["temperature"])
    assert state["temperature"]["odd_zone_.3"] == 11.0
    assert {"cpufreq-cpu0", "gpu-throttle-alert.2", "thermal-cpufreq-0"} <= set(state["throttle"])
    assert not {"devfreq-17000000.vic", "Processor"} & set(state["throttle"])


def test_a_bare_machine_has_reasons_and_no_values(tmp_path: Path) -> None:
    """On a machine without any of the files every fact is None or empty, and has a reason."""
    state = StateReader(str(tmp_path)).snapshot()
    for key in ("power_mode", "locked", "gpu_clients", "swap_used", "memory_available"):
        assert state[key] is None
    assert not any(state[key] for key in ("clocks", "temperature", "throttle", "over_current"))
    assert {"power_mode", "gpu_clients", "swap_used", "memory_available", "temperature"} <= set(state["not_readable"])


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 1", "exit code 1"),
        ("echo 'NVPM ERROR: no config'", "names no mode"),
        ("echo 'NV Power Mode:'", "names no mode"),
        ("sleep 60 & sleep 60", "did not answer within 0.3 s"),
        ("head -c 100000 /dev/urandom", "names no mode"),
    ],
)
def test_a_failing_nvpmodel_gives_no_mode(tmp_path: Path, script: str, why: str) -> None:
    """If nvpmodel fails or hangs, the mode is None with a reason by the deadline, and no process is left."""
    reasons: dict[str, str] = {}
    began = time.monotonic()
    path = program(tmp_path / "nvpmodel", script)
    mode = PowerMode(str(tmp_path), path, deadline=0.3)
    assert mode.read(reasons) is None
    assert why in reasons["power_mode"]
    assert time.monotonic() - began < 3
    assert not running(path)


def test_a_hung_nvpmodel_runs_once(tmp_path: Path) -> None:
    """An nvpmodel that hung is not run again."""
    mode = PowerMode(str(tmp_path), program(tmp_path / "nvpmodel", "sleep 60"), deadline=0.3)
    mode.read({})
    began = time.monotonic()
    assert mode.read({}) is None
    assert time.monotonic() - began < 0.2


@pytest.mark.parametrize(("status", "mode"), [("pmode:0002 fmode:quiet", "MODE_30W"), ("pmode:0007", None), ("", None)])
def test_the_status_file_replaces_a_missing_nvpmodel(tmp_path: Path, status: str, mode: str | None) -> None:
    """Without nvpmodel, the number in its status file gives the mode; if that number has no name, the mode is None."""
    write(tmp_path / "var/lib/nvpmodel/status", status)
    write(tmp_path / "etc/nvpmodel.conf", CONF)
    reasons: dict[str, str] = {}
    assert PowerMode(str(tmp_path)).read(reasons) == mode
    assert ("power_mode" in reasons) is (mode is None)


@pytest.mark.parametrize("script", ["exit 1", "echo none", "sleep 60"])
def test_the_status_file_does_not_replace_a_failed_nvpmodel(tmp_path: Path, script: str) -> None:
    """The status file is not used if nvpmodel fails or hangs."""
    write(tmp_path / "var/lib/nvpmodel/status", "pmode:0002")
    write(tmp_path / "etc/nvpmodel.conf", CONF)
    path = program(tmp_path / "usr/sbin/nvpmodel", script)
    for path_argument in (None, path):
        reasons: dict[str, str] = {}
        assert PowerMode(str(tmp_path), path_argument, deadline=0.3).read(reasons) is None
        assert "nvpmodel -q" in reasons["power_mode"]
    (tmp_path / "usr/sbin/nvpmodel").chmod(0o600)
    if os.geteuid() == 0:
        assert PowerMode(str(tmp_path)).read(reasons) is None


def test_nvmap_s_list_is_parsed() -> None:
    """Header and total are skipped, names may contain blanks, lines of a process add up, sizes of 0 are left out."""
    assert nvmap_list(NVMAP)[0] == [
        {"pid": 77, "name": "a b c", "bytes": 1 << 20},
        {"pid": 1200, "name": "Xorg", "bytes": 3 << 20},
        {"pid": 1792595, "name": "VLLM::EngineCor", "bytes": 14617792 << 10},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "total 0K\n",
        "user Xorg 1200 2048K\n",
        "CLIENT PID SIZE\nuser 1200 2048K\n",
        "CLIENT PROCESS PID SIZE\n",
        "CLIENT PROCESS PID SIZE\nuser Xorg 1200 0K\nuser vllm 1300 0K\ntotal 0K\n",
        "CLIENT PROCESS PID SIZE\nuser Xorg 1200 2048K\nuser vllm 0x9 77K\ntotal 2048K\n",
        "CLIENT PROCESS PID SIZE\nuser Xorg 1200 2048K\nuser vllm 9 77 KiB\ntotal 2048K\n",
    ],
)
def test_an_unusable_list_is_not_an_empty_list(tmp_path: Path, text: str) -> None:
    """An unknown format, an empty file or sizes of 0 throughout, as on Thor, give None with the reason."""
    assert nvmap_list(text)[0] is None
    reasons: dict[str, str] = {}
    clients = GpuClients(str(tmp_path / "sys"), str(tmp_path / "proc"), None)
    assert clients.read(None, reasons, {"nvmap": text}) is None
    assert reasons["gpu_clients"].startswith("NvMap's list: ")
    assert clients.read(Nvml({}), reasons, {"nvmap": text}) is None


def process(root: Path, pid: int, session: int, words: str, parent: int = 2) -> None:
    """Write the files of /proc that are read about a process."""
    write(root / f"proc/{pid}/stat", f"{pid} (a) b) S {parent} {pid} {session} 0 -1")
    (root / f"proc/{pid}/cmdline").write_text(words.replace(" ", "\0"))
    write(root / f"proc/{pid}/comm", words.split(maxsplit=1)[0])


OUR_SESSION = 4321


def test_own_processes_are_not_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of the agent's session, and of agents of the same archive, are no GPU clients; all others are."""
    monkeypatch.setattr(os, "getsid", lambda _: OUR_SESSION)
    write(tmp_path / "sys/kernel/debug/nvmap/iovmm/clients", NVMAP)
    process(tmp_path, 77, OUR_SESSION, "python -B agent-1.pyz --worker")
    process(tmp_path, 1792595, 500, "python -B agent-1.pyz --worker")
    process(tmp_path, 500, 500, "python -B /store/agent-1.pyz --store x")
    clients = GpuClients(str(tmp_path / "sys"), str(tmp_path / "proc"), "/other/agent-1.pyz")
    assert [client["name"] for client in clients.read(None, {}) or []] == ["Xorg"]
    others = GpuClients(str(tmp_path / "sys"), str(tmp_path / "proc"), "/other/agent-2.pyz")
    assert [client["pid"] for client in others.read(None, {}) or []] == [1200, 1792595]


def test_session_0_does_not_identify_own_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If all processes have session 0, as in a container, only the agent's own children are no GPU clients."""
    monkeypatch.setattr(os, "getsid", lambda _: 0)
    write(tmp_path / "sys/kernel/debug/nvmap/iovmm/clients", NVMAP)
    process(tmp_path, 77, 0, "python -B agent-1.pyz --worker", parent=os.getpid())
    process(tmp_path, 1792595, 0, "python -B agent-1.pyz --worker")
    clients = GpuClients(str(tmp_path / "sys"), str(tmp_path / "proc"), "/other/agent-2.pyz")
    assert [client["pid"] for client in clients.read(None, {}) or []] == [1200, 1792595]


def test_a_list_without_our_own_worker_is_unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of GPU clients is unusable, with a reason, if it lacks a process of the agent that uses the GPU."""
    monkeypatch.setattr(os, "getsid", lambda _: OUR_SESSION)
    process(tmp_path, 90, OUR_SESSION, "python -B agent-1.pyz --worker")
    clients = GpuClients(str(tmp_path / "sys"), str(tmp_path / "proc"), None)
    text = "CLIENT PROCESS PID SIZE\nuser Xorg 1200 2048K\n"
    assert [client["pid"] for client in clients.read(None, {}, {"nvmap": text}) or []] == [1200]
    (tmp_path / "proc/90/fd").mkdir()
    (tmp_path / "proc/90/fd/5").symlink_to("/dev/nvmap")
    reasons: dict[str, str] = {}
    assert clients.read(None, reasons, {"nvmap": text}) is None
    assert "lacks our own process" in reasons["gpu_clients"]
    assert clients.read(Nvml({1200: 5}), reasons, {"nvmap": text}) is None
    listed = clients.read(None, {}, {"nvmap": text + "user python 90 4096K\n"})
    assert [client["pid"] for client in listed or []] == [1200]
    assert clients.read(Nvml({90: 5}), {}) == []


class Nvml:
    """A stand-in for ``hil.agent.machine.nvml.Nvml`` with the processes that it lists."""

    def __init__(self, listed: dict[int, int | None] | None) -> None:
        self.listed = listed

    def processes(self) -> dict[int, int | None] | None:
        """Return bytes by process id."""
        return self.listed

    def temperature(self) -> float:
        """Return degrees Celsius."""
        return 51.0


def test_nvml_lists_process_ids(tmp_path: Path) -> None:
    """A client's name comes from /proc, None in another container; if NVML lists no process there is a reason."""
    process(tmp_path, 42, 42, "blender x")
    reader = StateReader(str(tmp_path))
    state = reader.snapshot(Nvml({42: 5, 43: None}))
    named, unnamed = {"pid": 42, "name": "blender", "bytes": 5}, {"pid": 43, "name": None, "bytes": None}
    assert state["gpu_clients"] == [named, unnamed]
    assert state["temperature"] == {"gpu": 51.0}
    assert reader.snapshot(Nvml({}))["gpu_clients"] is None
    assert "NVML lists no process, and NvMap" in reader.snapshot(Nvml({}))["not_readable"]["gpu_clients"]
    assert reader.snapshot(Nvml(None))["gpu_clients"] is None


def test_the_agent_reports_its_machine_s_state(agent: AgentClient) -> None:
    """Through a real agent, memory is reported; a quick reading starts no program."""
    state: dict[str, Any] = agent.call("state")[0]
    assert state["memory_available"] > 0
    assert state["load_ended"] == []
    quick = agent.call("state", {"quick": True})[0]
    assert "power_mode" not in quick
    assert "memory_available" in quick
