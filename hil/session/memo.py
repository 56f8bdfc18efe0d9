"""Work done once: a value that several rows need is computed for the first and remembered for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from hil.errors import EngineBuildError, HilError, Unsupported, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LASTING = (EngineBuildError, Unsupported, UserError)
"""Errors that a second attempt would only repeat. A lost worker is not one of them."""


class Memo:
    """Results, and errors that would repeat, by key."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, ...], tuple[Any, HilError | None]] = {}

    def once(self, key: tuple[str, ...], work: Callable[[], T]) -> T:
        """Return the result of ``work``, which is called only until it gives a result or a lasting error for ``key``.

        A lasting error is raised again at each later call. After any other error the next call tries again.
        """
        if key not in self._outcomes:
            try:
                self._outcomes[key] = work(), None
            except LASTING as error:
                self._outcomes[key] = None, error
        value, failure = self._outcomes[key]
        if failure is not None:
            raise failure
        return cast("T", value)
