"""The settings that an SSH config has for one host, as ``ssh -G`` prints them."""

from __future__ import annotations


class ConfigError(Exception):
    """An SSH config cannot be used; ``what`` is wrong, and ``advice`` says what to do."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


class Settings(dict[str, list[str]]):
    """The values of each setting by its name in lower case; most settings have one value."""

    def first(self, *names: str) -> str | None:
        """Return the first value of the first of ``names`` that is set; ``None`` if there is none or it is ``none``."""
        for name in names:
            if self.get(name):
                value = self[name][0]
                return None if value.lower() == "none" else value
        return None

    def every(self, name: str) -> list[str]:
        """Return all values of a setting, without ``none``."""
        return [value for value in self.get(name, []) if value.lower() != "none"]

    def is_off(self, name: str) -> bool:
        """Return whether a setting is ``no``; also ``False`` if it is not set."""
        return (self.first(name) or "").lower() in {"no", "false"}

    def is_on(self, name: str) -> bool:
        """Return whether a setting is ``yes``."""
        return (self.first(name) or "").lower() in {"yes", "true"}
