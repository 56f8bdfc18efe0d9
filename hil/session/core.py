"""The session: a held target that judges the rows of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import LabError
from hil.session import judging
from hil.session.engine_context import EngineContext
from hil.session.target.holding import hold

if TYPE_CHECKING:
    from hil.results import Judgement, Row
    from hil.session.outcome import Outcome
    from hil.session.request import Request


class Session(EngineContext):
    """A target held for one run, from ``Session.open`` to ``close``. Needs no pytest."""

    @classmethod
    def open(cls, request: Request) -> Session:
        """Connect to the target, start the agent, hold the target and bring it into the declared state.

        Raises the errors of ``holding.hold`` and ``StateControl.open``.
        """
        session = cls(request, hold(request))
        try:
            session.state.open()
        except BaseException as error:
            try:
                session.close()
            except LabError as left:
                if isinstance(error, LabError):
                    raise LabError(f"{error}; and {left}") from None
                request.progress(str(left))
            raise
        return session

    def judge(self, row: Row) -> Outcome:
        """Measure and judge ``row``. Raises the errors of ``hil.session.judging.judge``."""
        return judging.judge(self, row)

    def enter(self, row: Row, judgement: Judgement, *, by_engine: bool = False) -> Outcome:
        """Return the outcome of a check that a user's test has judged (``hil.session.judging.enter``)."""
        return judging.enter(self, row, judgement, by_engine=by_engine)

    def close(self) -> None:
        """Stop all workers, restore the target and release it.

        Raises ``LabError`` if something on the target could not be restored; the target is released even then.
        """
        self.engines.close()
        if self._agent is not None:
            try:
                self.state.close()
            finally:
                self._agent.close()
