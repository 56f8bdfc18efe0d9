"""Draw valid batches by a model's signature, and let Hypothesis search for one with a problem and shrink it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.datasets.feeding import Feeding
from hil.dtypes import is_float
from hil.onnx_files.signature import dimension

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hypothesis.strategies import SearchStrategy

    from hil.config.fields import Draws
    from hil.datasets.sequence import Sequence
    from hil.onnx_files.signature import Signature, TensorSpec

Feeds = dict[str, np.ndarray[Any, Any]]

KINDS = ("constant", "ramp", "spike", "wave", "noise")
"""The simplest kind comes first, since Hypothesis shrinks towards the first."""

STEPS = 16
"""Number of equal steps from the low end of a range to its high end."""

DRAWN_STEPS = 12
"""Steps of a drawn sequence: enough for a state to matter, few enough for an example to stay cheap."""

MOST_MATES = 4
"""Largest drawn batch if the batch size is free: small, so that an example costs little more than an inference."""


@dataclass(frozen=True)
class Recipe:
    """The description of one sample: its ``kind``, and two numbers that vary it.

    ``level`` is the value of a constant or around a spike, in sixteenths of the range. ``seed`` determines the place of
    a spike, the number of periods of a wave, or the noise.
    """

    kind: str = KINDS[0]
    level: int = 0
    seed: int = 0

    def array(self, dtype: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray[Any, Any]:
        """Return the sample as an array with values from ``low`` to ``high``, rounded for integers and booleans."""
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
        return np.asarray(values if is_float(np.dtype(dtype)) else np.round(values)).astype(dtype)

    def lengths(self, dtype: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray[Any, Any]:
        """Return the sample as a mask: ``high`` up to a valid length of at least 1 on the last axis, then ``low``."""
        valid = 1 + round(self.level / STEPS * max(0, shape[-1] - 1))
        return np.broadcast_to(np.where(np.arange(shape[-1]) < valid, high, low), shape).astype(dtype)

    def left_padded(self, dtype: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray[Any, Any]:
        """Return the mask of ``lengths`` with the padding before the valid positions."""
        return self.lengths(dtype, shape, low, high)[..., ::-1]

    def ignored(self, dtype: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray[Any, Any]:
        """Return the mask of ``lengths`` with ``high`` for the padding instead of the valid positions."""
        return self.lengths(dtype, shape, high, low)


MASKS = {"right": Recipe.lengths, "left": Recipe.left_padded, "ignored": Recipe.ignored}
"""How a mask of valid lengths is drawn, by where and how it shows the padding."""


@dataclass(frozen=True)
class Drawn:
    """A batch: its samples, and the sizes of dynamic dimensions by name."""

    samples: tuple[Recipe, ...]
    sizes: tuple[tuple[str, int], ...]

    def feeds(self, space: Space) -> Feeds:
        """Return the batch as the model's inputs by name; the same batch always gives the same arrays."""
        return space.feeding.feeds(self.arrays(space), 0)

    def sequence(self, space: Space) -> Sequence | None:
        """Return the batch as sequences of ``space.steps`` steps; ``None`` for a model without a state."""
        return space.feeding.sequence(self.arrays(space), 0)

    def arrays(self, space: Space) -> Feeds:
        """Return the batch in the form of a model's data: samples or, for a model with a state, sequences of steps."""
        sizes, samples, steps = dict(self.sizes), {}, (space.steps,) * bool(space.steps)
        for spec in space.signature.inputs:
            if spec.is_given:
                continue
            shape = tuple(sizes[key] if not isinstance(size, int) else size for size, key in _keyed(spec))
            low, high = space.ranges[spec.name]
            make = MASKS[space.lengths[spec.name]] if spec.name in space.lengths else Recipe.array
            recipes = self.samples if spec.batch_axis is not None else self.samples[:1] * len(self.samples)
            samples[spec.name] = np.stack([make(one, spec.dtype, steps + shape, low, high) for one in recipes])
        return samples

    def as_dict(self) -> dict[str, Any]:
        """Return the batch as plain JSON types."""
        return {"samples": [asdict(recipe) for recipe in self.samples], "sizes": dict(self.sizes)}


@dataclass(frozen=True)
class Space:
    """The space of all valid batches.

    Attributes:
        signature: the model's signature.
        ranges: the least and the greatest value of each input.
        sizes: some sizes of each dynamic dimension, ascending; the first and the last are its least and greatest.
        batch: the smallest and the largest batch size.
        steps: the number of steps of a sequence; 0 for a model without a state.
        lengths: for each input that is a mask of valid lengths, its key in ``MASKS``.
    """

    signature: Signature
    ranges: Mapping[str, tuple[float, float]]
    sizes: Mapping[str, tuple[int, ...]]
    batch: tuple[int, int]
    steps: int = 0
    lengths: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def feeding(self) -> Feeding:
        """The object that converts samples to the model's inputs."""
        return Feeding(self.signature, "")

    def batches(self) -> SearchStrategy[Drawn]:
        """Return a strategy for all valid batches, which shrinks to the smallest batch of constants at the low end."""
        from hypothesis import strategies as st

        recipe = st.builds(Recipe, st.sampled_from(KINDS), st.integers(0, STEPS), st.integers(0, 2**16))
        samples = st.lists(recipe, min_size=self.batch[0], max_size=self.batch[1]).map(tuple)
        sizes = st.tuples(*(st.tuples(st.just(name), self._sizes(name)) for name in sorted(self.sizes)))
        return st.builds(Drawn, samples, sizes)

    def _sizes(self, name: str) -> SearchStrategy[int]:
        from hypothesis import strategies as st

        listed, step = self.sizes[name], self.signature.multiples.get(name, 1)
        least, most = -(-listed[0] // step), listed[-1] // step
        return st.integers(least, most).map(lambda count: count * step) | st.sampled_from(listed)


def _keyed(spec: TensorSpec) -> list[tuple[int | str | None, str]]:
    axes = [(axis, size) for axis, size in enumerate(spec.shape) if axis != spec.batch_axis]
    return [(size, size if isinstance(size, str) and size else dimension(spec.name, axis)) for axis, size in axes]


@dataclass
class Searched:
    """The result of a search for a batch with a problem.

    Attributes:
        examples: how many batches had no problem.
        samples: how many samples these batches had.
        refused: how many batches could not be judged, because the reference refuses them.
        smallest: the shrunk batch with a problem; ``None`` without one.
        wrong: the problem as text; empty without one.
    """

    examples: int = 0
    samples: int = 0
    refused: int = 0
    smallest: Drawn | None = None
    wrong: str = ""

    def count(self, drawn: Drawn, *, judged: bool) -> None:
        """Count a batch without a problem, or one that could not be judged."""
        self.refused += not judged
        self.examples += judged
        self.samples += len(drawn.samples) if judged else 0


def search(space: Space, draws: Draws, trial: Callable[[Drawn], str | None]) -> Searched:
    """Try batches until one has a problem, shrink that batch, and return the result.

    At most ``draws.most`` batches are tried. After ``draws.seconds``, the search ends once ``draws.fewest`` batches
    were tried. ``trial`` returns the problem of a batch as text, an empty text if it has no problem, and ``None`` for a
    batch that it cannot judge. Its exceptions end the search and are raised. The same space and trial always give the
    same batches.
    """
    from hypothesis import HealthCheck, Phase, given, settings

    from hil.session.properties.provider import seeded_backend

    state = _Search(trial, draws)
    try:
        with seeded_backend() as backend:
            quiet = settings(
                max_examples=draws.most,
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
    return state.found


class _Wrong(Exception):  # noqa: N818 - a signal to Hypothesis, never visible outside
    pass


class _Search:
    """The state of a search. Batches are counted until one has a problem; later trials only shrink that batch."""

    def __init__(self, trial: Callable[[Drawn], str | None], draws: Draws) -> None:
        self.trial = trial
        self.fewest = draws.fewest
        self.until = math.inf if draws.seconds is None else time.monotonic() + draws.seconds
        self.found = Searched()
        self.broken: BaseException | None = None

    def run(self, drawn: Drawn) -> None:
        if self.broken is not None:
            raise _Wrong
        tried = self.found.examples + self.found.refused
        if self.found.smallest is None and tried >= self.fewest and time.monotonic() > self.until:
            return
        try:
            wrong = self.trial(drawn)
        except BaseException as error:
            self.broken = error
            raise _Wrong from error
        if wrong:
            self.found.smallest, self.found.wrong = drawn, wrong
            raise _Wrong
        if self.found.smallest is None:
            self.found.count(drawn, judged=wrong is not None)
