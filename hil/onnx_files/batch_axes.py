"""Check that a model's inputs have a common batch axis; if that is unclear, propose lines for ``hil.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.config.explain import written
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from hil.onnx_files.signature import TensorSpec

USUAL = frozenset({"batch", "batch_size", "batchsize"})
"""Names of batch dimensions in exported files, in lower case."""


def check_batch_axes(inputs: Sequence[TensorSpec], declared: Collection[str], model: str) -> None:
    """Raise ``UserError``, with lines for ``hil.toml``, if the batch axis of an input is neither declared nor clear.

    ``declared`` are the names of the inputs whose ``batch_axis`` is in ``hil.toml``. The batch axis of any other input
    is its first axis. It is unclear if the input has no axis, or if the sizes or names of other axes contradict it.
    """
    stacked = [one for one in inputs if one.batch_axis is not None]
    open_ones = [one for one in stacked if one.name not in declared]
    if not open_ones or (not any(not one.shape for one in open_ones) and not _doubtful(stacked, open_ones)):
        return
    lines = list(_proposal(inputs, open_ones, model)) or [
        line for one in open_ones for line in (_table(model, one), 'batch_axis = "none"')
    ]
    shown = "; ".join(str(one) for one in inputs)
    raise UserError(
        f"the inputs of model {model} have no common batch as their first axis ({shown}): write to hil.toml along "
        'which axis samples are stacked, or "none" for an input with one tensor a call:',
        *lines,
    )


def _doubtful(stacked: Sequence[TensorSpec], open_ones: Sequence[TensorSpec]) -> bool:
    firsts = {one.name: one.shape[one.batch_axis or 0] for one in stacked}
    fixed = {size for size in firsts.values() if isinstance(size, int)}
    if len(fixed) > 1 or (len(set(firsts.values())) > 1 and fixed - {1}):
        return True
    names = {size for size in firsts.values() if isinstance(size, str)}
    elsewhere = {
        size
        for one in stacked
        for axis, size in enumerate(one.shape)
        if axis != one.batch_axis and isinstance(size, str)
    }
    if names & elsewhere:
        return True
    # An axis of 1 beside a dynamic batch is a batch of 1, unless another axis has the batch's name.
    usual = {size for size in elsewhere if size.lower() in USUAL}
    return bool(usual) and any(str(firsts[one.name]).lower() not in USUAL for one in open_ones)


def _proposal(inputs: Sequence[TensorSpec], open_ones: Sequence[TensorSpec], model: str) -> Iterator[str]:
    """Yield lines for ``hil.toml`` that declare the batch axis of each input in ``open_ones`` if it is not the first.

    The proposed axis has a name in ``USUAL``, else the name that most inputs share.
    """
    names = [size for one in inputs for size in one.shape if isinstance(size, str)]
    counts = {name: sum(name in one.shape for one in inputs) for name in names}
    batch = max(counts, key=lambda name: (name.lower() in USUAL, counts[name]), default=None)
    most = max((one.shape[0] for one in inputs if one.shape), key=[one.shape[0] for one in inputs if one.shape].count)
    for one in open_ones:
        table = _table(model, one)
        axis = one.shape.index(batch) if batch is not None and batch in one.shape else None
        if not one.shape:
            yield from (table, 'batch_axis = "none"  # or value = …, if it is the same in every call')
        elif axis is None and (batch is not None or one.shape[0] != most):
            yield from (table, 'batch_axis = "none"')
        elif axis:
            yield from (table, f"batch_axis = {axis}")


def _table(model: str, tensor: TensorSpec) -> str:
    return f"[{written(('models', model, 'inputs', tensor.name))}]"
