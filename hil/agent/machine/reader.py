"""Read a machine's own files below a root; an unreadable file yields a reason, never an empty value."""

import os
from typing import Any, Callable, Dict

DEVICE_TREES = ("proc/device-tree", "sys/firmware/devicetree/base")


class NotReadable(Exception):
    """A fact cannot be read; the message is the reason."""


class Reader:
    """Reads facts from files below ``root``; ``not_readable`` has the reasons for facts that could not be read."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.not_readable: Dict[str, str] = {}

    def path(self, name: str) -> str:
        """Return the path of ``name`` below the root."""
        return os.path.join(self.root, name)

    def content(self, name: str, most: int = 1 << 16) -> bytes:
        """Return at most ``most`` bytes of the file ``name`` below the root. Raise ``NotReadable`` if this fails."""
        try:
            with open(self.path(name), "rb") as file:
                return file.read(most)
        except OSError as error:
            raise NotReadable("/%s: %s" % (name, error.strerror)) from None

    def text(self, name: str) -> str:
        """Return a file's text without NULs and white space at both ends. Raise ``NotReadable`` as ``content`` does."""
        return self.content(name).decode("utf-8", "replace").strip("\0\n\t ")

    def fact(self, name: str, read: Callable[["Reader"], Any]) -> Any:
        """Return ``read(self)``; if it fails, record the reason in ``not_readable[name]`` and return None."""
        try:
            return read(self)
        except NotReadable as problem:
            self.not_readable[name] = str(problem)
        # A file of an unknown format counts as unreadable.
        except (OSError, ValueError, KeyError, RecursionError) as error:
            self.not_readable[name] = "%s: %s" % (type(error).__name__, str(error)[:200])
        return None

    def tree(self, name: str) -> bytes:
        """Return a property of the device tree. Raise ``NotReadable`` if there is none."""
        folder = next((place for place in DEVICE_TREES if os.path.isdir(self.path(place))), None)
        if folder is None:
            raise NotReadable("there is no device tree (/%s)" % DEVICE_TREES[0])
        return self.content("%s/%s" % (folder, name))
