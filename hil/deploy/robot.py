"""A robot's folder of releases, as the host asks the agent there about it."""

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

    Tell = Callable[[str, str], None]

AFTERWARDS = "what was begun ends there by itself"


@dataclass(frozen=True)
class Outcome:
    """How an operation ended, and why, in words.

    ``unchanged``: what was asked for runs already. Of what was begun: ``deployed``, ``rolled back``, ``refused`` (it
    was not done, and what ran before runs on) or ``unhealthy``.
    """

    how: str
    text: str
    release: str | None = None


@dataclass(frozen=True)
class Listing:
    """What is on a robot: ``current`` runs, ``damage`` is what is wrong with its files (empty: nothing)."""

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
        """What is there of a release: ``release``, ``healthy`` and ``manifest``, which is ``None`` if it is damaged."""
        return next((one for one in self.releases if one["release"] == release), None)


class Robot:
    """One robot by its name in ``hil.toml``; ``tell`` is called with each step and its words."""

    def __init__(self, name: str, spec: DeploySpec, agent: AgentClient, tell: Tell) -> None:
        self.name = name
        self.spec = spec
        self.agent = agent
        self.tell = tell

    def listing(self) -> Listing:
        """What is there, changing nothing. Raises ``LabError``."""
        found = self.agent.call("releases_list", {"folder": self.spec.directory})[0]
        with self.agent.reading():
            for key in ("releases", "history"):
                found[key] = tuple(found.get(key, ()))
            return Listing(**found)

    def open(self) -> str | None:
        """Takes the robot for a deployment and ends what a killed one left; returns the release that runs.

        Raises ``TargetHeld`` where another deployment is under way.
        """
        claim = {"who": getpass.getuser(), "host": socket.gethostname(), "pid": str(os.getpid())}
        found = self._open(claim)
        if found.get("pending"):
            self.tell("recovering", "an earlier deployment was interrupted")
            outcome = self.activate("recover")
            self.tell("recovered", outcome.text)
            found["current"] = self.listing().current
        current: str | None = found["current"]
        return current

    def _open(self, claim: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = self.agent.call("releases_open", {"folder": self.spec.directory, **claim})[0]
        return found

    def stage(self, digest: str) -> bool:
        """Puts the release together from what was uploaded; False where it was there."""
        return bool(self.agent.call("releases_stage", {"release": digest})[0]["staged"])

    def load(self, archive: str, image: str) -> bool:
        """Has the robot's engine load the image from the blob ``archive``; False where it was there."""
        if self.spec.container is None:
            raise ValueError("this robot runs no images")
        order = {"engine": self.spec.container.engine, "archive": archive, "image": image}
        return bool(self.agent.call("releases_load", order)[0]["loaded"])

    def pull(self, reference: str) -> str:
        """Has the robot's engine pull an image; its id."""
        if self.spec.container is None:
            raise ValueError("this robot runs no images")
        order = {"engine": self.spec.container.engine, "reference": reference}
        return str(self.agent.call("releases_pull", order)[0]["image"])

    def has_image_of(self, manifest: Mapping[str, Any]) -> bool:
        """Whether the robot's engine has the image of the release with this manifest.

        Raises ``DeployRefused`` where a container of it would show anything but that release.
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
        """Whether ``release`` is what runs: whole, once healthy, and if in an image, in one that shows that release.

        Raises ``DeployRefused`` for an image that shows anything else.
        """
        about = listing.of(release)
        if listing.current != release or listing.damage or about is None or not about["healthy"]:
            return False
        return self.spec.container is None or self.has_image_of(about["manifest"])

    def fetch(self, release: str, files: Mapping[str, tuple[str, int]], folder: Path) -> None:
        """Copies ``files`` (SHA-256 and bytes by path) of a release to ``folder``.

        Raises ``DeployRefused`` where any file of the release is damaged.
        """
        self.agent.call("releases_fetch", {"release": release, "paths": list(files)})
        for path, (digest, size) in files.items():
            self.agent.get_blob(digest, folder / path, size)

    def of_one_kind(self, listing: Listing, release: str | None) -> None:
        """A robot that ran files is not rolled back to them by a container's engine, nor the other way about.

        Raises ``UserError`` where ``release`` is not of the kind that the config is for.
        """
        found = None if release is None else listing.of(release)
        about = None if found is None else found["manifest"]
        if about is not None and ("image" in about) != (self.spec.container is not None):
            what = "is an image" if "image" in about else "is no image"
            where = f"on target {self.name!r}: set directory to another folder"
            raise UserError(f"release {str(release)[:12]} in {listing.folder} {what}: {where}")

    def begin(self, kind: str, release: str) -> None:
        """Brings the robot into its safe state; from here on the operation must be ended by ``activate``.

        Raises ``DeployRefused`` where that fails; the robot is then as it was.
        """
        plan = self.plan()
        if plan["safe_state"]:
            self.tell("safe state", " ".join(plan["safe_state"]))
        told = self.agent.call("releases_begin", {"kind": kind, "to": release, "plan": plan})[0]
        if told["trouble"]:
            outcome = self.activate("stay")
            where = f"on target {self.name!r}"
            raise DeployRefused(f"the robot is not in its safe state: {told['trouble']}: {where}: {outcome.text}")

    def plan(self) -> dict[str, Any]:
        """The robot's commands and deadlines, as its own processes need them."""
        wanted = (
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
        return {key: self.spec.model_dump(mode="json")[key] for key in wanted}

    def activate(self, what: str) -> Outcome:
        """Has the operation carried out (``forward``), given up (``stay``) or ended (``recover``), and waits for that.

        Raises ``LabError`` where the robot is lost meanwhile: it goes on by itself.
        """
        try:
            self.agent.call("releases_activate", {"what": what})
            return self._followed()
        except LabError as error:
            raise LabError(f"{error}; {AFTERWARDS}, and `hil releases {self.name}` tells how") from None

    def _followed(self) -> Outcome:
        outcome = None
        while True:
            told = self.agent.call("releases_watch")[0]
            with self.agent.reading():
                for line in told["steps"]:
                    step, text = str(line["step"]), str(line["text"])
                    if step.startswith("end "):
                        outcome = Outcome(step[4:], text, told["current"])
                    else:
                        self.tell(step, text)
                ended = bool(told["ended"])
            if ended:
                break
        if outcome is None:
            raise LabError(f"what switches releases was killed there: on target {self.name!r}: run again")
        return outcome

    def give_up(self, error: BaseException) -> None:
        """Ends an operation that was begun and not switched; ``error`` is why."""
        try:
            self.tell("giving up", f"{self.activate('stay').text}")
        except HilError as other:
            if isinstance(error, HilError):
                error.args = (f"{error}; and {other}",)
