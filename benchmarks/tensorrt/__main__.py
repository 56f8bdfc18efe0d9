"""What is claimed of TensorRT, on a real GPU: ``python -m benchmarks.tensorrt NAME --python PYTHON --out DIR``.

NAME is ``all`` or one of provision, honesty, streams, leak, suites, faults. PYTHON is the interpreter that has
TensorRT, numpy and, for half of it, pycuda; the host's own needs PyTorch and torchvision to export the networks.
``--work`` is a folder for networks and engines; given again, what is in it is not made again, but ``provision`` wants
it without engines. Results go to ``--out``; ``HIL_COMMIT`` says what was measured where there is no git history.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.networks import NETWORKS
from benchmarks.projects import BUNDLED
from benchmarks.tensorrt import faults, honesty, leak, provision, streams, suites
from benchmarks.tensorrt.stage import Stage
from hil.errors import HilError

if TYPE_CHECKING:
    from collections.abc import Callable

# Provisioning first: it wants an empty store, and leaves the others its engine and timing cache.
BENCHMARKS: dict[str, Callable[[Stage], int]] = {
    "provision": provision.measure,
    "honesty": honesty.measure,
    "streams": streams.measure,
    "leak": leak.measure,
    "suites": suites.measure,
    "faults": faults.measure,
}

ALL = [*BUNDLED, *NETWORKS]


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tensorrt", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=["all", *BENCHMARKS], nargs="+")
    parser.add_argument("--python", required=True, help="the interpreter that has TensorRT")
    parser.add_argument("--out", type=Path, required=True, help="where the results go")
    parser.add_argument("--work", type=Path, help="networks and engines; default: a folder that is thrown away")
    parser.add_argument("--board", help="the GPU's name, e.g. h200, so that evidence is 'device'")
    parser.add_argument("--network", default="resnet50", choices=["resnet50", "mobilenet", "encoder"])
    parser.add_argument("--precision", default="fp16", choices=["fp32", "tf32", "fp16"])
    parser.add_argument("--level", type=int, help="optimization level of the suites' networks: 1 builds faster")
    parser.add_argument(
        "--select", default="", help="pytest's -k for the suites; what it leaves out is told as not run"
    )
    parser.add_argument("--models", nargs="+", choices=ALL, default=ALL, help="those that the suites are run on")
    parser.add_argument("--kept", action="store_true", help="the suites' finished reports in --work are not made again")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, told as such: no result to keep")
    return parser.parse_args(arguments)


def one(name: str, stage: Stage) -> int:
    """One benchmark; what goes wrong in it is told, and the others run all the same."""
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
    except Exception:  # noqa: BLE001 - time on a GPU is dear: one broken benchmark must not cost the others theirs
        traceback.print_exc()
        code = 1
    print(f"=== {name}: {time.perf_counter() - began:.0f} s", flush=True)
    return code


def main(given: list[str] | None = None) -> int:
    """Runs what was named, in the order in which they help each other."""
    arguments = parsed(given)
    names = list(BENCHMARKS) if "all" in arguments.name else [name for name in BENCHMARKS if name in arguments.name]
    with tempfile.TemporaryDirectory() as thrown_away:
        stage = Stage(
            python=arguments.python,
            out=arguments.out,
            work=(arguments.work or Path(thrown_away)).absolute(),
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
        codes = {name: one(name, stage) for name in names}
    missed = [name for name, code in codes.items() if code]
    print(
        f"\nbenchmarks.tensorrt: {len(missed)} of {len(codes)} missed a bar: {', '.join(missed) or 'none'}; bar: none"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
