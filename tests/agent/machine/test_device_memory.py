from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.machine import device_memory, nvml
from hil.agent.machine.device_memory import BY_GPU, BY_MACHINE, BY_NVMAP, BY_NVML, DeviceMemory, Watch, nvmap_clients

if TYPE_CHECKING:
    import struct
    from pathlib import Path

    from hil.targets.engine_worker import EngineWorker

KIB, MIB = 1 << 10, 1 << 20
CLIENTS = """CLIENT                        PROCESS      PID        SIZE
user                VLLM::EngineCor  1792595  14617792K
user                   gnome-shell     2011     53248K
user             Isolated Web Co 7     4711       100M
user                   gnome-shell     2011        16K
user                          idle     3000         0K
total                                         14671056K
"""
LAYOUTS = [layout for _, layout in nvml.PROCESSES]


def test_nvmap_lists_processes() -> None:
    """Sizes are bytes, clients of a process add up, names may have blanks, and 0 is no reading."""
    found = nvmap_clients(CLIENTS)
    assert found == {1792595: 14617792 * KIB, 2011: (53248 + 16) * KIB, 4711: 100 * MIB}


@pytest.mark.parametrize("text", ["", "total 0K", "garbage", "user x 12 5Q", "user x -5 7K", "a b c d\n\n"])
def test_what_is_no_list_has_no_process(text: str) -> None:
    """Nothing is made up of lines that say nothing."""
    assert nvmap_clients(text) == {}


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    """Whatever the kernel writes, readings are positive or absent."""
    assert all(size > 0 for size in nvmap_clients(text).values())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nvml_lists_processes(layout: struct.Struct) -> None:
    """Each version's struct gives the same; "not available" is None, never a number, and stays so in a sum."""
    entries = [(41, 7 * MIB), (42, nvml.NOT_AVAILABLE), (41, MIB), (42, 5)]
    tail = (0, 0) if layout.size == 24 else ()
    raw = b"".join(layout.pack(pid, used, *tail) for pid, used in entries) + b"\xff" * 64
    assert nvml.processes_of(raw, len(entries), layout) == {41: 8 * MIB, 42: None}


def test_nvml_structs_have_the_header_s_sizes() -> None:
    """nvml.h: 16 bytes with the plain call, 24 with the MIG instances."""
    assert [layout.size for layout in LAYOUTS] == [24, 24, 16]


def test_a_gpu_is_found_by_its_own_name() -> None:
    """CUDA's UUID becomes NVML's, of a whole GPU or of a MIG instance; none is made up."""
    assert nvml.uuids("000102030405060708090a0b0c0d0e0f")[0] == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert nvml.uuids("000102030405060708090a0b0c0d0e0f")[1].startswith("MIG-0001")
    assert nvml.uuids(None) == nvml.uuids("12") == []


def test_no_nvml_is_no_gpu() -> None:
    """Without the library there is nothing to ask."""
    assert nvml.open_nvml({"number": 0}, "libnvidia-ml-that-is-nowhere.so.1") is None
    assert nvml.open_nvml({"number": 0}, "libc.so.6") is None


class Board:
    """A tree of /sys and /proc as an Orin has it."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.proc = folder / "sys", folder / "proc"
        self.clients = self.sys / device_memory.NVMAP
        self.proc.mkdir()
        self.available(6000)

    def available(self, mib: int) -> None:
        """Sets MemAvailable, of 8000 MiB."""
        self.proc.joinpath("meminfo").write_text(f"MemTotal: {8000 * 1024} kB\nMemAvailable: {mib * 1024} kB\n")

    def lists(self, **sizes: int) -> None:
        """Sets the processes (``p12=…``) and their MiB."""
        self.clients.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"user name {pid[1:]} {size * 1024}K\n" for pid, size in sizes.items()]
        self.clients.write_text("CLIENT PROCESS PID SIZE\n" + "".join(lines) + "total 1K\n")

    def open(self, *, unified: bool = True) -> DeviceMemory:
        """Its memory."""
        return device_memory.open_device_memory(
            {"number": 0, "uuid": None, "pci": None, "integrated": unified}, str(self.sys), str(self.proc), "nowhere.so"
        )


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """An Orin."""
    return Board(tmp_path)


def test_orin_is_read_through_nvmap(board: Board) -> None:
    """Baseline, peak and now are the process's own, whatever the machine does meanwhile."""
    board.lists(p7=5)
    watch = Watch(board.open())
    watch.follow(12)
    board.lists(p7=5, p12=200)
    watch.baseline()
    for size in (300, 900, 400):
        board.lists(p7=5, p12=size)
        board.available(10)
        watch.note()
    told = watch.report()
    assert (told["source"], told["unified"], told["includes_host"]) == (BY_NVMAP, True, False)
    assert (told["baseline"], told["peak"], told["now"]) == (200 * MIB, 900 * MIB, 400 * MIB)
    assert (told["system_used"], told["system_total"]) == (7990 * MIB, 8000 * MIB)


def test_without_root_the_machine_is_read(board: Board) -> None:
    """The difference to the machine before is labelled, holds the host's part too, and is kept to once chosen."""
    watch = Watch(board.open())
    watch.follow(12)
    board.available(5500)
    watch.baseline()
    board.available(4000)
    watch.note()
    board.lists(p12=1)  # readable later: another source in mid-course would not be comparable
    board.available(5000)
    told = watch.report()
    assert (told["source"], told["includes_host"]) == (BY_MACHINE, True)
    assert (told["baseline"], told["peak"], told["now"]) == (500 * MIB, 2000 * MIB, 1000 * MIB)


def test_a_number_that_was_listed_before_is_another_s(board: Board) -> None:
    """In a container a list may have the host's process ids: one that is there before the worker began is not it."""
    board.lists(p12=4000)
    watch = Watch(board.open())
    watch.follow(12)
    board.available(5000)
    watch.baseline()
    assert (watch.report()["source"], watch.report()["peak"]) == (BY_MACHINE, 1000 * MIB)


def test_a_process_that_goes_is_none_and_not_zero(board: Board) -> None:
    """A list without the worker is no reading of 0."""
    watch = Watch(board.open())
    watch.follow(12)
    board.lists(p12=7)
    watch.baseline()
    board.lists(p13=7)
    assert (watch.report()["now"], watch.report()["peak"]) == (None, 7 * MIB)


def test_what_cannot_be_read_is_none(board: Board) -> None:
    """No NVML, no list, no meminfo: nothing is known, and nothing is zero."""
    board.proc.joinpath("meminfo").unlink()
    for unified, source in ((True, BY_MACHINE), (False, BY_GPU)):
        memory = board.open(unified=unified)
        watch = Watch(memory)
        watch.follow(12)
        watch.baseline()
        told = watch.report()
        assert [told[name] for name in ("baseline", "peak", "now", "system_used", "system_total")] == [None] * 5
        assert (told["source"], memory.source, memory.process(12)) == (source, source, None)


def test_less_in_use_than_before_is_no_reading(board: Board) -> None:
    """Somebody else freed more than the worker took: the difference says nothing."""
    watch = Watch(board.open())
    watch.follow(12)
    board.available(7000)
    watch.baseline()
    assert watch.report()["peak"] is None


class Gpu:
    """What ``Nvml`` tells, from a list: the library itself needs a GPU."""

    def __init__(self, processes: dict[int, int | None] | None, used: int) -> None:
        self.listed, self.used = processes, used

    def processes(self) -> dict[int, int | None] | None:
        """As it is."""
        return self.listed

    def memory(self) -> tuple[int, int]:
        """Of 100 MiB."""
        return self.used, 100 * MIB


def watched(gpu: Any) -> Watch:
    """A watch of process 12 on a discrete GPU."""
    watch = Watch(DeviceMemory(gpu, unified=False, sys_root="/nowhere", proc_root="/nowhere"))
    watch.follow(12)
    return watch


@pytest.mark.parametrize("processes", [None, {}, {99: 50 * MIB}, {12: None}])
def test_a_gpu_that_hides_the_process_is_read_whole(processes: dict[int, int | None] | None) -> None:
    """None listed, others', or one without a number: what is left is the difference on the whole GPU."""
    gpu = Gpu({}, 10 * MIB)
    watch = watched(gpu)
    gpu.listed, gpu.used = processes, 14 * MIB
    watch.baseline()
    gpu.used = 40 * MIB
    told = watch.report()
    assert (told["source"], told["baseline"], told["peak"]) == (BY_GPU, 4 * MIB, 30 * MIB)
    assert (told["system_used"], told["system_total"]) == (40 * MIB, 100 * MIB)


def test_a_build_is_settled_once_the_process_is_listed() -> None:
    """Before there is a context the list has it not; the whole GPU's difference of then is forgotten."""
    gpu = Gpu({}, 10 * MIB)
    watch = watched(gpu)
    gpu.used = 90 * MIB
    watch.note()
    gpu.listed = {12: 20 * MIB}
    watch.note()
    assert (watch.report()["source"], watch.report()["peak"]) == (BY_NVML, 20 * MIB)


def test_a_cpu_target_has_no_device(worker: EngineWorker) -> None:
    """Nothing of NVIDIA's is loaded for it and nothing of a device is told."""
    assert worker.memory().device is None
    assert worker.load["context_seconds"] is None
