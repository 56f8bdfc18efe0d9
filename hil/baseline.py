"""Define the baseline that a run is compared with: earlier values of each row, read from a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from hil.results import ControlSummary, Frozen, RowKey
from hil.series import digest_of
from hil.stats.session_noise import SessionNoise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Clocks = Sequence[Mapping[str, float]]


class Level(Frozen):
    """The earlier values of one row.

    Attributes:
        check: id of the row; ``model``, ``precision`` and ``scenario`` are the rest of its key.
        unit: unit of the values; several, joined by "and", if the runs used different ones.
        sessions: the repeated measurements of each earlier pytest run.
        runs: ids of these pytest runs, in the order of ``sessions``.
        newest: when the last of these pytest runs began (ISO 8601).
        methods: digests of the measuring methods, the keys of ``Baseline.methods``.
        machines: the machines that measured the values, as ``machine()`` identifies them.
        doubtful: ids of the pytest runs in which the row was inconclusive.
        noise: the noise between pytest runs, from hil board calibrate or from earlier runs; None for an exact value,
            and if the noise is unknown.
        controls: the control of each of these pytest runs; None for a run without a control.
        settings: digests of the settings in the environments, on which the control depends.
        clocks: the highest clocks of each of these pytest runs, in Hz by part.
        accepted: who accepted this level with hil accept, when and why; None if nobody did.
    """

    check: str
    model: str
    precision: str
    scenario: str = ""
    unit: str
    sessions: tuple[tuple[float, ...], ...]
    runs: tuple[str, ...]
    newest: str
    methods: tuple[str, ...]
    machines: tuple[str, ...]
    doubtful: tuple[str, ...] = ()
    noise: SessionNoise | None = None
    controls: tuple[ControlSummary | None, ...] = ()
    settings: tuple[str, ...] = ()
    clocks: tuple[dict[str, float], ...] = ()
    accepted: str | None = None

    @property
    def key(self) -> RowKey:
        """The key of the row."""
        return (self.check, self.model, self.precision, self.scenario)


class Baseline(Frozen):
    """The levels that the reference ``ref`` selects on one target.

    ``why_not`` is the reason if there are no levels; otherwise empty.
    """

    ref: str
    levels: tuple[Level, ...] = ()
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    why_not: str = ""

    def of(self, key: RowKey) -> Level | None:
        """Return the level of the row ``key``; ``None`` if the baseline does not have this row."""
        return next((level for level in self.levels if level.key == key), None)


NO_SETTING = ("models", "clocks")
"""What an environment records besides settings: the model's files, and the clocks, which heat may have lowered."""

SAME_CLOCK = 0.99
"""A highest clock below this share of another one is really lower, not only rounded."""


def setting(environment: Mapping[str, Any]) -> str:
    """Return the digest of the settings in ``environment`` (all but ``NO_SETTING``), on which the control depends."""
    return digest_of({key: value for key, value in environment.items() if key not in NO_SETTING})


def highest_clocks(environment: Mapping[str, Any]) -> dict[str, float]:
    """Return the highest allowed clock in Hz of each part, such as ``gpu``, whose clock ``environment`` records."""
    parts = environment.get("clocks")
    known = parts.items() if isinstance(parts, dict) else ()
    return {str(part): float(of["max"]) for part, of in known if isinstance(of, dict) and of.get("max")}


def why_clocks_differ(base: Clocks, cand: Clocks, names: tuple[str, str]) -> str:
    """Return as text which part's clock had a lower limit on one side, and what to do; empty if none had.

    ``base`` and ``cand`` have the highest clocks of each session of their side, in Hz by part. Differences below 1 %
    (``SAME_CLOCK``) are ignored. ``names`` are the names of base and candidate, such as ``("latest~1", "latest")``.
    Both sides must have the same setting.
    """
    for part in sorted(set().union(*base, *cand)):
        ours, theirs = ([clocks[part] for clocks in side if part in clocks] for side in (base, cand))
        if not ours or not theirs:
            continue
        pairs = (min(ours), max(theirs), names), (min(theirs), max(ours), names[::-1])
        low, high, (slower, faster) = min(pairs, key=lambda pair: pair[0] / pair[1])
        if low >= SAME_CLOCK * high:
            continue
        low, high = low / 1e6, high / 1e6
        what = f"the {part} clock was limited to {low:.0f} MHz on the side of {slower}, to {high:.0f} MHz on {faster}"
        return f"{what}, in the same power mode: find what limited {slower}, such as heat, and measure both again"
    return ""


def machine(serial: str | None, environment: Mapping[str, Any]) -> str:
    """Return the identity of a machine: its serial number, else its host name, GPU and CPU; empty if unknown.

    A Jetson is identified only by its serial number.
    """
    if serial:
        return f"serial {serial}"
    if not environment.get("hostname") or environment.get("identity"):
        return ""
    accelerator = environment.get("accelerator") or {}
    parts = (environment.get("hostname"), accelerator.get("gpu"), environment.get("cpu_model"))
    return ", ".join(str(part) for part in parts if part)
