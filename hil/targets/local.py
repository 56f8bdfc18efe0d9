"""Makes this machine a target: starts the agent in a process group of its own, connected through pipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import LabError
from hil.targets.bundle import INSTALLED, agent_archive, cache_folder, installed_agent
from hil.targets.process import kill_group
from hil.targets.run_command import collect
from hil.targets.start_agent import agent_arguments, start
from hil.targets.target import Done, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.targets.client import AgentClient


class LocalTarget(Target):
    """A target of ``kind = "local"``: this machine.

    The agent runs with ``python`` and ``store`` of the spec; unset, these are this interpreter and a folder of the
    user's cache.
    """

    kind = "local"

    def start_agent(self) -> AgentClient:
        """Start an agent on this machine. Raises ``TargetUnreachable`` or ``LabError``."""
        try:
            archive, digest = agent_archive(cache_folder() / "agents")
        except OSError as error:
            raise LabError(
                f"the agent's file cannot be written: on target {self.name!r}: {error}: "
                "set XDG_CACHE_HOME to a writable folder"
            ) from None
        return start(self.command(archive), self.name, digest, self.spec.silence)

    def command(self, archive: Path) -> list[str]:
        """Return the command that runs the agent in ``archive``, a file on this machine."""
        store = Path(self.spec.store).expanduser() if self.spec.store else cache_folder() / "store"
        rest = [str(archive), "--store", str(store.absolute()), *agent_arguments(self.spec)]
        if self.spec.python:
            return [self.spec.python, "-B", *rest]
        # This interpreter already has the byte code of these modules; a zip file would be compiled at each start.
        return [sys.executable, "-X", f"{INSTALLED}={installed_agent()}", *rest]

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60.0) -> Done:
        """Run one command on this machine, as ``Target.run`` describes."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the caller's command, never a shell's
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126  # as in sh
            return Done(code, b"", f"{argv[0]}: {error.strerror}\n".encode())
        with process:
            try:
                written = collect(process, stdin, timeout)
            except OverflowError as error:
                raise self.too_much(argv, error) from None
            finally:
                kill_group(process)
        if written is None:
            raise self.overdue(argv, timeout)
        return Done(process.returncode, *written)
