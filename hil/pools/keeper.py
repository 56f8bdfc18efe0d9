"""Hold places of a labgrid coordinator for one run, in a process of its own: ``python -m hil.pools.keeper``.

Input and output are JSON lines. The first line of input is the order (``coordinator``, ``filter``); if it has the key
``only``, the keeper answers this one question (``_answer``) and ends. Later lines are commands: ``want`` (hold
``count`` places), ``release`` (``place``), ``close``. The keeper writes events: ``acquired``, ``unusable``,
``waiting``, ``lost``, ``failed``, ``left`` and ``closed``. At the end of its input it releases all places. The
environment variables LG_HOSTNAME and LG_USERNAME have the name under which it holds places.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from typing import Any

import grpc
from labgrid.remote.common import Reservation, ReservationState
from labgrid.remote.generated import labgrid_coordinator_pb2 as pb

from hil.pools.coordinator_session import CoordinatorSession, details, identity, tags_text

POLL = 1.0
"""Seconds between two polls of a reservation, which the coordinator forgets after 60 s without a poll."""
RECONNECT = 30.0
"""Seconds for which a coordinator that stopped answering is tried again, before its places count as lost."""
GRACE = 3.0
"""Seconds between the death of the run and the release of its places, so that its workers on the boards can end."""


def tell(event: str, **fields: Any) -> None:
    """Write one event to stdout; ignore a closed stdout, since places must still be released."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


class Keeper:
    """The places and reservations of one run."""

    def __init__(self, coordinator: str, tags: dict[str, str]) -> None:
        """Store the arguments; ``run`` connects to the coordinator."""
        self.lab = CoordinatorSession(coordinator, tags)
        self.wanted = 0
        self.held: dict[str, str] = {}  # places by name, with the token of their reservation
        self.waiting: list[str] = []  # tokens
        self.parked: dict[str, str] = {}  # places without resources, reserved until enough others are held
        self.closing = asyncio.Event()
        self._reported: Any = None

    # Obtaining

    async def step(self) -> None:
        """Reserve the missing places, acquire allocated ones, and report changes in what the run is waiting for.

        Raise ``LookupError`` if the coordinator has no place with the tags.
        """
        missing = self.wanted - len(self.held)
        while len(self.waiting) > max(0, missing):
            await self._cancel(self.waiting.pop())
        if missing <= 0:
            await self._unpark()
            return
        if not self.lab.matching():
            raise LookupError(f"no place has the tags {tags_text(self.lab.tags)}")
        while len(self.waiting) < missing:
            group = {"main": pb.Reservation.Filter(filter=self.lab.tags)}
            made = await self.lab.call("CreateReservation", pb.CreateReservationRequest(filters=group, prio=0.0))
            self.waiting.append(made.reservation.token)
        for token in list(self.waiting):
            polled = await self.lab.call("PollReservation", pb.PollReservationRequest(token=token))
            reservation = Reservation.from_pb2(polled.reservation)
            if reservation.state in (ReservationState.expired, ReservationState.invalid):
                self.waiting.remove(token)
            elif reservation.allocations:
                self.waiting.remove(token)
                await self._acquire(reservation.allocations["main"][0], token)
        for token in self.parked.values():
            await self.lab.call("PollReservation", pb.PollReservationRequest(token=token))
        if self.waiting:
            await self._tell_waiting()

    async def _acquire(self, name: str, token: str) -> None:
        try:
            await self.lab.call("AcquirePlace", pb.AcquirePlaceRequest(placename=name))
        except grpc.RpcError as error:
            tell("unusable", place=name, reason=details(error))
            self.parked[name] = token
            return
        self.held[name] = token
        await self.lab.sync()
        found = [entry for entry in self.lab.resources(name) if entry.data.get("cls") == "NetworkService"]
        if len(found) == 1 and found[0].avail:
            args, extra = found[0].args, found[0].extra
            proxy = extra.get("proxy") if extra.get("proxy_required") else None
            where = {key: args.get(key) for key in ("address", "username", "port")}
            tell("acquired", place=name, proxy=proxy, **where)
            return
        what = f"it has {len(found)} NetworkService resources, but exactly 1 is needed"
        tell("unusable", place=name, reason="its NetworkService is not available" if len(found) == 1 else what)
        # Reserved but not acquired: another reservation of this run would be given the same place again.
        await self._release(name, cancel=False)
        self.parked[name] = token

    async def _unpark(self) -> None:
        while self.parked:
            await self._cancel(self.parked.popitem()[1])

    async def _tell_waiting(self) -> None:
        answer = await self.lab.call("GetReservations", pb.GetReservationsRequest())
        queue = sorted((each.created, each.token) for each in answer.reservations if each.state == 0)
        tokens = [token for _, token in queue]
        place = min((tokens.index(token) + 1 for token in self.waiting if token in tokens), default=0)
        reported = {
            "holders": self.lab.holders(),
            "place_in_queue": place,
            "queue": len(tokens),
            "missing": len(self.waiting),
        }
        if reported != self._reported:
            self._reported = reported
            tell("waiting", **reported)

    # Watching

    async def watch(self) -> None:
        """Report and release the lost places: places that somebody took or deleted, or that have no usable resource."""
        for name in list(self.held):
            place = self.lab.place(name)
            if place is None:
                why = "the place was deleted"
            elif place.acquired != identity():
                why = f"the place was taken away; now {place.acquired or 'nobody'} holds it"
            elif not any(entry.data.get("avail") for entry in self.lab.resources(name)):
                why = "its exporter is gone, or its resources are not available any more"
            else:
                continue
            self.wanted = max(0, self.wanted - 1)  # the run asks for another once it has left this one
            tell("lost", place=name, reason=f"{why} (place {name} of the coordinator {self.lab.coordinator})")
            await self._release(name)

    # Releasing

    async def _release(self, name: str, *, cancel: bool = True) -> None:
        """Release the place ``name`` and, if ``cancel`` is true, its reservation.

        Nothing changes if this run does not hold it. Raise ``grpc.RpcError`` if the release fails.
        """
        token = self.held.pop(name, "")
        try:
            await self.lab.call("ReleasePlace", pb.ReleasePlaceRequest(placename=name, fromuser=identity()))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:  # the place was deleted
                self.held[name] = token
                raise
        if cancel and token:
            await self._cancel(token)

    async def _cancel(self, token: str) -> None:
        with contextlib.suppress(grpc.RpcError):  # it is gone; without polls it would be in a minute
            await self.lab.call("CancelReservation", pb.CancelReservationRequest(token=token))

    async def close(self) -> None:
        """Release all places and cancel all reservations. If that fails, try again for ``RECONNECT`` seconds.

        Report places that are still held as ``left``, and then ``closed``.
        """
        self.wanted = 0
        until, why = time.monotonic() + RECONNECT, ""
        if self.held or self.waiting or self.parked:
            why = await self._release_all()
        while why and time.monotonic() < until:
            await asyncio.sleep(POLL)
            why = await self._release_all()
        if why:
            tell("left", places=sorted(self.held), reason=why)
        await self.lab.end()
        tell("closed")

    async def _release_all(self) -> str:
        """Release all places and cancel all reservations; return why that failed, or an empty text."""
        try:
            await self.lab.connect()
            while self.waiting:
                await self._cancel(self.waiting.pop())
            await self._unpark()
            for name in list(self.held):
                await self._release(name)
        except (OSError, grpc.RpcError) as error:
            return str(error) if isinstance(error, OSError) else details(error)
        return ""

    # The loop

    async def obey(self, line: str) -> None:
        """Carry out the command in ``line``; ignore an unknown one."""
        command = json.loads(line)
        if command["do"] == "want":
            self.wanted, self._reported = int(command["count"]), None
        elif command["do"] == "release" and command["place"] in self.held:
            await self._release(command["place"])
        elif command["do"] == "close":
            self.closing.set()

    async def run(self, commands: asyncio.Queue[str]) -> None:
        """Hold places until the command ``close`` or the end of input, which is an empty text in ``commands``."""
        gone: float | None = None
        while not self.closing.is_set():
            try:
                await self.lab.connect()
                gone = None
                await self.watch()
                await self.step()
                await self._listen(commands, POLL / 4 if self.held else POLL / 2)
            except LookupError as error:  # noqa: PERF203 - a round may fail, and the next one must run
                self.wanted = len(self.held)
                tell("failed", kind="user", reason=str(error))
            except (OSError, grpc.RpcError) as error:
                reason = str(error) if isinstance(error, OSError) else details(error)
                gone = time.monotonic() if gone is None else gone
                if not self.held or time.monotonic() - gone > RECONNECT:
                    self._give_up(reason)
                    gone = None
                # What cannot be released now is released at the end.
                with contextlib.suppress(OSError, grpc.RpcError, AttributeError):
                    await self._listen(commands, POLL)
        await self.close()

    async def _listen(self, commands: asyncio.Queue[str], seconds: float) -> None:
        """Carry out a command that comes within ``seconds``. At the end of input, begin to close after ``GRACE``."""
        with contextlib.suppress(asyncio.TimeoutError):
            line = await asyncio.wait_for(commands.get(), seconds)
            if line:
                await self.obey(line)
            else:
                await asyncio.sleep(GRACE)
                self.closing.set()

    def _give_up(self, reason: str) -> None:
        self.wanted, self.waiting, self.parked = 0, [], {}
        tell("failed", kind="lab", reason=reason)
        for name in self.held:
            tell("lost", place=name, reason=f"{reason} (place {name})")


async def _answer(order: dict[str, Any]) -> None:
    """Write the answer to ``order["only"]``.

    For ``holders``, it has who holds each place. For any other value, release ``place`` if ``by`` holds it, and write
    ``closed``.
    """
    lab = CoordinatorSession(order["coordinator"], order["filter"])
    await lab.connect()
    if order["only"] == "holders":
        tell("holders", holders=lab.holders())
    else:
        await lab.call("ReleasePlace", pb.ReleasePlaceRequest(placename=order["place"], fromuser=order["by"]))
        tell("closed")
    await lab.end()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    order = json.loads(await reader.readline())
    if "only" in order:
        await _answer(order)
        return
    keeper = Keeper(order["coordinator"], order["filter"])
    commands: asyncio.Queue[str] = asyncio.Queue()

    async def read() -> None:
        while line := await reader.readline():
            commands.put_nowait(line.decode())
        commands.put_nowait("")

    loop.add_signal_handler(signal.SIGTERM, commands.put_nowait, "")
    reading = asyncio.ensure_future(read())
    await keeper.run(commands)
    reading.cancel()


def main() -> int:
    """Run the keeper. Return 1 if the coordinator did not answer the question or refused it, else 0."""
    try:
        asyncio.run(_main())
    except (OSError, grpc.RpcError) as error:
        tell("failed", kind="lab", reason=str(error) if isinstance(error, OSError) else details(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
