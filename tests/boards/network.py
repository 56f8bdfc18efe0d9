"""A board's network: one virtual cable from this machine, in a separate subnet."""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import dataclass

_SUBNETS = 1 << 14
"""Subnets of four addresses in 198.18.0.0/16, which is reserved for tests of networks (RFC 2544)."""


@dataclass(frozen=True)
class Cable:
    """``near`` is the name of this machine's interface, ``board`` the board's address."""

    near: str
    board: str
    keeper: int

    def up(self, is_up: bool) -> None:
        """Connect or disconnect the cable at the board's end."""
        _run("nsenter", "-t", str(self.keeper), "-n", "ip", "link", "set", "eth0", "up" if is_up else "down")

    def rules(self, *rules: str) -> None:
        """Replace the ``iptables`` rules that drop packets."""
        inside = ("nsenter", "-t", str(self.keeper), "-n", "iptables", "-w")
        _run(*inside, "-F")
        for rule in rules:
            _run(*inside, "-A", *rule.split(), "-j", "DROP")


def lay(keeper: int) -> Cable:
    """Create a cable into the network namespace of ``keeper``. The interface's unique name reserves its subnet."""
    first = random.SystemRandom().randrange(_SUBNETS)
    for offset in range(64):
        number = (first + offset) % _SUBNETS
        near = f"hilb{number}"
        argv = ("ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", str(keeper))
        made = subprocess.run(argv, capture_output=True, text=True, check=False)
        if made.returncode == 0:
            return _configure(Cable(near, _address(number, 2), keeper), _address(number, 1))
        if "exists" not in made.stderr:
            raise OSError(made.stderr)
    raise OSError("no free subnet in 198.18.0.0/16")


def _address(number: int, host: int) -> str:
    return f"198.18.{number >> 6}.{(number & 63) * 4 + host}"


def _configure(cable: Cable, here: str) -> Cable:
    _run("ip", "-batch", "-", stdin=f"addr add {here}/30 dev {cable.near}\nlink set {cable.near} up\n")
    inside = f"link set lo up\naddr add {cable.board}/30 dev eth0\nlink set eth0 up\n"
    _run("nsenter", "-t", str(cable.keeper), "-n", "ip", "-batch", "-", stdin=inside)
    return cable


def _run(*argv: str, stdin: str = "") -> None:
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")
