"""The plain script that a run's memory is compared with: it streams the same data through the same model.

``python stream.py MODEL DATA.npz BATCH``. It imports nothing of hil, and prints the number of samples.
"""

import math
import sys
import zipfile

import numpy as np
import onnxruntime


def main() -> None:
    """Read the array ``x`` batch by batch and keep the outputs, as code that scores them would."""
    model, data, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers = []
    with zipfile.ZipFile(data) as archive, archive.open("x.npy") as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        row = math.prod(shape[1:]) * dtype.itemsize
        while piece := stream.read(batch * row):
            samples = np.frombuffer(piece, dtype).reshape(-1, *shape[1:])
            answers.append(session.run(None, {"x": samples})[0])
    print(sum(len(answer) for answer in answers))


if __name__ == "__main__":
    main()
