"""Activate a staged release in a process of its own (``--activate``), and roll back if it does not become healthy.

A lost connection does not stop the process. After a kill, the next deployment finishes the operation (``recover``).
"""

import contextlib
import json
import os
import signal
import sys
import time
from typing import Any, Dict, Optional

from ..containers import images
from ..failure import Failure, short
from ..machine.root_helper import Helper
from . import commands
from .journal import BACK, FORWARD, Journal
from .releases import Releases

HEALTH_PAUSE = 0.5
ATTEMPT = 30.0  # seconds: the longest run of one health command
DEPLOYED, ROLLED_BACK, REFUSED, UNHEALTHY = "deployed", "rolled back", "refused", "unhealthy"
"""Outcomes: the new release runs and is healthy; the switch was undone; there was no switch; no release is known to be
healthy. Journals of earlier versions have ``unchanged`` instead of ``refused``."""


class Activation:
    """Carries out one operation on a folder of releases.

    ``operation`` is what ``Journal.ready`` recorded. ``plan`` has the robot's commands and their deadlines in seconds.
    ``old`` and ``new`` are the digests of the releases before and after the operation; None if there is none.
    """

    def __init__(self, folder: Releases, operation: Dict[str, Any]) -> None:
        self.folder = folder
        self.journal = Journal(folder)
        self.operation = operation
        self.plan: Dict[str, Any] = operation["plan"]
        self.old: Optional[str] = operation["from"]
        self.new: Optional[str] = operation["to"]
        self.container: Optional[Dict[str, Any]] = self.plan.get("container")

    def report(self, step: str, text: str = "") -> None:
        """Write one line of progress to standard output, as JSON; errors are ignored, since the host may be lost."""
        line = json.dumps({"step": step, "text": short(text, 500)}) + "\n"
        with contextlib.suppress(OSError):
            os.write(1, line.encode("ascii"))

    def end(self, outcome: str, text: str) -> None:
        """Record the outcome in the journal, which ends the operation, and report it."""
        self.journal.done(self.operation, outcome, text)
        self.report("end " + outcome, text)

    def forward(self) -> None:
        """Switch from the old release to the new one, and back if the new one does not become healthy.

        If the new release's files are damaged, end the operation as ``stay`` does.
        """
        new = str(self.new)
        self.report("checking", "the files of release %.12s" % new)
        damage = self.folder.damage(new)
        if damage:
            self.stay("release %.12s is damaged: %s" % (new, damage))
            return
        self.report("switching", "current -> release %.12s" % new)
        self.journal.point(FORWARD)
        trouble = self.start()
        if not trouble:
            self.journal.mark(new)
            with contextlib.suppress(OSError, Failure):  # the next deployment prunes again
                self.prune()
            self.end(DEPLOYED, "release %.12s runs and is healthy" % new)
            return
        self.back(trouble)

    def prune(self) -> None:
        """Remove old releases (``Releases.prune``), and the images that only they used."""
        before = images.of_releases(self.folder)
        self.folder.prune(int(self.plan["keep"]))
        if self.container is not None:
            images.remove(self.container, before - images.of_releases(self.folder))

    def back(self, trouble: str) -> None:
        """Switch back to the old release because of ``trouble``, start it and check its health."""
        self.report("rolling back", trouble)
        self.journal.unmark()
        self.journal.point(BACK)
        restart_trouble = self.start()
        if self.old is None:
            self.end(ROLLED_BACK, "%s; there is no earlier release, so current was removed" % trouble)
        elif restart_trouble:
            text = "%s; release %.12s, which ran before, is not healthy: %s" % (trouble, self.old, restart_trouble)
            self.end(UNHEALTHY, text)
        else:
            self.end(ROLLED_BACK, "%s; release %.12s runs again and is healthy" % (trouble, self.old))

    def stay(self, why: str) -> None:
        """End the operation without a switch, because of ``why``.

        If the robot has a command for its safe state, start the old release again. The new release keeps its earlier
        health mark.
        """
        if self.operation.get("was_healthy"):
            self.journal.mark(str(self.new))
        trouble = self.start() if self.old is not None and self.plan["safe_state"] else ""
        if trouble:
            self.end(UNHEALTHY, "%s; release %.12s, which ran before, is not healthy: %s" % (why, self.old, trouble))
        else:
            self.end(REFUSED, why)

    def recover(self) -> None:
        """Finish the operation of a process that was killed.

        Record the outcome if the new release was already healthy; otherwise run the old release again.
        """
        current = self.folder.current()
        if current == self.new and self.new is not None and self.folder.healthy(self.new):
            self.end(DEPLOYED, "release %.12s runs and is healthy; only the outcome was not recorded" % self.new)
        elif current == self.old:
            self.resume("it was interrupted")
        else:
            self.back("it was interrupted before release %.12s was healthy" % self.new)

    def resume(self, why: str) -> None:
        """End the operation without a switch, because of ``why``, and start the old release again."""
        if self.operation.get("was_healthy"):
            self.journal.mark(str(self.new))
        trouble = self.start() if self.old is not None else ""
        text = "%s; " % why + (trouble or ("release %.12s runs" % self.old if self.old else "there is no release"))
        self.end(UNHEALTHY if trouble else REFUSED, text)

    def start(self) -> str:
        """Start the current release, and wait until it is healthy. Return what failed, or an empty text on success."""
        what = "container " + self.container["name"] if self.container else self.plan["service"]
        self.report("restarting", str(what or " ".join(self.plan["restart"])))
        trouble = self._restart()
        return trouble or self._health()

    def _restart(self) -> str:
        if self.container is not None:
            return images.start(self.container, self._image(), float(self.plan["restart_within"]))
        if self.plan["service"]:
            return restart_service(str(self.plan["service"]))
        return str(self._run("restart", float(self.plan["restart_within"]), reap=False))

    def _health(self) -> str:
        seconds = float(self.plan["health_within"])
        self.report("waiting for health", "within %g s" % seconds)
        until, trouble = time.monotonic() + seconds, ""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return "it was not healthy within %g s: %s" % (seconds, trouble or "no time was left for the command")
            ended = self._run("health", min(left, ATTEMPT))
            trouble = str(ended) if ended.why else self._container_trouble()
            if not trouble:
                return ""
            time.sleep(max(0.0, min(HEALTH_PAUSE, until - time.monotonic())))

    def _container_trouble(self) -> str:
        """Return why the current release's container does not run; empty if it runs, or if the release needs none."""
        if self.container is None:
            return ""
        # The health command alone is not enough: another process may answer it.
        return images.trouble(self.container, self._image())

    def _image(self) -> Optional[str]:
        """Return the id of the current release's image; None if it has no image or its manifest is damaged."""
        with contextlib.suppress(Failure):
            return images.of(self.folder, self.folder.current())
        return None

    def _run(self, what: str, seconds: float, *, reap: bool = True) -> commands.Ended:
        return commands.run(self.plan[what], seconds, environment(self.folder), reap=reap)


def environment(folder: Releases) -> Dict[str, str]:
    """Return the environment variables for a robot's command: the current release's digest and its folder.

    Both are empty if there is no current release.
    """
    current = folder.current()
    where = folder.path("releases", current) if current else ""
    return {"HIL_RELEASE": current or "", "HIL_RELEASE_FOLDER": where}


def restart_service(name: str) -> str:
    """Restart the systemd service ``name`` through the root helper. Return why this failed; empty if it runs."""
    helper = Helper.open()
    if helper is None:
        return "%s was not restarted: %s" % (name, Helper.why_not)
    try:
        answer = helper.ask("service", "restart", name)
    finally:
        helper.close()
    if not answer.get("ok"):
        return "%s was not restarted: %s" % (name, answer.get("error"))
    return "" if answer.get("running") else "%s does not run" % name


def main() -> None:
    """Carry out the operation in a folder's journal, for ``--activate FOLDER WHAT``; the folder's lock is inherited.

    WHAT is ``forward``, ``stay`` or ``recover``. An unusable folder is only reported; the operation stays unfinished.
    """
    root, what = sys.argv[2:4]
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # so that this process survives the host's end
    os.umask(0o022)
    folder = Releases(root)
    operation = Journal(folder).operation()
    if operation is None:
        return
    activation = Activation(folder, operation)
    try:
        if what == "forward":
            activation.forward()
        elif what == "stay":
            activation.stay("the release was not switched")
        else:
            activation.recover()
    except Failure as problem:
        activation.report("failed", problem.message)
    except OSError as problem:
        activation.report("failed", "%s: %s" % (problem.filename, problem.strerror))
