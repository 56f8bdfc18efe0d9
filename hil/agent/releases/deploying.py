"""Answer the requests about releases, one method for each ``op``. An operation is finished even if the host is lost."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Callable, Dict, List, Optional, Tuple

from .. import failure
from ..containers import images
from ..failure import Failure
from ..store.blobs import Store
from ..supervisor import Supervisor
from . import commands, manifest
from .activating import environment
from .journal import Journal
from .releases import ADVICE, Releases
from .staging import Staging

Reply = Tuple[Dict[str, Any], List[Any]]
WATCH, POLL = 1.0, 0.05
LONGEST = 1 << 20  # bytes of an activation's progress lines that are kept


class Deploying:
    """Handles the requests about one folder of releases; ``archive`` is the agent's own file.

    Every request except ``listing``, ``open`` and ``watch`` raises ``Failure`` if ``open`` was not called before.
    """

    def __init__(self, supervisor: Supervisor, store: Store, archive: str) -> None:
        self.supervisor = supervisor
        self.store = store
        self.archive = archive
        self.folder: Optional[Releases] = None
        self.claim: Dict[str, str] = {}
        self._lock = -1
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._progress = b""
        self._unfinished = False  # whether the folder has an operation that no process carries out
        self.table: Dict[str, Callable[[Dict[str, Any]], Reply]] = {
            "releases_list": self.listing,
            "releases_open": self.open,
            "releases_stage": self.stage,
            "releases_load": self.load,
            "releases_pull": self.pull,
            "releases_compare": self.compare,
            "releases_fetch": self.fetch,
            "releases_begin": self.begin,
            "releases_activate": self.activate,
            "releases_watch": self.watch,
        }

    def listing(self, request: Dict[str, Any]) -> Reply:
        """Return the releases of a folder, its unfinished operation and its history, without locking the folder.

        If no deployment has used the folder, the reply has only ``there``, which is false.
        """
        folder = Releases(request["folder"], self.store.beat)
        if not os.path.isdir(folder.own()):
            return {"ok": {"there": False}}, []
        current = folder.current()
        releases = [self._about(folder, name) for name in folder.ordered()]
        listing = {
            "there": True,
            "folder": folder.root,
            "current": current,
            "damage": None if current is None else folder.damage(current),
            "previous": folder.previous(current),
            "releases": releases,
            "operation": Journal(folder).operation(),
            "busy": self._lock < 0 and folder.busy(),  # with another agent's deployment
            "holder": folder.holder(),
            "history": Journal(folder).history()[-20:],
        }
        return {"ok": listing}, []

    def _about(self, folder: Releases, name: str) -> Dict[str, Any]:
        try:
            content: Optional[Dict[str, Any]] = folder.manifest(name)
        except Failure:
            content = None
        return {"release": name, "healthy": folder.healthy(name), "manifest": content}

    def open(self, request: Dict[str, Any]) -> Reply:
        """Lock the folder for one deployment and return its state.

        Its ``pending`` is an interrupted operation, which must be finished first, or None. Raise ``Failure`` if another
        deployment has locked the folder.
        """
        folder = Releases(request["folder"], self.store.beat)
        self.claim = {key: str(request[key]) for key in ("who", "host", "pid")}
        folder.make()
        lock = folder.lock(self.claim)
        if lock is None:
            raise folder.refusal()
        self.folder, self._lock = folder, lock
        pending = Journal(folder).operation()
        self._unfinished = pending is not None
        current = folder.current()
        state: Dict[str, Any] = {"folder": folder.root, "current": current, "previous": folder.previous(current)}
        state.update(pending=pending, releases=folder.ordered())
        return {"ok": state}, []

    def stage(self, request: Dict[str, Any]) -> Reply:
        """Stage a release from the store's blobs. The reply's ``staged`` is false if the folder had it undamaged."""
        return {"ok": {"staged": Staging(self._open()).stage(request["release"], self.store.verify)}}, []

    def load(self, request: Dict[str, Any]) -> Reply:
        """Load an image archive of the store into the board's container engine, unless the engine has the image."""
        self._open()
        archive = self.store.verify(request["archive"])
        return {"ok": {"loaded": images.load(request["engine"], archive, request["image"], self._pause)}}, []

    def pull(self, request: Dict[str, Any]) -> Reply:
        """Pull an image by its digest with the board's container engine, and return its id."""
        self._open()
        return {"ok": {"image": images.pull(request["engine"], request["reference"], self._pause)}}, []

    def compare(self, request: Dict[str, Any]) -> Reply:
        """Compare an image with a release. The reply's ``there`` is false if the container engine lacks the image.

        Raise ``Failure`` if the image does not have exactly the release's files.
        """
        folder = self._open()
        digest = manifest.valid_digest(request["release"])
        scratch = tempfile.mkdtemp(prefix="image-", dir=folder.own())
        try:
            engine, image, place = request["engine"], request["image"], request["place"]
            there = images.compare(engine, image, digest, place, scratch, self._pause)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return {"ok": {"there": there}}, []

    def fetch(self, request: Dict[str, Any]) -> Reply:
        """Copy files of a release into the store, from which the host reads them by their digests.

        Raise ``Failure`` if the release is damaged.
        """
        folder = self._open()
        digest = manifest.valid_digest(request["release"])
        damage = folder.damage(digest)
        if damage:
            what = "release %.12s is damaged: %s" % (digest, damage)
            raise Failure(failure.RELEASE, what, ADVICE)
        for path in request["paths"]:
            copy = self.store.path("tmp", "release-%d" % os.getpid())
            shutil.copyfile(folder.path("releases", digest, manifest.valid_path(path)), copy)
            self.store.adopt(copy)
        return {"ok": {}}, []

    def begin(self, request: Dict[str, Any]) -> Reply:
        """Record the operation in the journal, and run the robot's command for its safe state, if the plan has one.

        The reply's ``trouble`` is why the command failed, empty on success. Raise ``Failure`` if another operation is
        unfinished, or the folder lacks the release.
        """
        folder = self._open()
        if Journal(folder).operation() is not None:
            raise Failure(failure.PROTOCOL, "another operation is under way in that folder")
        plan, to = request["plan"], request["to"]
        if to not in folder.ordered():
            raise Failure(failure.RELEASE, "there is no release %.12s" % to, "run `hil releases` to list the releases")
        operation = dict(self.claim, plan=plan, to=to, kind=str(request["kind"]), was_healthy=folder.healthy(to))
        operation["from"] = folder.current()
        Journal(folder).ready(operation)
        self._unfinished = True
        if not plan["safe_state"]:
            return {"ok": {"trouble": ""}}, []
        seconds = float(plan["safe_within"])
        ended = commands.run(plan["safe_state"], seconds, environment(folder), self._pause)
        return {"ok": {"trouble": str(ended) if ended.why else ""}}, []

    def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            self.supervisor.wait_until(lambda: False, seconds, seconds)
        self.supervisor.beat()

    def activate(self, request: Dict[str, Any]) -> Reply:
        """Start the process that carries out the operation; ``what`` is ``forward``, ``stay`` or ``recover``."""
        what = request["what"]
        if what not in ("forward", "stay", "recover"):
            raise Failure(failure.PROTOCOL, "no activation is called %.40r" % (what,))
        self._start(self._open(), what)
        return {"ok": {}}, []

    def _start(self, folder: Releases, what: str) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and archive
                [sys.executable, "-B", self.archive, "--activate", folder.root, what],
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._lock,),
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(writer)
        self._reader = reader
        self._progress = b""

    def watch(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """Wait at most a second for new progress lines of the activation, and return them as ``steps``.

        In the reply, ``ended`` is whether the activation has ended, ``current`` the digest of the current release.
        """
        process = self._process
        if process is None:
            raise Failure(failure.PROTOCOL, "nothing is being activated")
        with contextlib.suppress(TimeoutError):
            self.supervisor.wait_until(lambda: self._read_progress() or process.poll() is not None, WATCH, POLL)
        ended = process.poll() is not None
        self._read_progress()
        lines, end, self._progress = self._progress.rpartition(b"\n")
        steps = [json.loads(line.decode("ascii")) for line in lines.split(b"\n") if line] if end else []
        if ended:
            self._unfinished = Journal(self._open()).operation() is not None
        return {"ok": {"steps": steps, "ended": ended, "current": self._open().current()}}, []

    def _read_progress(self) -> bool:
        """Read what the activation wrote, and return whether a whole line has arrived."""
        with contextlib.suppress(BlockingIOError):
            piece = os.read(self._reader, LONGEST)
            self._progress = (self._progress + piece)[-LONGEST:]
        return b"\n" in self._progress

    def _open(self) -> Releases:
        if self.folder is None:
            raise Failure(failure.PROTOCOL, "no folder of releases was opened")
        return self.folder

    def leave(self) -> None:
        """Start a process that finishes an unfinished operation, unless this agent has started one."""
        if self._unfinished and self.folder is not None and self._process is None:
            with contextlib.suppress(OSError):
                self._start(self.folder, "recover")
