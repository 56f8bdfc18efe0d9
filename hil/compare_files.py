"""Compare the outputs of two ONNX files under ONNX Runtime's CPU provider, with or without a config."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hil.checks.comparison import Comparison
from hil.checks.tolerances import somewhere
from hil.datasets.distinct import Distinct
from hil.datasets.feeding import Feeding
from hil.datasets.npz import NpzArrays
from hil.dtypes import for_file, from_file
from hil.errors import Unsupported, UserError
from hil.metrics.agreement import open_answers, refuse_misfits
from hil.onnx_files.declared import declared_signature
from hil.onnx_files.dimension_names import separated, unequal
from hil.onnx_files.external_data import openable
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.ort_errors import ort_error
from hil.onnx_files.random_operators import refuse_random
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hil.checks.blocks import Outputs
    from hil.config.load import Config
    from hil.config.spec import ModelSpec, Precision, TolerancesSpec
    from hil.onnx_files.signature import Signature

LABELS = "labels"
"""Arrays named ``labels`` or ``labels.NAME`` are ground truth, not inputs."""


@dataclass(frozen=True)
class Declared:
    """The model ``name`` of ``config``, with the overrides of ``target``."""

    config: Config
    name: str
    target: str

    @property
    def spec(self) -> ModelSpec:
        """The model's table. Raises ``UserError`` for an unknown model."""
        return self.config.model(self.name, self.target)


def comparison_of(  # noqa: PLR0913 - the model and the precision, and what is known of the samples
    declared: Declared,
    precision: Precision,
    tolerances: TolerancesSpec | None,
    *,
    samples: int | None,
    batch: int | None = None,
    distinct: int | None = None,
    spot_check: bool = False,
) -> Comparison:
    """Return an empty comparison with the kinds of answers and the axes that the config declares for the outputs.

    ``tolerances`` are those of ``precision``; the other arguments are those of ``Comparison``. Raises ``UserError`` if
    a callable cannot be imported.
    """
    config, name, spec = declared.config, declared.name, declared.spec
    # Golden samples are judged by the report's tolerances, which the config may not have any more.
    where = somewhere if spot_check else partial(config.where, "models", name, "tolerances", precision)
    return Comparison(
        precision,
        tolerances,
        samples=samples,
        batch=batch,
        where=where,
        answers=open_answers(spec, config.root, model=name, where=config.where("models", name, "outputs")),
        axes=spec.slice_axes,
        distinct=distinct,
        spot_check=spot_check,
    )


def refuse_carried(signature: Signature, model: str) -> None:
    """Raise ``Unsupported`` for a model with an input that is carried from step to step (``carry``)."""
    carried = [spec.name for spec in signature.inputs if spec.carry is not None]
    if carried:
        raise Unsupported(
            f"the value of input {', '.join(carried)} is carried from step to step, so comparing single steps proves "
            f"nothing: model {model}: run pytest, whose checks sequence.* compare whole sequences"
        )


def compare(  # noqa: PLR0913, PLR0917 - two files and their data, and how they are compared
    model: Path, engine: Path, data: Path, precision: Precision, batch: int = 1, declared: Declared | None = None
) -> Comparison:
    """Run every sample of the .npz file ``data`` through two ONNX files, and return the comparison of their outputs.

    ``model`` is the original file, ``engine`` the one made from it; both get ``batch`` samples in each call.
    ``precision`` selects the tolerances; ``declared`` states what a config declares about ``model``. If names, shapes
    or dtypes of the outputs differ, the comparison fails. Raises ``UserError`` if a file cannot be read, or if the data
    or the declarations do not fit the model, ``Unsupported`` for a carried input and for outputs that are random, and
    ``EngineBuildError`` for an operator that ONNX Runtime lacks.
    """
    fed = _Fed(data, batch, None if declared is None else _signature(model, declared), model.stem)
    with tempfile.TemporaryFile() as stored, tempfile.TemporaryDirectory(prefix="hil-parity-") as folder:
        model, engine = (_openable(file, Path(folder), fed) for file in (model, engine))
        distinct = None if declared is None else Distinct(fed.samples)
        names_per_batch = [_store(stored, outputs) for outputs in _outputs(model, fed, distinct)]
        stored.seek(0)
        expected = (_restored(stored, names) for names in names_per_batch)
        if declared is None or distinct is None:
            comparison = Comparison(precision, samples=fed.samples, batch=batch)
        else:
            tolerances = declared.spec.tolerances.get(precision)
            comparison = comparison_of(
                declared, precision, tolerances, samples=fed.samples, batch=batch, distinct=distinct.count
            )
        return comparison.consume(expected, _outputs(engine, fed))


def _signature(model: Path, declared: Declared) -> Signature:
    """Return the signature of the ONNX file ``model``, completed by what the config declares about it.

    Raises ``UserError`` for a declaration that does not fit the file, ``Unsupported`` for a carried input.
    """
    config, name = declared.config, declared.name
    signature = declared_signature(model, declared.spec, name, apart=True)
    refuse_carried(signature, name)
    refuse_misfits(declared.spec, signature, name, partial(config.where, "models", name))
    return signature


class _Fed:
    """The samples of the .npz file ``data`` in batches of ``batch``, converted as ``signature`` declares.

    If ``signature`` is ``None``, the samples are fed unchanged. ``model`` is the model's name, for messages.
    """

    def __init__(self, data: Path, batch: int, signature: Signature | None, model: str) -> None:
        self.arrays, self.batch = NpzArrays(data), batch
        self._feeding = None if signature is None else Feeding(signature, model)
        given = () if signature is None else (one.name for one in signature.inputs if one.is_given)
        self.names = frozenset((*self.arrays.names, *given))

    @property
    def samples(self) -> int:
        """The number of samples; 0 if the file has no array besides labels."""
        return max((self.arrays.header(name)[1][0] for name in self.arrays.names if not _is_label(name)), default=0)

    def batches(self, inputs: Collection[str], distinct: Distinct | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yield the arrays of ``inputs`` in each batch, by name. Add the samples to ``distinct`` if it is not None."""
        for number, rows in enumerate(self.arrays.rows(self.batch, inputs)):
            if distinct is not None:
                distinct.add(rows)
            yield rows if self._feeding is None else self._feeding.feeds(rows, number * self.batch)


def _openable(model: Path, folder: Path, fed: _Fed) -> Path:
    """Return the path of a file that ONNX Runtime can run on the data: ``model`` itself, or a copy in ``folder``.

    The copy has other names for dimensions whose sizes differ in the first batch (``hil.onnx_files.dimension_names``).
    """
    inputs = read_signature(model).inputs
    feeds = next(fed.batches({one.name for one in inputs}), {})
    sizes = {(name, axis): size for name, array in feeds.items() for axis, size in enumerate(array.shape)}
    return openable(model, folder, separated(inputs, unequal(inputs, sizes)))


def _is_label(name: str) -> bool:
    return name == LABELS or name.startswith(f"{LABELS}.")


def _outputs(model: Path, fed: _Fed, distinct: Distinct | None = None) -> Iterator[Outputs]:
    """Run ``model`` on the data, and yield the outputs of each batch, in the order of the batches.

    Raises ``UserError`` if the data lacks an input or an output is not a tensor, and what ``ort_error`` returns if ONNX
    Runtime fails.
    """
    session = cpu_session(model)
    inputs = {node.name for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    data, missing = fed.arrays.path, sorted(inputs - fed.names)
    if missing:
        present = ", ".join(fed.arrays.names)
        raise UserError(
            f"{data} has no array {missing[0]!r}, an input of model {model.stem}: "
            f"name the array like the input (the file has {present})"
        )
    random = read_signature(model).random
    for feeds in fed.batches(inputs, distinct):
        run = partial(run_on_host, session, names, {name: array for name, array in feeds.items() if name in inputs})
        try:
            results = run()
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no common base class
            raise ort_error(error, model, f"on the samples of {data.name}") from None
        refuse_random(random, names, [run] if random else [])
        for name, array in zip(names, results, strict=True):
            if not isinstance(array, np.ndarray):
                what = f"output {name!r} of model {model.stem} is not a tensor, so it cannot be compared"
                raise UserError(f"{what}: compare files without this output")
        yield list(zip(names, results, strict=True))


def _store(file: IO[bytes], outputs: Outputs) -> list[str]:
    for _, array in outputs:
        np.lib.format.write_array(file, for_file(array), allow_pickle=False)
    return [name for name, _ in outputs]


def _restored(file: IO[bytes], names: list[str]) -> list[tuple[str, Any]]:
    return [(name, from_file(np.lib.format.read_array(file, allow_pickle=False))) for name in names]
