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
    """Sizes are bytes, the clients of a process add up, names may contain blanks, and sizes of 0 are left out."""
    sizes = nvmap_clients(CLIENTS)
    assert sizes == {1792595: 14617792 * KIB, 2011: (53248 + 16) * KIB, 4711: 100 * MIB}


@pytest.mark.parametrize("text", ["", "total 0K", "garbage", "user x 12 5Q", "user x -5 7K", "a b c d\n\n"])
def test_malformed_lines_are_ignored(text: str) -> None:
    """Lines of another format yield no process."""
    assert nvmap_clients(text) == {}


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    """Whatever the text, sizes are positive or absent."""
    assert all(size > 0 for size in nvmap_clients(text).values())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nvml_lists_processes(layout: struct.Struct) -> None:
    """All struct versions give the same sums by process; a process with a size that is "not available" gets None."""
    entries = [(41, 7 * MIB), (42, nvml.NOT_AVAILABLE), (41, MIB), (42, 5)]
    tail = (0, 0) if layout.size == 24 else ()
    raw = b"".join(layout.pack(pid, used, *tail) for pid, used in entries) + b"\xff" * 64
    assert nvml.processes_of(raw, len(entries), layout) == {41: 8 * MIB, 42: None}


def test_nvml_structs_have_the_header_s_sizes() -> None:
    """The structs have the sizes in nvml.h: 16 bytes for the plain call, 24 with the MIG instances."""
    assert [layout.size for layout in LAYOUTS] == [24, 24, 16]


def test_nvml_uuids_follow_from_cuda_s() -> None:
    """CUDA's UUID gives the NVML names of a whole GPU and of a MIG instance; a malformed UUID gives none."""
    assert nvml.uuids("000102030405060708090a0b0c0d0e0f")[0] == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert nvml.uuids("000102030405060708090a0b0c0d0e0f")[1].startswith("MIG-0001")
    assert nvml.uuids(None) == nvml.uuids("12") == []


def test_without_nvml_no_gpu_is_opened() -> None:
    """Without the NVML library, or with a library that is not NVML, ``open_nvml`` returns None."""
    assert nvml.open_nvml({"number": 0}, "libnvidia-ml-that-is-nowhere.so.1") is None
    assert nvml.open_nvml({"number": 0}, "libc.so.6") is None


class Board:
    """A tree of /sys and /proc as on an Orin."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.proc = folder / "sys", folder / "proc"
        self.clients = self.sys / device_memory.NVMAP
        self.proc.mkdir()
        self.set_available(6000)

    def set_available(self, mib: int) -> None:
        """Write a meminfo with ``mib`` MiB available of 8000."""
        self.proc.joinpath("meminfo").write_text(f"MemTotal: {8000 * 1024} kB\nMemAvailable: {mib * 1024} kB\n")

    def list_processes(self, **sizes: int) -> None:
        """Write an nvmap list with these processes (``p12=…`` for process 12) and their sizes in MiB."""
        self.clients.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"user name {pid[1:]} {size * 1024}K\n" for pid, size in sizes.items()]
        self.clients.write_text("CLIENT PROCESS PID SIZE\n" + "".join(lines) + "total 1K\n")

    def open(self, *, unified: bool = True) -> DeviceMemory:
        """Return the memory of the board's GPU."""
        return device_memory.open_device_memory(
            {"number": 0, "uuid": None, "pci": None, "integrated": unified}, str(self.sys), str(self.proc), "nowhere.so"
        )


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """An Orin."""
    return Board(tmp_path)


def test_orin_is_read_through_nvmap(board: Board) -> None:
    """Baseline, peak and current value are the process's own, whatever else uses the machine's memory."""
    board.list_processes(p7=5)
    watch = Watch(board.open())
    watch.follow(12)
    board.list_processes(p7=5, p12=200)
    watch.baseline()
    for size in (300, 900, 400):
        board.list_processes(p7=5, p12=size)
        board.set_available(10)
        watch.note()
    usage = watch.report()
    assert (usage["source"], usage["unified"], usage["includes_host"]) == (BY_NVMAP, True, False)
    assert (usage["baseline"], usage["peak"], usage["now"]) == (200 * MIB, 900 * MIB, 400 * MIB)
    assert (usage["system_used"], usage["system_total"]) == (7990 * MIB, 8000 * MIB)


def test_without_root_the_machine_is_read(board: Board) -> None:
    """Without root, the growth of the machine's used memory is reported, and named as the source."""
    watch = Watch(board.open())
    watch.follow(12)
    board.set_available(5500)
    watch.baseline()
    board.set_available(4000)
    watch.note()
    board.list_processes(p12=1)  # readable only now: a change of source would make the figures incomparable
    board.set_available(5000)
    usage = watch.report()
    assert (usage["source"], usage["includes_host"]) == (BY_MACHINE, True)
    assert (usage["baseline"], usage["peak"], usage["now"]) == (500 * MIB, 2000 * MIB, 1000 * MIB)


def test_a_process_id_that_was_listed_before_is_ignored(board: Board) -> None:
    """A process id that was listed before the worker started belongs to another process, so its size is not used."""
    board.list_processes(p12=4000)
    watch = Watch(board.open())
    watch.follow(12)
    board.set_available(5000)
    watch.baseline()
    assert (watch.report()["source"], watch.report()["peak"]) == (BY_MACHINE, 1000 * MIB)


def test_an_unlisted_process_is_none_and_not_zero(board: Board) -> None:
    """If the list no longer contains the worker, the current value is None, and the peak stays."""
    watch = Watch(board.open())
    watch.follow(12)
    board.list_processes(p12=7)
    watch.baseline()
    board.list_processes(p13=7)
    assert (watch.report()["now"], watch.report()["peak"]) == (None, 7 * MIB)


def test_what_cannot_be_read_is_none(board: Board) -> None:
    """If neither NVML, nvmap's list nor meminfo can be read, every figure is None."""
    board.proc.joinpath("meminfo").unlink()
    for unified, source in ((True, BY_MACHINE), (False, BY_GPU)):
        memory = board.open(unified=unified)
        watch = Watch(memory)
        watch.follow(12)
        watch.baseline()
        usage = watch.report()
        assert [usage[name] for name in ("baseline", "peak", "now", "system_used", "system_total")] == [None] * 5
        assert (usage["source"], memory.source, memory.process(12)) == (source, source, None)


def test_a_decrease_of_the_total_is_not_a_reading(board: Board) -> None:
    """If the memory in use decreased since the start, the difference is not used as a reading."""
    watch = Watch(board.open())
    watch.follow(12)
    board.set_available(7000)
    watch.baseline()
    assert watch.report()["peak"] is None


class Gpu:
    """A stand-in for ``Nvml``, which needs a GPU, with the processes that it lists."""

    def __init__(self, processes: dict[int, int | None] | None, used: int) -> None:
        self.process_list, self.used = processes, used

    def processes(self) -> dict[int, int | None] | None:
        """Return each process's bytes, None for an unknown size, or None without a list."""
        return self.process_list

    def memory(self) -> tuple[int, int]:
        """Return used and total bytes; the total is 100 MiB."""
        return self.used, 100 * MIB


def watch_of(gpu: Any) -> Watch:
    """Return a watch of process 12 on a discrete GPU."""
    watch = Watch(DeviceMemory(gpu, unified=False, sys_root="/nowhere", proc_root="/nowhere"))
    watch.follow(12)
    return watch


@pytest.mark.parametrize("processes", [None, {}, {99: 50 * MIB}, {12: None}])
def test_a_gpu_that_does_not_list_the_process_is_read_as_a_whole(processes: dict[int, int | None] | None) -> None:
    """If NVML does not list the process, or lists it without a size, the growth of the whole GPU's usage is used."""
    gpu = Gpu({}, 10 * MIB)
    watch = watch_of(gpu)
    gpu.process_list, gpu.used = processes, 14 * MIB
    watch.baseline()
    gpu.used = 40 * MIB
    usage = watch.report()
    assert (usage["source"], usage["baseline"], usage["peak"]) == (BY_GPU, 4 * MIB, 30 * MIB)
    assert (usage["system_used"], usage["system_total"]) == (40 * MIB, 100 * MIB)


def test_the_source_is_fixed_once_the_process_is_listed() -> None:
    """Once NVML lists the process, only the listed values count; earlier growth of the whole GPU is dropped."""
    gpu = Gpu({}, 10 * MIB)
    watch = watch_of(gpu)
    gpu.used = 90 * MIB
    watch.note()
    gpu.process_list = {12: 20 * MIB}
    watch.note()
    assert (watch.report()["source"], watch.report()["peak"]) == (BY_NVML, 20 * MIB)
