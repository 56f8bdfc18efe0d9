"""Check names, dtypes and shapes of samples against the inputs of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.config.explain import quoted, written
from hil.datasets.sequence import FEWEST_STEPS
from hil.dtypes import how_to_save
from hil.errors import UserError, nearest
from hil.onnx_files.dimension_names import unequal
from hil.onnx_files.signature import dimension

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from hil.onnx_files.dimension_names import Unequal
    from hil.onnx_files.signature import Signature, TensorSpec

LABELS = "labels"


def label_key(name: str) -> str | None:
    """Return the output whose labels an array has: ``"OUT"`` for ``labels.OUT``, ``""`` for ``labels``.

    Return ``None`` for the name of an array without labels.
    """
    if name == LABELS:
        return ""
    return name.removeprefix(f"{LABELS}.") if name.startswith(f"{LABELS}.") else None


class UnequalSizesError(UserError):
    """Axes with one name have different sizes in the data. ``found`` has one or more pairs of such axes."""

    def __init__(self, found: Sequence[Unequal], message: str, *lines: str) -> None:
        """Create the error from its text."""
        super().__init__(message, *lines)
        self.found = tuple(found)


class Matcher:
    """Checks samples of one source against the inputs of one model. Each message names the source and the model."""

    def __init__(self, signature: Signature, *, model: str, source: str) -> None:
        """Check against the inputs in ``signature``; messages begin with ``source``, such as a line of ``hil.toml``."""
        self.inputs = {spec.name: spec for spec in signature.inputs}
        self._outputs = [spec.name for spec in signature.outputs]
        self._model = model
        self._source = source
        self._sizes, self._multiples = signature.sizes, signature.multiples
        self.carry = signature.carry

    def names(self, present: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return the names of inputs and the names of labels among ``present``.

        Raises ``UserError`` if a name is neither an input nor labels, if an input that the data must have is missing,
        and for labels of an unknown output.
        """
        names = list(present)
        labels = [name for name in names if name not in self.inputs and label_key(name) is not None]
        unknown = [name for name in names if name not in self.inputs and name not in labels]
        missing = [name for name, spec in self.inputs.items() if name not in names and not spec.is_given]
        if unknown or missing:
            hints = [
                f" (did you mean {near!r}?)" for name in unknown if (near := nearest(name, missing or self.inputs))
            ]
            raise self._error(
                f"has {_list(names)}, but the inputs are {_list(self.inputs)}"
                + (f"; missing {_list(missing)}" if missing else "")
                + (f"; unknown {_list(unknown)}{hints[0] if hints else ''}" if unknown else ""),
                f"name the arrays after the inputs, and labels {LABELS!r} or '{LABELS}.OUTPUT'"
                + ("; an input that is fed with an output of the step before needs carry instead" if missing else ""),
            )
        for name in labels:
            output = label_key(name)
            if output and output not in self._outputs:
                near = nearest(output, self._outputs)
                hint = f"did you mean '{LABELS}.{near}'?" if near else f"the outputs are {_list(self._outputs)}"
                raise self._error(f"has {name!r}, but there is no output {output!r}", hint)
        return [name for name in self.inputs if name in names], labels

    def tensors(self, tensors: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
        """Raise ``UserError`` if a dtype or shape of one sample (without the batch dimension) does not fit its input.

        Dynamic dimensions with the same name must have the same size, which must fit the declared sizes and multiples.
        For a model with a state, a sample is a sequence: its arrays begin with the axis of steps, except its first
        states.
        """
        if self.carry:
            tensors = self._of_one_step(tensors)
        sizes: dict[tuple[str, int], int] = {}
        for name, (dtype, shape) in tensors.items():
            spec = self.inputs[name]
            if dtype.name != spec.dtype:
                raise self._error(
                    f"has {name!r} as {dtype.name}, but the input takes {spec.dtype}",
                    f"nothing is converted silently; {how_to_save(spec.dtype)}",
                )
            if not _fits(shape, spec):
                takes = ", ".join("any" if size is None else str(size) for size in spec.sample)
                raise self._error(
                    f"has samples of {name!r} shaped {list(shape)}, but the input takes [{takes}] per sample",
                    "shapes are those of one sample, without the batch dimension"
                    + ("" if self.carry else "; only a model with carry takes sequences"),
                )
            axes = [axis for axis in range(len(spec.shape)) if axis != spec.batch_axis]
            sizes |= {(name, axis): size for axis, size in zip(axes, shape, strict=True)}
        self.equal_names(sizes)
        named = {self.inputs[name].shape[axis]: size for (name, axis), size in sizes.items()}
        for name, size in ((name, size) for name, size in named.items() if isinstance(name, str)):
            low, _, high = self._sizes.get(name, (size, size, size))
            if not low <= size <= high:
                raise self._error(
                    f"has {name!r} of {size}", f"hil.toml allows {low} to {high}: change the data or these sizes"
                )
            if size % self._multiples.get(name, 1):
                multiple = self._multiples[name]
                raise self._error(
                    f"has {name!r} of {size}",
                    f"hil.toml allows multiples of {multiple}: change the data or multiple_of",
                )

    def _of_one_step(
        self, tensors: Mapping[str, tuple[np.dtype, tuple[int, ...]]]
    ) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Return dtype and shape of one step of each input.

        Raise ``UserError`` unless all inputs that are not carried have the same number of steps, at least two.
        """
        steps: dict[str, int] = {}
        for name, (_, shape) in tensors.items():
            if name in self.carry:
                continue
            if len(shape) != len(self.inputs[name].sample) + 1:
                takes = ", ".join("any" if size is None else str(size) for size in ("steps", *self.inputs[name].sample))
                raise self._error(
                    f"has samples of {name!r} shaped {list(shape)}, but {_list(self.carry)} is carried from step to "
                    f"step, so a sample is a sequence [{takes}]",
                    "add the axis of the steps; batches of sequences are stacked later",
                )
            steps[name] = shape[0]
        if len(set(steps.values())) > 1:
            found = ", ".join(f"{count} of {name!r}" for name, count in steps.items())
            raise self._error(f"has a sequence with different numbers of steps ({found})", "save one row per step")
        self.steps(min(steps.values(), default=0))
        return {name: (dtype, shape[name not in self.carry :]) for name, (dtype, shape) in tensors.items()}

    def steps(self, fewest: int) -> None:
        """Raise ``UserError`` if ``fewest``, the steps of the shortest sequence, are too few to carry a state."""
        if fewest < FEWEST_STEPS:
            raise self._error(
                f"has a sequence of {fewest} steps, but {_list(self.carry)} is carried from step to step",
                f"give sequences of {FEWEST_STEPS} steps or more, as long as the robot runs without a reset",
            )

    def equal_names(self, sizes: Mapping[tuple[str, int], int]) -> None:
        """Raise ``UnequalSizesError`` if axes with one name have different sizes. ``sizes`` are by input and axis."""
        found = unequal(tuple(self.inputs.values()), sizes)
        if not found:
            return
        (tensor, axis, size), (_, _, other) = found[0].new, found[0].kept
        spec = self.inputs[tensor]
        names = [size if place != axis else None for place, size in enumerate(spec.shape)]
        shape = [
            str(size) if isinstance(size, int) else quoted(size or dimension(spec.name, place))
            for place, size in enumerate(names)
        ]
        raise UnequalSizesError(
            found,
            f"{self._source} has {size} on axis {axis} of {tensor!r}, and {other} on another axis called "
            f"{found[0].name!r}: model {self._model}: make both equal in the data, or give this axis a name of its own "
            "in hil.toml:",
            f"[{written(('models', self._model, 'inputs', tensor))}]",
            f"shape = [{', '.join(shape)}]",
        )

    def _error(self, what: str, remedy: str) -> UserError:
        return UserError(f"{self._source} {what}: model {self._model}: {remedy}")


def _fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    fixed = [size if isinstance(size, int) else None for size in spec.sample]
    return len(shape) == len(fixed) and all(own in {None, size} for size, own in zip(shape, fixed, strict=True))


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "nothing"
