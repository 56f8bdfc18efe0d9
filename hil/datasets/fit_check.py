"""Do the samples fit the model: names, dtypes and shapes, with what to change where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

    from hil.onnx_files.signature import Signature, TensorSpec

LABELS = "labels"


def label_key(name: str) -> str | None:
    """``labels`` -> ``""``, ``labels.OUT`` -> ``"OUT"``, anything else -> ``None``."""
    if name == LABELS:
        return ""
    return name.removeprefix(f"{LABELS}.") if name.startswith(f"{LABELS}.") else None


class Matcher:
    """Holds samples of one source against one model's inputs; every message names both."""

    def __init__(
        self, signature: Signature, *, model: str, source: str, shapes: Mapping[str, tuple[int, int, int]]
    ) -> None:
        """``source`` names the samples in messages, best with the line that asks for them.

        ``shapes`` bounds dynamic dimensions by name: ``(min, opt, max)``.
        """
        self.inputs = {spec.name: spec for spec in signature.inputs}
        self._outputs = [spec.name for spec in signature.outputs]
        self._model = model
        self._source = source
        self._shapes = shapes

    def names(self, given: Iterable[str]) -> tuple[list[str], list[str]]:
        """The names that are inputs and those that are labels.

        Raises ``UserError`` for a name that is neither, an input that is missing, labels of no output.
        """
        names = list(given)
        labels = [name for name in names if name not in self.inputs and label_key(name) is not None]
        unknown = [name for name in names if name not in self.inputs and name not in labels]
        missing = [name for name in self.inputs if name not in names]
        if unknown or missing:
            hints = [
                f" (did you mean {near!r}?)" for name in unknown if (near := nearest(name, missing or self.inputs))
            ]
            raise self._error(
                f"has {_list(names)}, but the inputs are {_list(self.inputs)}"
                + (f"; missing {_list(missing)}" if missing else "")
                + (f"; unknown {_list(unknown)}{hints[0] if hints else ''}" if unknown else ""),
                f"name the arrays after the inputs, the truth {LABELS!r} or '{LABELS}.OUTPUT'",
            )
        for name in labels:
            output = label_key(name)
            if output and output not in self._outputs:
                near = nearest(output, self._outputs)
                hint = f"did you mean '{LABELS}.{near}'?" if near else f"the outputs are {_list(self._outputs)}"
                raise self._error(f"has {name!r}, but there is no output {output!r}", hint)
        return [name for name in self.inputs if name in names], labels

    def tensors(self, tensors: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
        """Holds dtypes and shapes of one sample (without the batch dimension) against the inputs.

        A dynamic dimension takes any size, but one name takes one size. Raises ``UserError``.
        """
        sizes: dict[str, int] = {}
        for name, spec in self.inputs.items():
            dtype, shape = tensors[name]
            if dtype.name != spec.dtype:
                raise self._error(
                    f"has {name!r} as {dtype.name}, but the input takes {spec.dtype}",
                    f"nothing is converted silently; save it with .astype('{spec.dtype}')",
                )
            if not _fits(shape, spec, sizes):
                takes = ", ".join("any" if size is None else str(size) for size in spec.shape[1:])
                raise self._error(
                    f"has samples of {name!r} shaped {list(shape)}, but the input takes [{takes}] a sample",
                    "shapes are those of one sample, without the batch dimension",
                )
        for name, size in sizes.items():
            low, _, high = self._shapes.get(name, (size, size, size))
            if not low <= size <= high:
                raise self._error(f"has {name!r} of {size}", f"shapes.{name} allows {low} to {high}: widen it")

    def _error(self, what: str, remedy: str) -> UserError:
        return UserError(f"{self._source} {what}: model {self._model}: {remedy}")


def _fits(shape: tuple[int, ...], spec: TensorSpec, sizes: dict[str, int]) -> bool:
    wanted = spec.shape[1:]
    if len(shape) != len(wanted):
        return False
    for size, want in zip(shape, wanted, strict=True):
        fixed = sizes.setdefault(want, size) if isinstance(want, str) else want
        if fixed is not None and size != fixed:
            return False
    return True


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "nothing"
