"""The baseline that a run is compared with: earlier values of each row, read from a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from hil.results import Frozen, RowKey

if TYPE_CHECKING:
    from collections.abc import Mapping


class Level(Frozen):
    """The earlier values of one row.

    Attributes:
        check: id, with ``model``, ``precision`` and ``scenario``, of the row that was measured then.
        unit: of all ``sessions``.
        sessions: run values, those of one earlier pytest run together: a session is a block.
        runs: ids of these pytest runs; ``newest`` is when the last of them began (ISO 8601).
        methods: digests of how they were measured; ``Baseline.methods`` has the facts.
        machines: which machines they were measured on (``machine``).
        doubtful: ids of those runs in which the row was inconclusive by itself.
        noise: relative standard deviation between sessions that a calibration learned; None where there was none.
        accepted: by whom, when and why this level was accepted in place of the one asked for.
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
    noise: float | None = None
    accepted: str | None = None

    @property
    def key(self) -> RowKey:
        """The row that was measured."""
        return (self.check, self.model, self.precision, self.scenario)


class Baseline(Frozen):
    """The levels that ``ref`` names on one target; ``why_not`` is the reason if it names none."""

    ref: str
    levels: tuple[Level, ...] = ()
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    why_not: str = ""

    def of(self, key: RowKey) -> Level | None:
        """Return the level of the row ``key``, ``None`` if the baseline does not have it."""
        return next((level for level in self.levels if level.key == key), None)


def machine(serial: str | None, environment: Mapping[str, Any]) -> str:
    """Return the identity of a machine: the serial number of a board, else host name, GPU and CPU.

    Empty if the machine cannot be identified. That is so without a host name, since machines of one model share GPU and
    CPU, and for a Jetson without a serial number, since boards flashed from one image share the host name.
    """
    if serial:
        return f"serial {serial}"
    if not environment.get("hostname") or environment.get("identity"):
        return ""
    accelerator = environment.get("accelerator") or {}
    parts = (environment.get("hostname"), accelerator.get("gpu"), environment.get("cpu_model"))
    return ", ".join(str(part) for part in parts if part)
