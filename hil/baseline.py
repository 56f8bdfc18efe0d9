"""Define the baseline that a run is compared with: earlier values of each row, read from a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from hil.results import ControlSummary, Frozen, RowKey
from hil.series import digest_of
from hil.stats.session_noise import SessionNoise

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        noise: the noise between pytest runs, from hil board calibrate or from earlier runs; None for an exact value.
        controls: the control of each of these pytest runs; None without one.
        settings: digests of the environments without the model's files, on which the control depends.
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
    accepted: str | None = None

    @property
    def key(self) -> RowKey:
        """The key of the row."""
        return (self.check, self.model, self.precision, self.scenario)


class Baseline(Frozen):
    """The levels that the reference ``ref`` selects on one target.

    If there is no history, or ``ref`` is not in it, ``levels`` is empty and ``why_not`` is the reason. Otherwise
    ``why_not`` is empty.
    """

    ref: str
    levels: tuple[Level, ...] = ()
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    why_not: str = ""

    def of(self, key: RowKey) -> Level | None:
        """Return the level of the row ``key``; ``None`` if the baseline does not have this row."""
        return next((level for level in self.levels if level.key == key), None)


def setting(environment: Mapping[str, Any]) -> str:
    """Return the digest of what ``environment`` records except the model's files: what the control depends on."""
    return digest_of({key: value for key, value in environment.items() if key != "models"})


def machine(serial: str | None, environment: Mapping[str, Any]) -> str:
    """Return the identity of a machine: its serial number, else its host name, GPU and CPU; empty if it has none.

    A Jetson is identified only by its serial number, because boards flashed from one image share their host name.
    """
    if serial:
        return f"serial {serial}"
    if not environment.get("hostname") or environment.get("identity"):
        return ""
    accelerator = environment.get("accelerator") or {}
    parts = (environment.get("hostname"), accelerator.get("gpu"), environment.get("cpu_model"))
    return ", ".join(str(part) for part in parts if part)
