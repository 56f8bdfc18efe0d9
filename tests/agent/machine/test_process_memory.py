from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from hil.agent.machine import process_memory

if TYPE_CHECKING:
    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

Feed = dict[str, npt.NDArray[np.float32]]
MIB = 1 << 20


def test_fields_are_bytes() -> None:
    """Lines in kB become bytes; a file that cannot be read gives an empty dict."""
    assert process_memory.fields("/proc/meminfo")["MemTotal"] > 64 * MIB
    assert process_memory.fields("/proc/no-such-file") == {}


def test_the_peak_includes_memory_that_was_freed() -> None:
    """A peak includes memory that was freed again before ``end``; the next peak does not include that memory."""
    peak = process_memory.Peak()
    before = process_memory.resident()
    peak.begin()
    np.ones(64 * MIB, np.uint8)
    peak.end()
    if not peak.is_reset:
        pytest.skip("/proc/self/clear_refs cannot be written here")
    assert peak.highest - before >= 56 * MIB
    second = process_memory.Peak()
    second.begin()
    second.end()
    assert second.highest < peak.highest - 40 * MIB


def test_use_is_plausible(agent: AgentClient, worker: EngineWorker, model: Path, feed: Feed) -> None:
    """RSS, peak and PSS of a fresh worker are consistent with each other and with /proc.

    Without a GPU, neither a CUDA context nor GPU memory is reported.
    """
    key = agent.adopt(agent.put_blob(model), "fp32", "onnxruntime", {}).key
    with agent.load(key, {}, 60) as fresh:
        assert fresh.pid != worker.pid
        fresh.run(feed)
        check_use(fresh)
        assert fresh.memory().peak_rss < worker.memory().peak_rss + 16 * MIB


def check_use(worker: EngineWorker) -> None:
    """Check the memory that a worker reports after one run."""
    use = worker.memory()
    assert 10 * MIB < use.rss <= use.peak_rss < 500 * MIB
    assert use.pss is None or 0 < use.pss <= use.rss
    assert use.system_total is not None
    assert use.system_available is not None
    assert use.system_available < use.system_total
    assert use.device is None
    load = worker.load
    assert load["context_seconds"] is None
    assert 0 < load["memory_start"] < load["memory_before"] <= load["memory_after"]
    assert load["import_seconds"] > 0 < load["load_seconds"] < load["total_seconds"]
    pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) * process_memory.PAGE
    assert abs(pages - use.rss - use.shared_bytes) < 8 * MIB


def test_tensors_in_transit_are_left_out(shared_worker: EngineWorker) -> None:
    """A large input in shared memory is not part of the peak; memory that the engine allocates is."""
    small, large = np.zeros((1, 4), np.float32), np.zeros((2 * MIB, 4), np.float32)  # 32 MiB in, 24 MiB out
    shared_worker.run({"x": small})
    before = shared_worker.memory()
    shared_worker.run({"x": large})
    after = shared_worker.memory()
    assert after.shared_bytes - before.shared_bytes >= 20 * MIB
    assert 20 * MIB <= after.peak_rss - before.peak_rss < 64 * MIB  # two buffers of 24 MiB, without the input's 32 MiB


def test_a_sound_engine_does_not_grow(shared_worker: EngineWorker, feed: Feed) -> None:
    """Over 2,000 runs of a sound engine the resident size stays within 1 MiB."""
    soak = shared_worker.soak(feed, 2000)
    assert soak.runs[-1] == 2000
    assert soak.t.dtype == np.float64
    assert soak.rss.dtype == np.int64
    assert abs(int(soak.rss[-1]) - int(soak.rss[0])) < MIB


LEAKING = """
import ctypes, sys
from hil.agent.machine import process_memory
held = [bytearray(300) for _ in range(20000)]
freed = ctypes.CDLL(None)
freed.malloc.restype = ctypes.c_void_p
freed.malloc.argtypes = freed.free.argtypes = [ctypes.c_size_t]
places = [freed.malloc(1000) for _ in range(4000)]
for place in places[:-1]:
    freed.free(place)
if sys.argv[1] == "trimmed":
    assert process_memory.return_free_memory()
    assert ctypes.CDLL(None).prctl(42, 0, 0, 0, 0) == 1  # PR_GET_THP_DISABLE
before = process_memory.resident()
for _ in range(400):
    ctypes.memset(freed.malloc(1000), 1, 1000)
print(process_memory.resident() - before)
"""


@pytest.mark.parametrize(("trimmed", "least", "most"), [("trimmed", 300_000, 500_000), ("kept", 0, 100_000)])
def test_a_leak_shows_once_freed_memory_was_returned(trimmed: str, least: int, most: int) -> None:
    """A leak into freed memory raises the resident size only if that memory was returned to the system first."""
    done = subprocess.run([sys.executable, "-c", LEAKING, trimmed], capture_output=True, text=True, check=True)
    assert least <= int(done.stdout) <= most
