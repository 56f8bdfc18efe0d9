"""Get samples from the user's code: ``preprocess``, called with each file of a folder, or a callable of samples."""

from __future__ import annotations

import os
from abc import abstractmethod
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.datasets.dataset import Arrays, Origin, Streamed
from hil.datasets.fit_check import UnequalSizesError, label_key
from hil.datasets.npz_samples import NUMBERS
from hil.datasets.orientation import ORIENTATION, as_if_upright
from hil.dtypes import from_file
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.callables import UserCallable
    from hil.datasets.fit_check import Matcher

Sample = tuple[Arrays, Arrays]
END = object()
_ALIKE = ": image.convert('RGB') in preprocess makes all images alike"
_DEEP = ": scale its values to 8 bits in preprocess first, since image.convert('RGB') clips them"
MODES = {
    **dict.fromkeys(("1", "L", "LA", "P", "PA", "RGBA", "CMYK"), _ALIKE),
    **dict.fromkeys(("F", "I", "I;16", "I;16B"), _DEEP),
}
"""The advice for images that are not RGB, by Pillow's mode."""
MOST_SAMPLES, MOST_BYTES = 100_000, 64 << 30
"""The maximum number of samples and bytes of a callable without a limit, to detect a callable that never ends. The
number of samples is twice that of ImageNet's validation images."""


class CodeDataset(Streamed):
    """Base class of the data sets that call user code. It checks each sample, and that passes return equal samples."""

    chunk = 1  # samples may differ in shape; only those of one batch must have the same shape

    checks_repeats = True

    def __init__(self, code: UserCallable, matcher: Matcher, origin: Origin) -> None:
        """Store ``code``, which a subclass calls once per pass or once per file."""
        super().__init__(origin)
        self._code = code
        self._matcher = matcher

    @property
    def stride(self) -> int | None:
        """Number of samples in one call; 1 if samples may differ in shape, ``None`` if any number is possible."""
        return self._feeding.stride or (1 if self._feeding.varies else None)

    @abstractmethod
    def _samples(self) -> Iterator[Sample]:
        """Yield the checked samples of one pass, without a batch dimension."""

    def _read(self, size: int) -> Iterator[tuple[Arrays, Arrays]]:
        samples = self._samples()
        while some := list(islice(samples, size)):
            yield self._stacked([inputs for inputs, _ in some]), self._stacked([labels for _, labels in some])

    def _stacked(self, rows: list[Arrays]) -> Arrays:
        try:
            return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        except (KeyError, ValueError):
            raise UserError(
                f"{self.name} gives samples that cannot be stacked, since shapes or names differ: "
                f"model {self._model}: return equal shapes and names, or set batch = 1"
            ) from None

    def _checked(self, sample: Any, index: int) -> Sample:
        what = f"{self._code.name} gave sample {index}"
        if not isinstance(sample, dict) or not all(isinstance(name, str) for name in sample):
            raise UserError(
                f"{what} as {type(sample).__name__}: model {self._model}: give a dict of arrays by input name"
            )
        inputs, labels = self._matcher.names(sample)
        for name in inputs:
            if not isinstance(sample[name], np.ndarray):
                kind = type(sample[name]).__name__
                raise UserError(f"{what} with {name!r} as {kind}: model {self._model}: give a numpy array")
        arrays = {name: from_file(sample[name]) for name in inputs}
        self._matcher.tensors({name: (array.dtype, array.shape) for name, array in arrays.items()})
        truth = {label_key(name) or "": np.asarray(sample[name]) for name in labels}
        if any(value.dtype.kind not in NUMBERS for value in truth.values()):
            raise UserError(f"{what} with labels that are not numbers: model {self._model}: give numbers")
        return arrays, truth


class CallableDataset(CodeDataset):
    """Samples that a callable of the user yields: one dict of input arrays and labels per sample.

    At most ``limit`` samples are read; without a limit the callable must end within 100,000 samples and 64 GiB.
    """

    def __init__(self, code: UserCallable, matcher: Matcher, origin: Origin, limit: int | None = None) -> None:
        """Run one pass to get the count and the digest. Raise ``UserError`` for samples that cannot be used."""
        super().__init__(code, matcher, origin)
        self._limit = limit
        first = next(self._samples(), None)
        if first is None:
            raise UserError(f"{self.name} holds zero samples: model {code.model}: yield at least one")
        self._labels = set(first[1])
        self.digest  # noqa: B018 - the first pass, which counts the samples and is compared with later passes

    @property
    def count(self) -> int:
        """Number of samples of the first pass."""
        return len(self._fingerprints or ())

    @property
    def has_labels(self) -> bool:
        """Whether the samples have labels. All samples must have the same labels as the first."""
        return bool(self._labels)

    def _samples(self) -> Iterator[Sample]:
        result = self._code()
        try:
            samples = iter(result)
        except TypeError:
            kind = type(result).__name__
            raise UserError(f"{self._code.name} gave {kind}: model {self._model}: yield one dict a sample") from None
        expected: set[str] | None = None
        index = size = 0
        while index != self._limit:
            with self._code.blamed():
                sample = next(samples, END)
            if sample is END:
                return
            if self._limit is None and (index >= MOST_SAMPLES or size > MOST_BYTES):
                raise UserError(
                    f"{self._code.name} gave {index} samples and has not ended: model {self._model}: "
                    "set samples to the required number, or let the callable end"
                )
            checked = self._checked(sample, index)
            expected = set(checked[1]) if expected is None else expected
            if set(checked[1]) != expected:
                raise UserError(
                    f"{self._code.name} gave sample {index} labels unlike those of the first: model {self._model}: "
                    "give all samples the same labels"
                )
            yield checked
            index += 1
            size += sum(array.nbytes for array in checked[0].values())


class FolderDataset(CodeDataset):
    """Samples that ``preprocess`` makes of the files of a folder, in the order of their paths.

    If the files are in sub-folders, one for each class, a sample's label is its sub-folder's index in order of names.
    """

    def __init__(self, folder: Path, code: UserCallable, matcher: Matcher, origin: Origin) -> None:
        """List the files, which are read one by one later.

        Raise ``UserError`` if there are no files, or if ``folder`` has both sub-folders and files directly in it.
        """
        classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and _visible(path.name))
        super().__init__(code, matcher, origin)
        self.provenance = {**origin.provenance, "classes": " ".join(classes)}
        self._files = _files(folder)
        self._classes = {one: number for number, one in enumerate(classes)}
        self._folder = folder
        self._turns: bool | None = None
        if not self._files:
            raise UserError(f"{folder} holds zero samples: model {code.model}: put images there")
        stray = [path for path in self._files if classes and path.parent == folder]
        if stray:
            raise UserError(
                f"{stray[0]} belongs to no class, since it is beside the folders of classes: model {code.model}: "
                "move the file into the folder of its class, or elsewhere"
            )

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self._files)

    @property
    def has_labels(self) -> bool:
        """Whether there are sub-folders."""
        return bool(self._classes)

    def _samples(self) -> Iterator[Sample]:
        for index, path in enumerate(self._files):
            try:
                inputs, labels = self._checked(self._code(path), index)
            except UserError as error:
                text = f"{error}: file {path.relative_to(self._folder)}{_described(path, error)}"
                if isinstance(error, UnequalSizesError):
                    raise UnequalSizesError(error.found, text) from None
                raise UserError(text) from None
            if labels:
                raise UserError(
                    f"{self._code.name} gave labels: model {self._model}: return only inputs, since labels come from "
                    f"the sub-folders of {self.name}"
                )
            self._require_upright(path, index, inputs)
            number = self._classes.get(path.relative_to(self._folder).parts[0])
            yield inputs, {} if number is None else {"": np.asarray(number, np.int64)}

    def _require_upright(self, path: Path, index: int, inputs: Arrays) -> None:
        """Raise ``UserError`` if ``path`` is the first photograph that is not upright, and its sample shows it so."""
        if self._turns:
            return
        with as_if_upright(path) as copy:
            if copy is None:
                return
            try:
                unturned, _ = self._checked(self._code(copy), index)
            except UserError:  # the code needs the file in its own folder
                self._turns = True
                return
        self._turns = any(not np.array_equal(inputs[name], unturned[name]) for name in inputs)
        if not self._turns:
            raise UserError(
                f"{self._code.name} does not turn images upright as their EXIF data states: model {self._model}: file "
                f"{path.relative_to(self._folder)}: use PIL.ImageOps.exif_transpose(image), or remove the tag "
                "Orientation from the file if the robot takes its images unturned, too"
            )


def _described(path: Path, error: UserError) -> str:
    """Return the end of a message about ``error``: the kind of file at ``path`` and a fix; empty if unknown."""
    if path.stat().st_size == 0:
        return ", which is empty: copy it again, or remove it from the folder"
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        return ""
    try:
        with Image.open(path) as image:
            mode, turned = image.mode, image.getexif().get(ORIENTATION, 1) != 1
            image.load()
    except UnidentifiedImageError:
        opened = isinstance(error.__cause__, UnidentifiedImageError)
        return ", which is not an image: remove it from the folder" if opened else ""
    except (OSError, SyntaxError, ValueError):
        return ", an image that is damaged or cut short: copy it again, or remove it from the folder"
    advice = MODES.get(mode, "")
    if turned:
        advice += ", and PIL.ImageOps.exif_transpose(image) turns it upright, as its EXIF data states"
    return f", an image of mode {mode}{advice}"


def _files(folder: Path) -> list[Path]:
    paths = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _visible(name)]
        paths += [Path(place, name) for name in names if _visible(name)]
    return sorted(path for path in paths if path.is_file())


def _visible(name: str) -> bool:
    return not name.startswith((".", "__"))
