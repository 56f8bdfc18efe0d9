"""What the host may ask about releases, one method an ``op``; what was begun is ended even if nobody asks on."""

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
from .activating import surroundings
from .journal import Journal
from .releases import Releases
from .staging import Staging

Reply = Tuple[Dict[str, Any], List[Any]]
WATCH, POLL = 1.0, 0.05
LONGEST = 1 << 20  # bytes of what an activation tells


class Deploying:
    """The operations on one folder of releases at a time; ``archive`` is the agent's own file."""

    def __init__(self, supervisor: Supervisor, store: Store, archive: str) -> None:
        self.supervisor = supervisor
        self.store = store
        self.archive = archive
        self.folder: Optional[Releases] = None
        self.claim: Dict[str, str] = {}
        self._lock = -1
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._told = b""
        self._touched = False
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
        """What is there; nothing is changed or waited for. ``whole`` says that the current one's files were hashed."""
        folder = Releases(request["folder"], self.store.beat)
        if not os.path.isdir(folder.own()):
            return {"ok": {"there": False}}, []
        current = folder.current()
        releases = [self._about(folder, name) for name in folder.ordered()]
        found = {
            "there": True,
            "folder": folder.root,
            "current": current,
            "damage": None if current is None else folder.damage(current),
            "previous": folder.previous(current),
            "releases": releases,
            "operation": Journal(folder).operation(),
            "busy": self._lock < 0 and folder.busy(),  # by somebody else
            "holder": folder.holder(),
            "history": Journal(folder).history()[-20:],
        }
        return {"ok": found}, []

    def _about(self, folder: Releases, name: str) -> Dict[str, Any]:
        try:
            about: Optional[Dict[str, Any]] = folder.manifest(name)
        except Failure:
            about = None
        return {"release": name, "healthy": folder.healthy(name), "manifest": about}

    def open(self, request: Dict[str, Any]) -> Reply:
        """Takes the folder for one deployment; what a killed one left must be ended first (``pending``)."""
        folder = Releases(request["folder"], self.store.beat)
        self.claim = {key: str(request[key]) for key in ("who", "host", "pid")}
        folder.make()
        lock = folder.lock(self.claim)
        if lock is None:
            raise folder.refusal()
        self.folder, self._lock = folder, lock
        pending = Journal(folder).operation()
        self._touched = pending is not None
        current = folder.current()
        told: Dict[str, Any] = {"folder": folder.root, "current": current, "previous": folder.previous(current)}
        told.update(pending=pending, releases=folder.ordered())
        return {"ok": told}, []

    def stage(self, request: Dict[str, Any]) -> Reply:
        """Puts a release together from the store's blobs."""
        return {"ok": {"staged": Staging(self._open()).stage(request["release"], self.store.verify)}}, []

    def load(self, request: Dict[str, Any]) -> Reply:
        """Has the board's container engine take an image from the store's archive, if it has not got it."""
        self._open()
        archive = self.store.verify(request["archive"])
        return {"ok": {"loaded": images.load(request["engine"], archive, request["image"], self._pause)}}, []

    def pull(self, request: Dict[str, Any]) -> Reply:
        """Has the board's container engine pull an image by its digest; its id."""
        self._open()
        return {"ok": {"image": images.pull(request["engine"], request["reference"], self._pause)}}, []

    def compare(self, request: Dict[str, Any]) -> Reply:
        """Whether the engine has the image; what is in it must be the release."""
        folder = self._open()
        digest = manifest.digest_of(request["release"])
        scratch = tempfile.mkdtemp(prefix="image-", dir=folder.own())
        try:
            engine, image, place = request["engine"], request["image"], request["place"]
            there = images.compare(engine, image, digest, place, scratch, self._pause)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return {"ok": {"there": there}}, []

    def fetch(self, request: Dict[str, Any]) -> Reply:
        """Copies files of a release into the store, where the host reads them by their digests."""
        folder = self._open()
        digest = manifest.digest_of(request["release"])
        wrong = folder.damage(digest)
        if wrong:
            what = "release %.12s is damaged: %s" % (digest, wrong)
            raise Failure(failure.RELEASE, what, "deploy it again, which replaces its files, or go to another one")
        for path in request["paths"]:
            copy = self.store.path("tmp", "release-%d" % os.getpid())
            shutil.copyfile(folder.path("releases", digest, manifest.path_of(path)), copy)
            self.store.adopt(copy)
        return {"ok": {}}, []

    def begin(self, request: Dict[str, Any]) -> Reply:
        """Notes the operation, and brings the robot into its safe state: from here on it is always ended."""
        folder = self._open()
        if Journal(folder).operation() is not None:
            raise Failure(failure.PROTOCOL, "another operation is under way there")
        plan, to = request["plan"], request["to"]
        if to not in folder.ordered():
            raise Failure(failure.RELEASE, "there is no release %.12s" % to, "hil releases lists what is there")
        operation = dict(self.claim, plan=plan, to=to, kind=str(request["kind"]), was_healthy=folder.healthy(to))
        operation["from"] = folder.current()
        Journal(folder).ready(operation)
        self._touched = True
        if not plan["safe_state"]:
            return {"ok": {"trouble": ""}}, []
        seconds = float(plan["safe_within"])
        ended = commands.run(plan["safe_state"], seconds, surroundings(folder), self._pause)
        return {"ok": {"trouble": str(ended) if ended.why else ""}}, []

    def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            self.supervisor.wait_until(lambda: False, seconds, seconds)
        self.supervisor.beat()

    def activate(self, request: Dict[str, Any]) -> Reply:
        """Starts the process that carries the operation out: ``forward``, ``stay`` or ``recover``."""
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
        self._told = b""

    def watch(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """What the activation told since it was asked last; ``ended`` once it is over. Waits a second at most."""
        process = self._process
        if process is None:
            raise Failure(failure.PROTOCOL, "nothing is being activated")
        with contextlib.suppress(TimeoutError):
            self.supervisor.wait_until(lambda: self._heard() or process.poll() is not None, WATCH, POLL)
        ended = process.poll() is not None
        self._heard()
        lines, end, self._told = self._told.rpartition(b"\n")
        told = [json.loads(line.decode("ascii")) for line in lines.split(b"\n") if line] if end else []
        if ended:
            self._touched = Journal(self._open()).operation() is not None
        return {"ok": {"told": told, "ended": ended, "current": self._open().current()}}, []

    def _heard(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            piece = os.read(self._reader, LONGEST)
            self._told = (self._told + piece)[-LONGEST:]
        return b"\n" in self._told

    def _open(self) -> Releases:
        if self.folder is None:
            raise Failure(failure.PROTOCOL, "no folder of releases was opened")
        return self.folder

    def leave(self) -> None:
        """The host is gone: what was begun and is carried out by nobody yet is ended all the same."""
        if self._touched and self.folder is not None and self._process is None:
            with contextlib.suppress(OSError):
                self._start(self.folder, "recover")
