"""``agent.pyz --store DIR [--store-size BYTES]`` serves a host; ``agent.pyz --worker …`` is a worker of that."""

import os
import sys


def private_stdout() -> int:
    """A descriptor of its own for frames; descriptor 1 is stderr from here on, since native libraries print there."""
    frames = os.dup(1)  # not inherited by workers
    os.dup2(2, 1)
    return frames


def main() -> None:
    """Decides what this process is; in a supervisor the frames' descriptor is secured before any other import."""
    if sys.argv[1:2] == ["--worker"]:
        from .worker import main as work

        work()
        return
    frames = private_stdout()
    serve(frames)


def serve(frames: int) -> None:
    """A supervisor on standard input and ``frames``."""
    import argparse
    import signal

    from . import PROTOCOL, wire
    from .blobs import Store
    from .channel import Channel
    from .failure import Failure
    from .service import Service
    from .supervisor import Supervisor
    from .upload import digest_of

    parser = argparse.ArgumentParser(prog="agent")
    parser.add_argument("--store", required=True)
    parser.add_argument("--store-size", type=float, default=4 * 2.0**30)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the host's to answer; its end is seen on the pipe
    host = Channel(0, frames)
    archive = os.path.abspath(sys.argv[0])
    try:
        store = Store(given.store, given.store_size)
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
    supervisor = Supervisor(host, archive, store.path("tmp"))
    try:
        host.send({"hello": hello})
    except wire.Closed:
        return
    supervisor.serve(Service(supervisor, store).answer)
