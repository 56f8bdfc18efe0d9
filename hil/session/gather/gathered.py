"""What gathering for a row gives: its judgement and the method by which its measurement was taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.results import Judgement


@dataclass(frozen=True)
class Gathered:
    """``method`` must be plain JSON: its digest is what makes two measurements comparable."""

    judgement: Judgement
    method: Mapping[str, Any]
