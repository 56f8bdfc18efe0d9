"""Find the sizes, multiples and batch axes with which trial runs of the reference succeed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hil.config.spec import ModelSpec
from hil.errors import UserError
from hil.onnx_files.declared import declare
from hil.onnx_files.random_operators import drawn_by, random_nodes
from hil.onnx_files.signature import read_proto, read_signature
from hil.proposals.axes import input_proposals, other_axes
from hil.proposals.batch_rows import is_batch, without_doubtful
from hil.proposals.families import recognized
from hil.proposals.graph_facts import integer_ranges
from hil.proposals.graph_sizes import weight_sizes
from hil.proposals.input_specs import BATCH, changed, with_axis
from hil.proposals.multiples import multiples_of
from hil.proposals.observed import EDGES, observed_of
from hil.proposals.size_hints import hinted_sizes
from hil.proposals.sizes import assignments, groups, kind_of
from hil.proposals.trials import Trial, Trials
from hil.proposals.ways import SAMPLES, agreeing, tied_again, ways

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hil.config.spec import InputSpec
    from hil.onnx_files.signature import Signature
    from hil.proposals.axes import InputProposal
    from hil.proposals.families import Recognized
    from hil.proposals.observed import Observed
    from hil.proposals.trials import Answer, TrialProcess

    Way = tuple[Mapping[str, InputProposal], dict[str, InputSpec], dict[str, int]]

MOST_TRIALS = 120
"""The most combinations of sizes that are tried for one model."""

MOST_UNFIT = 8
"""After this many combinations that run but give outputs of other than the declared shapes, the first is proposed."""

SHOWN = 12
"""The most sizes of a dimension that a message names."""


@dataclass(frozen=True)
class Proposal:
    """The inputs that a model accepts, as far as trial runs show, and what is proposed for it.

    ``inputs`` and ``shapes`` are the values of ``[models.NAME]``, ``guessed`` the guessed keys. ``signature`` is the
    file's signature with these declarations. ``takes_batches`` is whether a batch of three ran and gave each sample its
    own outputs; ``None`` if the batch size is fixed or no batch axis is proposed. ``carried`` has the output for each
    state input. ``drawn`` states which nodes draw random numbers, so that an output differs between two runs; empty if
    no output differs.
    """

    signature: Signature
    inputs: Mapping[str, InputSpec]
    shapes: Mapping[str, tuple[int, int, int]]
    guessed: tuple[tuple[str, ...], ...]
    observed: Observed
    family: Recognized | None
    takes_batches: bool | None
    carried: Mapping[str, str]
    drawn: str
    trials: int = 0

    @property
    def empty(self) -> tuple[str, ...]:
        """The outputs that had no element in the trial run of one sample."""
        return tuple(name for name, shape in self.observed.outputs.items() if 0 in shape)


def propose(
    path: Path, name: str, process: TrialProcess, *, notify: Callable[[str], object] = lambda _: None
) -> Proposal:
    """Return what is proposed for the ONNX file of the model ``name``, after trial runs in ``process``.

    ``notify`` gets a line on each step. Raise ``UserError`` for a file that cannot be read, for inputs that cannot be
    drawn at random, and if the reference runs with none of the tried sizes.
    """
    raw, proto = read_signature(path), read_proto(path)
    if not raw.inputs:
        raise UserError(f"{path} has no inputs, so it cannot be run on data: export it with an input")
    return _Search(path, name, raw, Trials(process, path), notify).proposal(proto)


class _Search:
    def __init__(self, path: Path, name: str, raw: Signature, trials: Trials, notify: Callable[[str], object]) -> None:
        self._path, self._name, self._raw = path, name, raw
        self._trials, self._notify = trials, notify
        self._tried: dict[str, list[int]] = {}
        self._last = ""
        self._known: Mapping[str, Mapping[int, int]] = {}

    def proposal(self, proto: Any) -> Proposal:
        """Return the proposal. Raise ``UserError`` with what was tried if nothing runs."""
        hinted = hinted_sizes(proto, self._name, kind_of(self._raw))
        self._known = weight_sizes(proto.graph)
        plan: Mapping[str, InputProposal] = input_proposals(self._raw, integer_ranges(proto.graph))
        if any(EDGES.search(one.name) for one in self._raw.inputs):
            plan = without_doubtful(self._raw, plan)
        plan, inputs, sizes = self._sizes(plan, hinted)
        takes_batches: bool | None = None
        if self._declared(inputs, sizes).stride() is None:
            takes_batches = self._takes_batches(plan, inputs, sizes)
            others = other_axes(self._raw, plan) if not takes_batches else iter(())
            for other in others:
                moved = {one: with_axis(spec, other[one]) for one, spec in inputs.items()}
                possible = self._is_possible(moved, sizes) and self._runs(moved, sizes, 1).ran
                if possible and self._takes_batches(other, moved, sizes):
                    plan, inputs, takes_batches = other, moved, True
                    break
        if takes_batches is False and (found := self._without_batch(plan, inputs, sizes, hinted)) is not None:
            plan, inputs, sizes = found
            takes_batches = None
        batch = self._declared(inputs, sizes).batch() or 1
        answer = self._runs(inputs, sizes, batch)
        multiples = multiples_of(sizes, lambda sizes: self._runs(inputs, sizes, batch).ran)
        observed = observed_of(proto, self._raw, answer.inputs, answer.outputs)
        family, drawn = recognized(observed, proto.graph), self._drawn(random_nodes(proto), inputs, sizes, batch)
        return self._written(plan, inputs, sizes, multiples, observed, family, takes_batches, drawn)

    def _drawn(
        self, nodes: tuple[str, ...], inputs: Mapping[str, InputSpec], sizes: Mapping[str, int], batch: int
    ) -> str:
        """Return a text on the random ``nodes`` and the output that differs between two runs; empty if none differs."""
        odd = self._trials.run(Trial(inputs, sizes, batch, twice=True)).differs if nodes else ""
        return odd and f"{drawn_by(nodes)}, so that output {odd!r} differs between two runs"

    def _takes_batches(
        self, plan: Mapping[str, InputProposal], inputs: Mapping[str, InputSpec], sizes: Mapping[str, int]
    ) -> bool:
        answer = self._runs(inputs, sizes, SAMPLES)
        return answer.ran and is_batch(self._raw, plan, answer.rows)

    def _without_batch(
        self,
        plan: Mapping[str, InputProposal],
        inputs: Mapping[str, InputSpec],
        sizes: Mapping[str, int],
        hinted: tuple[tuple[int, int], ...],
    ) -> Way | None:
        """Return proposals, declarations and sizes that run without the doubtful batch axes of ``plan``.

        Return ``None`` if no batch axis is doubtful, if the reference refuses several samples, or if nothing runs.
        """
        other = without_doubtful(self._raw, plan)
        if other == plan or not self._runs(inputs, sizes, SAMPLES).ran:
            return None
        try:
            return self._sizes(other, hinted)
        except UserError:
            return None

    def _sizes(self, plan: Mapping[str, InputProposal], hinted: tuple[tuple[int, int], ...]) -> Way:
        """Return the proposals, declarations and sizes that run, if possible with outputs of their declared shapes."""
        for signature, (way, inputs, batch) in agreeing(ways(self._raw, plan), self._declared):
            unfit: list[dict[str, int]] = []
            large: list[dict[str, int]] = []
            for number, sizes in enumerate(assignments(groups(signature, hinted, self._known))):
                if number >= MOST_TRIALS or len(unfit) >= MOST_UNFIT or self._trials.is_over:
                    break
                if batch in sizes.values() or _is_beyond(sizes, large):
                    continue
                for dimension, size in sizes.items():
                    self._tried.setdefault(dimension, []).append(size)
                shown = ", ".join(f"{dimension} = {size}" for dimension, size in sizes.items())
                self._notify(f"trial run {self._trials.count + 1}: {shown or 'the declared sizes'}")
                answer = self._runs(inputs, sizes, signature.batch() or batch or 1)
                if answer.ran and answer.fits(signature):
                    return way, tied_again(self._raw, inputs, sizes), sizes
                if answer.ran:
                    unfit.append(sizes)
                if answer.is_large:
                    large.append(sizes)
            if unfit:
                return way, tied_again(self._raw, inputs, unfit[0]), unfit[0]
        raise self._nothing_runs()

    def _declared(self, inputs: Mapping[str, InputSpec], sizes: Mapping[str, int]) -> Signature:
        shapes = {name: (size, size, size) for name, size in sizes.items()}
        spec = ModelSpec(path=str(self._path), data="synthetic", inputs=dict(inputs), shapes=shapes)
        return declare(self._raw, spec, self._name)

    def _is_possible(self, inputs: Mapping[str, InputSpec], sizes: Mapping[str, int]) -> bool:
        try:
            return self._declared(inputs, sizes).stride() is None
        except UserError:
            return False

    def _runs(self, inputs: Mapping[str, InputSpec], sizes: Mapping[str, int], batch: int) -> Answer:
        answer = self._trials.run(Trial(inputs, sizes, batch))
        self._last = answer.error or self._last
        if not answer.loaded:
            raise UserError(f"the reference cannot load {self._path}, and nothing was written: {answer.error}")
        return answer

    def _nothing_runs(self) -> UserError:
        tried = [
            f"  {dimension}: {', '.join(map(str, list(dict.fromkeys(sizes))[:SHOWN]))}"
            for dimension, sizes in self._tried.items()
        ]
        shown = "; ".join(str(one) for one in self._raw.inputs)
        with_sizes = f" with the sizes below ({self._trials.count} trial runs)" if tried else ""
        return UserError(
            f"{self._path} does not run on random data{with_sizes}, and nothing was written: model {self._name} "
            f"({shown}): the last error is: {self._last}",
            *tried,
            "write hil.toml by hand with the sizes and ranges that the model takes: see [models.NAME.inputs.INPUT] in "
            "docs/config.md",
        )

    def _written(  # noqa: PLR0913, PLR0917 - the results of the steps above
        self,
        plan: Mapping[str, InputProposal],
        inputs: Mapping[str, InputSpec],
        sizes: Mapping[str, int],
        multiples: Mapping[str, int],
        observed: Observed,
        family: Recognized | None,
        takes_batches: bool | None,  # noqa: FBT001 - as above
        drawn: str,
    ) -> Proposal:
        """Return the proposal with only the keys that add to what the file states."""
        declared = self._declared(inputs, sizes)
        own, shapes = {}, {name: (size, size, size) for name, size in sizes.items()}
        separated = {name for spec in inputs.values() for name in spec.shape or () if name in sizes}
        used = set()
        for tensor in declared.inputs:
            spec = inputs[tensor.name]
            numbers = tuple(
                size if not isinstance(size, str) or size in separated else sizes.get(size, size)
                for size in tensor.shape
            )
            used |= {size for size in tensor.shape if isinstance(size, str) and size not in separated}
            is_open = any(isinstance(size, str) and size in sizes for size in tensor.shape)
            if takes_batches is False and not tensor.is_given:
                place, is_open = tensor.batch_axis, is_open or isinstance(tensor.batch_axis, int)
                numbers = tuple(1 if axis == place else size for axis, size in enumerate(numbers))
            shape = tuple(BATCH if size is None else size for size in numbers) if is_open and 0 not in numbers else None
            steps = tuple(multiples.get(str(size), 1) for size in tensor.shape)
            axis = None if spec.batch_axis == 0 else spec.batch_axis
            own[tensor.name] = changed(
                spec, shape=shape, batch_axis=axis, multiple_of=steps if set(steps) - {1} else None
            )
        if not self._needs_no_more(own, shapes, declared):
            own = {name: changed(one, batch_axis=inputs[name].batch_axis) for name, one in own.items()}
        own = {name: one for name, one in own.items() if one.model_fields_set}
        kept = {name: value for name, value in shapes.items() if name not in used or name in separated}
        guessed: list[tuple[str, ...]] = [
            ("inputs", name, key) for name, one in own.items() for key in sorted(one.model_fields_set, key=_order)
        ]
        guessed += [("shapes", name) for name in kept]
        return Proposal(
            signature=replace(declared, multiples=dict(multiples)),
            inputs=own,
            shapes=kept,
            guessed=tuple(guessed),
            observed=observed,
            family=family,
            takes_batches=takes_batches,
            carried={
                name: one.carry
                for name, one in plan.items()
                if one.carry is not None and observed.inputs[name] == observed.outputs[one.carry]
            },
            drawn=drawn,
            trials=self._trials.count,
        )

    def _needs_no_more(
        self, own: Mapping[str, InputSpec], shapes: Mapping[str, tuple[int, int, int]], declared: Signature
    ) -> bool:
        """Return whether the file with only ``own`` and ``shapes`` declared has the batch axes that were tried."""
        spec = ModelSpec(path=str(self._path), data="synthetic", inputs=dict(own), shapes=dict(shapes))
        try:
            result = declare(self._raw, spec, self._name)
        except UserError:
            return False
        return [one.batch_axis for one in result.inputs] == [one.batch_axis for one in declared.inputs]


KEYS = ("shape", "batch_axis", "value", "multiple_of", "range")


def _order(key: str) -> int:
    return KEYS.index(key)


def _is_beyond(sizes: Mapping[str, int], large: Sequence[Mapping[str, int]]) -> bool:
    """Return whether all sizes are at least those of a trial in ``large``, which exceeded its time or memory."""
    return any(all(sizes[name] >= size for name, size in one.items()) for one in large)
