"""Reading a machine's own files below a root; why one could not be read is kept, never taken for an empty one."""

import os
from typing import Any, Callable, Dict

DEVICE_TREES = ("proc/device-tree", "sys/firmware/devicetree/base")


class NotReadable(Exception):
    """Why a fact is not known."""


class Reader:
    """Reads files below ``root`` and keeps why those that could not be read could not."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.not_readable: Dict[str, str] = {}

    def path(self, name: str) -> str:
        """Where ``name`` is."""
        return os.path.join(self.root, name)

    def content(self, name: str, most: int = 1 << 16) -> bytes:
        """At most ``most`` bytes of a file. Raises ``NotReadable``."""
        try:
            with open(self.path(name), "rb") as file:
                return file.read(most)
        except OSError as error:
            raise NotReadable("/%s: %s" % (name, error.strerror)) from None

    def text(self, name: str) -> str:
        """The text of a file without the NUL and white space that end it. Raises ``NotReadable``."""
        return self.content(name).decode("utf-8", "replace").strip("\0\n\t ")

    def fact(self, name: str, read: Callable[["Reader"], Any]) -> Any:
        """What ``read`` returns, or None with its reason kept under ``name``."""
        try:
            return read(self)
        except NotReadable as problem:
            self.not_readable[name] = str(problem)
        # A file of another shape than ours is one that tells nothing.
        except (OSError, ValueError, KeyError, RecursionError) as error:
            self.not_readable[name] = "%s: %s" % (type(error).__name__, str(error)[:200])
        return None

    def tree(self, name: str) -> bytes:
        """A property of the device tree. Raises ``NotReadable``."""
        folder = next((each for each in DEVICE_TREES if os.path.isdir(self.path(each))), None)
        if folder is None:
            raise NotReadable("there is no device tree (/%s)" % DEVICE_TREES[0])
        return self.content("%s/%s" % (folder, name))
