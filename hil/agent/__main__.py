"""Start the agent: ``agent.pyz --store DIR [--store-size BYTES] [--host-silence SECONDS] [--container JSON]``.

The agent serves the host through standard input and output. With ``--worker``, ``--load``, ``--activate`` or
``--inside`` as the first argument, this is a process that the agent itself has started.
"""

import os
import sys

F_SETPIPE_SZ = 1031  # linux/fcntl.h; named by Python from 3.10 on
PIPE_BYTES = 1 << 20  # fs.pipe-max-size: the most that an unprivileged user may set; sshd's pipes have 64 KiB


def private_stdout() -> int:
    """Return a new descriptor of standard output, for frames, and redirect descriptor 1 to standard error.

    Native libraries print to descriptor 1, which would otherwise mix their text with frames.
    """
    frames = os.dup(1)  # not inherited by workers
    os.dup2(2, 1)
    return frames


def main() -> None:
    """Run as the kind of process that the first argument selects; without one of those options, serve a host."""
    if sys.argv[1:2] == ["--worker"]:
        from .workers.worker import main as work

        work()
        return
    if sys.argv[1:2] == ["--load"]:
        from .load.co_runner import main as load

        load()
        return
    if sys.argv[1:2] == ["--activate"]:
        from .releases.activating import main as activate

        activate()
        return
    if sys.argv[1:2] == ["--inside"]:
        from .containers.container_main import main as guard

        guard()
        return
    frames = private_stdout()
    serve(frames)


def containers(text: str, store: str, archive: str) -> object:
    """Return the ``Containers`` that starts workers in the container that ``text`` describes as JSON.

    ``store`` is the store's folder, ``archive`` the agent's own file. Raise ``Failure`` if ``text`` is invalid.
    """
    from .containers.container_spec import parse
    from .containers.factory import Containers

    return Containers(parse(text), store, archive)


def serve(frames: int) -> None:
    """Answer the requests on standard input, with frames written to the descriptor ``frames``, until the host is gone.

    If the store or the container is unusable, send an error instead of the greeting, and return.
    """
    import argparse
    import contextlib
    import fcntl
    import signal

    from . import PROTOCOL
    from .failure import Failure
    from .protocol import wire
    from .protocol.channel import Channel
    from .service import Service
    from .store.blobs import Store
    from .store.upload import digest_of
    from .supervisor import Supervisor

    parser = argparse.ArgumentParser(prog="agent")
    parser.add_argument("--store", required=True)
    parser.add_argument("--store-size", type=float, default=4 * 2.0**30)
    parser.add_argument(
        "--host-silence", type=float, default=None, help="seconds of silence after which the host is lost"
    )
    parser.add_argument("--container", default=None, help="the container of the workers, as JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the host handles Ctrl-C; when it exits, the pipe closes
    for fd in (0, frames):
        with contextlib.suppress(OSError):  # not a pipe, or the user's limit is reached: then transfers are slower
            fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)
    host = Channel(0, frames, arguments.host_silence)
    archive = os.path.abspath(sys.argv[0])
    try:
        store = Store(arguments.store, arguments.store_size)
        container = None if arguments.container is None else containers(arguments.container, store.root, archive)
    except Failure as problem:
        host.send({"error": problem.reply()})
        return
    os.chdir(store.path("tmp"))
    hello = {
        "protocol": PROTOCOL,
        "agent": digest_of(archive),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "executable": sys.executable,
        "store": store.root,
        "pid": os.getpid(),
    }
    supervisor = Supervisor(host, archive, store.path("tmp"), arguments.host_silence)
    supervisor.container = container
    try:
        host.send({"hello": hello})
    except (wire.Closed, wire.Silent):
        return
    service = Service(supervisor, store)
    try:
        supervisor.serve(service.answer)
    finally:
        service.deploying.leave()
        service.close_pipes()
