"""A command on the far machine: the agent's process as ``Link`` wants it, and commands that end by themselves."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from typing import TYPE_CHECKING

import paramiko

from hil.agent.protocol.wire import WireError
from hil.errors import TargetUnreachable
from hil.targets.run_command import MOST
from hil.targets.ssh.frame_channel import ALL, OVERHEAD, SshChannel, send_all, within
from hil.targets.ssh.upload_channel import SCRIPT, SshLane
from hil.targets.target import Done
from hil.targets.words import SLICE, Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hil.targets.ssh.connect import Connection

GROUP = b"hil-group "
BEGIN = b"hil-begin"
TELL = f'read -r a b c d G e </proc/$$/stat 2>/dev/null; echo "{GROUP.decode()}$G" >&2; '
"""Tells the process group, by which all that is started here can be ended. sshd gives each command one of its own."""
RUN = f'{TELL}echo {BEGIN.decode()}; exec "$@"'
DECODE = 'for a do a=$(printf %b. "$a"); shift; set -- "$@" "${a%.}"; done; '
"""Restores the arguments that ``shell`` encodes; the point keeps newlines at an argument's end."""
PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\!")
"""Bytes that mean themselves within single quotes in bash, dash, zsh, fish and tcsh, and to ``printf %b``."""
LEAVE = 2.0


def shell(script: str, *arguments: str) -> str:
    """Return the line that makes any login shell run ``script``, constant and of ``PLAIN`` characters, by POSIX sh.

    An argument may be any text: no quoting of a newline, ``!`` or backslash is common to all login shells, so such
    bytes travel as octal escapes. Raises ``ValueError`` for an argument that no command line can carry.
    """
    if any("\0" in argument for argument in arguments):
        raise ValueError("an argument has a null byte")
    given = (argument.encode("utf-8", "surrogateescape") for argument in arguments)
    encoded = ("".join(chr(byte) if byte in PLAIN else f"\\0{byte:03o}" for byte in one) for one in given)
    return " ".join(["sh -c", *(f"'{one}'" for one in (DECODE + script, "hil", *encoded))])


class SshProcess:
    """A command on the far machine, in a process group of its own there; ``code`` is its exit status, once known."""

    remote = True

    def __init__(self, connection: Connection, command: str, patience: float | None) -> None:
        """Starts ``command``, which begins with ``TELL``. Raises ``ConnectionLost``."""
        self._connection = connection
        self._stream = connection.execute(command)
        self.channel = SshChannel(self._stream, patience)
        self.group: int | None = None
        self.begun = self.group_told = False
        self.at_end: Callable[[], None] = lambda: None
        self._ended = threading.Lock()

    @property
    def code(self) -> int | None:
        """The exit status; ``None`` while the command runs, and where it was never told (a signal)."""
        known = self._stream.exit_status_ready() and self._stream.exit_status >= 0
        return int(self._stream.exit_status) if known else None

    def lines(self) -> Iterator[bytes]:
        """What it writes to stderr; its process group is taken from there."""
        rest = b""
        for data in self._error_pieces():
            whole, end, rest = (rest + data).rpartition(b"\n")
            if len(rest) > 4096:  # the same limit as for a local process
                whole, end, rest = (whole + end + rest), b"\n", b""
            if end and not self.begun:
                before, whole = self._without_group(whole)
                if before:
                    yield before  # the login shell's own; known as such by the group not being told yet
                self.begun = self.group_told
            if whole:
                yield whole
        if rest:
            yield rest

    def _without_group(self, whole: bytes) -> tuple[bytes, bytes]:
        """The lines before and after the one that tells the process group; all are before where none does."""
        lines = whole.split(b"\n")
        for at, line in enumerate(lines):
            if line.startswith(GROUP):
                self.group, self.group_told = group_of(line), True
                return b"\n".join(lines[:at]), b"\n".join(lines[at + 1 :])
        return whole, b""

    def _error_pieces(self) -> Iterator[bytes]:
        """In slices: as many lines as a window holds would be some hundred MiB of objects."""
        while data := self._error_bytes():
            for at in range(0, len(data), SLICE):
                yield data[at : at + SLICE]

    def _error_bytes(self) -> bytes:
        while True:
            with contextlib.suppress(TimeoutError):  # the channel's patience is not ours: most agents write nothing
                with contextlib.suppress(paramiko.SSHException, EOFError, ConnectionError):
                    return bytes(self._stream.recv_stderr(ALL))
                return b""

    def lane(self, path: str, target: str) -> SshLane:
        """Another channel, into the named pipe ``path``. Raises ``ConnectionLost``."""
        return SshLane(self._connection, shell(SCRIPT, path), target)

    def end_input(self) -> None:
        """Closes its standard input."""
        within(LEAVE, self._stream.shutdown_write)

    def wait(self, seconds: float) -> bool:
        """Waits at most ``seconds`` for its end; True if it ended."""
        return bool(self._stream.status_event.wait(seconds))

    def destroy(self) -> None:
        """Kills what is left of its process group, lets go of the channel; never waits long for a broken way."""
        if not self._ended.acquire(blocking=False):
            return
        self.channel.closed = True
        if self._stream.eof_received:  # then it is ending by itself, and tells its exit status right after
            self.wait(LEAVE)
        if not self._stream.exit_status_ready() and self._connection.alive:
            within(LEAVE, self._kill)
        within(LEAVE, self._stream.close)
        self.at_end()

    def _kill(self) -> None:
        if self.group is not None:
            with contextlib.suppress(TargetUnreachable):
                killer = self._connection.execute(shlex.join(["kill", "-KILL", "--", f"-{self.group}"]))
                killer.status_event.wait(LEAVE)
                killer.close()


def group_of(line: bytes) -> int | None:
    """The process group that ``TELL`` told; ``None`` for anything that is none, above all for 0 and 1."""
    word = line[len(GROUP) :].strip()
    # The longest pid_t has ten digits.
    return int(word) if word.isdigit() and len(word) < 11 and int(word) > 1 else None


def run(connection: Connection, argv: Sequence[str], stdin: bytes, timeout: float) -> Done | None:
    """Runs a command to its end; ``None`` if that did not come in time: it was killed then.

    Raises ``ConnectionLost`` where the connection broke, ``OverflowError`` beyond 64 MiB of output.
    """
    return finish(SshProcess(connection, shell(RUN, *argv), None), stdin, timeout)


def finish(process: SshProcess, stdin: bytes, timeout: float) -> Done | None:
    """As ``run``, of a command that was started: gives it its input, collects what it writes."""
    ends = time.monotonic() + timeout
    stream = process._stream  # noqa: SLF001 - the other half of this module
    noise, err = Tail(), Tail()

    def listen() -> None:
        for lines in process.lines():
            (err if process.begun else noise).add(lines + b"\n")

    threads = [
        threading.Thread(target=listen, name="hil-run-stderr", daemon=True),
        threading.Thread(target=_give, args=(stream, stdin), name="hil-run-stdin", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        out = _collected(stream, ends)
        if out is None or not process.wait(max(0.0, ends - time.monotonic())):
            return None
        threads[0].join(max(0.1, ends - time.monotonic()))
    finally:
        process.destroy()
    code = process.code
    before, begun, rest = out.partition(BEGIN + b"\n")
    return Done(-1 if code is None else code, rest if begun else before, bytes(err if process.begun else noise))


def _collected(stream: paramiko.Channel, ends: float) -> bytes | None:
    """All that comes until the stream ends; ``None`` if that is not before ``ends``."""
    out = bytearray()
    while True:
        stream.settimeout(max(0.001, ends - time.monotonic()))
        try:
            piece = stream.recv(ALL)
        except TimeoutError:
            return None
        if not piece:
            return bytes(out)
        out += piece
        if len(out) > MOST:
            raise OverflowError(f"more than {MOST >> 20} MiB of output")
        if time.monotonic() > ends:
            return None


def _give(stream: paramiko.Channel, stdin: bytes) -> None:
    """Its input, then the end of that. A command may end without reading it."""
    size = stream.out_max_packet_size - OVERHEAD
    with contextlib.suppress(WireError, paramiko.SSHException, EOFError, OSError):
        for at in range(0, len(stdin), size):
            send_all(stream, stdin[at : at + size])
        stream.shutdown_write()
