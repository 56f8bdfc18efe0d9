"""The memory that a run needs in addition to ONNX Runtime itself: ``python -m benchmarks.memory [--quick]``.

The parity suite runs over a validation set of 1 GiB (``--quick``: 256 MiB), and a plain script (``stream.py``) streams
the same file through the same model in the same batches. The memory of each process tree (host, agent and worker) is
sampled every 20 ms; the figure is the difference of the two peaks. Memory is the proportional set size
(``/proc/PID/smaps_rollup``, Linux 4.14): shared pages are counted once, the page cache is not counted. The exit code is
1 if the difference is over the bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.models import Shape, chain

MIB = 2**20
BAR = 300 * MIB
FULL, QUICK = 1024 * MIB, 256 * MIB
SHAPE = Shape(inputs=3, channels=8, side=64)
LAYERS = 2
BATCH = 32
INTERVAL = 0.02
STREAM = Path(__file__).with_name("stream.py")
CONFIG = f"""
[models.chain]
path = "chain.onnx"
data = "validation.npz"
task = "classification"
batch = {BATCH}

[gate]
require = ["parity.*"]
evidence = "host"
"""


class Peak(NamedTuple):
    """A process tree's highest memory in bytes, its highest number of processes, and its duration in seconds."""

    bytes: int
    processes: int
    seconds: float


def write_data(path: Path, size: int) -> int:
    """Write ``size`` bytes of random images ``x`` and their ``labels`` in pieces, and return the number of images."""
    shape = (SHAPE.inputs, SHAPE.side, SHAPE.side)
    count = size // (4 * int(np.prod(shape)))
    rng = np.random.default_rng(0)
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, *shape)}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("x.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for start in range(0, count, 256):
                stream.write(rng.random((min(256, count - start), *shape), np.float32).tobytes())
        with archive.open("labels.npy", "w") as stream:
            np.lib.format.write_array(stream, rng.integers(0, SHAPE.channels, count), allow_pickle=False)
    return count


def proportional(process: psutil.Process) -> int:
    """Return the proportional set size of a process in bytes; 0 if it has ended."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def watch(command: list[str], folder: Path) -> tuple[Peak, str]:
    """Run ``command`` in ``folder``. Return its tree's peak and its output."""
    environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"))
    highest, most = 0, 0
    began = time.perf_counter()
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        root = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                tree = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                break
            highest, most = max(highest, sum(map(proportional, tree))), max(most, len(tree))
            time.sleep(INTERVAL)
        process.wait()
        output.seek(0)
        return Peak(highest, most, time.perf_counter() - began), output.read()


def compared_samples(report: Path, output: str) -> int:
    """Return the largest number of samples of a parity row. Raise ``SystemExit`` unless every parity row passed."""
    if not report.is_file():
        sys.exit(f"the run wrote no report, so its memory cannot be judged:\n{output}")
    rows = [row for row in json.loads(report.read_text(encoding="utf-8"))["checks"] if row["id"].startswith("parity.")]
    bad = [f"{row['id']} {row['verdict']}: {row['reason']}" for row in rows if row["verdict"] != "passed"]
    if bad or not rows:
        sys.exit("parity did not pass, so the run's memory cannot be judged:\n" + "\n".join(bad or [output]))
    return max(int((row["measurement"] or {}).get("n", 0)) for row in rows)


def main() -> int:
    """Print the table; the last line has figure and bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 MiB of data instead of 1 GiB")
    size = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, data = chain(folder / "chain.onnx", SHAPE, LAYERS, pooled=True), folder / "validation.npz"
        (folder / "hil.toml").write_text(CONFIG, encoding="utf-8")
        count = write_data(data, size)
        plain, printed = watch([sys.executable, str(STREAM), str(model), str(data), str(BATCH)], folder)
        if printed.split() != [str(count)]:
            sys.exit(f"the plain script failed:\n{printed}")
        pytest = [sys.executable, "-m", "pytest", "--pyargs", "hil.suites", "--target=cpu", "-k", "parity"]
        run, printed = watch(pytest, folder)
        compared = compared_samples(folder / "report" / "partial" / "report.json", printed)
    table = Table(title=f"{count:,} samples, {size // MIB:,} MiB, batch {BATCH}; parity compared {compared:,}")
    for heading in ("", "peak MiB", "processes", "seconds"):
        table.add_column(heading, justify="right")
    for side, peak in (("pytest, agent and worker", run), ("plain script", plain)):
        table.add_row(side, f"{peak.bytes / MIB:,.1f}", str(peak.processes), f"{peak.seconds:.1f}")
    Console().print(table)
    more = run.bytes - plain.bytes
    print(f"memory: {more / MIB:.0f} MiB above ONNX Runtime's own; bar: at most {BAR // MIB} MiB")
    return 0 if more <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
