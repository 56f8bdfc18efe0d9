"""Why an interpreter did not start an agent, in one message with the command that mends it; judges, asks nothing."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from hil.targets.words import QUOTED
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

OLDEST = (3, 6)
VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
FACT = re.compile(rb"^hil-look (\w+) ?(.*)$", re.MULTILINE)
MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64"}  # elf.h: e_machine, and what uname -m calls it
ALSO = {"armv8l": "armv7l", "arm64": "aarch64", "i386": "i686", "i586": "i686"}


def facts(out: bytes) -> dict[str, str]:
    """What ``scripts.LOOK`` printed, whatever the login shell printed before."""
    return {key.decode(): clean(value.decode("utf-8", "replace").strip(), QUOTED) for key, value in FACT.findall(out)}


def elf_machine(head: str) -> str | None:
    """The machine that a file's first 20 bytes (in hexadecimal) are meant for; ``None`` where they do not tell."""
    try:
        data = bytes.fromhex(head)
    except ValueError:
        return None
    if len(data) < 20 or data[:4] != b"\x7fELF":  # up to the end of e_machine
        return None
    return MACHINES.get(int.from_bytes(data[18:20], "little" if data[5] == 1 else "big"))


def trouble(python: str, found: Mapping[str, str], target: str) -> str | None:
    """What is wrong with the interpreter ``python``, as a message; ``None`` where nothing is."""
    where = f"on target {target!r}"
    if not found:
        return f"its login shell does not run commands: {where}: give the account a shell such as /bin/bash"
    path = found.get("path") or python
    version = VERSION.fullmatch(found.get("version", ""))
    if version is not None:
        return _too_old(path, version, where)
    if found.get("state") == "no":
        install = "install it (`sudo apt install python3`)" if python == "python3" else "correct python, or install it"
        return f"the interpreter {python} is not there: {where}: {install}"
    if found.get("state") == "there":
        return f"the interpreter {path} cannot be executed: {where}: run `chmod +x {shlex.quote(path)}` there"
    meant, machine = elf_machine(found.get("head", "")), found.get("machine", "")
    if meant is not None and meant != ALSO.get(machine, machine):
        return f"{path} is built for {meant}, the machine is {machine}: {where}: set python to one of its own"
    return f"{path} is no Python that runs: {where}: try `{shlex.quote(path)} -V` there, or set python to another"


def _too_old(path: str, version: re.Match[str], where: str) -> str | None:
    if (int(version[1]), int(version[2])) >= OLDEST:
        return None
    return (
        f"{path} is Python {version[0]}, the agent needs {OLDEST[0]}.{OLDEST[1]} or later: {where}: "
        "set python to such a one (`sudo apt install python3`)"
    )
