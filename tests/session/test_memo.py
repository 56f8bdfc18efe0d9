from __future__ import annotations

from typing import NoReturn

import pytest

from hil.errors import EngineBuildError, HilError, LabError, Unsupported, UserError, WorkerLost
from hil.session.memo import Memo


def test_work_is_done_once_for_each_key() -> None:
    """Only the first request for a key does the work; a result of ``None`` is remembered too."""
    memo, done = Memo(), []
    for key in (("a",), ("a",), ("a", "b"), ("a",)):
        assert memo.once(key, lambda key=key: done.append(key)) is None  # type: ignore[misc]  # mypy infers no default
    assert done == [("a",), ("a", "b")]


@pytest.mark.parametrize(
    ("kind", "times"), [(EngineBuildError, 1), (Unsupported, 1), (UserError, 1), (WorkerLost, 2), (LabError, 2)]
)
def test_a_permanent_error_is_remembered(kind: type[HilError], times: int) -> None:
    """A build error, an unsupported request and a user's mistake are not retried; a lost worker or a lab error is."""
    memo, attempts = Memo(), []

    def work() -> NoReturn:
        attempts.append(1)
        raise kind("permanent")

    for _ in range(2):
        with pytest.raises(kind, match="permanent"):
            memo.once(("k",), work)
    assert len(attempts) == times


def test_a_lost_worker_is_remembered_where_that_is_asked_for() -> None:
    """With ``lasting``, exactly these kinds of errors are remembered."""
    memo, attempts = Memo(), []

    def work() -> NoReturn:
        attempts.append(1)
        raise WorkerLost("killed by SIGSEGV")

    for _ in range(2):
        with pytest.raises(WorkerLost, match="SIGSEGV"):
            memo.once(("k",), work, lasting=(WorkerLost,))
    assert len(attempts) == 1


def test_an_unexpected_exception_is_not_remembered() -> None:
    """An unexpected exception propagates, and the next request does the work again."""
    memo = Memo()
    with pytest.raises(ZeroDivisionError):
        memo.once(("k",), lambda: 1 // 0)
    assert memo.once(("k",), lambda: 5) == 5
