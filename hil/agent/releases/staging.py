"""Stage a release: assemble it on the robot from verified blobs, so that it appears only when it is complete."""

import hashlib
import os
import shutil
from typing import Any, Callable, List, Tuple

from ..failure import RELEASE, STORE, STORE_FULL, Failure
from . import manifest
from .manifest import Entry
from .releases import CHUNK, Releases, sync

SPARE = 1 << 20  # bytes that must stay free after staging: for links, marks and the journal
STAGING = ".staging"


class Staging:
    """Stages releases in ``folder``."""

    def __init__(self, folder: Releases) -> None:
        self.folder = folder

    def stage(self, digest: str, blob: Callable[[str], str]) -> bool:
        """Make release ``digest`` the newest in the folder, and return whether it was staged.

        An undamaged release that is there already is not staged again. ``blob`` returns the path of a verified blob by
        its SHA-256. Raise ``Failure`` if the manifest is invalid, the disk is too small, or a file does not match the
        manifest.
        """
        with open(blob(digest), "rb") as file:
            content = file.read(manifest.LARGEST + 1)
        listed = manifest.entries(manifest.parse(content))
        place = self.folder.path("releases", digest)
        with self.folder.file_errors():
            if os.path.isdir(place) and not self.folder.damage(digest):
                self.folder.newest(place)
                return False
            self._check_space(sum(entry.size for entry in listed))
            staging = self.folder.path("releases", STAGING)
            shutil.rmtree(staging, ignore_errors=True)
            try:
                os.mkdir(staging)
                self._fill(staging, listed, content, blob)
                self._install(staging, place, listed)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            damage = self.folder.damage(digest)
            if damage:
                what = "release %.12s is damaged right after it was staged: %s" % (digest, damage)
                raise Failure(STORE, what, "check the robot's disk")
            self.folder.newest(place)
            return True

    def _check_space(self, size: int) -> None:
        free = shutil.disk_usage(self.folder.root).free
        if size + SPARE > free:
            what = "the release needs %d MiB, but %s has %d MiB free" % (size >> 20, self.folder.root, free >> 20)
            raise Failure(STORE_FULL, what, "free space there, or keep fewer releases")

    def _fill(self, staging: str, listed: List[Entry], content: bytes, blob: Callable[[str], str]) -> None:
        for entry in listed:
            place = os.path.join(staging, entry.path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(blob(entry.sha256), "rb") as source:
                copied = self._copy(source, place)
            if copied != (entry.sha256, entry.size):
                raise Failure(RELEASE, "%s does not match the manifest" % entry.path, manifest.ADVICE)
        with open(os.path.join(staging, manifest.NAME), "xb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        for folder, _, _ in os.walk(staging):
            os.chmod(folder, 0o755)  # noqa: S103 - the service may be another user
            sync(folder)

    def _copy(self, source: Any, place: str) -> Tuple[str, int]:
        """Copy ``source`` to a new file, fsync it, and return the digest and size (bytes) of what was written."""
        state, size = hashlib.sha256(), 0
        with open(place, "xb") as target:  # "x": never through a link, never into an existing file
            while True:
                piece = source.read(CHUNK)
                if not piece:
                    break
                target.write(piece)
                state.update(piece)
                size += len(piece)
                self.folder.beat()
            target.flush()
            os.fchmod(target.fileno(), 0o644)
            os.fsync(target.fileno())
        return state.hexdigest(), size

    def _install(self, staging: str, place: str, listed: List[Entry]) -> None:
        """Move the staged release to ``place``, or replace the files of a damaged release there one by one."""
        if not os.path.isdir(place):
            os.rename(staging, place)
            sync(self.folder.path("releases"))
            return
        for path in [entry.path for entry in listed] + [manifest.NAME]:
            target = os.path.join(place, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(os.path.join(staging, path), target)
        known = {entry.path for entry in listed} | {manifest.NAME}
        for folder, _, files in os.walk(place):
            for name in files:
                other = os.path.join(folder, name)
                if os.path.relpath(other, place) not in known:
                    os.unlink(other)
            sync(folder)
