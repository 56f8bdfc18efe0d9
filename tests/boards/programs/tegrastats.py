#!/usr/bin/python3 -I
"""``tegrastats``: prints lines in the format of this release, with the board's state. Python 3.6."""

import argparse
import glob
import json
import os
import re
import sys
import time
from typing import Any, Callable, Dict, List, Match, Optional, Tuple


def read(place: str) -> str:
    with open(place) as file:
        return file.read().strip()


def number(place: str) -> Optional[int]:
    try:
        return int(read(place))
    except (OSError, ValueError):
        return None


class Board:
    """The board's values for the fields of a line of tegrastats."""

    def __init__(self, facts: Dict[str, Any]) -> None:
        self.facts = facts
        self.zones = {read(place + "/type"): place for place in glob.glob("/sys/class/thermal/thermal_zone*")}
        self.gpu = "/sys/class/devfreq/" + facts["devfreq"][0]["name"]
        bwmgr = "/sys/class/devfreq/bwmgr/cur_freq"
        self.emc = bwmgr if os.path.exists(bwmgr) else "/sys/kernel/debug/bpmp/debug/clk/emc/rate"
        self.rails: Dict[str, Tuple[str, Optional[str]]] = {}
        for place in glob.glob("/sys/class/hwmon/hwmon*/in*_label"):
            self.rails[read(place)] = (place[:-5] + "input", place.replace("/in", "/curr")[:-5] + "input")
        for place in glob.glob("/sys/bus/iio/devices/iio:device*/rail_name_*"):
            folder, channel = place.rsplit("/rail_name_", 1)
            self.rails[read(place)] = (folder + "/in_power%s_input" % channel, None)

    def temperature(self, zone: str) -> str:
        value = number(self.zones[zone] + "/temp")
        value = -256000 if value is None else value
        return ("%.3f" % (value / 1000)).rstrip("0").rstrip(".") + "C"

    def power(self, rail: str) -> str:
        first, second = self.rails[rail]
        value = number(first) or 0
        return str(value if second is None else value * (number(second) or 0) // 1000)

    def memory(self, name: str) -> int:
        match = re.search(r"^%s:\s+(\d+)" % name, read("/proc/meminfo"), re.MULTILINE)
        return int(match.group(1)) // 1024 if match else 0

    def field(self, match: Match[str]) -> str:
        """Return the value of one ``{what:of}`` field; an unknown field ends the program with an error."""
        what, _, of = match.group(1).partition(":")
        if of:
            return self.temperature(of) if what == "t" else self.power(of)
        simple: Dict[str, Callable[[], object]] = {
            "gpu": lambda: (number(self.gpu + "/cur_freq") or 0) // 1000000,
            "load": lambda: (number(self.gpu + "/device/load") or 0) // 10,
            "emc": lambda: (number(self.emc) or 0) // 1000000,
            "used": lambda: self.memory("MemTotal") - self.memory("MemAvailable"),
            "total": lambda: self.memory("MemTotal"),
            "swapped": lambda: self.memory("SwapTotal") - self.memory("SwapFree"),
            "swap": lambda: self.memory("SwapTotal"),
            "date": lambda: time.strftime("%m-%d-%Y %H:%M:%S"),
        }
        return str(simple[what]())


def main(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(prog="tegrastats")
    parser.add_argument("--interval", type=int, default=1000)
    parser.add_argument("--logfile")
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args(arguments)
    if options.stop:
        return 0
    with open("/usr/local/lib/board/facts.json") as file:
        facts = json.load(file)
    board = Board(facts)
    form = facts["tegrastats"]["root" if os.geteuid() == 0 else "user"]
    if options.logfile:
        sys.stdout = open(options.logfile, "a")  # noqa: SIM115 - open until the program ends
    due = time.monotonic()
    try:
        while True:
            print(re.sub(r"{([^{}]+)}", board.field, form), flush=True)
            due += options.interval / 1000
            time.sleep(max(0.0, due - time.monotonic()))
    except (KeyboardInterrupt, BrokenPipeError):
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
