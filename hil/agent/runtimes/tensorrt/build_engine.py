"""ONNX file to plan: network, config, calibration, the build itself, and its record."""

import re
import time
import traceback
from typing import Any, Dict, List, Mapping, Optional

from ...failure import BUILD, UNSUPPORTED, Failure
from ..interface import Built
from . import api, calibrator, dla, onnx_file, parse, precision, profiles, timing_cache
from .calibration_feed import CalibrationFeed
from .open_builder import OpenBuilder, require

ADVICE = (
    (
        r"[Cc]ould not find any implementation|insufficient.*workspace|workspace.*(?:insufficient|too small)",
        "raise workspace in [models.M.build] or leave it out; with plugins, check that they support this precision",
    ),
    (r"[Oo]ut ?[Oo]f ?[Mm]emory|cuMemAlloc|bad_alloc|ALLOCATION", "free memory on the target, or use a smaller model"),
    (r"scaling factors|[Cc]alibrat", "check the calibration data, or use the explicit route"),
    (r"[Pp]rofile|dynamic", "check shapes in [models.M]"),
    (r"[Pp]lugin", "check plugins in [models.M.build]"),
)
OTHERWISE = "read TensorRT's own lines above; build the same file with trtexec to see whether the model is the cause"


def build(opened: OpenBuilder, model: str, target_precision: str, options: Mapping[str, Any], out: str) -> Built:
    """Build as ``Runtime.build`` does; a failure closes ``opened``."""
    try:
        result = Build(opened, target_precision, options).run(model, out)
    except BaseException as problem:
        # The frames' locals hold network and config, which must go before builder and CUDA context.
        traceback.clear_frames(problem.__traceback__)
        opened.close()
        raise
    opened.reset()
    return result


class Build:
    """One build, and the objects that its steps share."""

    def __init__(self, opened: OpenBuilder, target_precision: str, options: Mapping[str, Any]) -> None:
        self.trt, self.cuda, self.log, self.builder = opened.trt, opened.cuda, opened.log, opened.engine_builder
        self.precision, self.options = target_precision, options
        self.paths: Mapping[str, Any] = options.get("paths", {})
        self.facts: Dict[str, Any] = {"seconds_builder": opened.seconds}
        self.warnings = list(opened.warnings)
        self.typed = self._is_typed()
        self.facts["strongly_typed"] = self.typed
        self.network = require(lambda: api.network(self.trt, self.builder, typed=self.typed), "network", self.log)
        self.config = require(self.builder.create_builder_config, "builder config", self.log)

    def run(self, model: str, out: str) -> Built:
        """Parse ``model``, build the plan, write it to ``out``, and return the result. Raise ``Failure`` on errors."""
        began = time.perf_counter()
        parser = parse.parse(self.trt, self.network, self.log, model)
        self.facts["seconds_parse"] = time.perf_counter() - began
        self._configure(model)
        attached = timing_cache.attach(self.config, self.paths.get("timing_cache"), self.log)
        if attached.error:
            self.warnings.append("the timing cache was accepted in part: %s" % attached.error)
        calibration = self._calibration()
        plan = self._plan(calibration)
        self.facts["timing_cache"] = attached.state
        timing_cache.save(self.config, self.paths.get("timing_cache"), attached)
        with open(out, "wb") as file:
            file.write(memoryview(plan))
        del parser  # the network points into its memory until here
        self.facts["warnings"] = self.warnings + self.log.warnings()
        return Built(out, self.log.text(), self.facts)

    def _is_typed(self) -> bool:
        """Return whether the network is to be strongly typed.

        Raise ``Failure`` if the options or the precision require it and this TensorRT or GPU does not support it.
        """
        has = api.builder_flags(self.trt)
        typed = api.can_be_typed(self.trt)
        if self.precision in precision.BROUGHT:
            why = precision.reason(self.precision, has, self.cuda.sm, api.data_types(self.trt), typed=typed)
            if why is not None:
                raise Failure(UNSUPPORTED, why, "leave %s out of precisions for this target" % self.precision)
            return True
        if self.options.get("strongly_typed") and not typed:
            what = "this TensorRT has no strongly typed networks (they came with 10.0)"
            raise Failure(UNSUPPORTED, what, "leave strongly_typed out of [models.M.build] for this target")
        return bool(self.options.get("strongly_typed")) or precision.strongly_typed(has)

    def _configure(self, model: str) -> None:
        trt, config, options = self.trt, self.config, self.options
        if "implicit" in options:
            calibrator.base_class(trt, options["implicit"]["algorithm"])
        content = precision.content_of(trt, self.network)
        precision.check_route(self.precision, "implicit" in options, content, typed=self.typed)
        has = api.builder_flags(trt)
        flags = precision.flags_for(
            self.precision,
            has,
            self.cuda.sm,
            lambda name: api.has_fast(self.builder, name),
            content,
            typed=self.typed,
        )
        for name in flags.off:
            config.clear_flag(getattr(trt.BuilderFlag, name))
        for name in flags.on:
            config.set_flag(getattr(trt.BuilderFlag, name))
        self.facts["workspace"] = api.set_workspace(trt, config, options.get("workspace"))
        _set_level(config, options.get("optimization_level"))
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if options.get("dla") is not None:
            dla.check(int(self.builder.num_DLA_cores), options["dla"], self.precision)
            self.facts["dla"] = dla.configure(trt, config, self.network, options["dla"])
        self._add_profile(model)
        self.facts["flags"] = api.flags_set(trt, config)

    def _add_profile(self, model: str) -> None:
        ranges = self.options.get("profiles") or {}
        inputs = profiles.inputs_of(self.network)
        profiles.check(inputs, ranges, _dimension_names(model))
        ranges = ranges or profiles.fixed(self.network, inputs)
        if ranges:
            profiles.add(self.builder, self.config, ranges)

    def _calibration(self) -> Optional[CalibrationFeed]:
        implicit = self.options.get("implicit")
        if implicit is None:
            return None
        feed = CalibrationFeed(self.trt, self.cuda, self.builder, self.network, self.config)
        return feed.start(implicit, self.paths)

    def _plan(self, calibration: Optional[CalibrationFeed]) -> Any:
        try:
            began = time.perf_counter()
            plan = self.builder.build_serialized_network(self.network, self.config)
            self.facts["seconds_build"] = time.perf_counter() - began
            if calibration is not None and calibration.state.problem is not None:
                raise calibration.state.problem
            if plan is None or not memoryview(plan).nbytes:
                raise refusal(self.log.errors(), self.options)
            if calibration is not None:
                self.facts["calibration"] = calibration.state.finish()
                self.warnings += calibration.state.warnings
            return plan
        finally:
            if calibration is not None:
                calibration.close()


def _set_level(config: Any, level: Optional[int]) -> None:
    if level is None:
        return
    if not hasattr(config, "builder_optimization_level"):
        what = "this TensorRT has no optimization levels (they came with 8.6)"
        raise Failure(UNSUPPORTED, what, "leave optimization_level out of [models.M.build] for this target")
    config.builder_optimization_level = level


def _dimension_names(model: str) -> Dict[str, Any]:
    try:
        return dict(onnx_file.read(model).inputs)
    except (OSError, ValueError):
        return {}


def refusal(errors: str, options: Mapping[str, Any]) -> Failure:
    """Return the failure of a build that gave no plan: TensorRT's error lines and matching advice."""
    lines = errors or "TensorRT gave no reason"
    advice = next((what for pattern, what in ADVICE if re.search(pattern, lines)), OTHERWISE)
    limits: List[str] = []
    if options.get("workspace") is not None:
        limits.append("workspace is %d bytes" % options["workspace"])
    if options.get("dla") is not None:
        limits.append("DLA core %d" % options["dla"])
        if "DLA" in lines:
            return Failure(UNSUPPORTED, "a trial build for the DLA failed: %s" % lines, dla.ADVICE)
    settings = " (%s)" % ", ".join(limits) if limits else ""
    return Failure(BUILD, "TensorRT cannot build the engine%s: %s" % (settings, lines), advice)
