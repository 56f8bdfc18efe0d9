"""The plain script that the agent is compared with: one session, one loop, the clock read before and after a run.

``python bare.py MODEL INPUT.npy THREADS``. It imports nothing of hil. For each input line ``WARMUP SECONDS`` it prints
one line, the seconds of each inference as JSON.
"""

import json
import sys
import time

import numpy as np
import onnxruntime


def main() -> None:
    """Answer lines until standard input ends."""
    model, data, threads = sys.argv[1:4]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feed = {session.get_inputs()[0].name: np.load(data, allow_pickle=False)}
    for line in sys.stdin:
        warmup, seconds = map(float, line.split())
        end = time.perf_counter() + warmup
        while time.perf_counter() < end:
            session.run(names, feed)
        durations = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            before = time.perf_counter()
            session.run(names, feed)
            after = time.perf_counter()
            durations.append(after - before)
        print(json.dumps(durations), flush=True)


if __name__ == "__main__":
    main()
