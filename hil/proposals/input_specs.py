"""Declarations of inputs for trial runs: from a proposal, with other keys, and with a name for each dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.config.spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hil.onnx_files.signature import Signature, TensorSpec
    from hil.proposals.axes import InputProposal

BATCH = "batch"
"""Name of a batch dimension to which the file gives no name."""


def spec_of(proposal: InputProposal) -> InputSpec:
    """Return the declaration that is tried for one input, without ``carry``."""
    return changed(InputSpec(), batch_axis=proposal.batch_axis, value=proposal.value, range=proposal.range)


def with_axis(spec: InputSpec, proposal: InputProposal) -> InputSpec:
    """Return ``spec`` with the batch axis of ``proposal``."""
    return changed(spec, batch_axis=proposal.batch_axis)


def changed(spec: InputSpec, **changes: Any) -> InputSpec:
    """Return ``spec`` with these keys; a key that is ``None`` counts as not written."""
    values = {key: getattr(spec, key) for key in spec.model_fields_set}
    return InputSpec(**{key: value for key, value in {**values, **changes}.items() if value is not None})


def repeated(signature: Signature) -> Iterable[str]:
    """Return the names of dimensions that occur more than once in the inputs."""
    names = [size for one in signature.inputs for size in one.shape if isinstance(size, str)]
    return (name for name in names if names.count(name) > 1)


def separated(tensor: TensorSpec, spec: InputSpec) -> InputSpec:
    """Return ``spec`` with a shape that names each dynamic dimension by its position, and the batch axis ``BATCH``.

    Return ``spec`` unchanged if the input has no dynamic dimension, or a size of 0, which cannot be declared.
    """
    if 0 in tensor.shape:
        return spec
    shape = tuple(
        size if isinstance(size, int) else BATCH if axis == spec.batch_axis else f"{tensor.name}[{axis}]"
        for axis, size in enumerate(tensor.shape)
    )
    return changed(spec, shape=shape) if any(isinstance(size, str) for size in shape) else spec
