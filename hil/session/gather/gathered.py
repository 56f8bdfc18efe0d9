"""The result of gathering for one row: a judgement, its method, and the facts that may amend it."""

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

    ``method`` must be plain JSON: two measurements can be compared if the digests of their methods are equal.
    """

    judgement: Judgement
    method: Mapping[str, Any]
    facts: Facts = field(default_factory=Facts)
