"""``by_model``: tests are grouped by model, so that one model is judged completely before the next."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from hil.fixtures.case import Case
from hil.plugins.collection import by_model

if TYPE_CHECKING:
    import pytest


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
    """The same tests remain, each model's in their order and together, and a second call changes nothing."""
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
