"""Split the outputs of a batch of sequences into those of each sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.checks.blocks import Outputs
    from hil.onnx_files.signature import Signature


def split_sequences(signature: Signature, model: str, rows: int, outputs: Outputs) -> Iterator[Outputs]:
    """Yield the outputs of each sequence of a batch of ``rows`` sequences.

    ``outputs`` are those of the batch, each array ``[steps, …]`` with an axis along which the sequences are stacked; a
    yielded array is ``[steps, …]`` without that axis. Raise ``Unsupported`` if an output has no such axis and ``rows``
    is more than 1.
    """
    states = {source: signature.input(name).batch_axis for name, source in signature.carry.items()}
    axes = {name: states.get(name, signature.output_axis(name)) for name, _ in outputs}
    for name, array in outputs:
        axis = axes[name]
        if axis is not None and array.shape[axis + 1 : axis + 2] == (rows,):
            continue
        axes[name] = None
        if rows > 1:
            raise Unsupported(
                f"output {name!r} has the shape {list(array.shape[1:])}, in which the {rows} sequences of a batch "
                f"cannot be distinguished: model {model}: write batch = 1 under [models.{model}]"
            )
    for number in range(rows):
        yield [
            (name, array if (axis := axes[name]) is None else np.take(array, number, axis=axis + 1))
            for name, array in outputs
        ]
