"""A user's mistakes in models and data, found before any target is touched: one message, exit code 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.datasets import open_dataset
from hil.signature import read_signature

if TYPE_CHECKING:
    from hil.config.load import Config


def preflight(config: Config, target: str) -> None:
    """Opens every model and data set of the config. Raises ``UserError`` for the first that cannot be used."""
    for name in config.spec.models:
        spec = config.model(name, target)
        signature = read_signature(config.resolve(spec.path))
        sources: list[tuple[str, tuple[str, ...]]] = [(spec.data, ("data",))]
        if spec.calibration is not None:
            sources.append((spec.calibration.data, ("calibration", "data")))
        if spec.training_data is not None:
            sources.append((spec.training_data, ("training_data",)))
        for source, key in sources:
            found = open_dataset(
                source,
                config=config,
                model=name,
                signature=signature,
                preprocess=spec.preprocess,
                ranges=spec.ranges,
                where=config.where("models", name, *key),
            )
            if key == ("data",):
                next(found.batches(spec.batch, spec.samples), None)  # does the batch fit model and data?
