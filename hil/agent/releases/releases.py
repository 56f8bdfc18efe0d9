"""Releases on a robot: whole folders named by their digest, and one link that says which of them runs.

Layout of the folder: ``current`` -> ``releases/DIGEST``, where ``DIGEST`` is the SHA-256 of the release's manifest, and
``.hil/`` with the lock, the operation that is under way (``operation.json``) and a mark for each release that was once
seen to be healthy (``healthy/DIGEST``). A release is put together under another name and renamed, ``current`` is
replaced by a rename: whatever is killed when, each of them is there whole or not at all.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..failure import HELD, RELEASE, STORE, STORE_FULL, Failure
from ..store.lock import open_lock, try_flock
from . import manifest
from .manifest import DIGEST

LINK = re.compile(r"releases/([0-9a-f]{64})")
CHUNK = 1 << 20
LOCK = "lock"

Beat = Callable[[], None]


def nothing() -> None:
    """A beat where nobody waits for a sign of life."""


def sync(path: str) -> None:
    """Has what was written to a file or folder reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Releases:
    """The folder of releases at ``root``. Raises ``Failure`` where it cannot be used."""

    def __init__(self, root: str, beat: Beat = nothing) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self.beat = beat

    def path(self, *parts: str) -> str:
        """A path inside."""
        return os.path.join(self.root, *parts)

    def own(self, *parts: str) -> str:
        """A path of what is kept beside the releases."""
        return self.path(".hil", *parts)

    @contextlib.contextmanager
    def file_errors(self) -> Any:
        """Turns what goes wrong with files into one ``Failure`` that names the folder."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                what = "the disk of %s is full" % self.root
                raise Failure(STORE_FULL, what, "free space there, or keep fewer releases") from None
            what = "the folder %s cannot be used: %s" % (self.root, error.strerror or error)
            raise Failure(STORE, what, "give it to the account that deploys, or set directory to another") from None

    def make(self) -> None:
        """Makes the folder and what is in it; refuses one that anybody may write to."""
        with self.file_errors():
            for place in (self.root, self.path("releases"), self.own(), self.own("healthy")):
                os.makedirs(place, exist_ok=True)
                found = os.lstat(place)
                if not stat.S_ISDIR(found.st_mode) and place != self.root:
                    raise Failure(STORE, "%s is no folder" % place, "take it away, or set directory to another")
                if found.st_uid == os.geteuid():
                    os.chmod(place, 0o755)  # noqa: S103 - the service may be another user
                elif os.stat(place).st_mode & stat.S_IWOTH:
                    raise Failure(STORE, "anybody may write to %s" % place, "run `chmod o-w` on it")

    def lock(self, claim: Dict[str, str]) -> Optional[int]:
        """A descriptor that holds the folder against every other deployment; None while another one has it.

        Children may be given it: the lock is free when the last of them is gone.
        """
        with self.file_errors():
            fd = open_lock(self.own(LOCK))
            if not try_flock(fd, fcntl.LOCK_EX):
                os.close(fd)
                return None
            with contextlib.suppress(OSError):  # only for messages: a full disk is told by what needs it
                os.ftruncate(fd, 0)
                since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
                os.pwrite(fd, json.dumps(dict(claim, since=since)).encode("ascii"), 0)
            return fd

    def holder(self) -> Dict[str, str]:
        """Who took the lock last: ``who``, ``host``, ``pid``, ``since``, as far as it is known."""
        found = self.table_at(self.own(LOCK))
        return {key: str(found[key]) for key in ("who", "host", "pid", "since") if key in found}

    def busy(self) -> bool:
        """Whether a deployment has the lock now."""
        try:
            fd = os.open(self.own(LOCK), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not try_flock(fd, fcntl.LOCK_EX)
        finally:
            os.close(fd)

    def refusal(self) -> Failure:
        """Says who deploys there just now."""
        by = self.holder()
        told = tuple(by.get(key, "somebody") for key in ("who", "host", "pid", "since"))
        what = "deployed to by %s from host %s (process %s) since %s" % told
        return Failure(HELD, what, "wait for that to end: what was begun ends by itself")

    def current(self) -> Optional[str]:
        """The release that ``current`` names; None where there is none. Raises ``Failure`` for what is not ours."""
        place = self.path("current")
        try:
            target = os.readlink(place)
        except FileNotFoundError:
            return None
        except OSError:
            raise Failure(STORE, "%s is no link" % place, "move it away: deployments make it a link") from None
        found = LINK.fullmatch(target)
        if found is None:
            raise Failure(STORE, "%s leads to %.200s, which is no release" % (place, target), "move it away")
        return found.group(1)

    def ordered(self) -> List[str]:
        """The releases that are there, oldest first."""
        with self.file_errors():
            names = [name for name in os.listdir(self.path("releases")) if DIGEST.fullmatch(name)]
            return sorted(names, key=self._order)

    def _order(self, digest: str) -> int:
        return os.stat(self.path("releases", digest)).st_mtime_ns

    def healthy(self, digest: Optional[str]) -> bool:
        """Whether the release was seen to be healthy when it ran last."""
        return digest is not None and os.path.exists(self.own("healthy", digest))

    def previous(self, digest: Optional[str]) -> Optional[str]:
        """The newest healthy release that is older than this one."""
        names = self.ordered()
        older = names[: names.index(digest)] if digest in names else names
        return next((name for name in reversed(older) if self.healthy(name)), None)

    def manifest(self, digest: str) -> Dict[str, Any]:
        """The release's manifest. Raises ``Failure`` where it is not the one that the release is named by."""
        try:
            with open(self.path("releases", digest, manifest.NAME), "rb") as file:
                content = file.read(manifest.LARGEST + 1)
        except OSError as error:
            raise Failure(RELEASE, "release %.12s has no manifest: %s" % (digest, error.strerror)) from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise Failure(RELEASE, "the manifest of release %.12s was changed" % digest)
        return manifest.parse(content)

    def damage(self, digest: str) -> str:
        """What is wrong with a release, empty where every file is there, whole, and nothing else is."""
        root = self.path("releases", digest)
        if os.path.islink(root):  # its files would be another folder's
            return "it is a link"
        try:
            wanted = {entry.path: entry for entry in manifest.entries(self.manifest(digest))}
        except Failure as problem:
            return problem.message
        found = set()
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                place = os.path.join(folder, name)
                kind = os.lstat(place).st_mode
                path = os.path.relpath(place, root)
                if stat.S_ISDIR(kind):
                    continue
                if not stat.S_ISREG(kind) or (path not in wanted and path != manifest.NAME):
                    return "%s does not belong there" % path
                found.add(path)
        for path in sorted(wanted):
            if path not in found:
                return "%s is missing" % path
            if self._hash(os.path.join(root, path)) != (wanted[path].sha256, wanted[path].size):
                return "%s was changed" % path
        return ""

    def _hash(self, place: str) -> Tuple[str, int]:
        state, size = hashlib.sha256(), 0
        with open(place, "rb") as file:
            while True:
                piece = file.read(CHUNK)
                if not piece:
                    return state.hexdigest(), size
                state.update(piece)
                size += len(piece)
                self.beat()

    def newest(self, place: str) -> None:
        """Makes a release the newest, whatever the board's clock says: many start in 1970."""
        others = [self._order(name) for name in self.ordered() if self.path("releases", name) != place]
        at = max([int(time.time() * 1e9)] + [1 + one for one in others])
        os.utime(place, ns=(at, at))

    def prune(self, keep: int) -> List[str]:
        """Takes away what is older than the last ``keep``; never what runs, nor what it would be rolled back to."""
        current = self.current()
        spared = {current, self.previous(current)} | set(self.ordered()[-max(1, keep) :])
        gone = [name for name in self.ordered() if name not in spared]
        for name in gone:
            self.remove(name)
        return gone

    def remove(self, digest: str) -> None:
        """Takes a release away: first its name, so that it is never there in part."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.own("healthy", digest))
        trash = self.path("releases", ".gone")
        shutil.rmtree(trash, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rename(self.path("releases", digest), trash)
            sync(self.path("releases"))
        shutil.rmtree(trash, ignore_errors=True)

    def table_at(self, place: str) -> Dict[str, Any]:
        """A small JSON object; empty where there is none that can be read."""
        try:
            with open(place, "rb") as file:
                found = json.loads(file.read(1 << 20).decode("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
