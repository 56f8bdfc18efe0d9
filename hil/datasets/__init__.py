"""Read samples from an ``.npz`` file, Polygraphy's JSON, a folder of images, a callable, or random numbers.

``open_dataset`` opens the source that ``hil.toml`` names. Every source is streamed, has a digest of its content, and is
checked against the model's inputs before anything runs.
"""

from hil.datasets.dataset import Batch, Dataset, sample_digest
from hil.datasets.npz import NpzArrays
from hil.datasets.open_data import open_dataset

__all__ = ["Batch", "Dataset", "NpzArrays", "open_dataset", "sample_digest"]
