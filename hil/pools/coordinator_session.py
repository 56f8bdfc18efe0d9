"""Send requests to a labgrid coordinator through labgrid's own client. Only the keeper process imports this module."""

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
    """Return the name under which the coordinator records the places of this process: ``HOST/USER``."""
    return f"{os.environ['LG_HOSTNAME']}/{os.environ['LG_USERNAME']}"


class CoordinatorSession:
    """A session with a coordinator. ``tags`` select the places; ``connect`` reopens a lost session."""

    def __init__(self, coordinator: str, tags: dict[str, str]) -> None:
        """Store the arguments; ``connect`` opens the session."""
        self.coordinator = coordinator
        self.tags = tags
        self._session: Any = None

    async def connect(self) -> None:
        """Open a session unless one is open. Raises ``OSError`` if the coordinator does not answer."""
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
        """Call the coordinator's method ``name`` with ``request`` and return its answer. Raises ``grpc.RpcError``."""
        return await getattr(self._session.stub, name)(request, timeout=RPC_SECONDS)

    async def sync(self) -> None:
        """Wait until this session has received every change that the coordinator has made so far."""
        await asyncio.wait_for(self._session.sync_with_coordinator(), RPC_SECONDS)

    async def end(self) -> None:
        """Close the session if one is open. Raises nothing."""
        with contextlib.suppress(Exception):
            await self._session.stop()
            await self._session.close()

    def place(self, name: str) -> Any:
        """Return the place ``name``, or ``None`` if the coordinator has no such place."""
        return self._session.places.get(name)

    def matching(self) -> list[Any]:
        """Return the places that have all of ``tags``; ``name`` counts as a tag of every place."""
        tags = set(self.tags.items())
        return [each for each in self._session.places.values() if tags <= {*each.tags.items(), ("name", each.name)}]

    def holders(self) -> list[dict[str, Any]]:
        """Return the name (``place``), holder (``by``) and time (``since``, UTC) of each place that has the tags.

        ``by`` is ``None`` for a free place; ``since`` is the time of the place's last change.
        """
        places = sorted(self.matching(), key=lambda each: each.name)
        return [{"place": each.name, "by": each.acquired, "since": _time(each.changed)} for each in places]

    def resources(self, name: str) -> list[Any]:
        """Return the resources of the place ``name`` that are still exported; empty unless the place is acquired."""
        place = self.place(name)
        entries = []
        for exporter, group, _cls, resource in [] if place is None else place.acquired_resources:
            entries.append(self._session.resources.get(exporter, {}).get(group, {}).get(resource))
        return [entry for entry in entries if entry is not None]


def tags_text(tags: dict[str, str]) -> str:
    """Return tags as one line for a message: ``board=orin, site=lab-2``."""
    return ", ".join(f"{key}={value}" for key, value in sorted(tags.items()))


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def details(error: Any) -> str:
    """Return the coordinator's message about a ``grpc.RpcError``; without a message, the error's code."""
    return str(error.details() or error.code())
