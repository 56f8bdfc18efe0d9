"""Draws valid batches from a model's own signature, for Hypothesis to search and to shrink.

An example is a whole batch, described by a few small numbers for each sample: drawing an image element by element would
cost more than running it and would not shrink to anything readable. The smallest sample is a constant at the low end.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hypothesis.strategies import SearchStrategy

    from hil.onnx_files.signature import Signature, TensorSpec

Feeds = dict[str, np.ndarray[Any, Any]]

KINDS = ("constant", "ramp", "spike", "wave", "noise")
"""From the simplest kind on, since Hypothesis shrinks towards the first."""

STEPS = 16
"""Levels between the ends of a range."""

MOST_MATES = 4
"""Largest batch if its size is free: small, so that an example costs little more than an inference."""


@dataclass(frozen=True)
class Recipe:
    """One sample: ``level`` in sixteenths of the range from its low end, and ``seed`` for the random kinds."""

    kind: str = KINDS[0]
    level: int = 0
    seed: int = 0

    def array(self, dtype: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray[Any, Any]:
        """Return values of ``shape`` in ``low``…``high``, both included; integers and booleans are rounded."""
        random = np.random.default_rng(self.seed)
        share = np.full(shape, self.level / STEPS)
        if self.kind == "noise":
            share = random.random(shape)
        elif share.size and self.kind == "spike":
            share.flat[int(random.integers(share.size))] = 1.0 - self.level / STEPS
        elif share.size and self.kind != "constant":
            place = np.arange(share.size).reshape(shape) / max(share.size - 1, 1)
            turns = 1 + self.seed % 32
            share = place if self.kind == "ramp" else (1 + np.sin(2 * np.pi * turns * place)) / 2
        values = np.clip(low + share * (high - low), low, high)
        return np.asarray(np.round(values) if np.dtype(dtype).kind in "iub" else values).astype(dtype)


@dataclass(frozen=True)
class Drawn:
    """A batch: its samples, and the sizes of dynamic dimensions by name."""

    samples: tuple[Recipe, ...]
    sizes: tuple[tuple[str, int], ...]

    def feeds(self, space: Space) -> Feeds:
        """Return the inputs; the same batch always gives the same arrays."""
        sizes, feeds = dict(self.sizes), {}
        for spec in space.signature.inputs:
            shape = tuple(sizes[key] if not isinstance(size, int) else size for size, key in _keyed(spec))
            low, high = space.ranges[spec.name]
            rows = [recipe.array(spec.dtype, shape[1:], low, high) for recipe in self.samples]
            feeds[spec.name] = np.ascontiguousarray(np.stack(rows))
        return feeds

    def as_dict(self) -> dict[str, Any]:
        """Return the batch as plain JSON types."""
        return {"samples": [asdict(recipe) for recipe in self.samples], "sizes": dict(self.sizes)}


@dataclass(frozen=True)
class Space:
    """All valid batches: ``ranges`` by input, ``sizes`` as ``(least, greatest)`` by dimension, ``batch`` likewise."""

    signature: Signature
    ranges: Mapping[str, tuple[float, float]]
    sizes: Mapping[str, tuple[int, int]]
    batch: tuple[int, int]

    def batches(self) -> SearchStrategy[Drawn]:
        """Return a strategy for all valid batches, which shrinks to the smallest batch of constants at the low end."""
        from hypothesis import strategies as st

        recipe = st.builds(Recipe, st.sampled_from(KINDS), st.integers(0, STEPS), st.integers(0, 2**16))
        samples = st.lists(recipe, min_size=self.batch[0], max_size=self.batch[1]).map(tuple)
        sizes = st.tuples(*(st.tuples(st.just(name), st.integers(*ends)) for name, ends in sorted(self.sizes.items())))
        return st.builds(Drawn, samples, sizes)


def dimension(spec: TensorSpec, axis: int) -> str:
    """Return the name used for a dynamic dimension without a name, such as ``image[2]``."""
    return f"{spec.name}[{axis}]"


def _keyed(spec: TensorSpec) -> list[tuple[int | str | None, str]]:
    keys = [size if isinstance(size, str) else dimension(spec, axis) for axis, size in enumerate(spec.shape)]
    return list(zip([0, *spec.shape[1:]], keys, strict=True))


def search(space: Space, most: int, trial: Callable[[Drawn], str]) -> tuple[int, int, Drawn | None, str]:
    """Try up to ``most`` batches, and shrink the first for which ``trial`` returns a problem as text.

    Return the number of batches and samples without a problem, the smallest batch with a problem, and the problem. The
    search is deterministic: the same space and trial give the same batches, whatever ran before or is imported. An
    exception of ``trial`` ends the search at once.
    """
    from hypothesis import HealthCheck, Phase, given, settings

    from hil.session.properties.provider import seeded_backend

    state = _Search(trial)
    try:
        with seeded_backend() as backend:
            quiet = settings(
                max_examples=most,
                derandomize=True,
                database=None,
                deadline=None,
                print_blob=False,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.generate, Phase.shrink),
                backend=backend,
            )
            quiet(given(space.batches())(state.run))()
    except _Wrong:
        pass
    except BaseException:
        if state.broken is not None:
            raise state.broken from None
        raise
    if state.broken is not None:
        raise state.broken
    return state.examples, state.samples, state.smallest, state.wrong


class _Wrong(Exception):  # noqa: N818 - a signal to Hypothesis, never visible outside
    pass


class _Search:
    """The state of a search. After the first failure Hypothesis only shrinks, so batches are no longer counted."""

    def __init__(self, trial: Callable[[Drawn], str]) -> None:
        self.trial = trial
        self.examples = self.samples = 0
        self.smallest: Drawn | None = None
        self.wrong = ""
        self.broken: BaseException | None = None

    def run(self, drawn: Drawn) -> None:
        if self.broken is not None:
            raise _Wrong
        try:
            wrong = self.trial(drawn)
        except BaseException as error:
            self.broken = error
            raise _Wrong from error
        if wrong:
            self.smallest, self.wrong = drawn, wrong
            raise _Wrong
        if self.smallest is None:
            self.examples += 1
            self.samples += len(drawn.samples)
