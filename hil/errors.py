"""What can go wrong, by whose fault, and the exit code that says so.

Every message reads ``what happened: on which target, model or output: what to do next``.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING

from hil.text import joined

if TYPE_CHECKING:
    from collections.abc import Iterable

SIMILARITY = 0.6
"""difflib's ratio from which a name counts as a slip of the other; its own default."""

LISTED = 12
"""Names listed at most where none is near."""


class ExitCode(IntEnum):
    """Exit codes of ``pytest --target`` and ``hil``; 2, 3, 5 and 6 stay pytest's own."""

    PASSED = 0
    FAILED = 1
    USER_ERROR = 4
    OTHER_TARGET = 10
    LAB_ERROR = 11


class HilError(Exception):
    """Root of all foreseeable errors; ``exit_code`` is what the command line returns."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: object = "", *lines: object) -> None:
        """``message`` and further ``lines`` may repeat what a model, a board or a tool wrote: they are made safe."""
        super().__init__("\n".join(joined(str(line)) for line in (message, *lines)))


class UserError(HilError):
    """The user's mistake: config, data set, model file, command line."""

    exit_code = ExitCode.USER_ERROR


class ReportRefused(UserError):
    """A report that was damaged or edited: its parts contradict each other; never a pass."""

    exit_code = ExitCode.FAILED


class AttestationRefused(UserError):
    """A signed report that is not what it must be: another key, another file, edited, too old; never a pass."""

    exit_code = ExitCode.FAILED


class DeployRefused(HilError):
    """An engine must not run on that robot, or what was deployed did not get healthy there and was taken back."""


class LabError(HilError):
    """The target or the lab failed: unreachable, lost, held by somebody, disk full."""

    exit_code = ExitCode.LAB_ERROR


class TargetUnreachable(LabError):
    """The target could not be had; the only error that a fallback may answer."""


class TargetHeld(LabError):
    """Somebody else holds the target; the message names who, from where, since when."""


class Unsupported(HilError):
    """The runtime cannot do what was asked; the row becomes ``not_run`` with this reason."""


class EngineError(HilError):
    """The engine refused the input or failed to run; its worker lives on."""


class WorkerLost(HilError):
    """A worker died or overran its deadline; the next check gets a fresh one."""


class EngineBuildError(HilError):
    """The runtime could not build or load the engine; carries the runtime's own words."""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``word``, upper and lower case aside, or ``None`` if none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    found = get_close_matches(word.casefold(), by_folded, n=1, cutoff=SIMILARITY)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``": did you mean 'limits'?"``, or what there is to choose from, or nothing if there is nothing."""
    names = list(candidates)
    found = nearest(word, names)
    if found is not None:
        return f": did you mean {found!r}?"
    if not names:
        return ""
    more = ", …" if len(names) > LISTED else ""
    return f": there is {', '.join(names[:LISTED])}{more}"
