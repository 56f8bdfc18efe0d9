"""Open a model's validation data, and decide from it which dimensions of the model's inputs have equal sizes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hil.datasets import open_dataset
from hil.datasets.fit_check import Matcher, UnequalSizesError
from hil.onnx_files.declared import declared_signature, with_inputs
from hil.onnx_files.dimension_names import separated
from hil.onnx_files.external_data import addressed
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import dimension

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.config.load import Config
    from hil.datasets import Dataset
    from hil.datasets.dataset import Arrays, Batch
    from hil.errors import UserError
    from hil.onnx_files.dimension_names import Unequal
    from hil.onnx_files.signature import Signature


@dataclass(frozen=True)
class Opened:
    """Models and data that were opened before a session.

    Attributes:
        signatures: the signatures by model.
        datasets: the data by model and the key in ``hil.toml`` that names it, such as ``("digits", "training_data")``.
    """

    signatures: dict[str, Signature] = field(default_factory=dict)
    datasets: dict[tuple[str, ...], Dataset] = field(default_factory=dict)


def open_validation(config: Config, target: str, name: str) -> tuple[Signature, Dataset]:
    """Return the signature of the model ``name`` with what ``hil.toml`` declares, and its validation data.

    Axes with one name but different sizes get names by their position, if the reference accepts these sizes;
    ``separated`` of the signature lists these axes. Raise ``UserError`` for data that does not fit the model.
    """
    spec, path = config.model(name, target), config.resolve(config.model(name, target).path)
    signature = declared_signature(path, spec, name, apart=True)
    refuted: UserError | None = None
    while True:
        where = config.where("models", name, "data")
        try:
            data = open_dataset(
                spec.data,
                config=config,
                model=name,
                signature=signature,
                preprocess=spec.preprocess,
                ranges=spec.ranges,
                where=where,
                samples=spec.samples,
            )
            if not is_open(signature):
                return signature, data
            batch = next(data.batches(spec.batch, spec.samples))
            sizes = {(one, axis): size for one, array in batch.feeds.items() for axis, size in enumerate(array.shape)}
            Matcher(signature, model=name, source=f"{where}: {spec.data}").equal_names(sizes)
        except UnequalSizesError as error:
            refuted = refuted or error
            signature = _apart(signature, error.found)
        else:
            break
    taken = spec.reference is None  # saved outputs do not show which inputs the network accepts
    if signature.separated and not (taken and reference_outputs(config, target, name, signature, batch)):
        declared_signature(path, spec, name)  # raises if the declared sizes contradict each other
        if refuted is not None:
            raise refuted
    return signature, data


def is_open(signature: Signature) -> bool:
    """Return whether data is needed to decide which dimensions are equal."""
    names = [
        (size, axis == one.batch_axis)
        for one in signature.inputs
        for axis, size in enumerate(one.shape)
        if isinstance(size, str)
    ]
    repeated = any([name for name, _ in names].count(own) > 1 for own, is_batch in names if not is_batch)
    return repeated or bool(signature.separated)


def _apart(signature: Signature, found: Sequence[Unequal]) -> Signature:
    """Return ``signature`` with new names for the axes of ``found``."""
    sizes, multiples = dict(signature.sizes), dict(signature.multiples)
    for one in found:
        tensor, axis, size = one.new
        low, _, high = sizes.get(one.name, (1, 0, 0))
        if low <= size <= high:
            sizes[dimension(tensor, axis)] = sizes[one.name]
        if one.name in multiples and size % multiples[one.name] == 0:
            multiples[dimension(tensor, axis)] = multiples[one.name]
    result = with_inputs(signature, separated(signature.inputs, found))
    stated = (*signature.separated, *map(str, found))
    return replace(result, sizes=sizes, multiples=multiples, separated=stated)


def reference_outputs(config: Config, target: str, name: str, signature: Signature, batch: Batch) -> Arrays | None:
    """Return the reference's outputs for ``batch`` by name; ``None`` if ONNX Runtime cannot run the model on it."""
    cache = config.resolve(config.spec.project.cache)
    path = config.resolve(config.model(name, target).path)
    file = addressed(path, cache / "external_data", signature.inputs)
    try:
        session = cpu_session(file)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, run_on_host(session, names, batch.feeds), strict=True))
    except Exception:  # noqa: BLE001 - ONNX Runtime's errors share only the class Exception
        return None
