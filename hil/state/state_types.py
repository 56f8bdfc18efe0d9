"""Types: the contract on a target's state, one reading of it (by ``hil.agent.machine.state``), and a finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

    from hil.config.spec import TargetSpec

Source = Literal["own", "outside", "noted"]
PLACEHOLDER = "pmic"
"""Prefix of zones that are not sensors: on boards whose power controller has no sensor, they show a constant 100 °C (a
Nano's tegrastats prints ``PMIC@100C`` while all other zones are at 23 °C)."""


@dataclass(frozen=True)
class Contract:
    """The state that the config declares for a target.

    ``clients_declared`` distinguishes an empty ``gpu_clients`` from an absent one. ``start_below`` in °C,
    ``free_memory`` and ``reserve_memory`` in bytes.
    """

    power_mode: str | None = None
    clocks: str = "as-deployed"
    gpu_clients: tuple[str, ...] = ()
    clients_declared: bool = False
    start_below: float | None = None
    free_memory: float | None = None
    reserve_memory: float = 0

    @classmethod
    def of(cls, spec: TargetSpec) -> Self:
        """Return the contract of ``[targets.NAME]``."""
        declared = "gpu_clients" in spec.model_fields_set
        cool, free, reserved = spec.start_below, spec.free_memory, spec.reserve_memory
        return cls(spec.power_mode, spec.clocks, spec.gpu_clients, declared, cool, free, reserved or 0)

    @classmethod
    def read(cls, stored: Any) -> Self:
        """Return the contract that ``plain`` stored; an empty contract for anything else."""
        known = stored if isinstance(stored, Mapping) else {}
        mode, clients = known.get("power_mode"), known.get("gpu_clients")
        return cls(
            None if mode is None else str(mode),
            str(known.get("clocks", "as-deployed")),
            tuple(map(str, clients)) if isinstance(clients, (list, tuple)) else (),
            bool(known.get("clients_declared")),
            number(known.get("start_below")),
            number(known.get("free_memory")),
            number(known.get("reserve_memory")) or 0,
        )

    def plain(self) -> dict[str, Any]:
        """Return the contract as JSON values."""
        return {**asdict(self), "gpu_clients": list(self.gpu_clients)}


@dataclass(frozen=True)
class State:
    """One reading of the state. An unreadable value is ``None`` or missing, with the reason in ``not_readable``.

    Attributes:
        power_mode: the name of the power mode.
        clocks: by part (``gpu``, ``emc``, ``policy0``), each with ``min``, ``max``, ``cur`` in Hz and ``governor``.
        locked: whether the clocks are locked.
        temperature: °C by zone.
        throttle: the throttling state by alert; 0 is inactive.
        over_current: events since boot, by counter.
        gpu_clients: the processes on the GPU.
        swap_used: bytes of swap in use.
        memory_available: bytes of available memory.
        not_readable: the reason by value.
        trips: the lowest temperature (°C) at which the kernel throttles or warns, by zone.
    """

    power_mode: str | None = None
    clocks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    locked: bool | None = None
    temperature: Mapping[str, float] = field(default_factory=dict)
    throttle: Mapping[str, float] = field(default_factory=dict)
    over_current: Mapping[str, float] = field(default_factory=dict)
    gpu_clients: tuple[Mapping[str, Any], ...] | None = None
    swap_used: float | None = None
    memory_available: float | None = None
    not_readable: Mapping[str, str] = field(default_factory=dict)
    trips: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, raw: Any) -> Self:
        """Return the reading that an agent sent; a value of a wrong type counts as unreadable."""
        known = raw if isinstance(raw, Mapping) else {}
        mode, locked, clients = known.get("power_mode"), known.get("locked"), known.get("gpu_clients")
        parts = known.get("clocks")
        listed = (
            [entry for entry in clients if isinstance(entry, Mapping)] if isinstance(clients, (list, tuple)) else None
        )
        reasons = known.get("not_readable")
        return cls(
            power_mode=mode if isinstance(mode, str) and mode else None,
            clocks={str(k): v for k, v in parts.items() if isinstance(v, Mapping)}
            if isinstance(parts, Mapping)
            else {},
            locked=locked if isinstance(locked, bool) else None,
            temperature=_numbers(known.get("temperature")),
            throttle=_numbers(known.get("throttle")),
            over_current=_numbers(known.get("over_current")),
            gpu_clients=None if listed is None else tuple(listed),
            swap_used=number(known.get("swap_used")),
            memory_available=number(known.get("memory_available")),
            not_readable={str(k): str(v) for k, v in reasons.items()} if isinstance(reasons, Mapping) else {},
            trips=_numbers(known.get("trips")),
        )

    def hottest(self) -> tuple[str, float] | None:
        """Return the hottest zone that is a sensor, and its °C; ``None`` if no sensor can be read."""
        real = {zone: t for zone, t in self.temperature.items() if not zone.lower().startswith(PLACEHOLDER)}
        return max(real.items(), key=lambda item: (item[1], item[0]), default=None)

    def why_not(self, name: str) -> str:
        """Return why ``name`` cannot be read, in parentheses after a space; empty if unknown."""
        reason = self.not_readable.get(name)
        return f" ({reason})" if reason else ""


@dataclass(frozen=True)
class Finding:
    """A disturbance, described by ``text``.

    Its ``source`` is ``own`` if the model caused it, ``outside`` if not, and ``noted`` if it is only reported.
    """

    kind: str
    source: Source
    text: str


def number(value: Any) -> float | None:
    """Return ``value`` as a float if it is a finite number, not a bool; otherwise ``None``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if value - value == 0 else None


def numbers(column: Any) -> list[float]:
    """Return the readable numbers of a telemetry column, in order."""
    return [v for v in map(number, column) if v is not None] if isinstance(column, (list, tuple)) else []


def _numbers(table: Any) -> dict[str, float]:
    values = {str(key): number(value) for key, value in table.items()} if isinstance(table, Mapping) else {}
    return {key: value for key, value in values.items() if value is not None}
