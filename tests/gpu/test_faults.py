"""Faults provoked on a real GPU: each gives one verdict with one message, and the next check gets a fresh worker."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from hil.errors import HilError, WorkerLost
from hil.results import Cause, Verdict
from tests import models
from tests.gpu.board import LARGE_BYTES, LARGE_CHANNELS, LARGE_SIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.session import Session
    from hil.targets.client import AgentClient
    from tests.gpu.board import Board

    RecordFault = Callable[..., None]

ROOT = Path(__file__).parents[2]
LEFT = 1200 << 20
"""Bytes that ``hog`` leaves free: enough for a CUDA context with TensorRT's kernels, not for ``large``."""

HOG = """
import sys
from hil.agent.runtimes.cuda import open_cuda
cuda, kept, piece = open_cuda(0, "ctypes"), [], 1 << 30
while piece >= 1 << 24:
    if cuda.memory_info()[0] - piece < int(sys.argv[1]):
        piece //= 2
    else:
        kept.append(cuda.alloc(piece))
print("held", flush=True)
sys.stdin.read()
"""


def one_message(text: str) -> str:
    """Return ``text`` if it is a message for a user and not a traceback."""
    assert text.strip()
    assert "Traceback" not in text
    assert "in the worker:" not in text, "an unexpected exception"
    return text


def is_fresh(board: Board, session: Session, before: int | None = None) -> bool:
    """Return whether the next check passes, in a process other than ``before``."""
    passes = board.ask(session, "parity.outputs").verdict is Verdict.PASSED
    with session.engines.lease("net", "fp32") as worker:
        return passes and worker.pid != before


def large(path: Path) -> None:
    """Write a convolution with an activation of 4 GiB, x[1, 1, 4096, 4096] to y[1, 64, 1, 1]."""
    weights = {"w": np.random.default_rng(0).normal(0, 1, (LARGE_CHANNELS, 1, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["wide"], name="wide", pads=[1] * 4),
        helper.make_node("Relu", ["wide"], ["lit"], name="lit"),
        helper.make_node("GlobalAveragePool", ["lit"], ["y"], name="mean"),
    ]
    shapes = ({"x": [1, 1, LARGE_SIDE, LARGE_SIDE]}, {"y": [1, LARGE_CHANNELS, 1, 1]})
    models.write(path, nodes, *shapes, weights)


@pytest.fixture
def hog(gpu_python: str) -> Iterator[Callable[[], None]]:
    """Return a function that allocates the GPU's memory except ``LEFT``; it is freed after the test."""
    running: list[subprocess.Popen[str]] = []

    def allocate() -> None:
        command = [gpu_python, "-B", "-c", HOG, str(LEFT)]
        running.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert running[0].stdout is not None
        assert running[0].stdout.readline() == "held\n"

    yield allocate
    for process in running:
        process.communicate(timeout=60)


def test_gpu_memory_used_by_another_process(board: Board, record_fault: RecordFault, hog: Callable[[], None]) -> None:
    """An engine that does not fit into the remaining memory is refused with this reason; a small one runs."""
    assert LARGE_BYTES > LEFT
    large(board.root / "large.onnx")
    session = board.session('[models.large]\npath = "large.onnx"\ndata = "synthetic"\n')
    session.engines.provisioned("large", "fp32")
    session.engines.provisioned("net", "fp32")
    hog()
    result = board.ask(session, "contract.signature", "large")
    assert result.verdict is Verdict.FAILED
    assert "memory" in one_message(result.reason).lower()
    fresh = is_fresh(board, session)
    record_fault("GPU memory taken by somebody else", result.verdict.value, result.reason, fresh=fresh)
    assert fresh


def test_worker_killed_mid_inference(board: Board, record_fault: RecordFault) -> None:
    """A worker that is killed during an inference fails only that row, as crashed."""
    session = board.session()
    with session.engines.lease("net", "fp32") as worker:
        pid = worker.pid
    timer = threading.Timer(1.5, os.kill, (pid, signal.SIGKILL))
    timer.start()
    result = board.ask(session, "latency.p99")
    timer.join()
    assert (result.verdict, result.cause) == (Verdict.NOT_RUN, Cause.CRASHED)
    assert "kill" in one_message(result.reason).lower()
    fresh = is_fresh(board, session, pid)
    record_fault("worker killed mid-inference", result.verdict.value, result.reason, fresh=fresh)
    assert fresh


def sorting(path: Path) -> None:
    """Write a TopK of the 1,000 largest elements of x[1, 1048576]; sorting needs workspace."""
    nodes = [helper.make_node("TopK", ["x", "count"], ["values", "places"], name="topk", axis=1)]
    weights = {"count": np.array([1000], np.int64)}
    models.write(path, nodes, {"x": [1, 1 << 20]}, {"values": [1, 1000]}, weights)


def suppressing(path: Path) -> None:
    """Write a non-maximum suppression of 20,000 boxes by their scores."""
    names = ["boxes", "scores", "most", "overlap"]
    nodes = [
        helper.make_node("NonMaxSuppression", names, ["kept"], name="nms"),
        helper.make_node("Cast", ["kept"], ["y"], name="as_float", to=TensorProto.FLOAT),
    ]
    weights: dict[str, np.ndarray] = {"most": np.array([1000], np.int64), "overlap": np.array([0.5], np.float32)}
    models.write(path, nodes, {"boxes": [1, 20000, 4], "scores": [1, 1, 20000]}, {"y": ["kept", 3]}, weights)


def convolving(path: Path) -> None:
    """Write a transposed convolution of many channels, x[1, 512, 64, 64]."""
    weights = {"w": np.ones((512, 512, 4, 4), np.float32)}
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2, 2])]
    models.write(path, nodes, {"x": [1, 512, 64, 64]}, {"y": [1, 512, 130, 130]}, weights)


def test_impossible_workspace(board: Board, record_fault: RecordFault) -> None:
    """A workspace in which a layer cannot run fails the build with TensorRT's own message and advice."""
    refused: list[Any] = []
    for number, write in enumerate((suppressing, sorting, convolving)):
        write(board.root / f"tight{number}.onnx")
        table = f'[models.tight{number}]\npath = "tight{number}.onnx"\ndata = "synthetic"\nbuild.workspace = "1 KiB"\n'
        session = board.session(table)
        result = board.ask(session, "contract.signature", f"tight{number}")
        if result.verdict is not Verdict.PASSED:
            refused.append((session, result))
            break
        board.close()
    assert refused, "TensorRT found a way without workspace for each of the three networks"
    session, result = refused[0]
    assert result.verdict is Verdict.FAILED
    assert "workspace" in one_message(result.reason)
    fresh = is_fresh(board, session)
    record_fault("impossible workspace", result.verdict.value, result.reason, fresh=fresh)
    assert fresh


def test_model_too_large_for_its_memory_limit(board: Board, record_fault: RecordFault) -> None:
    """An engine whose process needs more memory than the limit, that of the GPU included, fails with the limit."""
    session = board.session('[models.tight]\npath = "net.onnx"\ndata = "validation.npz"\nlimits.memory = "16 MiB"\n')
    result = board.ask(session, "memory.peak", "tight")
    assert result.verdict is Verdict.FAILED
    assert result.measurement is not None
    assert result.measurement.value > 16 * 2**20
    assert "16 MiB" in one_message(result.reason)
    fresh = is_fresh(board, session)
    record_fault("model too large for its memory limit", result.verdict.value, result.reason, fresh=fresh)
    assert fresh


def test_corrupt_cached_engine(
    gpu_agent: AgentClient, gpu_store: Path, board: Board, record_fault: RecordFault
) -> None:
    """An engine whose bytes in the store have changed is not loaded, and the next build replaces it."""
    model = gpu_agent.put_blob(board.root / "net.onnx")
    built = gpu_agent.build(model, "fp32", "tensorrt", {}, 300)
    blob = gpu_store / "blobs" / built.digest
    content = bytearray(blob.read_bytes())
    for at in range(len(content) // 2, len(content) // 2 + 64):
        content[at] ^= 0xFF
    blob.write_bytes(content)
    with pytest.raises(HilError, match="damaged") as caught:
        gpu_agent.load(built.key, {}, 60)
    rebuilt = gpu_agent.build(model, "fp32", "tensorrt", {}, 300)
    assert not rebuilt.cached
    with gpu_agent.load(rebuilt.key, {}, 60) as worker:
        outputs = worker.run({"image": np.zeros((1, 2, 6, 6), np.float32)})
    fresh = [name for name, _ in outputs] == ["logits"]
    record_fault("corrupt cached engine", "not loaded", one_message(str(caught.value)), fresh=fresh)
    assert fresh


def foreign(board: Board, gpu_agent: AgentClient) -> Path:
    """Return the path of ``net`` as a plan of the installed TensorRT."""
    built = gpu_agent.build(gpu_agent.put_blob(board.root / "net.onnx"), "fp32", "tensorrt", {}, 300)
    path = board.root / "good.plan"
    gpu_agent.get_blob(built.digest, path)
    gpu_agent.close()
    return path


VERSION_BYTE = """
import sys
import tensorrt as trt

class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.words = ""

    def log(self, severity, message):
        self.words += message

log = Log()
runtime, plan = trt.Runtime(log), open(sys.argv[1], "rb").read()
for at in range(4, 96):
    changed, log.words = bytearray(plan), ""
    changed[at] ^= 0x05
    if runtime.deserialize_cuda_engine(bytes(changed)) is None:
        print(at, log.words, file=sys.stderr)
        if "version" in log.words.lower():
            print(at)
            break
"""


def of_another_version(python: str, plan: Path) -> bytes:
    """Return the plan with a header byte changed such that this TensorRT reports another version."""
    command = [python, "-B", "-c", VERSION_BYTE, str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip(), done.stderr
    changed = bytearray(plan.read_bytes())
    changed[int(done.stdout)] ^= 0x05
    return bytes(changed)


@pytest.mark.parametrize(
    ("fault", "word"), [("engine of another TensorRT version", "version"), ("file that is no engine", "damaged")]
)
def test_engine_that_is_not_this_tensorrts(
    board: Board, gpu_agent: AgentClient, gpu_python: str, record_fault: RecordFault, fault: str, word: str
) -> None:
    """An engine of another TensorRT version fails with this reason, and a file that is not an engine as damaged."""
    plan = foreign(board, gpu_agent)
    content = of_another_version(gpu_python, plan) if word == "version" else b"no engine at all\n" * 1000
    (board.root / "x.plan").write_bytes(content)
    table = '[models.other]\npath = "net.onnx"\ndata = "validation.npz"\nengine = "x.plan"\n'
    session = board.session(table)
    result = board.ask(session, "parity.outputs", "other")
    assert result.verdict is Verdict.FAILED
    assert word in one_message(result.reason)
    fresh = is_fresh(board, session)
    record_fault(fault, result.verdict.value, result.reason, fresh=fresh)
    assert fresh


def test_sticky_cuda_error(board: Board, record_fault: RecordFault) -> None:
    """A plugin that writes outside of the GPU's memory ends its own worker and no other."""
    library, trigger = board.root / "libwild.so", board.root / "strike"
    source = Path(__file__).with_name("wild.c")
    flags = ["-shared", "-fPIC", "-pthread", f'-DTRIGGER="{trigger}"']
    subprocess.run(["cc", *flags, str(source), "-o", str(library), "-ldl"], check=True)  # noqa: S607 - the machine's own
    session = board.session(
        '[models.wild]\npath = "net.onnx"\ndata = "validation.npz"\nbuild.plugins = ["libwild.so"]\n'
    )
    feed = {"image": np.zeros((1, 2, 6, 6), np.float32)}
    with session.engines.lease("wild", "fp32") as worker:
        pid = worker.pid
        assert worker.run(feed)
    trigger.touch()
    time.sleep(1)
    error: HilError | None = None
    try:
        with session.engines.lease("wild", "fp32") as worker:
            assert worker.pid == pid
            worker.run(feed)
    except HilError as caught:
        error = caught
    assert isinstance(error, WorkerLost), error
    assert "CUDA_ERROR" in one_message(str(error))
    fresh = is_fresh(board, session, pid)
    record_fault("sticky CUDA error", "not_run", str(error), fresh=fresh)
    assert fresh
