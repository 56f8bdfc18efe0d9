"""The accounts: each planned row has exactly one result, whatever happens to its tests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hil.plan import Plan
from hil.plugins.accounts import WORST_FIRST, Accounts, NodeStates, OwnTest
from hil.results import Cause, CheckResult, Row, TargetUse, Verdict
from hil.session.outcome import Outcome

USE = TargetUse(requested="cpu", used="cpu")
ROWS = tuple(
    Row(
        id=f"parity.{name}",
        model="m",
        precision=precision,
        required=True,
        test=f"test_parity.py::test_{name}[m-{precision}]",
    )
    for name in ("data", "outputs")
    for precision in ("fp32", "int8")
)
JUDGED = [verdict for verdict in Verdict if verdict is not Verdict.NOT_RUN]


def _outcome(row: Row, verdict: Verdict, reason: str = "because") -> Outcome:
    cause = Cause.CRASHED if verdict is Verdict.NOT_RUN else None
    return Outcome(
        result=CheckResult(
            id=row.id,
            model=row.model,
            precision=row.precision,
            scenario=row.scenario,
            required=False,
            verdict=verdict,
            reason=reason,
            cause=cause,
            target=USE,
        )
    )


@given(st.lists(st.tuples(st.sampled_from(ROWS), st.sampled_from(list(Verdict)), st.booleans())))
def test_planned_rows_and_results_stay_one_to_one(entries: list[tuple[Row, Verdict, bool]]) -> None:
    """After any results, reruns and foreign tests, each planned row has one result, none better than its worst."""
    accounts = Accounts(Plan("cpu", ROWS))
    for row, verdict, stranger in entries:
        accounts.enter("other.py::test" if stranger else f"suites/{row.test}", _outcome(row, verdict), own=False)
    results = accounts.close(NodeStates(), USE)
    assert [result.key for result in results] == [row.key for row in ROWS]
    for row, result in zip(ROWS, results, strict=True):
        attempts = [(verdict, stranger) for entered, verdict, stranger in entries if entered is row]
        worst = min((WORST_FIRST.index(verdict) for verdict, _ in attempts), default=WORST_FIRST.index(Verdict.NOT_RUN))
        assert WORST_FIRST.index(result.verdict) <= worst
        if len({stranger for _, stranger in attempts}) == 2:
            assert result.verdict is Verdict.FAILED
        assert result.required


def test_a_result_without_a_row_is_rejected() -> None:
    """A result that was not planned is not judged but recorded as rejected."""
    accounts = Accounts(Plan("cpu", ROWS))
    stranger = Row(id="parity.magic", model="m", precision="fp32", required=False)
    accounts.enter("test_x.py::test_x", _outcome(stranger, Verdict.PASSED), own=False)
    assert [result.verdict for result in accounts.close(NodeStates(), USE)] == [Verdict.NOT_RUN] * len(ROWS)
    assert accounts.rejected[0].id == "parity.magic"


def test_a_users_own_result_adds_a_required_row() -> None:
    """An own check's result adds a row, which is required."""
    accounts = Accounts(Plan("cpu", ()))
    own = Row(id="grasp.error", required=True)
    accounts.enter("test_x.py::test_x", _outcome(own, Verdict.FAILED), own=True)
    (result,) = accounts.close(NodeStates(), USE)
    assert (result.id, result.verdict, result.required) == ("grasp.error", Verdict.FAILED, True)


def test_a_missing_result_has_its_cause() -> None:
    """The cause of a missing result is the first one that applies, in a fixed order."""
    row = ROWS[0]
    node = f"suites/{row.test}"
    cases = [
        (NodeStates(crashed={node}, selected={node}), Cause.CRASHED),
        (NodeStates(out_of_scope={"m"}), Cause.OUT_OF_SCOPE),
        (NodeStates(deselected={node}), Cause.DESELECTED),
        (NodeStates(selected={node}, finished={node}), Cause.NO_RESULT),
        (NodeStates(selected={node}, finished={node}, problem="the board is gone"), Cause.STOPPED),
        (NodeStates(selected={node}), Cause.STOPPED),
        (NodeStates(selected={f"suites/x{row.test}"}), Cause.NOT_COLLECTED),
    ]
    for states, cause in cases:
        assert states.cause_of(row)[0] is cause


def test_a_listed_check_ends_with_one_result() -> None:
    """A listed own check without a result is ``not_run`` with the cause, and its test has no second row."""
    listed = Row(id="grasp.error", required=True, test="t.py::test_grasp")
    own_test = OwnTest("t.py::test_grasp")
    for states, cause in (
        (NodeStates(deselected={listed.test}, own={own_test.nodeid: own_test}), Cause.DESELECTED),
        (NodeStates(selected={listed.test}, own={own_test.nodeid: own_test}), Cause.STOPPED),
        (NodeStates(), Cause.NOT_COLLECTED),
        (NodeStates(own={"t.py::test_new": OwnTest("t.py::test_new", why="no case")}), Cause.NOT_COLLECTED),
    ):
        first, *more = Accounts(Plan("cpu", (), own=(listed,), own_tests=frozenset({listed.test}))).close(states, USE)
        assert (first.id, first.verdict, first.cause, first.required) == (listed.id, Verdict.NOT_RUN, cause, True)
        assert first.test == listed.test
        assert [row.id for row in more] == (["test.test_new"] if "t.py::test_new" in states.own else [])
    accounts = Accounts(Plan("cpu", (), own=(listed,)))
    accounts.enter("t.py::test_renamed", _outcome(listed, Verdict.PASSED), own=True)
    (result,) = accounts.close(NodeStates(), USE)
    assert (result.verdict, result.test) == (Verdict.PASSED, "t.py::test_renamed")


@given(st.sets(st.sampled_from(ROWS)), st.sampled_from(list(Verdict)))
def test_a_void_attempt_leaves_nothing_in_the_accounts(lost: set[Row], verdict: Verdict) -> None:
    """Results of tests whose board was lost are returned and no longer count; the other rows keep their results."""
    accounts, states = Accounts(Plan("cpu", ROWS)), NodeStates()
    for row in ROWS:
        accounts.enter(f"suites/{row.test}", _outcome(row, verdict), own=False)
    tests = {f"suites/{row.test}" for row in lost}
    assert {result.key for result in accounts.void(tests)} == {row.key for row in lost}
    states.lost = dict.fromkeys(tests, "the board is gone")
    for row, result in zip(ROWS, accounts.close(states, USE), strict=True):
        gone = (Verdict.NOT_RUN, Cause.STOPPED, "the board is gone")
        kept = (verdict, Cause.CRASHED if verdict is Verdict.NOT_RUN else None, "because")
        assert (result.verdict, result.cause, result.reason) == (gone if row in lost else kept)
    for row in lost:  # the second attempt is not "judged twice"
        accounts.enter(f"suites/{row.test}", _outcome(row, Verdict.PASSED), own=False)
    assert not accounts.rejected
