"""A session's context with the engines that are built in it and the state contract of its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.session.context import Context
from hil.session.engines.engines import EngineHandle, Engines
from hil.session.target.state_contract import Keeper

if TYPE_CHECKING:
    from hil.session.request import Request
    from hil.session.target.holding import Held


class EngineContext(Context):
    """What gathering works with: ``engines`` to run, ``state`` to keep while something is timed."""

    def __init__(self, request: Request, held: Held) -> None:
        super().__init__(request, held)
        self.engines = Engines(self)
        self.state = Keeper(self)

    def engine(self, model: str, precision: str) -> EngineHandle:
        """The engine as a user's test sees it."""
        built = self.engines.provisioned(model, precision).engine
        with self.engines.lease(model, precision) as worker:
            return EngineHandle(model, precision, built.digest, worker.inputs, worker.outputs, self.engines)
