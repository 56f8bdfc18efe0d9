#!/usr/bin/python3 -I
"""``nvpmodel``: reports and sets the power mode; has only the options that tests need. Python 3.6."""

import json
import re
import sys
from typing import Any, Dict, List, Optional

STATUS = "/var/lib/nvpmodel/status"


def read(place: str) -> str:
    with open(place) as file:
        return file.read()


def current() -> int:
    return int(re.sub(r"\D", "", read(STATUS)))


def chosen(modes: Dict[str, Any], number: int) -> Optional[Dict[str, Any]]:
    return next((mode for mode in modes["modes"] if mode["id"] == number), None)


def apply(modes: Dict[str, Any], mode: Dict[str, Any]) -> None:
    """Write the mode's settings to the files of its parameters. Like the real program, skip missing files."""
    for line in mode["settings"]:
        name, argument, value = line.split()
        place = modes["parameters"][name]["arguments"][argument]
        if value == "-1":
            value = str(modes["highest"][name])
        if value == "0" and argument == "MIN_FREQ":
            value = str(modes["lowest"][name])
        try:
            with open(place, "w") as file:
                file.write(value + "\n")
        except IsADirectoryError:
            pass


def tpc_mask(mode: Optional[Dict[str, Any]]) -> Optional[str]:
    if mode is None:
        return None
    return next((line.split()[2] for line in mode["settings"] if " TPC_PG_MASK " in line), None)


def change(modes: Dict[str, Any], number: int) -> int:
    mode = chosen(modes, number)
    if mode is None:
        print("NVPM ERROR: Invalid power mode: %d" % number)
        return 255
    if tpc_mask(chosen(modes, current())) != tpc_mask(mode):
        print("NVPM WARN: Reboot required for changing to this power mode: %d" % number)
        print("NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:")
        if sys.stdin.readline().strip() not in ("YES", "yes"):
            print("NVPM ERROR: Reboot is not confirmed")
            return 255
    try:
        with open(STATUS, "w") as file:
            file.write("pmode:%04d" % number)
    except PermissionError:
        print("NVPM ERROR: Error opening " + STATUS + ": 13")
        return 255
    apply(modes, mode)
    return 0


def main(arguments: List[str]) -> int:
    with open("/usr/local/lib/board/facts.json") as file:
        facts = json.load(file)
    modes = facts["power_modes"]
    if arguments and arguments[0] in ("-q", "--query"):
        mode = chosen(modes, current())
        if facts["generation"] == "jp46":
            print("NVPM WARN: fan mode is not set!")
        if mode is not None:
            print("NV Power Mode: " + mode["name"] + "\n" + str(mode["id"]))
        return 0
    if len(arguments) == 2 and arguments[0] in ("-m", "--mode"):
        return change(modes, int(arguments[1]))
    print("usage: nvpmodel [-q] [-m ID]")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
