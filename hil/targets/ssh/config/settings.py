"""The settings that an SSH config has for one host, as ``ssh -G`` prints them."""

from __future__ import annotations


class ConfigError(Exception):
    """An SSH config cannot be used: ``what`` states why, and ``advice`` what to do."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


class Settings(dict[str, list[str]]):
    """The values of each setting by its name in lower case; most settings have one value."""

    def first(self, *names: str) -> str | None:
        """Return the first value of the first setting in ``names`` that is set.

        Return ``None`` if no setting in ``names`` is set, or if this value is ``none``.
        """
        for name in names:
            if self.get(name):
                value = self[name][0]
                return None if value.lower() == "none" else value
        return None

    def every(self, name: str) -> list[str]:
        """Return all values of the setting ``name`` except ``none``; empty if it is not set."""
        return [value for value in self.get(name, []) if value.lower() != "none"]

    def is_off(self, name: str) -> bool:
        """Return whether the setting ``name`` is set to ``no`` or ``false``."""
        return (self.first(name) or "").lower() in {"no", "false"}

    def is_on(self, name: str) -> bool:
        """Return whether the setting ``name`` is set to ``yes`` or ``true``."""
        return (self.first(name) or "").lower() in {"yes", "true"}
