"""Define what gathering returns for one row: a judgement, the method of measurement, and facts for amendments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.session.amendments.row_facts import Facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.results import Judgement


@dataclass(frozen=True)
class Gathered:
    """The judgement of a check before any amendment, the method of its measurement, and the facts gathered with it.

    ``method`` must be plain JSON. Only measurements with equal methods are compared.
    """

    judgement: Judgement
    method: Mapping[str, Any]
    facts: Facts = field(default_factory=Facts)
