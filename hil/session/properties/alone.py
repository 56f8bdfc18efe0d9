"""Hypothesis at work by itself: it reads no source of the user's, and leaves nothing in the working directory."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


@contextmanager
def alone() -> Iterator[None]:
    """What is drawn while it lasts follows from strategies and settings, whatever else is imported."""
    from hypothesis import configuration

    before = vars(configuration).get("__hypothesis_home_directory")  # it has no way to ask
    with ExitStack() as ends:
        configuration.set_hypothesis_home_dir(ends.enter_context(tempfile.TemporaryDirectory()))
        ends.callback(configuration.set_hypothesis_home_dir, before)
        # Newer ones also draw constants out of the source of each module that is not installed, which they have to read
        # and parse first; nothing switches that off. The oldest allowed have neither the module nor the names, and
        # one that has other names draws as before: a test tells.
        providers = sys.modules.get("hypothesis.internal.conjecture.providers")
        known = {} if providers is None else vars(providers)
        if providers is not None and {"_get_local_constants", "Constants", "CONSTANTS_CACHE"} <= set(known):
            ends.enter_context(_swapped(providers, "_get_local_constants", known["Constants"]))
            ends.enter_context(_swapped(providers, "CONSTANTS_CACHE", type(known["CONSTANTS_CACHE"])(64)))
        yield


@contextmanager
def _swapped(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    before = vars(module)[name]
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
