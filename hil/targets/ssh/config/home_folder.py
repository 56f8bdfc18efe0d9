"""Finds the home folder whose ``.ssh`` is used: ``$HOME`` if it has one, otherwise, as with OpenSSH, the account's."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def account_home() -> Path:
    """Return the account's home folder in the user database, the only home folder that OpenSSH uses."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path.home()


def home() -> Path:
    """Return the folder that ``~`` stands for: ``$HOME`` if it has a folder ``.ssh``, otherwise the account's home."""
    named = os.environ.get("HOME")
    return Path(named) if named and (Path(named) / ".ssh").is_dir() else account_home()


def with_home(text: str) -> Path:
    """Return ``text`` as a path with ``~`` or ``~user`` expanded. Raises ``ValueError`` for an unknown account."""
    if text == "~" or text.startswith("~/"):
        return home() / text[2:]
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r} is in the home folder of an account that does not exist") from None
