"""Load, run and close an engine repeatedly in one process: ``… ENGINE INPUT.npz BINDING COUNT``.

It uses the agent's own runtime, under the interpreter with TensorRT. Device memory is read through a context of this
script, which stays open, so that the driver's own share is constant. It prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.tensorrt.bare_cuda import Driver

RUNS = 5


def resident() -> int:
    """Return the resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Record memory after each cycle; ``done`` counts cycles from 1."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from hil.agent.runtimes.tensorrt import TensorRt  # after standard output is redirected: TensorRT writes to it

    plan, data, binding, count = sys.argv[1:5]
    with np.load(data, allow_pickle=False) as archive:
        feed = {name: archive[name] for name in archive.files}
    cuda, runtime = Driver(), TensorRt()
    table: dict[str, list[int]] = {"done": [], "device": [], "resident": []}
    for cycle in range(1, int(count) + 1):
        engine = runtime.load(plan, {"gpu": 0, "cuda": binding, "streams": 1})
        bound = engine.bind(feed)
        for _ in range(RUNS):
            bound.run()
        bound.close()
        engine.close()
        del engine, bound
        cuda.make_current()
        free, total = cuda.memory()
        for name, value in (("done", cycle), ("device", total - free), ("resident", resident())):
            table[name].append(value)
    print(json.dumps(table), file=answers, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
