"""The plain script that the agent is compared with: one session and one loop that copies states from step to step.

``python bare_steps.py MODEL INPUT.npy THREADS TAKEN=GIVEN …``, with the input TAKEN and the output GIVEN of each state.
It imports nothing of hil. The input is ``x`` [steps, batch, width]. For each line of standard input it runs all steps
and prints the seconds of one step.
"""

import sys
import time

import numpy as np
import onnxruntime


def main() -> None:
    """Answer lines until standard input ends."""
    model, data, threads, *pairs = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    x = np.load(data, allow_pickle=False)
    carry = dict(pair.split("=") for pair in pairs)
    shapes = {value.name: value.shape for value in session.get_inputs()}
    empty = {
        name: np.zeros([dim if isinstance(dim, int) else x.shape[1] for dim in shapes[name]], np.float32)
        for name in carry
    }
    for _ in sys.stdin:
        states, answers = empty, []
        before = time.perf_counter()
        for row in x:
            outputs = dict(zip(names, session.run(names, {"x": row, **states}), strict=True))
            states = {taken: outputs[given] for taken, given in carry.items()}
            answers.append(outputs)
        print((time.perf_counter() - before) / len(x), flush=True)


if __name__ == "__main__":
    main()
