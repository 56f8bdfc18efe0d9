"""Check ``[targets.NAME.deploy]`` for folders, commands and files that are impossible on a robot."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hil.agent.containers.container_spec import is_reference
from hil.agent.failure import Failure
from hil.agent.releases.manifest import valid_path
from hil.config.explain import Keys, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import DeployContainerSpec, DeploySpec

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9@_.:-]{0,99}")
"""The service names that the root helper accepts (``hil/board/helper.py``)."""
COMMANDS = ("restart", "health", "safe_state")


def mistakes(keys: Keys, spec: DeploySpec) -> Iterator[Mistake]:
    """Yield the mistakes in the table, without reading any file."""
    folder = spec.directory
    if CONTROL.search(folder) or ".." in folder.split("/") or not folder.startswith(("/", "~/")):
        yield Mistake((*keys, "directory"), f"{folder!r} is not a folder on the robot: write it as /… or ~/…")
    elif len([part for part in folder.split("/") if part]) < 2:  # a top-level folder belongs to others as well
        yield Mistake(
            (*keys, "directory"), f"{folder!r} is shared with other software: name a subfolder for the releases"
        )
    yield from _started(keys, spec)
    if spec.service is not None and not SERVICE.fullmatch(spec.service):
        yield Mistake((*keys, "service"), f"{spec.service!r} is not a service name: write e.g. 'perception'")
    for name in COMMANDS:
        if any(CONTROL.search(word) for word in getattr(spec, name)):
            yield Mistake((*keys, name), "the command contains a control character: remove it")
    names: set[str] = set()
    for file in spec.config:
        name = PurePosixPath(file).name
        try:
            valid_path(f"config/{name}")
        except Failure:
            what = f"{name!r} is not a valid file name in a release: use letters, digits, '_', '.', '+' and '-'"
            yield Mistake((*keys, "config"), what)
        if name.lower() in names:
            yield Mistake((*keys, "config"), f"two files would both be config/{name}: rename one")
        names.add(name.lower())


def _started(keys: Keys, spec: DeploySpec) -> Iterator[Mistake]:
    if spec.container is not None:
        yield from _container((*keys, "container"), spec.container)
        if spec.service is not None or spec.restart:
            what = "the container engine starts a container: remove service and restart, or remove container"
            yield Mistake((*keys, "service" if spec.service else "restart"), what)
    elif (spec.service is None) == (not spec.restart):
        what = "give either service (restarted through the root helper) or restart (a command)"
        yield Mistake((*keys, "service" if spec.service else "directory"), what)


def _container(keys: Keys, container: DeployContainerSpec) -> Iterator[Mistake]:
    if not SERVICE.fullmatch(container.name):
        yield Mistake((*keys, "name"), f"{container.name!r} is not a container name: write e.g. 'perception'")
    if container.base is not None and not is_reference(container.base):
        yield Mistake((*keys, "base"), f"{container.base!r} is not an image reference: write it as NAME:TAG")
    for name in ("args", "command"):
        if any(CONTROL.search(word) for word in getattr(container, name)):
            yield Mistake((*keys, name), "contains a control character: remove it")
