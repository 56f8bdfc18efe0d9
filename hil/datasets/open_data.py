"""Open the data that a config names, and check it against the model's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.callables import load_callable
from hil.config.data_sources import SourceKind, source_kind
from hil.datasets import polygraphy
from hil.datasets.dataset import Origin
from hil.datasets.feeding import Feeding
from hil.datasets.fit_check import Matcher
from hil.datasets.npz import NpzArrays
from hil.datasets.npz_samples import NpzDataset
from hil.datasets.sequence_folder import SequenceFolder, is_folder_of_sequences
from hil.datasets.synthetic import SyntheticDataset
from hil.datasets.user_code import CallableDataset, FolderDataset
from hil.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.load import Config
    from hil.datasets.dataset import Dataset
    from hil.onnx_files.signature import Signature


def open_dataset(  # noqa: PLR0913 - all but the source are keyword arguments
    source: str,
    *,
    config: Config,
    model: str,
    signature: Signature,
    preprocess: str | None,
    ranges: Mapping[str, tuple[float, float]],
    where: str,
    samples: int | None = None,
) -> Dataset:
    """Open ``source``: an ``.npz`` or Polygraphy file, a folder, ``package.module:callable`` or ``synthetic``.

    At most ``samples`` samples of a callable are read (``None``: until it ends). ``model`` is the model's name, and
    messages begin with ``where`` (``hil.toml:23``). ``preprocess`` is the callable (``package.module:callable``) that
    reads one file of a folder. ``ranges`` are intervals of synthetic inputs, by input.

    Raise ``UserError`` for unreadable or empty data, for names, dtypes or shapes that do not match the inputs, and if
    no input of the model takes data.
    """
    spec = config.spec.models[model]
    if not signature.inputs:
        raise UserError(f"model {model} has no inputs, so it cannot be run on data: export it with an input")
    if all(one.is_given for one in signature.inputs):
        raise UserError(
            f"hil.toml gives every input of model {model} a value or carry, so no data is used: "
            "remove value or carry from each input that the data has"
        )
    _check_names(config, model, signature, ranges)
    feeding = Feeding(signature, model)
    kind = source_kind(source, config.root)
    if kind is SourceKind.SYNTHETIC:
        return SyntheticDataset(signature, model=model, count=spec.samples, ranges=ranges)
    if kind is None:
        raise UserError(
            f"{where}: {config.resolve(source)} does not exist: model {model}: paths are relative to hil.toml"
        )
    matcher = Matcher(signature, model=model, source=f"{where}: {source}")
    provenance = {"source": source, "kind": kind.value}
    if kind in {SourceKind.NPZ, SourceKind.POLYGRAPHY}:
        path = config.resolve(source)
        cache = config.resolve(config.spec.project.cache)
        arrays = NpzArrays(path if kind is SourceKind.NPZ else polygraphy.converted(path, cache))
        return NpzDataset(arrays, matcher, Origin(source, model, feeding, provenance))
    if kind is SourceKind.CALLABLE:
        code = load_callable(source, config.root, model=model, where=where)
        provenance["callable_digest"] = code.digest
        return CallableDataset(code, matcher, Origin(source, model, feeding, provenance), samples)
    if signature.carry and preprocess is None and is_folder_of_sequences(config.resolve(source)):
        return SequenceFolder(config.resolve(source), matcher, Origin(source, model, feeding, provenance))
    if preprocess is None:
        raise UserError(f"{where}: {source} is a folder: model {model}: add preprocess = 'package.module:callable'")
    code = load_callable(preprocess, config.root, model=model, where=where)
    provenance |= {"preprocess": preprocess, "preprocess_digest": code.digest}
    return FolderDataset(config.resolve(source), code, matcher, Origin(source, model, feeding, provenance))


def _check_names(config: Config, model: str, signature: Signature, ranges: Mapping[str, tuple[float, float]]) -> None:
    inputs = [one.name for one in signature.inputs]
    dynamic = {size for one in signature.inputs for size in one.shape if isinstance(size, str)}
    for key, given, known, what in (
        ("ranges", ranges, inputs, "input"),
        ("shapes", config.spec.models[model].shapes, sorted(dynamic), "dynamic dimension"),
    ):
        for name in given:
            if name not in known:
                place = config.where("models", model, key, name)
                raise UserError(
                    f"{place}: models.{model}.{key}.{name}: there is no such {what}{did_you_mean(name, known)}"
                )
