"""Use an engine that an equal board of the pool has built: it comes from the host's cache instead of a second build.

Boards are equal if their module, JetPack release, runtime version, power mode and engine key are the same. If one of
these facts is not known, nothing is shared.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hil.errors import UserError
from hil.files.digests import file_digest
from hil.jetson import identify
from hil.series import digest_of
from hil.targets.answers import digest_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hil.session.context import Context
    from hil.targets.answers import BuiltEngine

RECORD = ("key", "digest", "seconds", "log", "about", "peak", "power_mode")
LARGEST = 1 << 19
"""The largest size of a shared record, in characters: a record must fit into the header of a request."""
POLL = 0.2


def equal_facts(facts: Mapping[str, Any], runtime: str) -> dict[str, str] | None:
    """Return what must be equal on two boards, from a probe's facts; ``None`` if a fact is not known."""
    identity = identify(facts.get("board"))
    known = {
        "module": identity.module and identity.module.slug,
        "jetpack": identity.jetpack,
        "power_mode": identity.power_mode,
        "runtime": (facts.get("runtimes") or {}).get(runtime),
    }
    return {name: str(value) for name, value in known.items()} if all(known.values()) else None


def own_name(session: Context) -> str:
    """Return the name of the pool's board that the session holds, with the serial number if it is known."""
    serial = identify(session.facts.get("board")).serial
    return session.member + (f" (serial {serial})" if serial else "")


def build(  # noqa: PLR0913 - as for AgentClient.build
    session: Context,
    model: str,
    precision: str,
    options: Mapping[str, Any],
    limit: float,
    *,
    more: bool = False,
    external: Sequence[str] = (),
) -> BuiltEngine:
    """Return the engine as ``AgentClient.build`` does, or the one that an equal board of the pool has built.

    While another process of this machine builds the same engine on an equal board, wait at most ``limit`` seconds.
    """
    agent, runtime = session.agent, session.spec.runtime
    work = partial(agent.build, model, precision, runtime, options, limit, more=more, external=external)
    facts = equal_facts(session.facts, runtime) if session.member else None
    if facts is None:
        return work()
    found = agent.find(model, precision, runtime, options)
    entry = _Entry.of(session, facts, found.key)
    with entry.locked(limit) as locked:
        if not locked:
            return work()
        engine = work(shared=None if found.stored else entry.uploaded(session, model))
        if engine.built_on is None and engine.key == found.key and engine.power_mode == found.power_mode is not None:
            entry.save(session, engine, model)
    return engine


def copied(session: Context, engine: BuiltEngine, path: Path) -> bool:
    """Copy the engine from the host's cache to ``path`` if it is there, and return whether it was."""
    facts = equal_facts(session.facts, session.spec.runtime) if session.member else None
    plan = None if facts is None else _Entry.of(session, facts, engine.key).plan
    try:
        if plan is None or file_digest(plan) != engine.digest:
            return False
        shutil.copyfile(plan, path)
        return file_digest(path) == engine.digest
    except (OSError, UserError):
        return False


@dataclass(frozen=True)
class _Entry:
    """The files of one engine in the host's cache: ``record`` and, unless the engine is the ONNX file, ``plan``."""

    of_what: dict[str, str]
    record: Path
    plan: Path
    lock: Path

    @classmethod
    def of(cls, session: Context, facts: Mapping[str, str], key: str) -> _Entry:
        """Return the entry of the engine ``key`` for boards with these facts."""
        of_what = {**facts, "key": key}
        folder = session.config.resolve(session.config.spec.project.cache) / "engines"
        stem = folder / digest_of(of_what)
        return cls(of_what, *(stem.with_suffix(suffix) for suffix in (".json", ".plan", ".lock")))

    @contextlib.contextmanager
    def locked(self, limit: float) -> Iterator[bool]:
        """Lock the entry, and yield true; yield false if it cannot be locked within ``limit`` seconds."""
        until = time.monotonic() + limit
        with contextlib.ExitStack() as stack:
            locked = False
            with contextlib.suppress(OSError):
                self.lock.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(self.lock.open("a"))
                while not (locked := _lock(file.fileno())) and time.monotonic() < until:
                    time.sleep(POLL)
            yield locked

    def uploaded(self, session: Context, model: str) -> dict[str, Any] | None:
        """Upload the cached engine to the session's board, and return the engine's record.

        Return ``None`` if the cache has no intact engine. ``model`` is the digest of the ONNX file, which is on the
        board already.
        """
        try:
            stored = json.loads(self.record.read_text(encoding="utf-8"))
            record: dict[str, Any] = stored["record"]
            if stored["of"] != self.of_what or record["key"] != self.of_what["key"]:
                return None
            digest = digest_in(record["digest"])
            if digest != model and (file_digest(self.plan) != digest or session.agent.put_blob(self.plan) != digest):
                return None
        except (OSError, ValueError, KeyError, TypeError, UserError):
            return None
        return record

    def save(self, session: Context, engine: BuiltEngine, model: str) -> None:
        """Store the engine, which the session's board has built, in the host's cache.

        Its record is written last. Nothing is stored if the cache has it already, if the record would be larger than
        ``LARGEST``, or if the cache cannot be written.
        """
        record = {name: value for name, value in asdict(engine).items() if name in RECORD}
        text = json.dumps({"of": self.of_what, "record": {**record, "built_on": own_name(session)}})
        if (engine.cached and self.record.exists()) or len(text) > LARGEST:
            return
        with contextlib.suppress(OSError):
            if engine.digest != model:
                session.agent.get_blob(engine.digest, self.plan, engine.size)
            temporary = self.record.with_suffix(".new")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.record)


def _lock(descriptor: int) -> bool:
    """Lock the file and return true; return false if another process has it.

    Raise ``OSError`` if it cannot be locked.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
