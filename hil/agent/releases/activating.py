"""``--activate``: makes a staged release the one that runs, or takes it back, in a process of its own.

Once begun it needs neither the host nor the agent: the link may break, and the robot ends with the old or the new
release, seen to be healthy. Killed itself, it leaves an operation behind that the next deployment ends (``recover``).
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
ATTEMPT = 30.0  # seconds of one health command at most
DEPLOYED, ROLLED_BACK, REFUSED, UNHEALTHY = "deployed", "rolled back", "refused", "unhealthy"
"""How it ends: the new one runs; the old one runs again; the old one was never left, so what was asked for was not
done; none was seen to be healthy. Journals of earlier versions have ``unchanged`` in place of ``refused``."""


class Activation:
    """One operation on a folder of releases; ``plan`` has the robot's commands and their deadlines in seconds."""

    def __init__(self, folder: Releases, operation: Dict[str, Any]) -> None:
        self.folder = folder
        self.journal = Journal(folder)
        self.operation = operation
        self.plan: Dict[str, Any] = operation["plan"]
        self.old: Optional[str] = operation["from"]
        self.new: Optional[str] = operation["to"]
        self.container: Optional[Dict[str, Any]] = self.plan.get("container")

    def say(self, step: str, text: str = "") -> None:
        """One line for whoever listens; nobody has to."""
        line = json.dumps({"step": step, "text": short(text, 500)}) + "\n"
        with contextlib.suppress(OSError):
            os.write(1, line.encode("ascii"))

    def end(self, outcome: str, text: str) -> None:
        """Tells how it ended, once nothing is under way any more."""
        self.journal.done(self.operation, outcome, text)
        self.say("end " + outcome, text)

    def forward(self) -> None:
        """From the old release to the new one, and back if that does not get healthy."""
        new = str(self.new)
        self.say("checking", "every file of release %.12s once more" % new)
        wrong = self.folder.damage(new)
        if wrong:
            self.stay("release %.12s is damaged: %s" % (new, wrong))
            return
        self.say("switching", "current -> release %.12s" % new)
        self.journal.point(FORWARD)
        trouble = self.start()
        if not trouble:
            self.journal.mark(new)
            with contextlib.suppress(OSError, Failure):  # what is too much another time
                self.prune()
            self.end(DEPLOYED, "release %.12s runs and is healthy" % new)
            return
        self.back(trouble)

    def prune(self) -> None:
        """Takes away the releases that are too many, and the images that only they named."""
        before = images.of_releases(self.folder)
        self.folder.prune(int(self.plan["keep"]))
        if self.container is not None:
            images.forget(self.container, before - images.of_releases(self.folder))

    def back(self, trouble: str) -> None:
        """To the old release, because of ``trouble``.

        Nothing is asked of it but that it gets healthy: it is what ran until now, and the robot may have lost its host.
        """
        self.say("rolling back", trouble)
        self.journal.unmark()
        self.journal.point(BACK)
        again = self.start()
        if self.old is None:
            self.end(ROLLED_BACK, "%s; there is no earlier release: current was taken away" % trouble)
        elif again:
            self.end(UNHEALTHY, "%s; release %.12s, which ran before, is back: %s" % (trouble, self.old, again))
        else:
            self.end(ROLLED_BACK, "%s; release %.12s runs again and is healthy" % (trouble, self.old))

    def stay(self, why: str) -> None:
        """The old release was never left, but may have been stopped: it is started again."""
        if self.operation.get("was_healthy"):
            self.journal.mark(str(self.new))
        again = self.start() if self.old is not None and self.plan["safe_state"] else ""
        if again:
            self.end(UNHEALTHY, "%s; release %.12s was started again: %s" % (why, self.old, again))
        else:
            self.end(REFUSED, why)

    def recover(self) -> None:
        """Ends what a killed process left: what was not seen to be healthy is taken back."""
        current = self.folder.current()
        if current == self.new and self.new is not None and self.folder.healthy(self.new):
            self.end(DEPLOYED, "release %.12s runs and is healthy; only the end was not noted" % self.new)
        elif current == self.old:
            self.resume("it was interrupted")
        else:
            self.back("it was interrupted before release %.12s was seen to be healthy" % self.new)

    def resume(self, why: str) -> None:
        """The old release is the current one, and whether it runs is not known: it is started again."""
        if self.operation.get("was_healthy"):
            self.journal.mark(str(self.new))
        again = self.start() if self.old is not None else ""
        text = "%s; " % why + (again or ("release %.12s runs" % self.old if self.old else "there is no release"))
        self.end(UNHEALTHY if again else REFUSED, text)

    def start(self) -> str:
        """Restarts the service and waits until it is healthy; empty, or what is wrong."""
        what = "container " + self.container["name"] if self.container else self.plan["service"]
        self.say("restarting", str(what or " ".join(self.plan["restart"])))
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
        self.say("waiting for health", "within %g s" % seconds)
        until, trouble = time.monotonic() + seconds, ""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return "it did not get healthy within %g s: %s" % (seconds, trouble or "no time was left to ask")
            seen = self._run("health", min(left, ATTEMPT))
            trouble = str(seen) if seen.why else self._runs()
            if not trouble:
                return ""
            time.sleep(max(0.0, min(HEALTH_PAUSE, until - time.monotonic())))

    def _runs(self) -> str:
        """Empty where the container is there with the current release's image, whatever else says it is well."""
        if self.container is None:
            return ""
        return images.runs(self.container, self._image())

    def _image(self) -> Optional[str]:
        """The current release's; None as well where its manifest is damaged: it is told, and nothing is run."""
        with contextlib.suppress(Failure):
            return images.of(self.folder, self.folder.current())
        return None

    def _run(self, what: str, seconds: float, *, reap: bool = True) -> commands.Ended:
        return commands.run(self.plan[what], seconds, surroundings(self.folder), reap=reap)


def surroundings(folder: Releases) -> Dict[str, str]:
    """What a robot's command is told beside its words: which release is the current one, and where."""
    current = folder.current()
    where = folder.path("releases", current) if current else ""
    return {"HIL_RELEASE": current or "", "HIL_RELEASE_FOLDER": where}


def restart_service(name: str) -> str:
    """Through the root helper; empty, or why it was not."""
    helper = Helper.open()
    if helper is None:
        return "%s was not restarted: %s" % (name, Helper.why_not)
    try:
        told = helper.ask("service", "restart", name)
    finally:
        helper.close()
    if not told.get("ok"):
        return "%s was not restarted: %s" % (name, told.get("error"))
    return "" if told.get("running") else "%s does not run" % name


def main() -> None:
    """``--activate FOLDER WHAT``: carries out the operation that is noted there; the lock is inherited."""
    root, what = sys.argv[2:4]
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # the host's end is not ours
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
            activation.stay("nothing was switched")
        else:
            activation.recover()
    except Failure as problem:
        activation.say("failed", problem.message)
    except OSError as problem:
        activation.say("failed", "%s: %s" % (problem.filename, problem.strerror))
