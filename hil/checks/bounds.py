"""Compare one metric of an output with its tolerance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hil.checks.tolerances import ANSWER_DEFAULTS
from hil.results import Sense

if TYPE_CHECKING:
    from hil.checks.numbers import Numbers
    from hil.checks.tolerances import Tolerance
    from hil.config.spec import Precision

_SQNR_FULL = 20.0  # decibels of a tenfold amplitude


def bound_of(tolerance: Tolerance, value: float | None, *, identical: bool, near: bool = False) -> dict[str, Any]:
    """Return the facts of one bound as a dict: the metric's value, its limit, and how they compare.

    ``met`` is whether ``value`` is within the tolerance; ``failed`` is whether ``value`` fails the check. ``use`` is
    the share of the tolerance that ``value`` uses; above 1, the tolerance is exceeded. An undefined ``value`` (``None``
    or NaN) fails, unless the outputs are ``identical``.
    """
    defined = value is not None and not math.isnan(value)
    met = identical or (defined and value is not None and tolerance.met(value))
    between = defined and value is not None and tolerance.fail_at is not None and value <= tolerance.fail_at
    return {
        "metric": tolerance.metric,
        "value": value,
        "limit": tolerance.value,
        "fail_at": tolerance.fail_at,
        "sense": tolerance.sense,
        "source": tolerance.source,
        "key": tolerance.key,
        "met": met,
        "failed": not met and not between and not (near and tolerance.key is None),
        "use": 0.0 if identical else _use(tolerance, value) if defined and value is not None else math.inf,
    }


def may_be_rounding(precision: Precision, dtype: str, numbers: Numbers) -> bool:
    """Return whether booleans of an engine that rounds differ in no more elements than answers may.

    A boolean compares a number with a threshold, so that it changes a step early or late where that number is rounded.
    """
    share = numbers.error / max(1, numbers.elements)
    return dtype == "bool" and precision != "fp32" and share <= ANSWER_DEFAULTS["answers"]


def _use(tolerance: Tolerance, value: float) -> float:
    """Return ``value`` as a share of ``tolerance``; above 1 the tolerance is exceeded."""
    if tolerance.metric == "sqnr_db":
        return float(min(10 ** ((tolerance.value - value) / _SQNR_FULL), 1e300))
    used, room = (1 - value, 1 - tolerance.value) if tolerance.sense is Sense.AT_LEAST else (value, tolerance.value)
    if room <= 0:
        return 0.0 if used <= 0 else math.inf
    return max(used, 0.0) / room
