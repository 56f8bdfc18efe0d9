"""Claims about precision, judged on the ONNX file: ``python -m benchmarks.precision [--quick] [--out DIR]``.

``wrong``: networks whose claimed precision is wrong in one way (``wrong.py``), and sound networks under each precision
that they do not have; every wrong claim must be detected. ``sound``: networks as ModelOpt and ONNX Runtime quantize
them (``networks.py``); none may be accused. Depth and width are drawn by seed. Only what files *declare* is judged.
That proves nothing about what an engine executes, and never satisfies the limit ``in_precision``.

Where TensorRT-RTX is installed, its parser reads each network of the first draw, and the agent's rules judge the types
of the parsed network; they may contradict no sound claim. No GPU is used. ``--quick`` is one draw and no result. The
exit code is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import results
from benchmarks.precision.networks import SOUND, Network
from benchmarks.precision.wrong import WRONG
from benchmarks.results.judging.precision import DRAWS
from hil.agent.failure import Failure
from hil.agent.runtimes.tensorrt import precision as rules
from hil.checks.claims import claim
from hil.onnx_files.parser_trial import parser_module
from hil.onnx_files.quantized_graph import precisions_of
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx

SEED = 20261130
CLAIMED = ("int8", "fp8", "fp4", "int4", "fp16", "bf16")
WIDTHS = (128, 256, 384)


def cases() -> Iterator[tuple[str, str, str, Network]]:
    """Yield part, name, claimed precision and network of each case."""
    for name, (precision, network) in SOUND.items():
        yield "sound", name, precision, network
        for other in CLAIMED:
            if other != precision:
                yield "wrong", f"{name} declared {other}", other, network
    for name, (precision, network, _) in WRONG.items():
        yield "wrong", name, precision, network


def drawn(network: Network, rng: np.random.Generator) -> Network:
    """Return the network in another width, and in another depth if its layers are all alike."""
    width = int(rng.choice(WIDTHS))
    layers = network.layers if network.quantized is not None else int(rng.integers(2, 24))
    return replace(network, width=width, layers=layers)


def rows(draws: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each case of each draw; the first draw has the networks as they are written."""
    parser = Parser()
    for draw in range(draws):
        for number, (part, name, precision, network) in enumerate(cases()):
            rng = np.random.default_rng((seed, draw, number))
            model = (network if draw == 0 else drawn(network, rng)).model(seed + draw)
            judged = claim(precisions_of(model), precision)
            parsed = parser.answer(model, precision) if draw == 0 else None
            wrong = (judged.verdict is Verdict.FAILED) is (part == "sound")
            yield {
                "part": part,
                "name": name,
                "claimed": precision,
                "draw": draw,
                "found": judged.verdict is Verdict.FAILED,
                "reason": judged.reason if wrong or draw == 0 else "",
                "parsed": parsed,
            }


class Parser:
    """TensorRT-RTX's parser, if it is installed."""

    def __init__(self) -> None:
        name = parser_module()
        self.trt: Any = None if name is None else import_module(name)
        self.log: Any = None if self.trt is None else self.trt.Logger(self.trt.Logger.INTERNAL_ERROR)
        self.builder: Any = None if self.trt is None else self.trt.Builder(self.log)

    def answer(self, model: onnx.ModelProto, precision: str) -> str | None:
        """Return ``taken``, ``contradicted`` or ``not parsed`` with the reason; ``None`` without a parser."""
        if self.trt is None:
            return None
        network = self.builder.create_network(0)
        parser = self.trt.OnnxParser(network, self.log)
        if not parser.parse(model.SerializeToString()):
            return f"not parsed: {parser.get_error(0).desc()[:200] if parser.num_errors else ''}"
        content = rules.content_of(self.trt, network)
        try:
            rules.check_route(precision, implicit=False, content=content, typed=True)
            rules.flags_for(precision, (), None, lambda _: True, content, typed=True)
        except Failure as failure:
            return f"contradicted: {failure.message[:200]}"
        return "taken"


def text(made: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each case that was judged wrongly."""
    return [
        f"{row['part']} {row['name']} (draw {row['draw']}): {row['reason']}"
        for row in made
        if row["found"] is (row["part"] == "sound")
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge all cases, print what was judged wrongly and the bars; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one draw; not a result")
    parser.add_argument("--seed", type=int, default=SEED, help="the seed of all draws (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to write precision.json to")
    parsed = parser.parse_args(arguments)
    began = time.monotonic()
    made = list(rows(1 if parsed.quick else DRAWS, parsed.seed))
    print(*text(made), sep="\n")
    known = parser_module()
    versions = {f"host {one}": version(one) for one in ("onnx", "numpy")}
    versions |= {"host python": platform.python_version(), "pytest-hil": version("pytest-hil")}
    versions |= {} if known is None else {"TensorRT-RTX": str(import_module(known).__version__)}
    command = ["python", "-m", "benchmarks.precision", "--seed", str(parsed.seed)]
    document = results.result("precision", made, command=command, versions=versions, quick=parsed.quick)
    for bar in document["bars"]:
        print(f"{bar['name']}: {results.figure_text(bar)}, {bar['sense']} {bar['limit']:g}")
    seen = [row for row in made if row["part"] == "wrong" and row["parsed"] is not None]
    alone = sum(str(row["parsed"]).startswith("contradicted") for row in seen)
    print(f"wrong claims that the types of TensorRT-RTX's parsed network suffice to contradict: {alone} of {len(seen)}")
    print(f"declared, not executed: {len(made)} claims in {time.monotonic() - began:.0f} s")
    if parsed.out is not None and not parsed.quick:
        print(results.write(parsed.out, document))
    return 0 if results.passed(document["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
