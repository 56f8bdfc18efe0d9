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
        check: id of the row; ``model``, ``precision`` and ``scenario`` are the rest of its key.
        unit: unit of all values in ``sessions``.
        sessions: the values of the runs, grouped by earlier pytest run (session).
        runs: ids of these pytest runs; ``newest`` is when the last of them began (ISO 8601).
        methods: digests of the measuring methods; ``Baseline.methods`` has the facts.
        machines: the identities (``machine``) of the machines that measured the values.
        doubtful: ids of the runs in which the row itself was inconclusive.
        noise: relative standard deviation between sessions, from a calibration; None without one.
        accepted: by whom, when and why this level was accepted instead of the requested one.
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
        """The key of the row."""
        return (self.check, self.model, self.precision, self.scenario)


class Baseline(Frozen):
    """The levels that the reference ``ref`` selects on one target.

    ``why_not`` is the reason if there is no history, or if ``ref`` is not in the history.
    """

    ref: str
    levels: tuple[Level, ...] = ()
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    why_not: str = ""

    def of(self, key: RowKey) -> Level | None:
        """Return the level of the row ``key``; ``None`` if the baseline does not have this row."""
        return next((level for level in self.levels if level.key == key), None)


def machine(serial: str | None, environment: Mapping[str, Any]) -> str:
    """Return the identity of a machine: the serial number of a board, else host name, GPU and CPU.

    Empty without a host name, since machines of one model have the same GPU and CPU. Also empty for a Jetson without a
    serial number, since boards flashed from one image have the same host name.
    """
    if serial:
        return f"serial {serial}"
    if not environment.get("hostname") or environment.get("identity"):
        return ""
    accelerator = environment.get("accelerator") or {}
    parts = (environment.get("hostname"), accelerator.get("gpu"), environment.get("cpu_model"))
    return ", ".join(str(part) for part in parts if part)
