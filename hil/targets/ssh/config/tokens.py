"""Expands the tokens (``%h``) and environment variables (``${NAME}``) in values of an SSH config."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE = re.compile(r"%(.?)|\$\{([^}]*)(\}?)", re.DOTALL)
PERCENT = re.compile(r"%(.?)()()", re.DOTALL)


def expanded(text: str, tokens: Mapping[str, str], *, variables: bool = True) -> str:
    """Return ``text`` with its tokens replaced and, if ``variables`` is true, its environment variables, in one pass.

    ``tokens`` maps the letter of each token (``h`` for ``%h``) to its value. Raise ``ValueError`` for any other token
    and for a variable that is not set.
    """

    def value(place: re.Match[str]) -> str:
        if place[1] is not None:
            if place[1] == "%":
                return "%"
            if place[1] in tokens:
                return tokens[place[1]]
            raise ValueError(f"{text!r} has the unknown token {place[0]!r}")
        if not place[3] or place[2] not in os.environ:
            raise ValueError(f"{text!r} has {place[0]!r}, but no such environment variable is set")
        return os.environ[place[2]]

    return (PLACE if variables else PERCENT).sub(value, text)
