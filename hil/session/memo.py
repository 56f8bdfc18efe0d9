"""Do work once: a value that several rows need is computed for the first of them, and kept for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from hil.errors import EngineBuildError, HilError, Unsupported, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LASTING = (EngineBuildError, Unsupported, UserError)
"""Errors that a second attempt would only repeat. A lost worker is not one of them."""


class Memo:
    """The results of work that was done, and the errors that a second attempt would only repeat, by key."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, ...], tuple[Any, HilError | None]] = {}

    def once(self, key: tuple[str, ...], work: Callable[[], T], *, lasting: tuple[type[HilError], ...] = LASTING) -> T:
        """Return the result for ``key``: the first call gets it from ``work``, later calls get the same object.

        An error of ``lasting`` is also kept, and raised again by later calls. After any other error the next call calls
        ``work`` again.
        """
        if key not in self._outcomes:
            try:
                self._outcomes[key] = work(), None
            except lasting as error:
                self._outcomes[key] = None, error
        value, failure = self._outcomes[key]
        if failure is not None:
            raise failure
        return cast("T", value)
