from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.agent.machine.device_memory import BY_MACHINE, DeviceMemory, Watch
from hil.agent.protocol import arrays
from hil.agent.protocol.channel import Channel
from hil.agent.service import Service
from hil.agent.store.blobs import Store
from hil.agent.supervisor import Supervisor
from hil.agent.workers.gpu_memory_watch import GpuWatches
from hil.files.digests import file_digest
from hil.targets.answers import DeviceUse
from hil.targets.bundle import agent_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.agent.workers.worker_process import WorkerProcess


class Growing(Supervisor):
    """The real supervisor; each start of a runtime and each load uses more of the memory in ``proc_root/meminfo``."""

    proc_root: str
    used = 0

    def exchange(self, worker: WorkerProcess, request: dict[str, Any], *rest: Any) -> dict[str, Any]:
        """Use the memory, then send the request."""
        self.use(GROWTH.get(request["op"], 0))
        return dict(super().exchange(worker, request, *rest))

    def use(self, more: int) -> None:
        """Write that ``more`` bytes are used."""
        self.used += more
        free = (1 << 20) - self.used // 1024
        Path(self.proc_root, "meminfo").write_text(f"MemTotal: {1 << 20} kB\nMemAvailable: {free} kB\n")


GROWTH = {"start": 32 << 20, "load": 64 << 20}


class Watched(Service):
    """The real service, with every engine treated as if it used a GPU that shares the machine's memory."""

    supervisor: Growing

    def _watch(self, facts: dict[str, Any], options: dict[str, Any]) -> Watch:  # noqa: ARG002 - whatever the engine is
        proc_root = self.supervisor.proc_root
        return Watch(DeviceMemory(None, unified=True, sys_root="/nowhere", proc_root=proc_root))

    def _take_body(self, request: dict[str, Any]) -> WorkerProcess:
        """Skip reading tensors from the host: the tests write them to the shared memory themselves."""
        return self.supervisor.workers[request["worker"]]


@pytest.fixture
def service(cache: Path, store: Path, tmp_path: Path) -> Iterator[Watched]:
    """A service that holds its target; its workers are stopped when the test ends."""
    archive, _ = agent_archive(cache / "pytest-hil" / "agents")
    ours, theirs = socket.socketpair()
    supervisor = Growing(Channel(theirs.fileno(), theirs.fileno()), str(archive), str(store))
    supervisor.proc_root = str(tmp_path)
    supervisor.use(0)
    service = Watched(supervisor, Store(str(store)))
    service.hold({"token": "a", "who": "me", "host": "here", "pid": "1", "wait": 0})
    yield service
    for worker in list(supervisor.workers.values()):
        supervisor.stop_worker(worker)
    service.lock.release()
    ours.close()
    theirs.close()


def build(service: Watched, model: Path) -> dict[str, Any]:
    """Put the model into the store and return the record of its build."""
    digest, size = file_digest(model), model.stat().st_size
    service.store.begin(digest, size)
    service.store.append(digest, 0, model.read_bytes())
    service.store.commit(digest)
    order = {"model": digest, "precision": "fp32", "runtime": "onnxruntime", "options": {}, "deadline": 60}
    return dict(service.build(order)[0]["ok"])


def request_worker(
    service: Watched, op: str, worker: int, feed: np.ndarray | None = None, **fields: Any
) -> dict[str, Any]:
    """Send a request to a worker, with the tensors already in the shared memory, and return its reply."""
    process = service.supervisor.workers[worker]
    request: dict[str, Any] = dict(fields, op=op, worker=worker, deadline=60, body=0)
    if feed is not None:
        listing, chunks = arrays.describe([("x", feed)])
        data = b"".join(bytes(chunk) for chunk in chunks)
        process.segment.reserve(len(data))
        process.segment.view(0, len(data))[:] = data
        request.update(arrays=listing, body=len(data), feeds=1)
    reply = service.worker_op(request) if op == "memory" else service.engine_work(request)
    return dict(reply[0]["ok"])


def test_a_watched_engine_is_sampled_from_build_to_run(service: Watched, model: Path) -> None:
    """Builds, loads and timed runs of a watched engine report its memory; timed runs have a column ``memory.gpu``."""
    record = build(service, model)
    assert record["peak"]["source"] == BY_MACHINE
    assert record["peak"]["rss"] > 1 << 20
    loaded = service.load({"key": record["key"], "options": {"threads": 1}, "deadline": 60})[0]["ok"]
    assert loaded["load"]["context_seconds"] >= 0
    assert loaded["load"]["import_seconds"] > 0.01
    feed = np.ones((2, 4), np.float32)
    timing = {"warmup": 0.1, "seconds": 0.3, "min_samples": 5, "max_samples": 10**6, "budget": 30}
    telemetry = request_worker(service, "time", loaded["worker"], feed, **timing)["telemetry"]
    lengths = {len(telemetry[name]) for name in ("t", "rss", "memory.gpu")}
    assert lengths == {len(telemetry["t"])}
    assert len(telemetry["t"]) >= 3
    usage = DeviceUse(**request_worker(service, "memory", loaded["worker"])["device"])
    assert (usage.source, usage.unified, usage.includes_host) == (BY_MACHINE, True, True)
    assert usage.system_used is not None
    assert usage.baseline == GROWTH["start"], "read before the load"
    assert usage.peak == usage.now == GROWTH["start"] + GROWTH["load"]


def test_an_unknown_gpu_is_not_watched() -> None:
    """A GPU number that CUDA does not list gives no watch, rather than a watch of another GPU."""
    assert GpuWatches().watch([], 0) is None
    assert GpuWatches().watch([{"number": 0, "integrated": False, "uuid": None, "pci": None}], 1) is None
