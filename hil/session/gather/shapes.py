"""Choose the input shapes that an engine is tested with: those that must run, and those that it must refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.runtimes import runtime_record
from hil.session.engines.shape_profiles import profiles_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil.config.spec import ModelSpec
    from hil.onnx_files.signature import Signature, TensorSpec
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.session.engines.shape_profiles import Profiles

Feeds = dict[str, np.ndarray[Any, Any]]
BATCHES = (1, 2, 4)  # for a dynamic first dimension, if the config gives no shapes


def candidates(session: EngineContext, row: Row, model: Signature, feeds: Feeds) -> Iterator[tuple[Feeds, bool]]:
    """Yield resized copies of ``feeds``, each with true if the engine must run it and false if it must refuse it."""
    profiles = _profiles(session, row, model)
    if profiles:
        for choice in range(3):
            yield resized(feeds, {name: profile[choice] for name, profile in profiles.items()}), True
        for beyond in outside(model, profiles):
            yield resized(feeds, beyond), False
    else:
        for shapes in accepted(model, session.model(row.model), feeds):
            yield resized(feeds, shapes), True
    if model.batch() is not None and model.stacked:
        axes = {spec.name: spec.batch_axis for spec in model.inputs}
        doubled = {
            name: array if axes[name] is None else np.concatenate([array, array], axis=axes[name])
            for name, array in feeds.items()
        }
        yield doubled, False


def _profiles(session: EngineContext, row: Row, model: Signature) -> Profiles:
    """Return the engine's optimization profiles; empty if they are unknown or the runtime has none."""
    spec = session.model(row.model)
    theirs = spec.engine is not None and not model.sizes
    return (
        {} if theirs or not runtime_record(session.spec.runtime).has_profiles else profiles_of(model, spec, row.model)
    )


def outside(model: Signature, profiles: Mapping[str, Sequence[Sequence[int]]]) -> Iterator[dict[str, list[int]]]:
    """Yield the shapes of all inputs by name, with one dynamic dimension outside its profile.

    The other dimensions have their opt size. Dimensions of one name change together.
    """
    tried: set[object] = set()
    for spec in model.inputs:
        for axis, size in enumerate(spec.shape):
            if isinstance(size, int) or (size is not None and size in tried):
                continue
            tried.add(size)
            least, _, most = (shape[axis] for shape in profiles[spec.name])
            for value in (most + 1, least - 1):
                if value >= 1:
                    yield {
                        other.name: _moved(other, profiles, (spec.name, axis, size), value) for other in model.inputs
                    }


def _moved(
    spec: TensorSpec, profiles: Mapping[str, Sequence[Sequence[int]]], at: tuple[str, int, str | None], value: int
) -> list[int]:
    """Return the opt shape of input ``spec``, with ``value`` in dimension ``at`` (input, axis, name or ``None``)."""
    name, axis, size = at
    if spec.name not in profiles:
        return [dim for dim in spec.shape if isinstance(dim, int)]
    return [
        value if (dim == size if size is not None else (spec.name, place) == (name, axis)) else best
        for place, (dim, best) in enumerate(zip(spec.shape, profiles[spec.name][1], strict=True))
    ]


def accepted(model: Signature, spec: ModelSpec, feeds: Feeds) -> Iterator[dict[str, list[int]]]:
    """Yield the shapes of all inputs by name, in up to three choices that the model allows.

    Dimensions with one name have the same size. All batch axes have the same size, too.
    """
    names = {size for tensor in model.inputs for size in tensor.shape if isinstance(size, str)}
    for choice in range(3 if spec.engine is None or model.sizes else 1):
        sizes = {name: model.sizes[name][choice] for name in sorted(names) if name in model.sizes}
        own = BATCHES[choice] if spec.engine is None and not model.alone else spec.batch
        batch = next((sizes[name] for name in sorted(model.batch_names()) if name in sizes), own)
        sizes = dict.fromkeys(model.batch_names(), batch) | sizes
        yield {tensor.name: _sized(tensor, feeds[tensor.name].shape, sizes, batch) for tensor in model.inputs}


def _sized(spec: TensorSpec, shape: Sequence[int], sizes: Mapping[str, int], batch: int) -> list[int]:
    """Return ``shape`` with ``sizes`` for its named dimensions, and with ``batch`` for a batch axis without a name."""
    return [
        sizes.get(size, have) if isinstance(size, str) else batch if size is None and axis == spec.batch_axis else have
        for axis, (size, have) in enumerate(zip(spec.shape, shape, strict=True))
    ]


def resized(feeds: Feeds, shapes: Mapping[str, Sequence[int]]) -> Feeds:
    """Return ``feeds`` with each input that ``shapes`` names repeated or cut along its axes to the named shape."""
    result = dict(feeds)
    for name, shape in shapes.items():
        array = result[name]
        for axis, size in enumerate(shape):
            if array.shape[axis] != size and array.size:
                array = np.take(array, np.arange(size) % array.shape[axis], axis=axis)
        if not array.size:  # there is nothing to repeat
            array = np.zeros(shape, array.dtype)
        result[name] = np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a scalar 1-D
    return result
