"""The plain script that a run's memory is measured against: the same data through the same model, streamed.

``python stream.py MODEL DATA.npz BATCH``. Imports nothing of hil; prints how many samples it has run.
"""

import math
import sys
import zipfile

import numpy as np
import onnxruntime


def main() -> None:
    """Reads the array ``x`` batch by batch and keeps the outputs, as one does to score them."""
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
