"""This machine as a target: the same agent in a process group of its own, reached through pipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import LabError
from hil.targets.base import Target
from hil.targets.bundle import agent_archive, cache_folder
from hil.targets.starting import start

if TYPE_CHECKING:
    from hil.targets.client import AgentClient


class LocalTarget(Target):
    """``kind = "local"``: ``python`` and ``store`` of the spec are used if given."""

    kind = "local"

    def start_agent(self) -> AgentClient:
        """Starts an agent on this machine. Raises ``TargetUnreachable`` or ``LabError``."""
        try:
            archive, digest = agent_archive(cache_folder() / "agents")
        except OSError as error:
            raise LabError(
                f"the agent cannot be written: on target {self.name!r}: {error}: "
                "set XDG_CACHE_HOME to a folder of yours"
            ) from None
        return start(self.command(archive), self.name, digest)

    def command(self, archive: Path) -> list[str]:
        """What runs the agent in ``archive``, a file of this machine."""
        store = Path(self.spec.store).expanduser() if self.spec.store else cache_folder() / "store"
        python = self.spec.python or sys.executable
        return [
            *(python, "-B", str(archive)),
            *("--store", str(store.absolute())),
            *("--store-size", repr(float(self.spec.store_size))),
        ]
