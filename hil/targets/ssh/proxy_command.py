"""Runs the ``ProxyCommand`` of an SSH config: a program whose input and output are the connection."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from hil.errors import UserError
from hil.targets.ssh.ssh_errors import ProxyFailed
from hil.targets.words import QUOTED, Tail
from hil.text import clean

if TYPE_CHECKING:
    from hil.targets.ssh.config.hop import Hop

NOT_RUN = (126, 127)  # exit status of a POSIX shell: the program cannot be executed, or does not exist
LEAVE = 1.0


class ProxyCommand:
    """The running command of a hop; ``sock`` is the stream to the server. The user's shell runs it, as with OpenSSH."""

    def __init__(self, hop: Hop, where: str) -> None:
        """Start the command. Raises ``UserError`` if the shell cannot be run. ``where`` is the hop in messages."""
        self._hop = hop
        self._where = where
        self._said = Tail(QUOTED * 4)
        shell = os.environ.get("SHELL") or "/bin/sh"
        self.sock, theirs = socket.socketpair()
        try:
            # A session of its own, because a signal from the terminal must not reach it, and its children end with it.
            self._process = subprocess.Popen(  # noqa: S603 - OpenSSH runs the command of the user's config like this
                [shell, "-c", f"exec {hop.proxy}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self.sock.close()
            raise UserError(
                f"the shell {shell} cannot be run for ProxyCommand: {error.strerror}: {where}: correct SHELL"
            ) from None
        finally:
            theirs.close()
        self._listener = threading.Thread(target=self._listen, name="hil-proxy-command", daemon=True)
        self._listener.start()

    def close(self) -> None:
        """End the command and the processes that it started."""
        self.sock.close()
        for number in (signal.SIGHUP, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LEAVE)
                return

    def raise_if_ended(self) -> None:
        """If the command has ended or ends within a second, raise ``ProxyFailed``; otherwise return.

        If the shell could not run it, raise ``UserError`` instead.
        """
        try:
            code = self._process.wait(LEAVE)
        except subprocess.TimeoutExpired:
            return
        self._listener.join(LEAVE)
        words = clean(bytes(self._said).decode("utf-8", "replace").strip(), QUOTED)
        what = f"the ProxyCommand ended with exit status {code}{f' ({words})' if words else ''}: cannot reach "
        if code in NOT_RUN:
            raise UserError(f"{what}{self._where}: correct ProxyCommand in the SSH config")
        raise ProxyFailed(f"{what}{self._where}: try `ssh {self._hop.name}`")

    def _listen(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # noqa: S101 - for mypy: it is a pipe
        with stream:
            while piece := os.read(stream.fileno(), 1 << 12):
                self._said.add(piece)
