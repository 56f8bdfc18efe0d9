"""What a line of ``tegrastats`` says, of every L4T release from R32 to R39, in base units.

The format is documented release by release (Jetson Linux Developer Guide, "tegrastats Utility") and differs in
each: frequencies are shown to root alone, an engine may have several, power has one to three numbers with or
without ``mW`` (the first is the reading, the others its average and its peak), an offline sensor reads -256C.
"""

import re
from typing import Any, Callable, Dict, List, Optional, Tuple

LONGEST = 8192
"""Letters of a line that are looked at; real ones have under 1,000."""
MOST_UNKNOWN = 64
OFFLINE = -256.0
"""Degrees Celsius that a sensor reads whose part has no power."""

MEGA = 1e6
SIZES = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
"""Of 1024: the totals are those of /proc/meminfo divided so."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}", re.ASCII)
DATE = re.compile(r"[0-9]{2}-[0-9]{2}-[0-9]{4}", re.ASCII)
CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
USED = re.compile(r"([0-9]{1,9})/([0-9]{1,9})([kMG]?B)", re.ASCII)
BLOCKS = re.compile(r"(?:([0-9]{1,9})x)?([0-9]{1,9})([kMG]?B)", re.ASCII)
DEGREES = re.compile(r"(-?[0-9]{1,4}(?:\.[0-9]{1,6})?)C(?:/-?[0-9]{1,4}(?:\.[0-9]{1,6})?C)?", re.ASCII)
WATTS = re.compile(r"([0-9]{1,9})(mW)?((?:/[0-9]{1,9}(?:mW)?){0,2})", re.ASCII)
PERCENT = re.compile(r"([0-9]{1,3})%", re.ASCII)
MEGAHERTZ = re.compile(r"[0-9]{1,6}", re.ASCII)
SUFFIX = re.compile(r"_(?:FREQ|LOAD)$", re.ASCII)

Words = List[str]
Found = Dict[str, Any]


def parse(line: str) -> Found:
    """All that a line says; never raises. Groups that it has nothing of are left out.

    ``time`` (text, the board's own clock); ``ram``, ``swap``, ``iram`` (bytes: ``used``, ``total``, and
    ``blocks`` x ``block`` the largest free block or ``cached``); ``cpu`` (one a core) and ``engines`` (by name without
    ``_FREQ``), each ``on``, ``load`` (share, or None) and ``hz`` (a list for engines, empty or None where not shown);
    ``mts`` (shares); ``temperature`` (degrees Celsius, None for an offline sensor); ``power`` (W, the reading now).
    Words that mean nothing here, negative power among them, are in ``unknown``. A line without a ``RAM`` field is none
    of tegrastats': then all of it is unknown, whatever its words look like.
    """
    words = line[:LONGEST].split()
    found: Found = {}
    unknown: Words = []
    at = 0
    while at < len(words):
        taken = next((n for n in (reader(words, at, found) for reader in READERS) if n), 0)
        if not taken:
            unknown.append(words[at])
        at += taken or 1
    if "ram" not in found:
        found, unknown = {}, words
    if unknown:
        found["unknown"] = [word[:80] for word in unknown[:MOST_UNKNOWN]]
    return found


def _time(words: Words, at: int, found: Found) -> int:
    if "time" not in found and DATE.fullmatch(words[at]) and CLOCK.fullmatch(_word(words, at + 1)):
        found["time"] = words[at] + " " + words[at + 1]
        return 2
    return 0


def _memory(words: Words, at: int, found: Found) -> int:
    """``RAM 331/3964MB (lfb 758x4MB)``, ``SWAP 0/1982MB (cached 0MB)``, ``IRAM 0/252kB(lfb 252kB)``."""
    name = words[at].lower()
    if words[at] not in ("RAM", "SWAP", "IRAM") or name in found:
        return 0
    first, bracket, rest = _word(words, at + 1).partition("(")
    match = USED.fullmatch(first)
    if match is None:
        return 0
    size = SIZES[match.group(3)]
    told = {"used": int(match.group(1)) * size, "total": int(match.group(2)) * size}
    found[name] = told
    taken = 2
    if not bracket and _word(words, at + 2).startswith("("):
        rest, taken = words[at + 2][1:], 3
    elif not bracket:
        return taken
    last = _word(words, at + taken)
    match = BLOCKS.fullmatch(last[:-1]) if last.endswith(")") else None
    if match is None or rest not in ("lfb", "cached"):
        return 2 if not bracket else taken
    told["block" if rest == "lfb" else "cached"] = int(match.group(2)) * SIZES[match.group(3)]
    if match.group(1):
        told["blocks"] = int(match.group(1))
    return taken + 1


def _cores(words: Words, at: int, found: Found) -> int:
    """``CPU [7%@102,off,3%]``, or with one frequency for all behind the bracket."""
    value = _word(words, at + 1)
    if words[at] != "CPU" or "cpu" in found or not value.startswith("["):
        return 0
    inside, bracket, after = value[1:].partition("]")
    shared = "@" + after[1:] if after.startswith("@") else ""
    cores = [_load(core if core == "off" or "@" in core else core + shared) for core in inside.split(",")]
    if not bracket or (after and not shared) or not all(cores):
        return 0
    found["cpu"] = [dict(core, hz=(core["hz"] or [None])[0]) for core in cores if core]
    return 2


def _mts(words: Words, at: int, found: Found) -> int:
    """``MTS fg 0% bg 0%``: the share of time that translating code took (Denver, Carmel)."""
    if words[at] != "MTS" or "mts" in found or (_word(words, at + 1), _word(words, at + 3)) != ("fg", "bg"):
        return 0
    shares = [_share(_word(words, at + step)) for step in (2, 4)]
    if None in shares:
        return 0
    found["mts"] = {"foreground": shares[0], "background": shares[1]}
    return 5


def _temperature(words: Words, at: int, found: Found) -> int:
    """``GPU@22.5C``, ``cpu@52.968C/52.968C``."""
    name, _, value = words[at].partition("@")
    match = DEGREES.fullmatch(value)
    if match is None or not NAME.fullmatch(name) or name in found.get("temperature", {}):
        return 0
    degrees = float(match.group(1))
    found.setdefault("temperature", {})[name] = None if degrees <= OFFLINE else degrees
    return 1


def _power(words: Words, at: int, found: Found) -> int:
    """``VDD_IN 5263mW/5263mW``, ``POM_5V_IN 933/933``; a single number is power only with its unit."""
    match = WATTS.fullmatch(_word(words, at + 1))
    if match is None or not NAME.fullmatch(words[at]) or not (match.group(2) or match.group(3)):
        return 0
    if words[at] in found.get("power", {}):
        return 0
    found.setdefault("power", {})[words[at]] = int(match.group(1)) / 1e3
    return 2


def _engine(words: Words, at: int, found: Found) -> int:
    """``GR3D_FREQ 12%@[1300,1300]``, ``EMC_FREQ 0%``, ``NVENC0_FREQ @314``, ``VIC off``, ``APE 25``."""
    name = SUFFIX.sub("", words[at])
    told = _load(_word(words, at + 1))
    if told is None or not NAME.fullmatch(words[at]) or name in found.get("engines", {}):
        return 0
    found.setdefault("engines", {})[name] = told
    return 2


READERS: Tuple[Callable[[Words, int, Found], int], ...] = (
    _time,
    _memory,
    _cores,
    _mts,
    _temperature,
    _power,
    _engine,
)
"""Each looks at the words from ``at`` on and says how many of them it took."""


def _word(words: Words, at: int) -> str:
    return words[at] if at < len(words) else ""


def _share(text: str) -> Optional[float]:
    match = PERCENT.fullmatch(text)
    return int(match.group(1)) / 100 if match and int(match.group(1)) <= 100 else None


def _load(text: str) -> Optional[Found]:
    """``off``, ``X%``, ``X%@Y``, ``X%@[Y,Z]``, ``@Y``, ``@[Y,off]`` or ``Y``; None for anything else."""
    if text == "off":
        return {"on": False, "load": None, "hz": []}
    share, at, clocks = text.partition("@")
    if not at and not share.endswith("%"):
        share, clocks = "", share
    load = _share(share)
    if (share and load is None) or ((at or not share) and not clocks):
        return None
    several = clocks.startswith("[") and clocks.endswith("]")
    each = clocks[1:-1].split(",") if several else [clocks] if clocks else []
    if not all(one == "off" or MEGAHERTZ.fullmatch(one) for one in each):
        return None
    return {"on": True, "load": load, "hz": [None if one == "off" else int(one) * MEGA for one in each]}
