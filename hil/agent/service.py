"""What the host may ask of an agent, one method an ``op``."""

import os
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import failure, probe, wire
from .blobs import Store
from .crew import Hand
from .engines import Records, key_facts, key_of
from .failure import Failure
from .lock import SessionLock
from .supervisor import HostGone, Supervisor
from .telemetry import Sampler

PROBE_DEADLINE = 120.0
LOCK_POLL = 0.1
MAX_PIECE = 8 << 20

Reply = Tuple[Dict[str, Any], List[Any]]


class Service:
    """Answers requests; every one names its ``op`` and ``id``, every reply repeats the ``id``."""

    def __init__(self, supervisor: Supervisor, store: Store) -> None:
        self.supervisor = supervisor
        self.store = store
        self.records = Records(store)
        self.lock = SessionLock(store.root)
        self._libraries: Optional[Dict[str, Any]] = None
        self.table: Dict[str, Callable[[Dict[str, Any]], Reply]] = {
            "hold": self.hold,
            "probe": self.probe,
            "blob_begin": self.blob_begin,
            "blob_append": self.blob_append,
            "blob_commit": self.blob_commit,
            "blob_read": self.blob_read,
            "build": self.build,
            "load": self.load,
            "spawn": self.spawn,
            "unload": self.unload,
        }
        for name in ("run", "first", "time", "profile", "soak"):
            self.table[name] = self.engine_work
        for name in ("memory", "echo"):
            self.table[name] = self.worker_op

    def answer(self, request: Dict[str, Any]) -> None:
        """Does what a request asks and sends the reply; only a vanished host ends it with an exception."""
        host = self.supervisor.host
        number = request.get("id")
        try:
            result, chunks = self.table.get(str(request.get("op")), self.unknown)(request)
            header = dict(result, id=number)
        except (HostGone, wire.Closed):
            raise
        except Failure as problem:
            header, chunks = {"id": number, "error": problem.reply()}, []
        except OSError as error:
            header, chunks = {"id": number, "error": self.store.trouble(error).reply()}, []
        except (KeyError, TypeError, ValueError, wire.WireError) as error:
            what = "the request %.40r is malformed: %s %s" % (request.get("op"), type(error).__name__, error)
            header, chunks = {"id": number, "error": Failure(failure.PROTOCOL, failure.short(what)).reply()}, []
        host.drain()
        host.send(header, *chunks)

    def unknown(self, request: Dict[str, Any]) -> Reply:
        """Refuses what no entry of the table is named after."""
        raise Failure(failure.PROTOCOL, "no operation is called %.80r" % (request.get("op"),))

    def hold(self, request: Dict[str, Any]) -> Reply:
        """Takes the target for the session; waits ``wait`` seconds for another one to end."""
        claim = {key: str(request[key]) for key in ("token", "who", "host", "pid")}
        try:
            self.supervisor.wait_until(lambda: self.lock.attempt(claim), float(request["wait"]), LOCK_POLL)
        except TimeoutError:
            raise self.lock.refusal() from None
        self.store.since = min(self.store.since, float(self.lock.owner.get("at", self.store.since)))
        return {"ok": {}}, []

    def _must_hold(self) -> None:
        if not self.lock.held:
            raise Failure(
                failure.PROTOCOL, "engines are built and loaded only by who holds the target", "hold it first"
            )

    def probe(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """The machine, and what a worker of it can import."""
        facts = probe.machine()
        facts.update(self.libraries())
        return {"ok": facts}, []

    def libraries(self) -> Dict[str, Any]:
        """Versions as a worker sees them; asked once, since importing a runtime takes a second on a board."""
        if self._libraries is None:
            hand = self.supervisor.hire()
            try:
                self._libraries = self.supervisor.exchange(hand, {"op": "facts"}, PROBE_DEADLINE)["ok"]
            finally:
                self.supervisor.dismiss(hand)
        return dict(self._libraries or {})

    def blob_begin(self, request: Dict[str, Any]) -> Reply:
        """Is the blob there, or how far did an earlier upload come?"""
        digest, size = request["digest"], int(request["size"])
        if self.store.use(digest) is not None:
            return {"ok": {"have": True, "offset": size}}, []
        offsets: List[int] = []

        def attempt() -> bool:
            found = self.store.begin(digest, size)
            if found is not None:
                offsets.append(found)
            return found is not None or self.store.use(digest) is not None

        try:
            self.supervisor.wait_until(attempt, 600.0, LOCK_POLL)
        except TimeoutError:
            raise Failure(
                failure.STORE, "another agent has been uploading %.12s for long" % digest, "run again"
            ) from None
        return {"ok": {"have": not offsets, "offset": offsets[0] if offsets else size}}, []

    def blob_append(self, request: Dict[str, Any]) -> Reply:
        """The next piece of an upload."""
        host = self.supervisor.host
        if host.pending > MAX_PIECE:
            raise Failure(failure.PROTOCOL, "a piece of %d bytes is too long" % host.pending)
        return {"ok": {"offset": self.store.append(request["digest"], request["offset"], host.take())}}, []

    def blob_commit(self, request: Dict[str, Any]) -> Reply:
        """Ends an upload."""
        self.store.commit(request["digest"])
        return {"ok": {}}, []

    def blob_read(self, request: Dict[str, Any]) -> Reply:
        """A piece of a blob; ``size`` is the whole blob's."""
        digest = request["digest"]
        size = os.path.getsize(self.store.need(digest))
        piece = self.store.read(digest, int(request["offset"]), min(int(request["length"]), MAX_PIECE))
        return {"ok": {"size": size}}, [piece]

    def build(self, request: Dict[str, Any]) -> Reply:
        """An engine from the store by its key, or a new one made in a worker of its own."""
        self._must_hold()
        model = self.store.verify(request["model"])
        facts = key_facts(request, self.libraries(), probe.machine()["l4t"])
        key = key_of(facts)
        with self.turn():
            record = self.records.find(key)
            cached = record is not None
            if record is not None and record["digest"] != request["model"]:
                self.store.verify(record["digest"])
            if record is None:
                record = self._build(request, model, key, facts)
        return {"ok": dict(record, cached=cached)}, []

    def _build(self, request: Dict[str, Any], model: str, key: str, facts: Dict[str, Any]) -> Dict[str, Any]:
        out = self.store.path("tmp", "%s.%d" % (key, os.getpid()))
        order = {
            "op": "build",
            "runtime": request["runtime"],
            "precision": request["precision"],
            "options": request["options"],
            "model": model,
            "out": out,
        }
        hand = self.supervisor.hire()
        try:
            built = self.supervisor.exchange(hand, order, float(request["deadline"]))["ok"]
            same = os.path.realpath(built["path"]) == os.path.realpath(model)
            digest = request["model"] if same else self.store.adopt(out)
        finally:
            self.supervisor.dismiss(hand)
            if os.path.exists(out):
                os.unlink(out)
        return self.records.write(key, facts, digest, built)

    def load(self, request: Dict[str, Any]) -> Reply:
        """A fresh worker with the engine of ``key`` loaded; its bytes are hashed again before."""
        self._must_hold()
        record = self.records.need(request["key"])
        order = {
            "op": "load",
            "runtime": record["facts"]["runtime"],
            "path": self.store.verify(record["digest"]),
            "options": request["options"],
        }
        with self.turn():
            began = time.perf_counter()
            hand = self.supervisor.hire()
            try:
                loaded = self.supervisor.exchange(hand, order, float(request["deadline"]))["ok"]
            except BaseException:
                self.supervisor.dismiss(hand)
                raise
            loaded["load"]["total_seconds"] = time.perf_counter() - began
        return {"ok": dict(loaded, worker=hand.number, pid=hand.pid)}, []

    def spawn(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """A worker without an engine, for ``echo``."""
        hand = self.supervisor.hire()
        return {"ok": {"worker": hand.number, "pid": hand.pid}}, []

    def unload(self, request: Dict[str, Any]) -> Reply:
        """Ends a worker."""
        self.supervisor.dismiss(self._hand(request))
        return {"ok": {}}, []

    def turn(self) -> Any:
        """The turn of this agent among those of its session."""
        return self.supervisor.turn(self.store.path("turn.lock"))

    def engine_work(self, request: Dict[str, Any]) -> Reply:
        """Passes a request on to a worker while no other engine of this target works; samples it if it is timed."""
        hand = self._take_body(request)
        with self.turn():
            if request["op"] not in ("time", "soak"):
                return self._pass_on(hand, request)
            sampler = Sampler(hand.pid)
            try:
                reply, chunks = self._pass_on(hand, request, sampler)
            finally:
                sampler.close()
            reply["ok"]["telemetry"] = sampler.report()
            return reply, chunks

    def worker_op(self, request: Dict[str, Any]) -> Reply:
        """Passes on what disturbs nobody."""
        return self._pass_on(self._take_body(request), request)

    def _hand(self, request: Dict[str, Any]) -> Hand:
        hand = self.supervisor.crew.get(request["worker"])
        if hand is None:
            raise Failure(failure.PROTOCOL, "no worker has number %r" % request["worker"])
        return hand

    def _take_body(self, request: Dict[str, Any]) -> Hand:
        """Reads the tensors from the host's pipe straight into the memory shared with the worker."""
        hand, host = self._hand(request), self.supervisor.host
        wire.slots(request, host.pending)
        request["body"] = host.pending
        if hand.alive:
            hand.segment.reserve(host.pending)
            host.take_into(hand.segment.view(0, host.pending))
        host.drain()
        return hand

    def _pass_on(self, hand: Hand, request: Dict[str, Any], sampler: Optional[Sampler] = None) -> Reply:
        reply = self.supervisor.exchange(hand, request, float(request["deadline"]), sampler)
        body = reply.get("body", 0)
        header = {"ok": reply["ok"], "arrays": reply.get("arrays", [])}
        return header, [hand.segment.view(reply.get("at", 0), body)] if body else []
