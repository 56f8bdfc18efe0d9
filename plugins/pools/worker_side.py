"""The part of an xdist worker whose target is several boards: it reports its tests, and ends if its board is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.plugins import collection

if TYPE_CHECKING:
    from hil.plugins.run import HilRun


class WorkerSide:
    """A pytest plugin for a worker whose target is several boards."""

    def __init__(self, run: HilRun) -> None:
        """Do nothing yet."""
        self.run = run

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write the model of each test, and the notes, to the file that ``PoolController.models_of`` reads."""
        given = session.config.workerinput  # type: ignore[attr-defined] # xdist sets it
        cases = ((item.nodeid, collection.case_of(item)) for item in session.items)
        models = {nodeid: "" if case is None else case.model for nodeid, case in cases}
        path = Path(given["hil_pool"]) / f"{given['workerid']}.collected"
        path.with_suffix(".new").write_text(json.dumps({"notes": self.run.own_notes(), "models": models}))
        path.with_suffix(".new").replace(path)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """If the board was lost, end this process without the final notes, so that xdist starts another worker."""
        if self.run.lost:
            os._exit(0)  # the fixtures are torn down and the session is closed; what was judged is sent
