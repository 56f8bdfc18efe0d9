"""``agent.pyz --store DIR [--store-size BYTES] [--host-silence SECONDS]`` serves a host, ``--worker …`` the agent."""

import os
import sys

F_SETPIPE_SZ = 1031  # linux/fcntl.h; named by Python from 3.10 on
PIPE_BYTES = 1 << 20  # fs.pipe-max-size, what anybody may set; sshd gives 64 KiB


def private_stdout() -> int:
    """A descriptor of its own for frames; descriptor 1 is stderr from here on, since native libraries print there."""
    frames = os.dup(1)  # not inherited by workers
    os.dup2(2, 1)
    return frames


def main() -> None:
    """Decides what this process is; in a supervisor the frames' descriptor is secured before any other import."""
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
    """What makes workers in the container that ``text`` (JSON) describes. Raises ``Failure``."""
    from .containers.container_spec import parse
    from .containers.factory import Containers

    return Containers(parse(text), store, archive)


def serve(frames: int) -> None:
    """A supervisor on standard input and ``frames``."""
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
    parser.add_argument("--host-silence", type=float, default=None, help="seconds after which a silent host is gone")
    parser.add_argument("--container", default=None, help="what workers run in, as JSON")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the host's to answer; its end is seen on the pipe
    for fd in (0, frames):
        with contextlib.suppress(OSError):  # no pipe, or the user has too many: then it is only slower
            fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)
    host = Channel(0, frames, given.host_silence)
    archive = os.path.abspath(sys.argv[0])
    try:
        store = Store(given.store, given.store_size)
        workers = None if given.container is None else containers(given.container, store.root, archive)
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
    supervisor = Supervisor(host, archive, store.path("tmp"), given.host_silence)
    supervisor.container = workers
    try:
        host.send({"hello": hello})
    except (wire.Closed, wire.Silent):
        return
    service = Service(supervisor, store)
    try:
        supervisor.serve(service.answer)
    finally:
        service.deploying.leave()
        service.close_lanes()
