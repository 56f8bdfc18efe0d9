"""Work done once: what several rows ask for is computed by the first and remembered for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from hil.errors import EngineBuildError, HilError, Unsupported, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LASTING = (EngineBuildError, Unsupported, UserError)
"""Errors that a second attempt would only repeat; a lost worker is none of them."""


class Memo:
    """Results, and errors that last, by key."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], tuple[Any, HilError | None]] = {}

    def once(self, key: tuple[str, ...], work: Callable[[], T]) -> T:
        """``work()``, or what it gave or raised the first time."""
        if key not in self._kept:
            try:
                self._kept[key] = work(), None
            except LASTING as error:
                self._kept[key] = None, error
        value, failure = self._kept[key]
        if failure is not None:
            raise failure
        return cast("T", value)
