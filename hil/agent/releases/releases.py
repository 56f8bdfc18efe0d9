"""Keep the releases on a robot: one folder for each, named by its digest, and a link to the release that runs.

The folder has ``releases/DIGEST`` (the SHA-256 of a release's manifest), the link ``current``, and ``.hil/``: the lock,
the operation that is under way, and a mark ``healthy/DIGEST`` of each release that was healthy when it last ran.
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
ADVICE = "deploy it again, which replaces its files, or choose another release"

Beat = Callable[[], None]


def nothing() -> None:
    """Do nothing: the heartbeat of a process without a host."""


def sync(path: str) -> None:
    """Write a file or folder to the disk with ``fsync``."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Releases:
    """The folder of releases at ``root``.

    Methods raise ``Failure`` if the folder cannot be used. They call ``beat`` repeatedly while they read large files.
    """

    def __init__(self, root: str, beat: Beat = nothing) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self.beat = beat

    def path(self, *parts: str) -> str:
        """Return a path inside the folder."""
        return os.path.join(self.root, *parts)

    def own(self, *parts: str) -> str:
        """Return a path inside ``.hil``, which has the lock, the journal and the health marks."""
        return self.path(".hil", *parts)

    @contextlib.contextmanager
    def file_errors(self) -> Any:
        """Raise an ``OSError`` of the block as a ``Failure`` that names the folder."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                what = "the disk of %s is full" % self.root
                raise Failure(STORE_FULL, what, "free space there, or keep fewer releases") from None
            what = "the folder %s cannot be used: %s" % (self.root, error.strerror or error)
            advice = "make the deploying account its owner, or set directory to another folder"
            raise Failure(STORE, what, advice) from None

    def make(self) -> None:
        """Create the folder and its subfolders if they are missing, and let all users read those that this user owns.

        Raise ``Failure`` if a subfolder is not a folder, or if a folder of another user is writable for everybody.
        """
        with self.file_errors():
            for place in (self.root, self.path("releases"), self.own(), self.own("healthy")):
                os.makedirs(place, exist_ok=True)
                status = os.lstat(place)
                if not stat.S_ISDIR(status.st_mode) and place != self.root:
                    what, advice = "%s is not a folder" % place, "remove it, or set directory to another folder"
                    raise Failure(STORE, what, advice)
                if status.st_uid == os.geteuid():
                    os.chmod(place, 0o755)  # noqa: S103 - the service may be another user
                elif os.stat(place).st_mode & stat.S_IWOTH:
                    raise Failure(STORE, "any user may write to %s" % place, "run `chmod o-w %s` there" % place)

    def lock(self, claim: Dict[str, str]) -> Optional[int]:
        """Lock the folder for one deployment, and record its ``claim`` (``who``, ``host``, ``pid``) for messages.

        Return the lock's descriptor, or None if another deployment has the lock. The lock is released when the last
        process closes the descriptor.
        """
        with self.file_errors():
            fd = open_lock(self.own(LOCK))
            if not try_flock(fd, fcntl.LOCK_EX):
                os.close(fd)
                return None
            with contextlib.suppress(OSError):  # the claim is only used in messages; a full disk is reported later
                os.ftruncate(fd, 0)
                since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
                os.pwrite(fd, json.dumps(dict(claim, since=since)).encode("ascii"), 0)
            return fd

    def holder(self) -> Dict[str, str]:
        """Return ``who``, ``host``, ``pid`` and ``since`` of the last deployment that took the lock, if known."""
        claim = self.table_at(self.own(LOCK))
        return {key: str(claim[key]) for key in ("who", "host", "pid", "since") if key in claim}

    def busy(self) -> bool:
        """Return whether a deployment has the lock now; False if the lock cannot be opened."""
        try:
            fd = os.open(self.own(LOCK), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not try_flock(fd, fcntl.LOCK_EX)
        finally:
            os.close(fd)

    def refusal(self) -> Failure:
        """Return the error to raise while another deployment has the lock; its message names that deployment."""
        claim = self.holder()
        facts = tuple(claim.get(key, "unknown") for key in ("who", "host", "pid", "since"))
        what = "a deployment by %s from host %s (process %s) has been in progress since %s" % facts
        return Failure(HELD, what, "wait until it has ended")

    def current(self) -> Optional[str]:
        """Return the digest of the release that ``current`` links to; None if there is no such link.

        Raise ``Failure`` if ``current`` is not a link to a release.
        """
        place = self.path("current")
        try:
            target = os.readlink(place)
        except FileNotFoundError:
            return None
        except OSError:
            what, advice = "%s is not a link" % place, "move it to another place: deployments create a link there"
            raise Failure(STORE, what, advice) from None
        match = LINK.fullmatch(target)
        if match is None:
            what = "%s is a link to %.200s, which is not a release" % (place, target)
            raise Failure(STORE, what, "move it to another place")
        return match.group(1)

    def ordered(self) -> List[str]:
        """Return the digests of all releases, from the oldest to the newest by their last staging."""
        with self.file_errors():
            names = [name for name in os.listdir(self.path("releases")) if DIGEST.fullmatch(name)]
            return sorted(names, key=self._order)

    def _order(self, digest: str) -> int:
        return os.stat(self.path("releases", digest)).st_mtime_ns

    def healthy(self, digest: Optional[str]) -> bool:
        """Return whether the release was healthy when it last ran."""
        return digest is not None and os.path.exists(self.own("healthy", digest))

    def previous(self, digest: Optional[str]) -> Optional[str]:
        """Return the newest healthy release that is older than ``digest``; None if there is no such release.

        If ``digest`` is None or not in the folder, every release counts as older.
        """
        names = self.ordered()
        older = names[: names.index(digest)] if digest in names else names
        return next((name for name in reversed(older) if self.healthy(name)), None)

    def manifest(self, digest: str) -> Dict[str, Any]:
        """Return the parsed manifest of release ``digest``.

        Raise ``Failure`` if it is missing or invalid, or if its SHA-256 is not ``digest``.
        """
        try:
            with open(self.path("releases", digest, manifest.NAME), "rb") as file:
                content = file.read(manifest.LARGEST + 1)
        except OSError as error:
            raise Failure(RELEASE, "release %.12s has no manifest: %s" % (digest, error.strerror), ADVICE) from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise Failure(RELEASE, "the manifest of release %.12s was changed" % digest, ADVICE)
        return manifest.parse(content)

    def damage(self, digest: str) -> str:
        """Return what is wrong with a release; empty if it has exactly the files of its manifest, unchanged."""
        root = self.path("releases", digest)
        if os.path.islink(root):  # its files could be changed through another path
            return "it is a link"
        try:
            listed = {entry.path: entry for entry in manifest.entries(self.manifest(digest))}
        except Failure as problem:
            return problem.message
        present = set()
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                place = os.path.join(folder, name)
                kind = os.lstat(place).st_mode
                path = os.path.relpath(place, root)
                if stat.S_ISDIR(kind):
                    continue
                if not stat.S_ISREG(kind) or (path not in listed and path != manifest.NAME):
                    return "%s does not belong there" % path
                present.add(path)
        for path in sorted(listed):
            if path not in present:
                return "%s is missing" % path
            if self._hash(os.path.join(root, path)) != (listed[path].sha256, listed[path].size):
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
        """Make the release in the folder ``place`` the newest by its modification time.

        This works even if the board's clock is wrong.
        """
        others = [self._order(name) for name in self.ordered() if self.path("releases", name) != place]
        at = max([int(time.time() * 1e9)] + [1 + other for other in others])
        os.utime(place, ns=(at, at))

    def prune(self, keep: int) -> List[str]:
        """Remove old releases, and return their digests.

        The newest ``keep`` releases (at least 1), the current one and the target of a rollback stay.
        """
        current = self.current()
        needed = {current, self.previous(current)} | set(self.ordered()[-max(1, keep) :])
        removed = [name for name in self.ordered() if name not in needed]
        for name in removed:
            self.remove(name)
        return removed

    def remove(self, digest: str) -> None:
        """Remove the release ``digest``, if it exists. Errors in removing its files are ignored."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.own("healthy", digest))
        trash = self.path("releases", ".gone")
        shutil.rmtree(trash, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rename(self.path("releases", digest), trash)
            sync(self.path("releases"))
        shutil.rmtree(trash, ignore_errors=True)

    def table_at(self, place: str) -> Dict[str, Any]:
        """Return the JSON object in a small file; empty if the file cannot be read or is not a JSON object."""
        try:
            with open(place, "rb") as file:
                table = json.loads(file.read(1 << 20).decode("utf-8"))
        except (OSError, ValueError):
            return {}
        return table if isinstance(table, dict) else {}
