"""What a runtime with a device reports through the whole agent; the device is simulated (``under/device.py``)."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.config.spec import TargetSpec
from hil.errors import Unsupported, WorkerLost
from hil.targets import bundle
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

RUNTIME = Path(__file__).parent / "under" / "device.py"
WINDOW: dict[str, Any] = {"warmup": 0.05, "seconds": 0.2, "min_samples": 10, "max_samples": 10**6}
FEED = {"x": np.ones((2, 4), np.float32)}
FATAL = {"x": np.full((2, 4), 7, np.float32)}


def with_device(archive: bytes) -> bytes:
    """Return the agent's archive with the simulated runtime in place of ONNX Runtime."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as whole, zipfile.ZipFile(made, "w") as changed:
        for entry in whole.infolist():
            replaced = entry.filename.endswith("runtimes/onnxruntime.py")
            changed.writestr(entry, RUNTIME.read_bytes() if replaced else whole.read(entry))
    return made.getvalue()


@pytest.fixture(scope="module")
def agent(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentClient]:
    """An agent with the simulated device that holds its target. With ``python`` set, it runs from the archive."""
    archive = with_device(bundle.agent_bytes())
    spec = TargetSpec(store=str(tmp_path_factory.mktemp("device") / "store"), python=sys.executable)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setattr(bundle, "agent_bytes", lambda: archive)
        client = open_target("bench", spec).start_agent()
    with client:
        client.hold("token", "tester")
        yield client


def load(agent: AgentClient, streams: int) -> EngineWorker:
    """Return a worker with any file loaded as an engine, for ``streams`` inferences in flight."""
    key = agent.adopt(agent.put_blob(RUNTIME), "fp32", "onnxruntime", {}).key
    return agent.load(key, {"streams": streams}, 60, fresh=False)


def test_each_sample_has_a_device_time(agent: AgentClient) -> None:
    """Each sample has a device time, which is read after the host's clock has stopped."""
    with load(agent, 1) as worker:
        timed = worker.time([FEED], **WINDOW)
    assert timed.device is not None
    assert timed.device.dtype == np.float64
    assert timed.device.shape == timed.duration.shape
    assert (timed.device == 0.001).all()
    assert timed.method["streams"] == 1


def test_streams_overlap(agent: AgentClient) -> None:
    """Each inference starts before the previous one has ended; streams above the engine's number are refused."""
    with load(agent, 2) as worker:
        series = [worker.throughput([FEED] * feeds, streams=2, **WINDOW) for feeds in (1, 2, 3, 4)]
        with pytest.raises(Unsupported, match=r"loaded for 2 inferences in flight, not 3.*stream"):
            worker.throughput([FEED], streams=3, **WINDOW)
    for timed in series:
        starts: npt.NDArray[np.float64] = timed.start
        assert (np.diff(starts) >= 0).all()
        assert starts.shape == timed.duration.shape
        assert (starts[1:] < starts[:-1] + timed.duration[:-1]).all()
        assert timed.method["streams"] == 2
        assert timed.device is None
        assert timed.warmup_runs > 0


def test_inferences_in_flight_are_completed(agent: AgentClient) -> None:
    """Inferences in flight at the end of a series are completed and counted, and their slots are free again."""
    with load(agent, 3) as worker:
        for limit in (1, 2, 7):
            timed = worker.throughput([FEED], streams=3, warmup=0.0, seconds=60.0, min_samples=1, max_samples=limit)
            assert timed.start.size == timed.duration.size == limit
        assert len(worker.run(FEED)) == 1


def test_long_layer_names_are_cut(agent: AgentClient) -> None:
    """A very long layer name is cut; loading reports where the engine runs and its facts."""
    with load(agent, 1) as worker:
        assert worker.executed_on == {"kind": "gpu", "name": "Make-believe", "sm": "8.7"}
        assert worker.about == {"io": "named"}
        layers = worker.layers()
        assert layers is not None
        assert len(layers[0]["name"]) < 310
        assert len(worker.profile(FEED, 1)[0].name) < 510


def test_a_sticky_error_ends_its_worker(agent: AgentClient) -> None:
    """After a sticky device error the worker ends with a clear message, and later loads use a fresh worker."""
    with load(agent, 1) as worker:
        assert len(worker.run(FEED)) == 1
        with pytest.raises(WorkerLost, match=r"ILLEGAL_ADDRESS.*so the worker .* ends.*on target 'bench'"):
            worker.run(FATAL)
        assert worker.lost
        with pytest.raises(WorkerLost):
            worker.run(FEED)
    with load(agent, 1) as fresh:
        assert (dict(fresh.run(FEED))["y"] == 2).all()


def test_a_sticky_error_ends_a_series(agent: AgentClient) -> None:
    """A sticky error with inferences in flight raises; the samples so far are not returned as a series."""
    with load(agent, 2) as worker, pytest.raises(WorkerLost, match="ILLEGAL_ADDRESS"):
        worker.throughput([FEED, FATAL], streams=2, **WINDOW)
