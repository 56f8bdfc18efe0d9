"""The plain script that the agent is compared with: an engine file, a loop, two readings of each clock.

``python -m benchmarks.tensorrt.bare ENGINE INPUT.npz BINDING GRAPH SLOTS`` under the interpreter with TensorRT 8.5 or
later, in the repository's root. It imports nothing of hil. An inference has the same steps as one that the agent times:
copy page-locked inputs to the device, record an event, enqueue the engine or launch its graph, record an event, copy
the outputs back, and wait for the stream. Each line on standard input is a JSON object with ``op``. The answer to
``time`` (with ``warmup`` and ``seconds``) is the p50 of host and device. The answer to ``rate`` (also with ``streams``)
is the number of inferences and the seconds that they took.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.tensorrt.bare_cuda import BINDINGS, Driver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.tensorrt.bare_cuda import Step

clock = time.perf_counter


class Slot:
    """One inference in flight: a context, a stream and buffers; everything is prepared before it runs."""

    def __init__(self, trt: Any, cuda: Driver, engine: Any, feed: Mapping[str, Any], *, graph: bool) -> None:
        self.cuda, self.context = cuda, engine.create_execution_context()
        self.stream = cuda.stream()
        self.begun, self.ended = cuda.event(), cuda.event()
        self.hosts: dict[str, Any] = {}
        into: list[Step] = []
        back: list[Step] = []
        names = [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in inputs:
            self.context.set_input_shape(name, feed[name].shape)
        for name in names:
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            size = int(np.prod(self.context.get_tensor_shape(name))) * dtype.itemsize
            host, device = cuda.pinned(size), cuda.alloc(size)
            self.hosts[name] = host
            self.context.set_tensor_address(name, device)
            if name in inputs:
                host[:] = np.ascontiguousarray(feed[name], dtype).view(np.uint8).reshape(-1)
                into.append(cuda.copy_in(device, host, self.stream))
            else:
                back.append(cuda.copy_out(host, device, self.stream))
        handle, context = cuda.handle(self.stream), self.context

        def enqueue() -> object:
            return context.execute_async_v3(handle)

        self.wait = cuda.wait(self.stream)
        for step in (*into, enqueue, self.wait):
            step()
        work: Step = cuda.capture(self.stream, enqueue) if graph else enqueue
        self.events = (cuda.record(self.begun, self.stream), cuda.record(self.ended, self.stream))
        self.timed: tuple[Step, ...] = (*into, self.events[0], work, self.events[1], *back, self.wait)
        self.started: tuple[Step, ...] = (*into, work, *back)

    def once(self) -> tuple[float, float]:
        """Run one inference; return its seconds by the host's clock and between the events."""
        before = clock()
        for step in self.timed:
            step()
        after = clock()
        return after - before, self.cuda.between(self.begun, self.ended)


def loop(slot: Slot, warmup: float, seconds: float) -> dict[str, Any]:
    """Return the p50 in seconds by both clocks, and the number of inferences."""
    end = clock() + warmup
    while clock() < end:
        slot.once()
    samples = []
    gc.collect()
    gc.disable()
    end = clock() + seconds
    while clock() < end:
        samples.append(slot.once())
    gc.enable()
    slot.cuda.check()
    host, device = np.median(np.asarray(samples), axis=0)
    return {"host": float(host), "device": float(device), "n": len(samples)}


def rate(slots: list[Slot], warmup: float, seconds: float) -> dict[str, Any]:
    """Return the number of inferences and the seconds from first start to last end, with all ``slots`` in flight."""
    for length in (warmup, seconds):
        done = 0
        gc.collect()
        gc.disable()
        began = clock()
        end = began + length
        while clock() < end:
            slot = slots[done % len(slots)]
            if done >= len(slots):
                slot.wait()
            for step in slot.started:
                step()
            done += 1
        for slot in slots:
            slot.wait()
        elapsed = clock() - began
        gc.enable()
    slots[0].cuda.check()
    return {"runs": done, "seconds": elapsed}


def main() -> None:
    """Load the engine, report how long that took, then serve until standard input ends."""
    began = time.time()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # native libraries print to descriptor 1
    engine_file, data, binding, graph, count = sys.argv[1:6]
    import tensorrt as trt  # after standard output is redirected: TensorRT writes to it

    cuda = BINDINGS[binding]()
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    before = clock()
    engine = runtime.deserialize_cuda_engine(Path(engine_file).read_bytes())
    deserialized = clock() - before
    with np.load(data, allow_pickle=False) as archive:
        feed = {name: archive[name] for name in archive.files}
    slots = [Slot(trt, cuda, engine, feed, graph=graph == "1") for _ in range(int(count))]
    started = float(os.environ.get("STARTED", began))
    print(json.dumps({"deserialize": deserialized, "ready": time.time() - started}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order["op"] == "time":
            reply = loop(slots[0], order["warmup"], order["seconds"])
        else:
            reply = rate(slots[: order["streams"]], order["warmup"], order["seconds"])
        print(json.dumps(reply), file=answers, flush=True)
    cuda.check()
    cuda.close()
    answers.flush()
    os._exit(0)  # skip the destructors of native libraries


if __name__ == "__main__":
    main()
