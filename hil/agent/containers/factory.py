"""Makes the workers of an agent that are to run in a container: what its engine and its image are, asked once."""

import os
import subprocess
import tempfile
from typing import Any, Callable, List, Optional, Tuple

from ..failure import CONTAINER, Failure
from ..machine import access
from ..machine.reader import Reader
from ..workers.worker_process import TAIL, WorkerProcess, last_lines
from . import container_spec
from .container_spec import Container, Image, Order, Place
from .container_worker import ASK, POLL, ContainedWorker

START = 120.0  # seconds; a large image on a card that has not been read yet
WRITTEN = ("tmp", "timing", "calibration")  # folders of the store that a build writes to
Wait = Callable[[Callable[[], Any], float, float], None]


class Containers:
    """Makes workers of one agent: each in a container of the same image, which is looked at once."""

    def __init__(self, asked: Container, store: str, archive: str) -> None:
        self.asked = asked
        self.store = store
        self.archive = archive
        self.image: Optional[Image] = None

    def start_worker(self, number: int, scratch: str, wait: Wait) -> ContainedWorker:
        """Has a container started; ``wait`` is ``Supervisor.wait_until``. Raises ``Failure``."""
        if self.image is None:
            self.image = self._look(wait)
        write = tuple(path for path in (os.path.join(self.store, name) for name in WRITTEN) if os.path.isdir(path))
        numbers = {one["group"]["number"] for one in access.devices(Reader("/"))} - {0}
        who = container_spec.account(self.asked.engine, os.getuid(), os.getgid(), sorted(numbers))
        order = Order(self.asked, self.image, Place(self.archive, self.store, write), tuple(who))
        return ContainedWorker(number, order, scratch)

    def await_worker(self, worker: WorkerProcess, wait: Wait) -> None:
        """Waits until a started worker is there. Raises ``Failure`` where it does not come."""
        if not isinstance(worker, ContainedWorker):
            raise TypeError("it runs in no container")
        try:
            wait(worker.arrived, START, POLL)
        except TimeoutError:
            what = "no worker came up in image %s within %g s" % (self.asked.image, START)
            raise Failure(CONTAINER, what, "see what keeps %s busy" % self.asked.engine) from None

    def with_container(self, libraries: Any) -> Any:
        """Return ``libraries`` with the container's facts; see ``container_spec.with_container``."""
        if self.image is None:
            raise ValueError("no worker has reported its libraries yet")
        return container_spec.with_container(self.asked, self.image, libraries)

    def _look(self, wait: Wait) -> Image:
        engine = self.asked.engine
        words = [engine, "image", "inspect", "--format", "{{.Id}}", self.asked.image]
        code, out, said = self._ask(words, wait)
        if code:
            raise container_spec.image_trouble(self.asked, said)
        digest = out.strip().replace("sha256:", "")
        code, version, _ = self._ask([engine, "version", "--format", container_spec.VERSION[engine]], wait)
        return Image("sha256:" + digest, version.strip() or None if code == 0 else None)

    def _ask(self, words: List[str], wait: Wait) -> Tuple[int, str, str]:
        """Exit code, standard output and the end of standard error of a command of the engine."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)  # noqa: S603 - words
            except FileNotFoundError:
                raise container_spec.absent(self.asked) from None
            except OSError as error:
                raise container_spec.engine_trouble(self.asked, str(error)) from None
            try:
                wait(lambda: process.poll() is not None, ASK, POLL)
            except TimeoutError:
                raise container_spec.engine_trouble(self.asked, "it does not answer for %g s" % ASK) from None
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            out.seek(0)
            err.seek(0)
            return process.returncode, out.read().decode("utf-8", "replace"), last_lines(err.read()[-TAIL:])
