"""Parse a line of ``tegrastats``, of any L4T release from R32 to R39, into base units.

Source: Jetson Linux Developer Guide, "tegrastats Utility", of each release.
"""

import re
from typing import Any, Callable, Dict, List, Optional, Tuple

LONGEST = 8192
"""Characters of a line that are parsed; real lines have under 1,000."""
MOST_UNKNOWN = 64
OFFLINE = -256.0
"""Degrees Celsius that a sensor reads while its part has no power."""

MEGA = 1e6
SIZES = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
"""Multiples of 1024: the totals are those of /proc/meminfo, divided accordingly."""

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
Fields = Dict[str, Any]


def parse(line: str) -> Fields:
    """Return the values of a line, by the groups below; a group without a value is left out. Never raise.

    Groups:
        time: text, by the board's clock.
        ram, swap, iram: bytes ``used`` and ``total``; if the line shows them, also ``cached``, ``block`` (bytes of the
            largest free block) and ``blocks`` (the number of blocks of that size).
        cpu: a list with ``on``, ``load`` (0 to 1 or None) and ``hz`` (or None) of each core.
        engines: ``on``, ``load`` (0 to 1 or None) and ``hz`` (a list; None for a clock that is off), by engine.
        mts: ``foreground`` and ``background``, shares of time from 0 to 1.
        temperature: °C by sensor; None for an offline sensor.
        power: W by rail.
        unknown: words that are not part of a valid field; all words of a line without ``RAM``.
    """
    words = line[:LONGEST].split()
    fields: Fields = {}
    unknown: Words = []
    at = 0
    while at < len(words):
        count = next((n for n in (reader(words, at, fields) for reader in READERS) if n), 0)
        if not count:
            unknown.append(words[at])
        at += count or 1
    if "ram" not in fields:
        fields, unknown = {}, words
    if unknown:
        fields["unknown"] = [word[:80] for word in unknown[:MOST_UNKNOWN]]
    return fields


def _time(words: Words, at: int, fields: Fields) -> int:
    if "time" not in fields and DATE.fullmatch(words[at]) and CLOCK.fullmatch(_word(words, at + 1)):
        fields["time"] = words[at] + " " + words[at + 1]
        return 2
    return 0


def _memory(words: Words, at: int, fields: Fields) -> int:
    """Parse, as in ``READERS``: ``RAM 331/3964MB (lfb 758x4MB)``, ``SWAP 0/1982MB (cached 0MB)``, ``IRAM 0/252kB``."""
    name = words[at].lower()
    if words[at] not in ("RAM", "SWAP", "IRAM") or name in fields:
        return 0
    first, bracket, rest = _word(words, at + 1).partition("(")
    match = USED.fullmatch(first)
    if match is None:
        return 0
    size = SIZES[match.group(3)]
    sizes = {"used": int(match.group(1)) * size, "total": int(match.group(2)) * size}
    fields[name] = sizes
    count = 2
    if not bracket and _word(words, at + 2).startswith("("):
        rest, count = words[at + 2][1:], 3
    elif not bracket:
        return count
    last = _word(words, at + count)
    match = BLOCKS.fullmatch(last[:-1]) if last.endswith(")") else None
    if match is None or rest not in ("lfb", "cached"):
        return 2 if not bracket else count
    sizes["block" if rest == "lfb" else "cached"] = int(match.group(2)) * SIZES[match.group(3)]
    if match.group(1):
        sizes["blocks"] = int(match.group(1))
    return count + 1


def _cores(words: Words, at: int, fields: Fields) -> int:
    """Parse, as in ``READERS``: ``CPU [7%@102,off,3%]``, or ``CPU [7%,off]@102`` with one clock for all cores."""
    value = _word(words, at + 1)
    if words[at] != "CPU" or "cpu" in fields or not value.startswith("["):
        return 0
    inside, bracket, after = value[1:].partition("]")
    shared = "@" + after[1:] if after.startswith("@") else ""
    cores = [_load(core if core == "off" or "@" in core else core + shared) for core in inside.split(",")]
    if not bracket or (after and not shared) or not all(cores):
        return 0
    fields["cpu"] = [dict(core, hz=(core["hz"] or [None])[0]) for core in cores if core]
    return 2


def _mts(words: Words, at: int, fields: Fields) -> int:
    """Parse, as in ``READERS``: ``MTS fg 0% bg 0%``, shares of time of dynamic code translation (Denver, Carmel)."""
    if words[at] != "MTS" or "mts" in fields or (_word(words, at + 1), _word(words, at + 3)) != ("fg", "bg"):
        return 0
    shares = [_share(_word(words, at + step)) for step in (2, 4)]
    if None in shares:
        return 0
    fields["mts"] = {"foreground": shares[0], "background": shares[1]}
    return 5


def _temperature(words: Words, at: int, fields: Fields) -> int:
    """Parse, as in ``READERS``: ``GPU@22.5C``, ``cpu@52.968C/52.968C``."""
    name, _, value = words[at].partition("@")
    match = DEGREES.fullmatch(value)
    if match is None or not NAME.fullmatch(name) or name in fields.get("temperature", {}):
        return 0
    degrees = float(match.group(1))
    fields.setdefault("temperature", {})[name] = None if degrees <= OFFLINE else degrees
    return 1


def _power(words: Words, at: int, fields: Fields) -> int:
    """Parse, as in ``READERS``: ``VDD_IN 5263mW/5263mW``, ``POM_5V_IN 933/933``, in mW.

    A single number is a power only with its unit.
    """
    match = WATTS.fullmatch(_word(words, at + 1))
    if match is None or not NAME.fullmatch(words[at]) or not (match.group(2) or match.group(3)):
        return 0
    if words[at] in fields.get("power", {}):
        return 0
    fields.setdefault("power", {})[words[at]] = int(match.group(1)) / 1e3
    return 2


def _engine(words: Words, at: int, fields: Fields) -> int:
    """Parse, as in ``READERS``: ``GR3D_FREQ 12%@[1300,1300]``, ``EMC_FREQ 0%``, ``NVENC0_FREQ @314``, ``VIC off``."""
    name = SUFFIX.sub("", words[at])
    state = _load(_word(words, at + 1))
    if state is None or not NAME.fullmatch(words[at]) or name in fields.get("engines", {}):
        return 0
    fields.setdefault("engines", {})[name] = state
    return 2


READERS: Tuple[Callable[[Words, int, Fields], int], ...] = (
    _time,
    _memory,
    _cores,
    _mts,
    _temperature,
    _power,
    _engine,
)
"""Each parses the words from index ``at`` on, adds their values to ``fields``, and returns how many words it used.

It returns 0 if the word at ``at`` does not begin a field that it can parse.
"""


def _word(words: Words, at: int) -> str:
    return words[at] if at < len(words) else ""


def _share(text: str) -> Optional[float]:
    match = PERCENT.fullmatch(text)
    return int(match.group(1)) / 100 if match and int(match.group(1)) <= 100 else None


def _load(text: str) -> Optional[Fields]:
    """Return ``on``, ``load`` and ``hz`` of a text such as ``off``, ``X%``, ``X%@[Y,Z]`` or ``@Y``; else None.

    X is the load, Y and Z are clocks in MHz.
    """
    if text == "off":
        return {"on": False, "load": None, "hz": []}
    share, at, clocks = text.partition("@")
    if not at and not share.endswith("%"):
        share, clocks = "", share
    load = _share(share)
    if (share and load is None) or ((at or not share) and not clocks):
        return None
    several = clocks.startswith("[") and clocks.endswith("]")
    values = clocks[1:-1].split(",") if several else [clocks] if clocks else []
    if not all(clock == "off" or MEGAHERTZ.fullmatch(clock) for clock in values):
        return None
    return {"on": True, "load": load, "hz": [None if clock == "off" else int(clock) * MEGA for clock in values]}
