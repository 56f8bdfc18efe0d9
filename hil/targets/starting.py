"""A command whose three standard streams reach an agent: that is all a way to a target has to give."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
from typing import TYPE_CHECKING

from hil.errors import TargetUnreachable
from hil.targets.client import AgentClient
from hil.targets.link import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

F_SETPIPE_SZ = 1031  # linux/fcntl.h; named by Python from 3.10 on, but only where its libc had it
PIPE_BYTES = 1 << 20  # fs.pipe-max-size, what anybody may set


def start(command: Sequence[str], target: str, digest: str) -> AgentClient:
    """Starts ``command``, which runs the agent archive with this digest, and waits for its greeting.

    The command gets a process group of its own. Raises ``TargetUnreachable`` where no agent answers,
    ``LabError`` where its store cannot be used.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - a target's own command, never a shell's
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise TargetUnreachable(
            f"{command[0]} cannot be started: on target {target!r}: {error.strerror}: "
            "set python to an interpreter that is there"
        ) from None
    link = Link(process, target)
    for fd in (link.channel.read_fd, link.channel.write_fd):
        with contextlib.suppress(OSError):  # a smaller pipe is only slower
            fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)
    return AgentClient(link, digest)
