"""Write the ``trtexec`` commands with which a user can verify our build and timing, and how both differ from ours.

The flags are those of ``samples/common/sampleOptions.cpp`` of NVIDIA/TensorRT, release branches 8.2, 8.4, 8.5, 8.6,
10.0, 10.3, 10.13, 10.16, 11.0 and 11.1. What trtexec times is in ``sampleInference.cpp`` next to it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from hil.config.fields import BROUGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Version = tuple[int, int]

NEWEST: Version = (11, 1)
ASSUMED: Version = (10, 3)
"""The version in JetPack 6.1 and 6.2, assumed if the version is unknown."""

MIB = 2**20
STREAMS_RENAMED, POOLS, PERCENTILES, SKIPS, TYPED = (8, 6), (8, 4), (8, 5), (8, 6), (11, 0)
BF16 = (10, 0)

TIMING = (
    "trtexec keeps two inferences in flight per stream, to hide transfers behind computing; we run them in sequence",
    "trtexec's Latency is the sum of H2D, GPU Compute and D2H by CUDA events; ours is the host's time around all three",
    "compare our device time with trtexec's GPU Compute Time: both are CUDA events around the enqueue",
    "trtexec waits for blocking events unless --useSpinWait is given; we wait for the stream as CUDA chooses",
    "trtexec's percentile is that of its samples; ours has a confidence bound, and a limit is compared with the bound",
    "trtexec feeds random data unless --loadInputs names files; we feed the validation data",
    "trtexec measures for 3 s after 0.2 s of warm-up by default; [measure] configures what hil does",
)


@dataclass(frozen=True)
class Trtexec:
    """Two commands as lists of words: ``command`` builds and saves the engine, ``timing`` loads and times it.

    ``differences`` are sentences on how these commands differ from what hil does.
    """

    command: tuple[str, ...]
    differences: tuple[str, ...]
    timing: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the build command, quoted for a shell."""
        return shlex.join(self.command)


def equivalent(onnx: str, precision: str, options: Mapping[str, Any], version: str | None) -> Trtexec:
    """Return the ``trtexec`` commands of TensorRT ``version`` (``"8.6.2"``) equivalent to our build of ``onnx``.

    ``options`` are those of the build, with ``cuda_graph``, ``streams`` and the file names of ``plugins``. A version
    that cannot be parsed counts as 10.3.
    """
    release, doubts = _release(version)
    plan = f"{PurePath(onnx).stem}-{precision}.plan"
    both = tuple(_both(options, release))
    skip = "--skipInference" if release >= SKIPS else "--buildOnly"
    words, notes = _precision(precision, options, release)
    command = ["trtexec", f"--onnx={onnx}", f"--saveEngine={plan}", *words]
    command += [*_build(options, release, notes), *both, "--timingCacheFile=timing.cache", skip]
    timing = ["trtexec", f"--loadEngine={plan}", *_run(options, release), *both]
    notes.append("our build starts from the timing cache in the target's store, trtexec from its --timingCacheFile")
    notes.append("two builds of one model may choose different kernels: to compare, time the engine in the report")
    if options.get("cuda_graph"):
        notes.append("we time with a CUDA graph, so trtexec must have --useCudaGraph")
    else:
        notes.append("we time without a CUDA graph, so trtexec must not have --useCudaGraph")
    return Trtexec(tuple(command), (*doubts, *notes, *TIMING), tuple(timing))


def _release(version: str | None) -> tuple[Version, list[str]]:
    match = re.match(r"(\d+)\.(\d+)", version or "")
    if match is None:
        return ASSUMED, [f"the release of TensorRT is not known: flags are those of {ASSUMED[0]}.{ASSUMED[1]}"]
    release = int(match[1]), int(match[2])
    if release > NEWEST:
        return release, [f"TensorRT {match[0]} is newer than this table: flags are those of {NEWEST[0]}.{NEWEST[1]}"]
    return release, []


def _precision(precision: str, options: Mapping[str, Any], release: Version) -> tuple[list[str], list[str]]:
    """Return the flags for ``precision``, and notes on how they differ from our build."""
    if precision in {"fp32", "tf32"}:
        return (["--noTF32"] if precision == "fp32" else []), []
    if release < TYPED and (precision in BROUGHT or options.get("strongly_typed")):
        return ["--stronglyTyped"], [f"strong typing takes the types from the ONNX file, which is in {precision}"]
    if release >= TYPED:
        return [], [f"TensorRT {release[0]} takes the types from the ONNX file, which must be in {precision}"]
    if precision in {"bf16", "fp16"}:
        lacks = precision == "bf16" and release < BF16
        return [f"--{precision}"], ["trtexec has no --bf16 before TensorRT 10"] if lacks else []
    notes = []
    if "implicit" in options:
        notes.append(
            "trtexec --int8 draws ranges at RANDOM unless --calib names a calibration cache: without it, compare "
            "times only, not outputs"
        )
    elif "calibration" in options:
        notes.append("the ONNX file is the one with Q/DQ nodes, in the folder quantized of the project's cache")
    else:
        notes.append(
            "trtexec --int8 takes the ranges from the Q/DQ nodes of the ONNX file; "
            "without such nodes it would draw them at RANDOM"
        )
    return ["--int8", "--fp16"], notes


def _build(options: Mapping[str, Any], release: Version, notes: list[str]) -> Iterator[str]:
    if (workspace := options.get("workspace")) is not None:
        size = f"{workspace / MIB:.6f}".rstrip("0").rstrip(".")
        if release >= POOLS:
            yield f"--memPoolSize=workspace:{size}"
        else:
            yield f"--workspace={max(1, workspace // MIB)}"
            if workspace % MIB:
                notes.append(f"trtexec --workspace takes whole MiB; our build has a workspace of {size} MiB")
    if (level := options.get("optimization_level")) is not None:
        if release >= SKIPS:
            yield f"--builderOptimizationLevel={level}"
        else:
            notes.append("there is no optimization level before TensorRT 8.6")
    for flag, choice in (("min", 0), ("opt", 1), ("max", 2)):
        if profiles := options.get("profiles"):
            yield f"--{flag}Shapes={_shapes(profiles, choice)}"
    if options.get("dla") is not None:
        yield "--allowGPUFallback"


def _both(options: Mapping[str, Any], release: Version) -> Iterator[str]:
    """Yield the flags that are in both commands."""
    flag = "staticPlugins" if release >= SKIPS else "plugins"
    yield from (f"--{flag}={plugin}" for plugin in options.get("plugins") or ())
    if options.get("dla") is not None:
        yield f"--useDLACore={options['dla']}"
    if options.get("gpu"):
        yield f"--device={options['gpu']}"


def _run(options: Mapping[str, Any], release: Version) -> Iterator[str]:
    if profiles := options.get("profiles"):
        yield f"--shapes={_shapes(profiles, 1)}"
    yield f"--percentile={'50,90,99' if release >= PERCENTILES else '99'}"
    if options.get("cuda_graph"):
        yield "--useCudaGraph"
    if (streams := options.get("streams") or 1) > 1:
        yield f"--{'infStreams' if release >= STREAMS_RENAMED else 'streams'}={streams}"


def _shapes(profiles: Mapping[str, Sequence[Sequence[int]]], choice: int) -> str:
    """Return ``image:1x3x8x8,state:1x6``: the shapes of a profile, ``choice`` 0 for min, 1 for opt, 2 for max."""
    named = ((f"'{name}'" if set(":,") & set(name) else name, sizes[choice]) for name, sizes in profiles.items())
    return ",".join(f"{name}:{'x'.join(map(str, sizes))}" for name, sizes in named)
