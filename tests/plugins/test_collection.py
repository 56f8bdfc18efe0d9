"""Tests are grouped by model, and other failures are named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from hil.fixtures.case import Case
from hil.plugins.collection import by_model

if TYPE_CHECKING:
    import pytest

    from tests.plugins.project import Project


def item(name: str, model: str | None) -> pytest.Item:
    """Return a collected test with a case of ``model``, or without a case."""
    fields: dict[str, object] = {"name": name}
    if model is not None:
        fields["callspec"] = SimpleNamespace(params={"hil_case": Case(model, "fp32")})
    return cast("pytest.Item", SimpleNamespace(**fields))


def names(items: list[pytest.Item]) -> list[str]:
    """Return the tests' names."""
    return [item.name for item in items]


def test_a_model_is_judged_before_the_next() -> None:
    """Tests of one model follow each other in their own order; tests without a case keep their places."""
    items = [item("a1", "a"), item("b1", "b"), item("plain", None), item("a2", "a"), item("b2", "b"), item("a3", "a")]
    by_model(items)
    assert names(items) == ["a1", "a2", "plain", "a3", "b1", "b2"]


@given(st.lists(st.sampled_from([None, "a", "b", "c"])))
def test_no_test_is_lost_or_moved_among_its_own(models: list[str | None]) -> None:
    """No test is lost; each model's tests stay together and in order, and a second call changes nothing."""
    items = [item(str(number), model) for number, model in enumerate(models)]
    by_model(items)
    order = names(items)
    assert sorted(order, key=int) == [str(number) for number in range(len(models))]
    assert all(order[place] == str(place) for place, model in enumerate(models) if model is None)
    kept = [models[int(name)] for name in order if models[int(name)] is not None]
    assert kept == [model for first in dict.fromkeys(kept) for model in kept if model == first]
    for model in set(models):
        numbers = [int(name) for name in order if models[int(name)] == model]
        assert numbers == sorted(numbers)
    by_model(items)
    assert names(items) == order


def test_what_failed_beside_the_checks_is_named_with_its_exception(project: Project) -> None:
    """Other failed tests, and files that cannot be collected, are in the report with the line of their exception."""
    project.add_own_check()
    (project.root / "test_reach.py").write_text("def test_reach(): assert 3 < 2, 'the gripper is 3 mm off'\n")
    (project.root / "test_broken.py").write_text("import nothing_of_this_name\n")
    named = ("test_own.py", "test_reach.py", "test_broken.py")
    ran = project.run(*named, "--target=cpu", "--continue-on-collection-errors")
    assert ran.code != 0, ran.out
    assert ran.report is not None
    failed = {test["test"]: test["message"] for test in ran.report["run"]["failed_tests"]}
    assert "the gripper is 3 mm off" in failed["test_reach.py::test_reach"]
    assert "No module named 'nothing_of_this_name'" in failed["test_broken.py"]
    page = (project.root / "report" / "report.html").read_text(encoding="utf-8")
    assert "the gripper is 3 mm off" in page
    assert "Nothing. Every check" not in page
