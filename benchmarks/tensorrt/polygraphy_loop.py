"""Print the p50 of Polygraphy's runner on an engine file: ``… ENGINE INPUT.npz`` under TensorRT's interpreter."""

from __future__ import annotations

import sys
import time

import numpy as np


def main() -> None:
    """Print the p50 in seconds."""
    from polygraphy.backend.common import BytesFromPath  # optional: the caller reports that it is missing
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    with np.load(sys.argv[2], allow_pickle=False) as archive:
        feed = {name: archive[name] for name in archive.files}
    with TrtRunner(EngineFromBytes(BytesFromPath(sys.argv[1]))) as runner:
        samples = []
        end = time.perf_counter() + 3
        while time.perf_counter() < end:
            before = time.perf_counter()
            runner.infer(feed, check_inputs=False)
            samples.append(time.perf_counter() - before)
    print(float(np.median(samples[len(samples) // 3 :])))


if __name__ == "__main__":
    main()
