"""Releases on a robot: whole folders named by their digest, and one link that says which of them runs.

Layout of the folder: ``current`` -> ``releases/DIGEST``, where ``DIGEST`` is the SHA-256 of the release's manifest, and
``.hil/`` with the lock, the operation that is under way (``operation.json``) and a mark for each release that was once
seen to be healthy (``healthy/DIGEST``). A release is put together under another name and renamed, ``current`` is
replaced by a rename: whatever is killed when, each of them is there whole or not at all.

What has to succeed on a full disk is made ready before anything is touched, and then only renamed.
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

from . import manifest
from .failure import HELD, RELEASE, STORE, STORE_FULL, Failure
from .lock import open_lock, try_flock
from .manifest import DIGEST, Entry

LINK = re.compile(r"releases/([0-9a-f]{64})")
SPARE = 1 << 20  # bytes that must stay free beside a release: for links, marks and the journal
CHUNK = 1 << 20
LOCK, OPERATION, HISTORY, STAGING = "lock", "operation.json", "history.jsonl", ".staging"
FORWARD, BACK, MARK = "forward", "back", "mark"
"""What is made ready in ``.hil``: the links to the new and to the old release, the mark of the new one."""
TOLD = 64 << 10  # bytes of the history that are read

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
    def told(self) -> Any:
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
        with self.told():
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
        with self.told():
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
        found = self._json(self.own(LOCK))
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
        with self.told():
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

    def stage(self, digest: str, blob: Callable[[str], str]) -> bool:
        """Puts release ``digest`` together from blobs (by SHA-256), whole or not at all; False if it is there already.

        A release that was damaged is mended file by file, each replaced by its own content.
        """
        with open(blob(digest), "rb") as file:
            content = file.read(manifest.LARGEST + 1)
        listed = manifest.entries(manifest.parse(content))
        place = self.path("releases", digest)
        with self.told():
            if os.path.isdir(place) and not self.damage(digest):
                self._newest(place)
                return False
            self._need(sum(entry.size for entry in listed))
            staging = self.path("releases", STAGING)
            shutil.rmtree(staging, ignore_errors=True)
            try:
                os.mkdir(staging)
                self._fill(staging, listed, content, blob)
                self._settle(staging, place, listed)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            wrong = self.damage(digest)
            if wrong:
                raise Failure(STORE, "release %.12s was staged, and %s" % (digest, wrong), "see to that disk")
            self._newest(place)
            return True

    def _need(self, size: int) -> None:
        free = shutil.disk_usage(self.root).free
        if size + SPARE > free:
            what = "the release takes %d MiB, and %s has %d MiB free" % (size >> 20, self.root, free >> 20)
            raise Failure(STORE_FULL, what, "free space there, or keep fewer releases")

    def _fill(self, staging: str, listed: List[Entry], content: bytes, blob: Callable[[str], str]) -> None:
        for entry in listed:
            place = os.path.join(staging, entry.path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(blob(entry.sha256), "rb") as source:
                copied = self._copy(source, place)
            if copied != (entry.sha256, entry.size):
                raise Failure(RELEASE, "%s is not what the manifest says" % entry.path, manifest.ADVICE)
        with open(os.path.join(staging, manifest.NAME), "xb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        for folder, _, _ in os.walk(staging):
            os.chmod(folder, 0o755)  # noqa: S103 - as the folder itself
            sync(folder)

    def _copy(self, source: Any, place: str) -> Tuple[str, int]:
        """Copies a file anew; its digest and size as they were written."""
        state, size = hashlib.sha256(), 0
        with open(place, "xb") as target:  # never through a link, never into a file that is there
            while True:
                piece = source.read(CHUNK)
                if not piece:
                    break
                target.write(piece)
                state.update(piece)
                size += len(piece)
                self.beat()
            target.flush()
            os.fchmod(target.fileno(), 0o644)
            os.fsync(target.fileno())
        return state.hexdigest(), size

    def _settle(self, staging: str, place: str, listed: List[Entry]) -> None:
        if not os.path.isdir(place):
            os.rename(staging, place)
            sync(self.path("releases"))
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

    def _newest(self, place: str) -> None:
        """Makes a release the newest, whatever the board's clock says: many start in 1970."""
        others = [self._order(name) for name in self.ordered() if self.path("releases", name) != place]
        at = max([time.time_ns() if hasattr(time, "time_ns") else int(time.time() * 1e9)] + [1 + one for one in others])
        os.utime(place, ns=(at, at))

    def ready(self, operation: Dict[str, Any]) -> None:
        """Notes what is about to be done, and makes ready what must not fail afterwards."""
        with self.told():
            for name, digest in ((FORWARD, operation["to"]), (BACK, operation["from"])):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.own(name))
                if digest is not None:
                    os.symlink("releases/" + digest, self.own(name))
            self._write(self.own(MARK), b"")
            self._write(self.own(OPERATION), json.dumps(operation, sort_keys=True).encode("ascii"))
            mark = self.own("healthy", str(operation["to"]))
            if os.path.exists(mark):  # until it is seen to be healthy this time
                os.replace(mark, self.own(MARK))
            sync(self.own("healthy"))
            sync(self.own())

    def operation(self) -> Optional[Dict[str, Any]]:
        """What is being done, or was when its process was killed."""
        found = self._json(self.own(OPERATION))
        return found or None

    def point(self, name: str) -> None:
        """Replaces ``current`` by the link that was made ready as ``name``; takes it away where there is none."""
        place = self.path("current")
        try:
            os.replace(self.own(name), place)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)
        sync(self.root)

    def mark(self, digest: str) -> None:
        """The release was seen to be healthy."""
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.own(MARK), self.own("healthy", digest))
        sync(self.own("healthy"))

    def unmark(self) -> None:
        """The release was not seen to be healthy: no mark of an earlier time speaks for it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.own(MARK))

    def done(self, operation: Dict[str, Any], outcome: str, text: str) -> None:
        """Nothing is under way any more; ``outcome`` goes into the history as far as there is room."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"at": at, "outcome": outcome, "text": text[:500]}
        line.update({key: operation.get(key) for key in ("kind", "from", "to", "who", "host")})
        with contextlib.suppress(OSError), open(self.own(HISTORY), "ab") as file:
            file.write(json.dumps(line, sort_keys=True).encode("ascii") + b"\n")
        for name in (OPERATION, FORWARD, BACK, MARK):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.own(name))
        sync(self.own())

    def history(self) -> List[Dict[str, Any]]:
        """What was done there, oldest first, of late."""
        try:
            with open(self.own(HISTORY), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TOLD))
                lines = file.read().split(b"\n")
        except OSError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):  # one that was cut off, by us or by a full disk
                one = json.loads(line.decode("ascii"))
                if isinstance(one, dict):
                    found.append(one)
        return found

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

    def _write(self, place: str, content: bytes) -> None:
        """A small file, whole or not at all."""
        with open(place + ".new", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(place + ".new", place)

    def _json(self, place: str) -> Dict[str, Any]:
        try:
            with open(place, "rb") as file:
                found = json.loads(file.read(1 << 20).decode("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
