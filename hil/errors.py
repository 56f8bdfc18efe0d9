"""Define the errors that hil reports to the user, grouped by who can fix them, and their exit codes.

Every message has the form ``what happened: on which target, model or output: what to do next``.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING

from hil.text import joined

if TYPE_CHECKING:
    from collections.abc import Iterable

SIMILARITY = 0.6
"""The least ratio of ``difflib`` at which a name counts as a misspelling of another; difflib's own default."""

LISTED = 12
"""The maximum number of names in a message that lists the candidates."""


class ExitCode(IntEnum):
    """Exit codes of ``pytest --target`` and ``hil``. Codes 2, 3, 5 and 6 are pytest's own."""

    PASSED = 0
    FAILED = 1
    USER_ERROR = 4
    OTHER_TARGET = 10
    LAB_ERROR = 11


class HilError(Exception):
    """Base class of all expected errors. ``exit_code`` is the exit code of the command."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: object = "", *lines: object) -> None:
        """Create the error from ``message`` and further ``lines``, with unsafe characters in them escaped."""
        super().__init__("\n".join(joined(str(line)) for line in (message, *lines)))


class UserError(HilError):
    """A mistake of the user: in the config, data set, model file or command line."""

    exit_code = ExitCode.USER_ERROR


class ReportRefused(UserError):
    """A report was damaged or edited: its parts contradict each other. Such a report never passes."""

    exit_code = ExitCode.FAILED


class AttestationRefused(UserError):
    """A signed report is refused: wrong key, wrong file, edited, too old, or failed. It never counts as passed."""

    exit_code = ExitCode.FAILED


class DeployRefused(HilError):
    """An engine must not run on the robot, or a deployed release was not healthy there and was rolled back."""


class LabError(HilError):
    """The target or the lab failed: unreachable, lost, held by another user, disk full."""

    exit_code = ExitCode.LAB_ERROR


class TargetUnreachable(LabError):
    """The target cannot be reached. Only after this error may a run use the CPU as its fallback."""


class TargetHeld(LabError):
    """Another user holds the target. The message states who, from which machine and since when."""


class Unsupported(HilError):
    """The runtime does not support what was requested. The row becomes ``not_run`` with this reason."""


class EngineError(HilError):
    """The engine refused the input or failed during execution. Its worker keeps running."""


class WorkerLost(HilError):
    """A worker process died or exceeded its deadline. The next check gets a new worker process."""


class EngineBuildError(HilError):
    """The runtime could not build or load the engine. The message contains the runtime's own error text."""


class CalibrationError(EngineBuildError):
    """The user's data or settings cannot be used for calibration. The engines of other rows can still be built."""

    exit_code = ExitCode.USER_ERROR


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most similar to ``word``, ignoring case; ``None`` if none is similar."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    matches = get_close_matches(word.casefold(), by_folded, n=1, cutoff=SIMILARITY)
    return by_folded[matches[0]] if matches else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return the end of a message about the unknown name ``word``.

    It names the most similar candidate or, if none is similar, the first ``LISTED`` candidates. The text begins with
    ``": "``; it is empty if there are no candidates.
    """
    names = list(candidates)
    similar = nearest(word, names)
    if similar is not None:
        return f": did you mean {similar!r}?"
    if not names:
        return ""
    more = ", …" if len(names) > LISTED else ""
    return f": there is {', '.join(names[:LISTED])}{more}"
