"""Decides the exit code of a run from recorded facts alone."""

from __future__ import annotations

from dataclasses import dataclass

from hil.errors import ExitCode

INTERRUPTED, INTERNAL_ERROR, NOTHING_COLLECTED, MAX_WARNINGS = 2, 3, 5, 6
"""pytest's own exit codes, which ``hil`` returns unchanged; ``NOTHING_COLLECTED`` only if no check was planned."""
PRECEDENCE: tuple[int, ...] = (
    INTERNAL_ERROR,
    INTERRUPTED,
    ExitCode.USER_ERROR,
    ExitCode.LAB_ERROR,
    ExitCode.FAILED,
    ExitCode.OTHER_TARGET,
    MAX_WARNINGS,
    NOTHING_COLLECTED,
)


@dataclass(frozen=True)
class Facts:
    """The facts that decide an exit code.

    Attributes:
        pytest_status: pytest's exit status; ``None`` if pytest did not run.
        planned: number of planned checks.
        user_error, lab_error: whether such an error ended the run.
        failed: whether a violated rule has the exit code ``FAILED``.
        other_target: whether a violated rule has the exit code ``OTHER_TARGET``.
    """

    pytest_status: int | None
    planned: int
    user_error: bool
    lab_error: bool
    failed: bool
    other_target: bool


def exit_code(facts: Facts) -> int:
    """Return the first code in ``PRECEDENCE`` that applies; 0 if none does."""
    applies = _of_pytest(facts)
    if facts.user_error:
        applies.add(ExitCode.USER_ERROR)
    if facts.lab_error:
        applies.add(ExitCode.LAB_ERROR)
    # With nothing planned and nothing collected, nothing can have failed: pytest's code 5 stands.
    if facts.failed and applies != {NOTHING_COLLECTED}:
        applies.add(ExitCode.FAILED)
    if facts.other_target:
        applies.add(ExitCode.OTHER_TARGET)
    return next((int(code) for code in PRECEDENCE if code in applies), int(ExitCode.PASSED))


def _of_pytest(facts: Facts) -> set[int]:
    status = facts.pytest_status
    if status is None or status == 0:
        return set()
    if status == NOTHING_COLLECTED and facts.planned:
        return {ExitCode.FAILED}
    return {status if status in PRECEDENCE else int(ExitCode.FAILED)}
