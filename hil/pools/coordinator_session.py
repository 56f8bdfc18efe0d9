"""Speak with a labgrid coordinator through labgrid's own client. Only the keeper process imports this."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Any

from labgrid.remote.client import ClientSession
from labgrid.util.proxy import proxymanager

PORT = 20408
RPC_SECONDS = 20.0


def identity() -> str:
    """Return the name by which the coordinator knows this process."""
    return f"{os.environ['LG_HOSTNAME']}/{os.environ['LG_USERNAME']}"


class CoordinatorSession:
    """A session with a coordinator, opened again when it was lost; ``tags`` select the places."""

    def __init__(self, coordinator: str, tags: dict[str, str]) -> None:
        """Connect to nothing yet."""
        self.coordinator = coordinator
        self.tags = tags
        self._session: Any = None

    async def connect(self) -> None:
        """Open a session. Raises ``OSError`` if the coordinator does not answer."""
        if self._session is not None and not self._session.stopping.is_set():
            return
        address = proxymanager.get_grpc_address(self.coordinator, default_port=PORT)
        session = ClientSession(address, asyncio.get_running_loop())
        try:
            await asyncio.wait_for(session.start(), RPC_SECONDS)
        except Exception as error:  # noqa: BLE001 - labgrid and grpc raise errors of many kinds
            with contextlib.suppress(Exception):
                await session.close()
            raise OSError(f"the coordinator {self.coordinator} does not answer: {error}") from None
        self._session = session

    async def call(self, name: str, request: Any) -> Any:
        """Call the coordinator. Raises ``grpc.RpcError``."""
        return await getattr(self._session.stub, name)(request, timeout=RPC_SECONDS)

    async def sync(self) -> None:
        """Wait until what the coordinator knew before is known here."""
        await asyncio.wait_for(self._session.sync_with_coordinator(), RPC_SECONDS)

    async def end(self) -> None:
        """Close the session, if there is one."""
        with contextlib.suppress(Exception):
            await self._session.stop()
            await self._session.close()

    def place(self, name: str) -> Any:
        """Return the place ``name``, ``None`` if there is none."""
        return self._session.places.get(name)

    def matching(self) -> list[Any]:
        """Return the places that have the tags."""
        tags = set(self.tags.items())
        return [each for each in self._session.places.values() if tags <= {*each.tags.items(), ("name", each.name)}]

    def holders(self) -> list[dict[str, Any]]:
        """Return who holds each place that has the tags, since when."""
        places = sorted(self.matching(), key=lambda each: each.name)
        return [{"place": each.name, "by": each.acquired, "since": _time(each.changed)} for each in places]

    def resources(self, name: str) -> list[Any]:
        """Return the resources of an acquired place that are still exported."""
        place = self.place(name)
        entries = []
        for exporter, group, _cls, resource in [] if place is None else place.acquired_resources:
            entries.append(self._session.resources.get(exporter, {}).get(group, {}).get(resource))
        return [entry for entry in entries if entry is not None]


def tags_text(tags: dict[str, str]) -> str:
    """Return tags as one text."""
    return ", ".join(f"{key}={value}" for key, value in sorted(tags.items()))


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def details(error: Any) -> str:
    """Return what the coordinator said about an error."""
    return str(error.details() or error.code())
