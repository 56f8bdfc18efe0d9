"""Define ``[targets.NAME]``: a machine under test, and the deployment if it is a robot."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hil.config.fields import Age, Bytes, Celsius, Pattern, Reach, Seconds, Table
from hil.runtimes import DEFAULT, RuntimeName

Command = tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...]
"""A program and its arguments, run without a shell."""


class ContainerSpec(Table):
    """``[targets.NAME.container]``: the workers run in a container of ``image``, the agent runs outside it.

    ``args`` are words that are put before the image in the container engine's ``run`` command, such as
    ``["--runtime", "nvidia"]``. ``python`` is the interpreter in the image.
    """

    engine: Literal["docker", "podman"]
    image: str
    args: tuple[str, ...] = ()
    python: str = "python3"


class DeployContainerSpec(Table):
    """``[targets.NAME.deploy.container]``: the robot runs an image that contains the release, as container ``name``.

    ``args`` are put before the image in the container engine's ``run`` command, ``command`` after it. ``base`` is the
    image on which the release's image is based.
    """

    engine: Literal["docker", "podman"]
    name: str = "hil-release"
    base: str | None = None
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class DeploySpec(Table):
    """``[targets.NAME.deploy]``: which engines a robot runs, how it is stopped and started, and its health check.

    Commands are lists of words that run on the robot without a shell.

    Attributes:
        config: files of this machine that are copied into each release as ``config/NAME``.
        engines: patterns for ``model`` or ``model precision``.
        keys: public keys (PEM), one of which must have signed the report.
    """

    directory: str
    service: str | None = None
    restart: Command = ()
    restart_within: Annotated[Seconds, Field(gt=0, le=3600)] = 60.0
    health: Annotated[Command, Field(min_length=1)]
    health_within: Annotated[Seconds, Field(gt=0, le=3600)] = 30.0
    safe_state: Command = ()
    safe_within: Annotated[Seconds, Field(gt=0, le=3600)] = 60.0
    config: tuple[str, ...] = ()
    engines: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=200)] = ("*",)
    golden: Annotated[int, Field(ge=1, le=10_000)] = 16
    max_age: Annotated[Age, Field(gt=0)] = 7 * 86400.0
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    keys: tuple[str, ...] = ()
    container: DeployContainerSpec | None = None


class TargetSpec(Table):
    """``[targets.NAME]``: a machine under test, how it is reached, and the state that it must be in.

    A target of kind ``pool`` or ``labgrid`` is several boards (``hil.config.pools``), which the keys from ``members``
    to ``wait`` describe.
    """

    kind: Literal["local", "ssh", "pool", "labgrid"] = "local"
    members: tuple[str, ...] = ()
    coordinator: str | None = None
    filter: dict[str, str] = {}
    at_most: Annotated[int, Field(ge=1, le=64)] | None = None
    wait: Annotated[Seconds, Field(ge=0, le=86400)] = 0.0
    runtime: RuntimeName = DEFAULT
    host: str | None = None
    user: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    jump: str | None = None
    identity: str | None = None
    known_hosts: str | None = None
    connect_timeout: Annotated[Seconds, Field(gt=0, le=600)] = 15.0
    silence: Annotated[Seconds, Field(ge=5, le=3600)] = 60.0
    board: str | None = None
    serial: str | None = None
    power_mode: str | None = None
    clocks: Literal["as-deployed", "locked"] = "as-deployed"
    python: str | None = None
    store: str | None = None
    store_size: Bytes = 4 * 2.0**30
    gpu: Annotated[int, Field(ge=0, le=63)] = 0
    cuda: Literal["auto", "pycuda", "ctypes"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    start_below: Annotated[Celsius, Reach("a board shuts down before that", 110.0, "65 °C")] | None = None
    cool_within: Seconds = 300.0
    gpu_clients: tuple[str, ...] = ()
    free_memory: Annotated[Bytes, Reach("0 bytes are always free", 0.0, "2 GiB", at_least=True)] | None = None
    stop_services: tuple[str, ...] = ()
    reserve_memory: Annotated[Bytes, Reach("nothing would be reserved", 0.0, "2 GiB", at_least=True)] | None = None
    co_runner: str | None = None
    container: ContainerSpec | None = None
    deploy: DeploySpec | None = None
    evidence: Literal["emulated"] | None = None
