"""What the amendments may need to know about a row, gathered before the first of them is applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from hil.config.spec import Precision, TolerancesSpec
    from hil.results import Evidence, ExecutedOn
    from hil.state import Finding
    from hil.stats.control import ControlSeries


@dataclass(frozen=True)
class RunValues:
    """The values of a row in separate runs, each in a fresh process; the unit is that of the row's measurement.

    ``details`` describes the runs for the report. ``findings`` are the disturbances of all runs. ``controls`` has the
    control of each run, ``None`` if it was not timed.
    """

    values: tuple[float, ...]
    details: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = ()
    controls: tuple[ControlSeries | None, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """The outcome of a search for the node at fault, or for a shape that the model's own file declares wrongly.

    ``details`` are added to the row's details. ``sentence`` is added to the row's reason; it is empty if nothing was
    identified.
    """

    details: Mapping[str, Any]
    sentence: str = ""


@dataclass(frozen=True)
class Tolerances:
    """The tolerances that a row is judged by.

    ``table`` is the model's table in ``hil.toml``, at the place ``where``; ``None`` if only the defaults apply.
    ``dtypes`` maps each output to the name of its type. ``answered`` are the outputs whose answers are compared.
    """

    precision: Precision
    table: TolerancesSpec | None
    dtypes: Mapping[str, str]
    where: str
    answered: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Facts:
    """All facts about one row that an amendment may use.

    Attributes:
        details: details to add to the judgement.
        runs: the values of separate runs.
        findings: the disturbances of the row's own measurement; ``runs`` has those of separate runs.
        controls: the controls that were timed beside the row's own series; ``runs`` has those of separate runs.
        slowest_nodes: the slowest nodes of the engine; ``None`` if it was not profiled.
        diagnosis: the diagnosis of the difference between engine and reference that the row's check detected.
        saturating_sums: whether the engine's sums of 8-bit products may saturate on the target's processor.
        foreign_engine: the file of the row's engine if it was built elsewhere.
        tolerances: the tolerances of the row.
        today: the date in UTC; without it nothing expires.
        evidence: the row's evidence.
        executed_on: what executed the engine.
    """

    details: Mapping[str, Any] = field(default_factory=dict)
    runs: RunValues | None = None
    findings: tuple[Finding, ...] = ()
    controls: tuple[ControlSeries | None, ...] = ()
    slowest_nodes: Sequence[Mapping[str, Any]] | None = None
    diagnosis: Diagnosis | None = None
    saturating_sums: bool = False
    foreign_engine: str | None = None
    tolerances: Tolerances | None = None
    today: date | None = None
    evidence: Evidence | None = None
    executed_on: ExecutedOn | None = None
