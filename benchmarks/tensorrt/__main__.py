"""Claims about TensorRT, measured on a real GPU: ``python -m benchmarks.tensorrt NAME --python PYTHON --out DIR``.

NAME is ``all`` or one or more of provision, honesty, streams, leak, suites, tune, faults. PYTHON is the interpreter
with TensorRT, numpy and, for half of the measurements, pycuda; the host's own interpreter needs PyTorch and torchvision
to export the networks. ``--work`` is a folder for networks and engines, which are reused if they exist; for
``provision`` it must not contain engines. Results are written to ``--out``. Without a git history, ``HIL_COMMIT`` names
the commit that is measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.networks import DETECTOR, NETWORKS
from benchmarks.projects import BUNDLED
from benchmarks.tensorrt import faults, honesty, leak, provision, streams, suites, tune
from benchmarks.tensorrt.stage import Stage
from hil.errors import HilError

if TYPE_CHECKING:
    from collections.abc import Callable

# Provisioning comes first: it needs an empty store, and leaves its engine and timing cache for the others.
BENCHMARKS: dict[str, Callable[[Stage], int]] = {
    "provision": provision.measure,
    "honesty": honesty.measure,
    "streams": streams.measure,
    "leak": leak.measure,
    "suites": suites.measure,
    "tune": tune.measure,
    "faults": faults.measure,
}

ALL = [*BUNDLED, "filter", *NETWORKS, DETECTOR]


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tensorrt", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=["all", *BENCHMARKS], nargs="+")
    parser.add_argument("--python", required=True, help="the interpreter with TensorRT")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--work", type=Path, help="networks and engines; default: a temporary folder")
    parser.add_argument("--board", help="the GPU's name, e.g. h200, so that evidence is 'device'")
    parser.add_argument("--network", default="resnet50", choices=["resnet50", "mobilenet", "encoder"])
    parser.add_argument("--precision", default="fp16", choices=["fp32", "tf32", "fp16"])
    parser.add_argument("--level", type=int, help="optimization level of the suites' engines: 1 builds faster")
    parser.add_argument(
        "--select", default="", help="pytest's -k for the suites; deselected checks are reported as not run"
    )
    parser.add_argument("--models", nargs="+", choices=ALL, default=ALL, help="models to run the suites on")
    parser.add_argument("--kept", action="store_true", help="reuse the suites' complete reports in --work")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; marked as such, and not a result to keep")
    return parser.parse_args(arguments)


def run_one(name: str, stage: Stage) -> int:
    """Run one benchmark and return its exit code; an error is printed and does not stop the others."""
    began = time.perf_counter()
    print(f"\n=== {name}", flush=True)
    try:
        code = BENCHMARKS[name](stage)
    except HilError as error:
        print(f"{name}: not measured: {error}")
        code = 1
    except SystemExit as error:
        print(f"{name}: not measured: {error.code}")
        code = 1
    except Exception:  # noqa: BLE001 - GPU time is expensive: one broken benchmark must not stop the others
        traceback.print_exc()
        code = 1
    print(f"=== {name}: {time.perf_counter() - began:.0f} s", flush=True)
    return code


def main(words: list[str] | None = None) -> int:
    """Run the named benchmarks, in the order in which they share engines."""
    arguments = parsed(words)
    names = list(BENCHMARKS) if "all" in arguments.name else [name for name in BENCHMARKS if name in arguments.name]
    with tempfile.TemporaryDirectory() as temporary:
        stage = Stage(
            python=arguments.python,
            out=arguments.out,
            work=(arguments.work or Path(temporary)).absolute(),
            network=arguments.network,
            precision=arguments.precision,
            quick=arguments.quick,
            board=arguments.board,
            level=arguments.level,
            select=arguments.select,
            models=tuple(arguments.models),
            kept=arguments.kept,
        )
        stage.work.mkdir(parents=True, exist_ok=True)
        codes = {name: run_one(name, stage) for name in names}
    missed = [name for name, code in codes.items() if code]
    print(
        f"\nbenchmarks.tensorrt: {len(missed)} of {len(codes)} missed a bar: {', '.join(missed) or 'none'}; bar: none"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
