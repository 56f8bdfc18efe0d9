"""A simulated board: a machine on a virtual network, whose state tests can change."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.config.spec import TargetSpec
from tests.boards import accounts, memory, network, processes, sshd
from tests.boards.condition import Condition
from tests.boards.generations import facts_of
from tests.boards.relay import Relay
from tests.boards.root import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.boards.processes import Process

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Interpreter:
    """``prefix`` is the interpreter's folder (empty: this machine's own), ``site`` the folder of its packages."""

    prefix: str
    site: str


class SimulatedBoard(Condition):
    """A running board of ``generation``, with its keys in ``folder``. It ends by ``close`` or with the process."""

    user = accounts.USER
    port = 22
    python = "/usr/bin/python3"

    def __init__(self, generation: str, interpreter: Interpreter, folder: Path) -> None:
        self.generation = generation
        self.facts = facts_of(generation)
        folder.mkdir(parents=True, exist_ok=True)
        self._host_key = sshd.key_pair(folder / "host_key")
        self.key = sshd.key_pair(folder / "id_ed25519").private
        self.known_hosts = folder / "known_hosts"
        self._relays: list[Relay] = []
        self._keeper = self._start_keeper(interpreter)
        cable = network.lay(self._keeper.pid)
        self.network = cable
        self.host = cable.board
        self.known_hosts.write_text(sshd.known_line(self.host, self.port, self._host_key), encoding="ascii")
        self.first = 0
        self.boot()

    def _start_keeper(self, interpreter: Interpreter) -> subprocess.Popen[str]:
        settings = Settings(
            facts=self.facts,
            prefix=interpreter.prefix,
            site=interpreter.site,
            public_key=sshd.KeyPair(self.key).public,
            host_key=self._host_key.private.read_text(encoding="ascii"),
            sshd=sshd.SERVER,
        )
        keeper = subprocess.Popen(
            (sys.executable, "-S", "-m", "tests.boards.keeper"),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if not self._send(keeper, json.dumps(asdict(settings))):
            raise OSError("the board's root could not be created: see standard error")
        return keeper

    @staticmethod
    def _send(keeper: subprocess.Popen[str], line: str) -> dict[str, Any]:
        if keeper.stdin is None or keeper.stdout is None:
            raise TypeError("the keeper was started without pipes")
        keeper.stdin.write(line + "\n")
        keeper.stdin.flush()
        answer: dict[str, Any] = json.loads(keeper.stdout.readline() or "{}")
        return answer

    def boot(self) -> None:
        """Start a board that is off, and wait for its SSH server."""
        self.first = self._send(self._keeper, "boot")["first"]
        self.wait_for_sshd(on=True)

    def wait_for_sshd(self, on: bool) -> None:
        """Wait until the SSH port is open, or closed if not ``on``."""
        deadline = time.monotonic() + 20
        while self._listening() != on:
            if time.monotonic() > deadline:
                raise TimeoutError(f"sshd does not start or stop: {self._log()}")
            time.sleep(0.02)

    def _log(self) -> str:
        log = self.root / "var/log/sshd.log"
        return log.read_text(encoding="utf-8") if log.exists() else "there is no log"

    def _listening(self) -> bool:
        sockets = Path(f"/proc/{self.first}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        # Columns (proc(5)): number, local address, remote address, state; 0016 is port 22, 0A is LISTEN.
        return any(line.split()[1].endswith(":0016") and line.split()[3] == "0A" for line in sockets)

    def power_off(self) -> None:
        """End all processes at once; files stay."""
        self._send(self._keeper, "stop")

    def reboot(self) -> None:
        """End all processes and boot again with the same files, but with empty ``/tmp`` and ``/run``."""
        self.power_off()
        self.boot()

    def close(self) -> None:
        """End the board and delete its files."""
        for relay in self._relays:
            relay.close()
        if self._keeper.stdin is not None and self._keeper.stdout is not None:
            self._keeper.stdin.close()
            self._keeper.wait(20)
            self._keeper.stdout.close()
        memory.sweep()

    @property
    def root(self) -> Path:
        """The board's root folder on this machine. Use ``file`` for paths that may contain symbolic links."""
        return Path(f"/proc/{self.first}/root")

    def file(self, path: str | Path) -> Path:
        """Return the path on this machine of a file on the board; symbolic links are resolved within the board."""
        resolved, rest = self.root, list(Path(path).relative_to("/").parts)
        for _ in range(200):
            if not rest:
                return resolved
            part = rest.pop(0)
            if part == "..":
                resolved = resolved if resolved == self.root else resolved.parent
            elif (resolved / part).is_symlink():
                target = (resolved / part).readlink()
                resolved = self.root if target.is_absolute() else resolved
                rest[:0] = [name for name in target.parts if name != "/"]
            else:
                resolved /= part
        raise OSError(f"too many links: {path}")

    def spec(self, **keys: Any) -> TargetSpec:
        """Return the board as a target; ``keys`` are fields of ``TargetSpec``."""
        return TargetSpec(**(self._keys() | keys))

    def toml(self, name: str, **keys: Any) -> str:
        """Return the table ``[targets.NAME]`` for ``hil.toml``."""
        return f"[targets.{name}]\n" + "".join(
            f"{key} = {_toml(value)}\n" for key, value in (self._keys() | keys).items()
        )

    def _keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = {"kind": "ssh", "runtime": "onnxruntime", "host": self.host, "port": self.port}
        keys |= {"user": self.user, "identity": str(self.key), "known_hosts": str(self.known_hosts)}
        return keys | {"evidence": "emulated"}

    def shell(
        self, *argv: str, user: str = "root", check: bool = True, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the board, not over SSH."""
        done = subprocess.run(
            self.command_line(*argv, user=user),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if check and done.returncode:
            raise OSError(f"{shlex.join(argv)}: exit code {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def command_line(self, *argv: str, user: str = "root") -> list[str]:
        """Return the command line that runs ``argv`` on the board."""
        home = "/root" if user == "root" else f"/home/{user}"
        words = ["nsenter", "-t", str(self.first), "-m", "-u", "-i", "-n", "-p"]
        words += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return [*words, "env", "-i", "-C", home, f"HOME={home}", f"USER={user}", f"PATH={accounts.PATH}", *argv]

    def ssh(self, *argv: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on the board as its user, by OpenSSH's client."""
        options = {"UserKnownHostsFile": self.known_hosts, "IdentitiesOnly": "yes", "BatchMode": "yes"}
        words = ["ssh", "-F", "none", "-i", str(self.key), "-p", str(self.port)]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        words += [f"{self.user}@{self.host}", shlex.join(argv)]
        return subprocess.run(words, capture_output=True, text=True, check=check, timeout=timeout)

    def processes(self) -> list[Process]:
        """Return all processes of the board except its first one."""
        return processes.of_board(self.first)

    def relay(self, delay: float = 0.0) -> Relay:
        """Start a relay to the board's SSH port that adds ``delay`` seconds to each round trip and can be cut."""
        relay = Relay(self.host, self.port, delay)
        self._relays.append(relay)
        with self.known_hosts.open("a", encoding="ascii") as file:
            file.write(sshd.known_line(relay.host, relay.port, self._host_key))
        return relay

    def link(self, up: bool) -> None:
        """Connect or disconnect the network cable; packets in transit are lost."""
        self.network.up(up)

    def loss(self, share: float) -> None:
        """Drop this share (0 to 1) of the packets in each direction."""
        rule = f"-m statistic --mode random --probability {share:.4f}"
        self.network.rules(*([f"INPUT -i eth0 {rule}", f"OUTPUT -o eth0 {rule}"] if share else []))

    def black_hole(self, on: bool) -> None:
        """Drop all packets to the SSH port, so that connecting never ends."""
        self.network.rules(*(["INPUT -i eth0 -p tcp --dport 22"] if on else []))


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        inner: Mapping[str, object] = value
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in inner.items()) + "}"
    return json.dumps(str(value))


def reachable(host: str, port: int, timeout: float = 5.0) -> bool:
    """Return whether the port accepts a connection."""
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True
