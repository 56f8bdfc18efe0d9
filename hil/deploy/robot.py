"""The releases on a robot: the host's requests to the robot's agent."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.deploy.image import FOLDER
from hil.deploy.release import in_image
from hil.errors import DeployRefused, HilError, LabError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hil.config.spec import DeploySpec
    from hil.targets.client import AgentClient

    Notify = Callable[[str, str], None]

AFTERWARDS = "the robot completes the operation by itself"


@dataclass(frozen=True)
class Outcome:
    """How an operation ended, and why.

    ``how`` is ``unchanged`` (the release already runs), ``deployed``, ``rolled back`` (the earlier release runs
    again), ``refused`` (nothing was switched) or ``unhealthy`` (no release is known to be healthy).
    """

    how: str
    text: str
    release: str | None = None


@dataclass(frozen=True)
class Listing:
    """The releases on a robot.

    Attributes:
        there: whether the robot has a folder of releases. Without one, the other attributes have their defaults.
        folder: path of that folder on the robot.
        current: digest of the release that runs, if any.
        damage: what is damaged in the current release, if anything.
        previous: digest of the release to which a rollback returns, if any.
        releases: one entry for each release (``of``).
        operation: the deployment or rollback that has not ended, if any.
        busy: whether another process carries out a deployment now.
        holder: ``who``, ``host``, ``pid`` and ``since`` of the latest process that carried out a deployment, if known.
        history: up to 20 of the latest operations.
    """

    there: bool
    folder: str = ""
    current: str | None = None
    damage: str | None = None
    previous: str | None = None
    releases: tuple[Mapping[str, Any], ...] = ()
    operation: Mapping[str, Any] | None = None
    busy: bool = False
    holder: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    def of(self, release: str) -> Mapping[str, Any] | None:
        """Return the entry of a release: ``release``, ``healthy``, ``manifest`` (``None`` if damaged).

        Returns ``None`` if the robot does not have the release.
        """
        return next((entry for entry in self.releases if entry["release"] == release), None)


class Robot:
    """One robot, by its name in ``hil.toml``; ``notify`` is called with each step and its text."""

    def __init__(self, name: str, spec: DeploySpec, agent: AgentClient, notify: Notify) -> None:
        self.name = name
        self.spec = spec
        self.agent = agent
        self.notify = notify

    def listing(self) -> Listing:
        """Return the robot's releases; changes nothing. Raises ``LabError`` if the robot is lost."""
        fields = self.agent.call("releases_list", {"folder": self.spec.directory})[0]
        with self.agent.reading():
            for key in ("releases", "history"):
                fields[key] = tuple(fields.get(key, ()))
            return Listing(**fields)

    def open(self) -> str | None:
        """Hold the robot for a deployment and complete an interrupted one; return the digest of the release that runs.

        Return ``None`` if no release runs.

        Raises ``TargetHeld`` if another deployment is in progress.
        """
        claim = {"who": getpass.getuser(), "host": socket.gethostname(), "pid": str(os.getpid())}
        opened: dict[str, Any] = self.agent.call("releases_open", {"folder": self.spec.directory, **claim})[0]
        if opened.get("pending"):
            self.notify("recovering", "an earlier deployment was interrupted")
            outcome = self.activate("recover")
            self.notify("recovered", outcome.text)
            opened["current"] = self.listing().current
        current: str | None = opened["current"]
        return current

    def stage(self, digest: str) -> bool:
        """Assemble the release from the uploaded files; return False if it was already there."""
        return bool(self.agent.call("releases_stage", {"release": digest})[0]["staged"])

    def load(self, archive: str, image: str) -> bool:
        """Load an image into the robot's container engine; return False if it was already there.

        ``archive`` is the SHA-256 of the uploaded archive, ``image`` the id of the image in it.
        """
        if self.spec.container is None:
            raise ValueError("this robot runs no images")
        order = {"engine": self.spec.container.engine, "archive": archive, "image": image}
        return bool(self.agent.call("releases_load", order)[0]["loaded"])

    def pull(self, reference: str) -> str:
        """Pull an image with the robot's container engine; return its id."""
        if self.spec.container is None:
            raise ValueError("this robot runs no images")
        order = {"engine": self.spec.container.engine, "reference": reference}
        return str(self.agent.call("releases_pull", order)[0]["image"])

    def has_image_of(self, manifest: Mapping[str, Any]) -> bool:
        """Return whether the robot's container engine has the image of the release with this manifest.

        Raises ``DeployRefused`` if the release's folder in a container of the image differs from that release.
        """
        if self.spec.container is None:
            raise ValueError("this robot runs no images")
        order = {
            "engine": self.spec.container.engine,
            "image": manifest["image"]["id"],
            "release": in_image(manifest),
            "place": f"/{FOLDER}",
        }
        return bool(self.agent.call("releases_compare", order)[0]["there"])

    def runs(self, listing: Listing, release: str) -> bool:
        """Return whether ``release`` runs, is undamaged and healthy, and still has its image if it needs one.

        Raises ``DeployRefused`` if the image has other files in the release's folder than the release.
        """
        entry = listing.of(release)
        if listing.current != release or listing.damage or entry is None or not entry["healthy"]:
            return False
        return self.spec.container is None or self.has_image_of(entry["manifest"])

    def fetch(self, release: str, files: Mapping[str, tuple[str, int]], folder: Path) -> None:
        """Copy ``files`` (path to SHA-256 and size in bytes) of a release to ``folder``.

        Raises ``DeployRefused`` if any file of the release is damaged.
        """
        self.agent.call("releases_fetch", {"release": release, "paths": list(files)})
        for path, (digest, size) in files.items():
            self.agent.get_blob(digest, folder / path, size)

    def of_one_kind(self, listing: Listing, release: str | None) -> None:
        """Raise ``UserError`` if ``release`` is not of the kind that the config deploys: images or files.

        ``None`` and a release with a damaged manifest are accepted.
        """
        entry = None if release is None else listing.of(release)
        manifest = None if entry is None else entry["manifest"]
        if manifest is not None and ("image" in manifest) != (self.spec.container is not None):
            what = (
                "is an image, but hil.toml deploys files"
                if "image" in manifest
                else "has files, but hil.toml deploys an image"
            )
            where = f"on target {self.name!r}: set directory to another folder"
            raise UserError(f"release {str(release)[:12]} in {listing.folder} {what}: {where}")

    def begin(self, kind: str, release: str) -> None:
        """Begin a ``deploy`` or ``rollback`` (``kind``) to ``release``: bring the robot into its safe state.

        The caller must then end the operation with ``activate``. Raises ``DeployRefused`` if the safe state is not
        reached; the operation was then abandoned.
        """
        plan = self.plan()
        if plan["safe_state"]:
            self.notify("safe state", " ".join(plan["safe_state"]))
        answer = self.agent.call("releases_begin", {"kind": kind, "to": release, "plan": plan})[0]
        if answer["trouble"]:
            outcome = self.activate("stay")
            where = f"on target {self.name!r}"
            what = f"the robot is not in its safe state: {answer['trouble']}: {where}: {outcome.text}"
            raise DeployRefused(f"{what}: end what keeps it from that state, and run again")

    def plan(self) -> dict[str, Any]:
        """Return the robot's commands and deadlines from ``hil.toml``, for the agent."""
        keys = (
            "service",
            "restart",
            "restart_within",
            "health",
            "health_within",
            "safe_state",
            "safe_within",
            "keep",
            "container",
        )
        return {key: self.spec.model_dump(mode="json")[key] for key in keys}

    def activate(self, what: str) -> Outcome:
        """Complete (``forward``), abandon (``stay``) or recover (``recover``) the operation; return its outcome.

        Raises ``LabError`` if the robot is lost meanwhile; the robot then completes the operation by itself.
        """
        try:
            self.agent.call("releases_activate", {"what": what})
            return self._follow()
        except LabError as error:
            raise LabError(f"{error}; {AFTERWARDS}: see `hil releases {self.name}`") from None

    def _follow(self) -> Outcome:
        outcome = None
        while True:
            answer = self.agent.call("releases_watch")[0]
            with self.agent.reading():
                for line in answer["steps"]:
                    step, text = str(line["step"]), str(line["text"])
                    if step.startswith("end "):
                        outcome = Outcome(step[4:], text, answer["current"])
                    else:
                        self.notify(step, text)
                ended = bool(answer["ended"])
            if ended:
                break
        if outcome is None:
            raise LabError(f"the process that switches releases was killed: on target {self.name!r}: run again")
        return outcome

    def give_up(self, error: BaseException) -> None:
        """Abandon an operation, because of ``error``, before it switches releases.

        If abandoning fails, no error is raised. If ``error`` is a ``HilError``, it gets the message of the failure too.
        """
        try:
            self.notify("giving up", f"{self.activate('stay').text}")
        except HilError as other:
            if isinstance(error, HilError):
                error.args = (f"{error}; and {other}",)
