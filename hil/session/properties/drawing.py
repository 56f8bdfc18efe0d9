"""Draws valid batches from a model's own signature, for Hypothesis to search and to shrink.

An example is a whole batch, told by a few small numbers a sample: drawing an image element by element would cost more
than running it, and shrinks to nothing that a person can read. The smallest sample is a constant at the low end.
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
"""From the plainest on: shrinking goes to the left."""

STEPS = 16
"""Levels between the ends of a range."""

MOST_MATES = 4
"""Samples of a batch whose size is free: few, so that an example costs little more than an inference."""


@dataclass(frozen=True)
class Recipe:
    """One sample: ``level`` in sixteenths of the way from low to high, ``seed`` for what is random of its kind."""

    kind: str = KINDS[0]
    level: int = 0
    seed: int = 0

    def array(self, dtype: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray[Any, Any]:
        """Values of ``shape`` from ``low`` to ``high``, both included; integers and truth values are the nearest."""
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
        """The inputs, the same each time."""
        sizes, made = dict(self.sizes), {}
        for spec in space.signature.inputs:
            shape = tuple(sizes[key] if not isinstance(size, int) else size for size, key in _keyed(spec))
            low, high = space.ranges[spec.name]
            rows = [one.array(spec.dtype, shape[1:], low, high) for one in self.samples]
            made[spec.name] = np.ascontiguousarray(np.stack(rows))
        return made

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {"samples": [asdict(one) for one in self.samples], "sizes": dict(self.sizes)}


@dataclass(frozen=True)
class Space:
    """All valid batches: ``ranges`` by input, ``sizes`` as ``(least, greatest)`` by dimension, ``batch`` likewise."""

    signature: Signature
    ranges: Mapping[str, tuple[float, float]]
    sizes: Mapping[str, tuple[int, int]]
    batch: tuple[int, int]

    def batches(self) -> SearchStrategy[Drawn]:
        """All of it, shrinking to one sample at the low end in the least size."""
        from hypothesis import strategies as st

        recipe = st.builds(Recipe, st.sampled_from(KINDS), st.integers(0, STEPS), st.integers(0, 2**16))
        samples = st.lists(recipe, min_size=self.batch[0], max_size=self.batch[1]).map(tuple)
        sizes = st.tuples(*(st.tuples(st.just(name), st.integers(*ends)) for name, ends in sorted(self.sizes.items())))
        return st.builds(Drawn, samples, sizes)


def dimension(spec: TensorSpec, axis: int) -> str:
    """How a dynamic dimension without a name is called."""
    return f"{spec.name}[{axis}]"


def _keyed(spec: TensorSpec) -> list[tuple[int | str | None, str]]:
    keys = [size if isinstance(size, str) else dimension(spec, axis) for axis, size in enumerate(spec.shape)]
    return list(zip([0, *spec.shape[1:]], keys, strict=True))


def search(space: Space, most: int, trial: Callable[[Drawn], str]) -> tuple[int, int, Drawn | None, str]:
    """Tries up to ``most`` batches, and shrinks the first that ``trial`` finds something wrong with.

    Returns how many batches and samples were tried before, the smallest wrong one and what is wrong with it. The same
    space and trial give the same batches: nothing is random from run to run, nothing is kept between runs, and what
    else is imported has no part in it. What ``trial`` raises ends the search at once.
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
            quiet(given(space.batches())(state.tried))()
    except _Wrong:
        pass
    except BaseException:
        if state.broken is not None:
            raise state.broken from None
        raise
    if state.broken is not None:
        raise state.broken
    return state.examples, state.samples, state.smallest, state.wrong


class _Wrong(Exception):  # noqa: N818 - a signal to Hypothesis, seen by nobody
    pass


class _Search:
    """What is known while Hypothesis searches: after the first failure it only shrinks."""

    def __init__(self, trial: Callable[[Drawn], str]) -> None:
        self.trial = trial
        self.examples = self.samples = 0
        self.smallest: Drawn | None = None
        self.wrong = ""
        self.broken: BaseException | None = None

    def tried(self, drawn: Drawn) -> None:
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
