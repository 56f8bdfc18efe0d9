"""Give Hypothesis a source of random choices with a fixed seed, as a backend by its documented interface."""

from __future__ import annotations

from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn

from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, PrimitiveProvider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BACKEND = "hil-seeded"


class SeededProvider(PrimitiveProvider):
    """A backend of Hypothesis that draws from a generator with a fixed seed."""

    def __init__(self, conjecturedata: Any, /) -> None:
        super().__init__(conjecturedata)
        self._random = Random(0)  # noqa: S311 - it draws test inputs

    def draw_boolean(self, p: float = 0.5) -> bool:
        """Return true with probability ``p``."""
        return self._random.random() < p

    def draw_integer(
        self,
        min_value: int | None = None,
        max_value: int | None = None,
        *,
        weights: Mapping[int, float] | None = None,
        shrink_towards: int = 0,  # noqa: ARG002 - Hypothesis shrinks; this only draws
    ) -> int:
        """Return an integer from ``min_value`` to ``max_value``, which must both be given.

        ``weights`` maps values to their probabilities; the remaining probability is shared by all values.
        """
        if min_value is None or max_value is None:
            self._unused()
        at = self._random.random()
        for value, weight in (weights or {}).items():
            at -= weight
            if at < 0:
                return value
        return self._random.randint(min_value, max_value)

    def draw_float(self, *_: Any, **__: Any) -> float:
        """Raise ``NotImplementedError``: no strategy of a search draws floats."""
        self._unused()

    def draw_string(self, *_: Any, **__: Any) -> str:
        """Raise ``NotImplementedError``: no strategy of a search draws strings."""
        self._unused()

    def draw_bytes(self, *_: Any, **__: Any) -> bytes:
        """Raise ``NotImplementedError``: no strategy of a search draws bytes."""
        self._unused()

    def _unused(self) -> NoReturn:
        raise NotImplementedError("a search draws truth values and bounded integers only")


@contextmanager
def seeded_backend() -> Iterator[str]:
    """Register ``SeededProvider`` with Hypothesis during the block; yield the name for ``settings(backend=…)``."""
    AVAILABLE_PROVIDERS[BACKEND] = f"{__name__}.{SeededProvider.__name__}"  # older versions accept no class
    try:
        yield BACKEND
    finally:
        del AVAILABLE_PROVIDERS[BACKEND]
