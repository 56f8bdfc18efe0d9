"""A session's context with its engines and the state contract of its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.session.context import Context
from hil.session.engines.engines import EngineHandle, Engines
from hil.session.target.state_contract import StateControl

if TYPE_CHECKING:
    from hil.session.request import Request
    from hil.session.target.holding import HeldTarget


class EngineContext(Context):
    """The context that gathering functions use.

    ``engines`` builds and runs engines, ``state`` sets, checks and restores the state of the target.
    """

    def __init__(self, request: Request, held: HeldTarget) -> None:
        super().__init__(request, held)
        self.engines = Engines(self)
        self.state = StateControl(self)

    def engine(self, model: str, precision: str) -> EngineHandle:
        """Build and load an engine if that is not done yet, and return the handle by which a user's test runs it."""
        built = self.engines.provisioned(model, precision).engine
        with self.engines.lease(model, precision) as worker:
            return EngineHandle(model, precision, built.digest, worker.inputs, worker.outputs, self.engines)
