"""Runs commands on the remote machine: the agent's process for ``Link``, and commands whose end is awaited."""

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
from hil.targets.ssh.upload_channel import SCRIPT, SshUploadChannel
from hil.targets.target import Done
from hil.targets.words import SLICE, Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hil.targets.ssh.connect import Connection

GROUP = b"hil-group "
BEGIN = b"hil-begin"
PRINT_GROUP = f'read -r a b c d G e </proc/$$/stat 2>/dev/null; echo "{GROUP.decode()}$G" >&2; '
"""Prints the process group to stderr, so that it can be killed later. sshd starts each command in a new group."""
RUN = f'{PRINT_GROUP}echo {BEGIN.decode()}; exec "$@"'
DECODE = 'for a do a=$(printf %b. "$a"); shift; set -- "$@" "${a%.}"; done; '
"""Decodes the arguments that ``shell`` encoded; the dot protects newlines at an argument's end."""
PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\!")
"""Bytes that are literal within single quotes in bash, dash, zsh, fish and tcsh, and for ``printf %b``."""
LEAVE = 2.0


def shell(script: str, *arguments: str) -> str:
    """Return a command line with which any login shell runs ``script`` in POSIX sh, with ``arguments`` as ``$1``, ….

    ``script`` must consist of ``PLAIN`` characters. ``arguments`` may be any text without a null byte. Raise
    ``ValueError`` if one has a null byte.
    """
    if any("\0" in argument for argument in arguments):
        raise ValueError("an argument has a null byte")
    raw = (argument.encode("utf-8", "surrogateescape") for argument in arguments)
    encoded = ("".join(chr(byte) if byte in PLAIN else f"\\0{byte:03o}" for byte in data) for data in raw)
    return " ".join(["sh -c", *(f"'{word}'" for word in (DECODE + script, "hil", *encoded))])


class SshProcess:
    """A command on the remote machine, in a process group of its own there.

    ``group`` is the number of this group; it is ``None`` until ``lines`` has read it. ``begun`` is true once ``lines``
    has read the line of ``PRINT_GROUP``. ``at_end`` is called at the end of ``destroy``.
    """

    remote = True

    def __init__(self, connection: Connection, command: str, patience: float | None) -> None:
        """Start ``command``, which must run ``PRINT_GROUP``. ``patience`` (seconds) is passed to ``SshChannel``.

        Raise ``ConnectionLost`` if the command cannot be started.
        """
        self._connection = connection
        self._stream = connection.execute(command)
        self.channel = SshChannel(self._stream, patience)
        self.group: int | None = None
        self.begun = self.group_printed = False
        self.at_end: Callable[[], None] = lambda: None
        self._ended = threading.Lock()

    @property
    def code(self) -> int | None:
        """The command's exit status; ``None`` while the command runs, or if a signal killed it."""
        known = self._stream.exit_status_ready() and self._stream.exit_status >= 0
        return int(self._stream.exit_status) if known else None

    def lines(self) -> Iterator[bytes]:
        """Yield the command's stderr without the line of ``PRINT_GROUP``; reading that line sets ``group``."""
        rest = b""
        for data in self._error_pieces():
            whole, end, rest = (rest + data).rpartition(b"\n")
            if len(rest) > 4096:  # the same limit as for a local process
                whole, end, rest = (whole + end + rest), b"\n", b""
            if end and not self.begun:
                before, whole = self._without_group(whole)
                if before:
                    yield before  # output of the login shell, since the group was not printed yet
                self.begun = self.group_printed
            if whole:
                yield whole
        if rest:
            yield rest

    def _without_group(self, whole: bytes) -> tuple[bytes, bytes]:
        """Return the lines before and after the line of ``PRINT_GROUP``. If there is none, all lines are before it."""
        lines = whole.split(b"\n")
        for at, line in enumerate(lines):
            if line.startswith(GROUP):
                self.group, self.group_printed = group_of(line), True
                return b"\n".join(lines[:at]), b"\n".join(lines[at + 1 :])
        return whole, b""

    def _error_pieces(self) -> Iterator[bytes]:
        """Yield stderr in small pieces."""
        while data := self._error_bytes():
            for at in range(0, len(data), SLICE):
                yield data[at : at + SLICE]

    def _error_bytes(self) -> bytes:
        while True:
            with contextlib.suppress(TimeoutError):  # no timeout for stderr: most agents write nothing
                with contextlib.suppress(paramiko.SSHException, EOFError, ConnectionError):
                    return bytes(self._stream.recv_stderr(ALL))
                return b""

    def upload_channel(self, path: str, target: str) -> SshUploadChannel:
        """Open one more channel, into the named pipe ``path``. Raises ``ConnectionLost``."""
        return SshUploadChannel(self._connection, shell(SCRIPT, path), target)

    def end_input(self) -> None:
        """Close the command's standard input."""
        within(LEAVE, self._stream.shutdown_write)

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the command to end; return whether it ended."""
        return bool(self._stream.status_event.wait(seconds))

    def destroy(self) -> None:
        """Kill the process group, if it still runs, and close the channel; waits a few seconds at most.

        May be called twice.
        """
        if not self._ended.acquire(blocking=False):
            return
        self.channel.closed = True
        if self._stream.eof_received:  # the command is ending by itself, and its exit status follows
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
    """Return the process group in a line of ``PRINT_GROUP``; ``None`` if it is malformed, 0 or 1."""
    word = line[len(GROUP) :].strip()
    # The longest pid_t has ten digits.
    return int(word) if word.isdigit() and len(word) < 11 and int(word) > 1 else None


def run(connection: Connection, argv: Sequence[str], stdin: bytes, timeout: float) -> Done | None:
    """Run a command to its end; kill it and return ``None`` if that takes longer than ``timeout`` seconds.

    Raises ``ConnectionLost`` if the connection broke, ``OverflowError`` if stdout exceeds 64 MiB.
    """
    return finish(SshProcess(connection, shell(RUN, *argv), None), stdin, timeout)


def finish(process: SshProcess, stdin: bytes, timeout: float) -> Done | None:
    """Send ``stdin`` to a command that was started already, and return what ``run`` returns.

    The output of the account's login shell before the command is left out.
    """
    ends = time.monotonic() + timeout
    stream = process._stream  # noqa: SLF001 - the other half of this module
    noise, err = Tail(), Tail()

    def listen() -> None:
        for lines in process.lines():
            (err if process.begun else noise).add(lines + b"\n")

    threads = [
        threading.Thread(target=listen, name="hil-run-stderr", daemon=True),
        threading.Thread(target=_send_input, args=(stream, stdin), name="hil-run-stdin", daemon=True),
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
    """Return all data until the stream ends; ``None`` if it has not ended by ``ends`` (monotonic seconds).

    Raise ``OverflowError`` for more than ``MOST`` bytes.
    """
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


def _send_input(stream: paramiko.Channel, stdin: bytes) -> None:
    """Send ``stdin``, then close the input. A command may end without reading it."""
    size = stream.out_max_packet_size - OVERHEAD
    with contextlib.suppress(WireError, paramiko.SSHException, EOFError, OSError):
        for at in range(0, len(stdin), size):
            send_all(stream, stdin[at : at + size])
        stream.shutdown_write()
