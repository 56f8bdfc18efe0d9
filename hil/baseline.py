"""What a run is compared with: earlier values of each row, as plain data. Filled from a history, read by checks."""

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
    """All that ``ref`` stands for on one target; ``why_not`` says why it stands for nothing."""

    ref: str
    levels: tuple[Level, ...] = ()
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    why_not: str = ""

    def of(self, key: RowKey) -> Level | None:
        """The level of a row, if it was measured then."""
        return next((level for level in self.levels if level.key == key), None)


def machine(serial: str | None, environment: Mapping[str, Any]) -> str:
    """Which machine something was measured on: a board by its serial number, any other by host name, GPU and CPU.

    Empty where that is not known: then nobody can say that two are the same one. Without a host name it is not, as all
    machines of one make have the same GPU and CPU; nor is a Jetson without a serial number, as all that were flashed
    from one image have the same host name.
    """
    if serial:
        return f"serial {serial}"
    if not environment.get("hostname") or environment.get("identity"):
        return ""
    accelerator = environment.get("accelerator") or {}
    parts = (environment.get("hostname"), accelerator.get("gpu"), environment.get("cpu_model"))
    return ", ".join(str(part) for part in parts if part)
