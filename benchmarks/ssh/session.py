"""The time to the first inference of a second session with an unchanged model, compared with ``ssh`` and a bare script.

As a program (``python -m benchmarks.ssh.session HIL_TOML FOLDER``) it is one session in a separate process, so that
nothing is cached in memory. It prints the seconds from connecting to the first inference, and the bytes that it
uploaded.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.ssh.board import program

if TYPE_CHECKING:
    from benchmarks.ssh.board import Way

DIGITS = Path(__file__).resolve().parent.parent.parent / "examples" / "digits"
CONFIG = """
[targets.board]
kind        = "ssh"
host        = "127.0.0.1"
port        = {port}
user        = {user}
identity    = {identity}
known_hosts = {known_hosts}
python      = {python}
store       = {store}
threads     = 1
evidence    = "emulated"

[models.digits]
path = {model}
data = {data}
"""
BARE = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"image": np.zeros((1, 1, 8, 8), np.float32)})
print("ran", flush=True)
"""


class Pair(NamedTuple):
    """Seconds of one round, ours and the bare script's; ``uploaded`` in bytes."""

    ours: float
    bare: float
    uploaded: int

    @property
    def more(self) -> float:
        """The seconds by which the session takes longer."""
        return self.ours - self.bare


def write_config(way: Way, folder: Path, data: Path = DIGITS / "validation.npz") -> Path:
    """Write a project with the digits model and the board as its target; return its path."""
    spec = way.spec()
    words = {"user": spec.user, "identity": spec.identity, "known_hosts": spec.known_hosts, "python": spec.python}
    words |= {"store": str(folder / "store"), "model": str(DIGITS / "model.onnx"), "data": str(data)}
    path = folder / "hil.toml"
    quoted = {key: json.dumps(word) for key, word in words.items()}
    path.write_text(CONFIG.format(port=way.port, **quoted), encoding="utf-8")
    return path


def ours(config: Path) -> tuple[float, int]:
    """Return the seconds and the uploaded bytes of a session in a separate process."""
    command = [sys.executable, "-m", "benchmarks.ssh.session", str(config), str(config.parent / "report")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, uploaded = json.loads(done.stdout)
    return float(seconds), int(uploaded)


def bare(way: Way, script: Path) -> float:
    """Return the seconds from starting ``ssh`` until the script reports that it ran."""
    python, model = way.spec().python, DIGITS / "model.onnx"
    began = time.perf_counter()
    command = [program("ssh"), *way.options(), "127.0.0.1", f"{python} {script} {model}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "ran\n":
            raise AssertionError("the bare script did not run")
        return time.perf_counter() - began


def measure(way: Way, folder: Path, rounds: int) -> list[Pair]:
    """Return the rounds, in which the sides alternate, after a first session that uploads everything."""
    config, script = write_config(way, folder), folder / "bare.py"
    script.write_text(BARE, encoding="utf-8")
    if not ours(config)[1]:
        raise AssertionError("the first session uploaded nothing")
    bare(way, script)
    pairs = []
    for number in range(rounds):
        before = bare(way, script) if number % 2 else None
        seconds, uploaded = ours(config)
        pairs.append(Pair(seconds, before or bare(way, script), uploaded))
    return pairs


def main() -> None:
    """Run one session until the first inference."""
    import numpy as np  # imported before the clock starts

    from hil.config.load import load
    from hil.session import Request, Session
    from hil.targets.ssh import SshTarget  # noqa: F401 - imported before the clock starts

    config, report = load(Path(sys.argv[1])), Path(sys.argv[2])
    request = Request(config, "board", "fail", 0.0, secrets.token_hex(8), report, lambda _: None)
    began = time.perf_counter()
    session = Session.open(request)
    try:
        with session.engines.lease("digits", "fp32") as worker:
            worker.run({"image": np.zeros((1, 1, 8, 8), np.float32)})
            seconds = time.perf_counter() - began
        print(json.dumps([seconds, session.agent.uploaded]))
    finally:
        session.close()


if __name__ == "__main__":
    main()
