#!/usr/bin/python3 -I
"""``jetson_clocks``: pins clocks to the maximum of the power mode; shows, stores and restores them. Python 3.6."""

import glob
import json
import os
import sys
from typing import Any, Dict, List, Tuple

DEFAULT = "/root/l4t_dfs.conf"


def read(place: str) -> str:
    with open(place) as file:
        return file.read().strip()


def write(place: str, value: str) -> None:
    with open(place, "w") as file:
        file.write(value + "\n")


def policies() -> List[str]:
    return sorted(glob.glob("/sys/devices/system/cpu/cpufreq/policy*"))


def clocks(facts: Dict[str, Any]) -> List[Tuple[str, str, str, str]]:
    """Return (folder, minimum, maximum, current) of each devfreq clock."""
    devices = ["/sys/class/devfreq/" + str(device["name"]) for device in facts["devfreq"]]
    entries = [(device, "min_freq", "max_freq", "cur_freq") for device in devices]
    return entries + [(policy, "scaling_min_freq", "scaling_max_freq", "scaling_cur_freq") for policy in policies()]


def settings(facts: Dict[str, Any]) -> List[str]:
    """Return all files that pinning writes."""
    files = [clock[0] + "/" + name for clock in clocks(facts) for name in clock[1:]]
    if os.path.exists(EMC):
        files += [EMC + "/rate", EMC + "/min_rate", EMC + "/max_rate"]
    return files


EMC = "/sys/kernel/debug/bpmp/debug/clk/emc"


def pin(facts: Dict[str, Any]) -> None:
    for folder, low, high, now in clocks(facts):
        top = read(folder + "/" + high)
        write(folder + "/" + low, top)
        write(folder + "/" + now, top)
    if os.path.exists(EMC):
        write(EMC + "/rate", read(EMC + "/max_rate"))


def show(facts: Dict[str, Any]) -> None:
    for policy in policies():
        for cpu in read(policy + "/related_cpus").split():
            print(
                "cpu%s: Online=%s Governor=%s MinFreq=%s MaxFreq=%s CurrentFreq=%s"
                % (
                    cpu,
                    read("/sys/devices/system/cpu/cpu%s/online" % cpu),
                    read(policy + "/scaling_governor"),
                    read(policy + "/scaling_min_freq"),
                    read(policy + "/scaling_max_freq"),
                    read(policy + "/scaling_cur_freq"),
                )
            )
    place, low, high, now = clocks(facts)[0]
    values = tuple(read(place + "/" + name) for name in (low, high, now))
    print("GPU MinFreq=%s MaxFreq=%s CurrentFreq=%s" % values)
    if os.path.exists(EMC):
        values = tuple(read(EMC + "/" + name) for name in ("min_rate", "max_rate", "rate"))
        print("EMC MinFreq=%s MaxFreq=%s CurrentFreq=%s FreqOverride=0" % values)


def main(arguments: List[str]) -> int:
    if os.geteuid() != 0:
        print("Please run as root")
        return 1
    with open("/usr/local/lib/board/facts.json") as file:
        facts = json.load(file)
    place = arguments[1] if len(arguments) > 1 else DEFAULT
    if not arguments:
        pin(facts)
    elif arguments[0] == "--show":
        show(facts)
    elif arguments[0] == "--store":
        if os.path.exists(place):
            print("File " + place + " already exists. Can I overwrite it? Y/N:")
            if sys.stdin.readline().strip() not in ("Y", "y"):
                return 1
        with open(place, "w") as file:
            file.write("".join(setting + ":" + read(setting) + "\n" for setting in settings(facts)))
    elif arguments[0] == "--restore":
        if not os.path.exists(place):
            print("Can't find file " + place)
            return 1
        for line in read(place).splitlines():
            setting, value = line.rsplit(":", 1)
            write(setting, value)
    else:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
