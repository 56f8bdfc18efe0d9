"""Search for the nodes to keep in floating point, so that an INT8 engine's tolerances hold at the least loss of speed.

Each trial is a build. The search adds layers in floating point until the tolerances hold, first those with much noise
per multiply-add. Then it returns layers and groups to INT8 by halves (Zeller's delta debugging, 2002), while builds are
left.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


LEFT_OUT = 3
"""How many layers are left out, one at a time, if all layers but the last do not suffice.

With more builds, it would still be unlikely to find layers that suffice.
"""


@dataclass(frozen=True)
class Candidate:
    """Nodes that are kept in floating point together: one layer, or a group of nodes without multiply-adds.

    ``noise`` is that of ``hil.quantize.sensitivity.Layer``, ``cost`` the number of multiply-adds for one sample; both
    are 0 for a group.
    """

    nodes: tuple[str, ...]
    noise: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True)
class Trial:
    """The outcome of one build.

    Attributes:
        keep: the nodes in floating point, sorted.
        holds: whether each tolerance was judged and passed.
        missed: the checks that did not pass, each with its reason.
        failed: whether one of the missed checks failed; otherwise they are inconclusive or did not run.
        losses: the measured values of the checks that have one, by check.
        speedup: the latency in floating point divided by that of this engine; ``None`` if it was not measured.
        share: the part of all multiply-adds of the layers that is still in INT8.
    """

    keep: tuple[str, ...]
    holds: bool
    missed: dict[str, str]
    failed: bool
    losses: dict[str, float]
    speedup: float | None
    share: float


class OutOfBuildsError(Exception):
    """No build is left."""


class Search:
    """One search.

    ``attempt`` builds and judges an engine with the given nodes in floating point. It raises ``OutOfBuildsError`` if no
    build is left, which ends the search.
    """

    def __init__(
        self, layers: Sequence[Candidate], groups: Sequence[Candidate], attempt: Callable[[tuple[str, ...]], Trial]
    ) -> None:
        self._layers = sorted(layers, key=lambda one: (-one.noise / max(one.cost, 1.0), one.nodes))
        self._groups = list(groups)
        self._attempt = attempt
        self._trials: dict[tuple[str, ...], Trial] = {}

    @property
    def trials(self) -> list[Trial]:
        """The trials that were made, in their order."""
        return list(self._trials.values())

    @property
    def best(self) -> Trial | None:
        """The trial with the largest share in INT8 of those whose tolerances hold; of equal ones, the fastest.

        ``None`` if the tolerances hold in no trial.
        """
        holding = [trial for trial in self.trials if trial.holds]
        return max(holding, key=lambda one: (one.share, one.speedup or 0.0, -len(one.keep)), default=None)

    def run(self) -> Trial | None:
        """Search, and return ``best``."""
        with contextlib.suppress(OutOfBuildsError):
            self._search()
        return self.best

    def _search(self) -> None:
        if self._holds([]):
            return
        kept = list(self._groups)
        if not (kept and self._holds(kept)):
            layers = self._fewest(kept)
            if layers is None:
                return
            kept += layers
        self._returned([], sorted(kept, key=lambda one: -one.cost))

    def _fewest(self, groups: Sequence[Candidate]) -> list[Candidate] | None:
        """Return the first layers, as few as possible, with which and ``groups`` the tolerances hold.

        If even all layers but the last do not suffice, return all layers but one of the first ``LEFT_OUT``; ``None`` if
        none of these sets suffices.
        """
        low, high, most = 0, min(1, len(self._layers) - 1), len(self._layers) - 1
        while high < most and not self._holds([*groups, *self._layers[:high]]):
            low, high = high, min(2 * high, most)
        if high == most and not self._holds([*groups, *self._layers[:high]]):
            others = (self._layers[:at] + self._layers[at + 1 :] for at in range(min(LEFT_OUT, most)))
            return next((layers for layers in others if self._holds([*groups, *layers])), None)
        while high - low > 1:
            middle = (low + high) // 2
            if self._holds([*groups, *self._layers[:middle]]):
                high = middle
            else:
                low = middle
        return self._layers[:high]

    def _returned(self, needed: list[Candidate], kept: list[Candidate]) -> list[Candidate]:
        """Return the nodes of ``kept`` that must stay in floating point in addition to ``needed``.

        The tolerances must hold with all nodes of ``needed`` and ``kept`` in floating point.
        """
        if needed and self._holds(needed):
            return []
        if len(kept) == 1:
            return kept
        first, second = kept[: len(kept) // 2], kept[len(kept) // 2 :]
        still = self._returned([*needed, *second], first)
        return [*still, *self._returned([*needed, *still], second)]

    def _holds(self, kept: Sequence[Candidate]) -> bool:
        keep = tuple(sorted(node for one in kept for node in one.nodes))
        if keep not in self._trials:
            self._trials[keep] = self._attempt(keep)
        return self._trials[keep].holds
