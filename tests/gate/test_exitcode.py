from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from hil.errors import ExitCode
from hil.gate.exitcode import PRECEDENCE, Facts, exit_code

GOOD = Facts(pytest_status=0, planned=12, user_error=False, lab_error=False, failed=False, other_target=False)
STATUSES = (None, 0, 1, 2, 3, 4, 5, 6, 10, 11, -1, 77, 10**30)
ALL = tuple(
    Facts(status, planned, *flags)
    for status in STATUSES
    for planned in (0, 1, 90)
    for flags in itertools.product((False, True), repeat=4)
)


def test_only_good_facts_give_zero() -> None:
    """Exit code 0 requires that every fact is good, in all combinations."""
    for facts in ALL:
        good = facts.pytest_status in (None, 0) and not (
            facts.user_error or facts.lab_error or facts.failed or facts.other_target
        )
        assert (exit_code(facts) == 0) is good, facts


def test_codes_are_known() -> None:
    """Only documented codes are returned, whatever pytest's status is."""
    assert {exit_code(facts) for facts in ALL} <= {0, *map(int, PRECEDENCE)}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"pytest_status": 1}, 1),
        ({"pytest_status": 2}, 2),
        ({"pytest_status": 3}, 3),
        ({"pytest_status": 4}, 4),
        ({"pytest_status": 5}, 1),
        ({"pytest_status": 5, "planned": 0}, 5),
        ({"pytest_status": 5, "planned": 0, "failed": True}, 5),
        ({"pytest_status": 6}, 6),
        ({"pytest_status": 77}, 1),
        ({"failed": True}, 1),
        ({"other_target": True}, 10),
        ({"lab_error": True}, 11),
        ({"user_error": True}, 4),
        ({"failed": True, "other_target": True}, 1),
        ({"failed": True, "lab_error": True}, 11),
        ({"pytest_status": 6, "other_target": True}, 10),
    ],
)
def test_each_fact_has_its_code(changes: dict[str, Any], code: int) -> None:
    """Each fact of a run gives its own exit code; of several facts, the one of higher precedence decides."""
    assert exit_code(dataclasses.replace(GOOD, **changes)) == code


def test_the_first_that_applies_wins() -> None:
    """An additional fact never gives a code of lower precedence."""
    ours = {"user_error": ExitCode.USER_ERROR, "lab_error": ExitCode.LAB_ERROR, "other_target": ExitCode.OTHER_TARGET}
    for facts, (name, code) in itertools.product(ALL, ours.items()):
        after = exit_code(dataclasses.replace(facts, **{name: True}))
        assert PRECEDENCE.index(after) <= PRECEDENCE.index(code)


def test_order_is_that_of_the_design() -> None:
    """The precedence is 3, 2, 4, 11, 1, 10; pytest's other codes come last."""
    assert [int(code) for code in PRECEDENCE] == [3, 2, 4, 11, 1, 10, 6, 5]
