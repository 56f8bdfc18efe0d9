"""Define one board of a pool, as the controller of a run describes it to the process that uses it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.config.load import Config
    from hil.config.spec import TargetSpec


@dataclass(frozen=True)
class PoolBoard:
    """A board that is held for a run.

    Attributes:
        name: the member's name in ``hil.toml``, or the name of the lab's place.
        token: identifies the run's hold on this board; each board of a run has its own.
        way: how a lab's place is reached, as keys of ``[targets.NAME]`` with their values; empty for a member.
    """

    name: str
    token: str
    way: dict[str, Any] = field(default_factory=dict)

    def spec(self, config: Config, target: str) -> TargetSpec:
        """Return the board's spec: for a member its own, for a lab's place that of ``target`` with the keys of ``way``.

        ``target`` is the requested target.
        """
        return config.target(target).model_copy(update=self.way) if self.way else config.target(self.name)

    def as_json(self) -> str:
        """Return the board as JSON, for ``from_json``."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PoolBoard:
        """Return the board that ``as_json`` wrote."""
        return cls(**json.loads(text))


def token_of(run_id: str, name: str) -> str:
    """Return the token by which the run ``run_id`` holds the board ``name``."""
    return f"{run_id}:{name}"
