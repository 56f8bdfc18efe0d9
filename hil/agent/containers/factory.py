"""Starts the workers of an agent whose target has a container."""

import os
import subprocess
import tempfile
from typing import Any, Callable, List, Optional, Tuple

from ..failure import CONTAINER, Failure
from ..machine import access
from ..machine.reader import Reader
from ..workers.worker_process import TAIL, WorkerProcess, last_lines
from . import container_spec
from .container_spec import Container, Image, Mounts, Order
from .container_worker import ASK, POLL, ContainedWorker

START = 120.0  # seconds; a large image is read from a slow card at its first start
WRITTEN = ("tmp", "timing", "calibration")  # folders of the store that a build writes to
Wait = Callable[[Callable[[], Any], float, float], None]


class Containers:
    """Starts one agent's workers, each in its own container of the same image; inspects the image once."""

    def __init__(self, container: Container, store: str, archive: str) -> None:
        self.container = container
        self.store = store
        self.archive = archive
        self.image: Optional[Image] = None

    def start_worker(self, number: int, scratch: str, wait: Wait) -> ContainedWorker:
        """Start a container with worker ``number``; ``wait`` is ``Supervisor.wait_until``.

        ``scratch`` is a folder for temporary files. Return the worker before it is connected. Raise ``Failure`` if the
        engine is missing or cannot inspect the image, or a path cannot be mounted.
        """
        if self.image is None:
            self.image = self._inspect(wait)
        write = tuple(path for path in (os.path.join(self.store, name) for name in WRITTEN) if os.path.isdir(path))
        groups = {device["group"]["number"] for device in access.devices(Reader("/"))} - {0}
        user_options = container_spec.account(self.container.engine, os.getuid(), os.getgid(), sorted(groups))
        order = Order(self.container, self.image, Mounts(self.archive, self.store, write), tuple(user_options))
        return ContainedWorker(number, order, scratch)

    def await_worker(self, worker: WorkerProcess, wait: Wait) -> None:
        """Wait until a started worker is connected.

        Raise ``Failure`` if this takes more than ``START`` seconds, or as ``ContainedWorker.arrived`` does.
        """
        if not isinstance(worker, ContainedWorker):
            raise TypeError("the worker does not run in a container")
        try:
            wait(worker.arrived, START, POLL)
        except TimeoutError:
            what = "no worker started in image %s within %g s" % (self.container.image, START)
            raise Failure(CONTAINER, what, "check whether %s is busy" % self.container.engine) from None

    def with_container(self, libraries: Any) -> Any:
        """Return ``libraries`` with the container's facts added, as ``container_spec.with_container`` does.

        Raise ``ValueError`` before the first ``start_worker``.
        """
        if self.image is None:
            raise ValueError("no worker has been started yet")
        return container_spec.with_container(self.container, self.image, libraries)

    def _inspect(self, wait: Wait) -> Image:
        engine = self.container.engine
        words = [engine, "image", "inspect", "--format", "{{.Id}}", self.container.image]
        code, out, error = self._run(words, wait)
        if code:
            raise container_spec.image_trouble(self.container, error)
        digest = out.strip().replace("sha256:", "")
        code, version, _ = self._run([engine, "version", "--format", container_spec.VERSION[engine]], wait)
        return Image("sha256:" + digest, version.strip() or None if code == 0 else None)

    def _run(self, words: List[str], wait: Wait) -> Tuple[int, str, str]:
        """Run a command of the engine. Return its exit code, standard output and the end of its standard error."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)  # noqa: S603 - words
            except FileNotFoundError:
                raise container_spec.absent(self.container) from None
            except OSError as error:
                raise container_spec.engine_trouble(self.container, str(error)) from None
            try:
                wait(lambda: process.poll() is not None, ASK, POLL)
            except TimeoutError:
                raise container_spec.engine_trouble(self.container, "no answer within %g s" % ASK) from None
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            out.seek(0)
            err.seek(0)
            return process.returncode, out.read().decode("utf-8", "replace"), last_lines(err.read()[-TAIL:])
