"""Explains why an interpreter did not start an agent, from the facts that ``scripts.INSPECT`` collected."""

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
FACT = re.compile(rb"^hil-inspect (\w+) ?(.*)$", re.MULTILINE)
MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64"}  # elf.h's e_machine; uname -m's name
ALSO = {"armv8l": "armv7l", "arm64": "aarch64", "i386": "i686", "i586": "i686"}


def parse_facts(out: bytes) -> dict[str, str]:
    """Return the facts in ``out`` that ``scripts.INSPECT`` printed, by name; other lines are ignored."""
    return {key.decode(): clean(value.decode("utf-8", "replace").strip(), QUOTED) for key, value in FACT.findall(out)}


def elf_machine(head: str) -> str | None:
    """Return the machine for which an ELF file was built, as ``uname -m`` names it; ``None`` if unknown.

    ``head`` has the first 20 bytes of the file in hexadecimal.
    """
    try:
        data = bytes.fromhex(head)
    except ValueError:
        return None
    if len(data) < 20 or data[:4] != b"\x7fELF":  # up to the end of e_machine
        return None
    return MACHINES.get(int.from_bytes(data[18:20], "little" if data[5] == 1 else "big"))


def failure_message(python: str, facts: Mapping[str, str], target: str) -> str | None:
    """Return a message about what is wrong with the interpreter ``python``; ``None`` if it works and is new enough.

    ``facts`` is empty if the account's login shell ran no command.
    """
    where = f"on target {target!r}"
    if not facts:
        return f"the account's login shell does not run commands: {where}: give the account a shell such as /bin/bash"
    path = facts.get("path") or python
    version = VERSION.fullmatch(facts.get("version", ""))
    if version is not None:
        return _too_old(path, version, where)
    if facts.get("state") == "no":
        install = "install it (`sudo apt install python3`)" if python == "python3" else "correct python, or install it"
        return f"the interpreter {python} does not exist: {where}: {install}"
    if facts.get("state") == "there":
        return f"the interpreter {path} cannot be executed: {where}: run `chmod +x {shlex.quote(path)}` there"
    built_for, machine = elf_machine(facts.get("head", "")), facts.get("machine", "")
    if built_for is not None and built_for != ALSO.get(machine, machine):
        return (
            f"{path} is built for {built_for}, but the machine is {machine}: {where}: "
            f"set python to an interpreter for {machine}"
        )
    return (
        f"{path} is not a working Python interpreter: {where}: "
        f"try `{shlex.quote(path)} -V` there, or set python to another one"
    )


def _too_old(path: str, version: re.Match[str], where: str) -> str | None:
    if (int(version[1]), int(version[2])) >= OLDEST:
        return None
    return (
        f"{path} is Python {version[0]}, the agent needs {OLDEST[0]}.{OLDEST[1]} or later: {where}: "
        "set python to a newer one (`sudo apt install python3`)"
    )
