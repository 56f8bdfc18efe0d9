"""This machine as a target: the same agent in a process group of its own, reached through pipes."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from pathlib import Path

from hil.errors import LabError, TargetUnreachable
from hil.targets.base import Target
from hil.targets.bundle import agent_archive, cache_folder
from hil.targets.client import AgentClient
from hil.targets.link import Link

F_SETPIPE_SZ = 1031  # linux/fcntl.h; named by Python from 3.10 on, but only where its libc had it
PIPE_BYTES = 1 << 20  # fs.pipe-max-size, what anybody may set


class LocalTarget(Target):
    """``kind = "local"``: ``python`` and ``store`` of the spec are used if given."""

    kind = "local"

    def start_agent(self) -> AgentClient:
        """Starts an agent on this machine. Raises ``TargetUnreachable`` or ``LabError``."""
        store = Path(self.spec.store).expanduser() if self.spec.store else cache_folder() / "store"
        try:
            archive, digest = agent_archive(cache_folder() / "agents")
        except OSError as error:
            raise LabError(
                f"the agent cannot be written: on target {self.name!r}: {error}: "
                "set XDG_CACHE_HOME to a folder of yours"
            ) from None
        command = [self.spec.python or sys.executable, "-B", str(archive), "--store", str(store.absolute())]
        command += ["--store-size", repr(float(self.spec.store_size))]
        try:
            process = subprocess.Popen(  # noqa: S603 - the interpreter that the user configured
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise TargetUnreachable(
                f"{command[0]} cannot be started: on target {self.name!r}: {error.strerror}: "
                "set python to an interpreter that is there"
            ) from None
        link = Link(process, self.name)
        for fd in (link.channel.read_fd, link.channel.write_fd):
            with contextlib.suppress(OSError):  # a smaller pipe is only slower
                fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)
        return AgentClient(link, digest)
