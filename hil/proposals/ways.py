"""What may be declared of a model's inputs, in the order in which trial runs try it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import UserError
from hil.proposals.axes import shared_names, without_batch
from hil.proposals.batch_rows import without_doubtful
from hil.proposals.input_specs import changed, repeated, separated, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hil.config.spec import InputSpec
    from hil.onnx_files.signature import Signature
    from hil.proposals.axes import InputProposal

    Way = tuple[Mapping[str, InputProposal], dict[str, InputSpec], int | None]

SAMPLES = 3
"""How many samples are run together to find whether an axis is a batch."""


def ways(raw: Signature, plan: Mapping[str, InputProposal]) -> Iterator[Way]:
    """Yield what may be declared, in the order in which it is tried: proposals, declarations and a batch size.

    ``None`` as batch size allows any.
    """
    tied = {one.name: spec_of(plan[one.name]) for one in raw.inputs}
    apart = {one.name: separated(one, tied[one.name]) for one in raw.inputs}
    shared = shared_names(raw, plan)
    if shared:
        yield plan, apart, SAMPLES
        other = without_batch(raw, plan, shared)
        yield other, {one.name: spec_of(other[one.name]) for one in raw.inputs}, None
    else:
        yield plan, tied, None
    if any(repeated(raw)):
        yield plan, apart, None
    bare = without_doubtful(raw, plan)
    if bare != plan:
        yield bare, {one.name: spec_of(bare[one.name]) for one in raw.inputs}, None


def agreeing(
    possible: Iterable[Way], declared: Callable[[dict[str, InputSpec], dict[str, int]], Signature]
) -> Iterator[tuple[Signature, Way]]:
    """Yield the ``possible`` ways whose batch axes agree, each with the signature that ``declared`` returns.

    Raise the first ``UserError`` of ``declared`` if it refuses all.
    """
    refused, agree = None, False
    for way in possible:
        try:
            signature = declared(way[1], {})
        except UserError as error:
            refused = refused or error
            continue
        agree = True
        yield signature, way
    if refused is not None and not agree:
        raise refused


def tied_again(raw: Signature, inputs: dict[str, InputSpec], sizes: dict[str, int]) -> dict[str, InputSpec]:
    """Return ``inputs`` with the file's name for the separated dimensions of a name whose sizes turned out equal.

    In ``sizes``, which is changed, these names replace those of the separated dimensions.
    """
    places: dict[str, dict[str, int]] = {}
    for tensor in raw.inputs:
        shape = inputs[tensor.name].shape or ()
        for own, new in zip(tensor.shape, shape, strict=False):
            if isinstance(own, str) and isinstance(new, str) and own != new:
                places.setdefault(own, {})[new] = sizes.get(new, 0)
    again = {own: news for own, news in places.items() if len(set(news.values())) == 1 and 0 not in news.values()}
    back = {new: own for own, news in again.items() for new in news}
    for own, news in again.items():
        sizes[own] = next(iter(news.values()))
    for new in back:
        del sizes[new]
    result = {}
    for tensor in raw.inputs:
        spec = inputs[tensor.name]
        shape = tuple(back.get(str(size), size) for size in spec.shape or ())
        result[tensor.name] = changed(spec, shape=shape if spec.shape and shape != tensor.shape else None)
    return result
