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


@dataclass(frozen=True)
class RunValues:
    """The values of separate runs of the same row, each in a fresh process, in the unit of the row's measurement.

    ``details`` describes the runs in the report; ``None`` adds no description. ``findings`` are the disturbances of
    all runs.
    """

    values: tuple[float, ...]
    details: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """The outcome of diagnosing the node at fault: ``details`` for the report, ``sentence`` for the reason."""

    details: Mapping[str, Any]
    sentence: str = ""


@dataclass(frozen=True)
class Tolerances:
    """The tolerances that a row is judged by.

    ``table`` is the table in ``hil.toml`` for the model and precision, at the place ``where``; ``None`` if only the
    defaults apply. ``exact`` maps each output to true if its values are integers or booleans.
    """

    precision: Precision
    table: TolerancesSpec | None
    exact: Mapping[str, bool]
    where: str


@dataclass(frozen=True)
class Facts:
    """All facts about one row that an amendment may use. A default means that there is nothing to amend.

    ``findings`` are the disturbances of the row's own measurement. ``slowest_nodes`` is ``None`` if no profile was
    taken. ``foreign_engine`` is the file of an engine that was built elsewhere. ``today`` is in UTC.
    """

    details: Mapping[str, Any] = field(default_factory=dict)
    runs: RunValues | None = None
    findings: tuple[Finding, ...] = ()
    slowest_nodes: Sequence[Mapping[str, Any]] | None = None
    diagnosis: Diagnosis | None = None
    foreign_engine: str | None = None
    tolerances: Tolerances | None = None
    today: date | None = None
    evidence: Evidence | None = None
    executed_on: ExecutedOn | None = None
