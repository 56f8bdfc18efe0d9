"""What can go wrong, by whose fault, and the exit code that says so.

Every message reads ``what happened: on which target, model or output: what to do next``.
"""

from __future__ import annotations

from enum import IntEnum

from hil.text import joined


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
