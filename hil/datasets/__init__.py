"""Where samples come from: an ``.npz`` file, a folder of images, a callable, or a seed.

``open_dataset`` opens what ``hil.toml`` names; all are streamed, have a digest of their content, and are
held against the model's inputs before anything runs.
"""

from hil.datasets.dataset import Batch, Dataset, sample_digest
from hil.datasets.npz import NpzArrays
from hil.datasets.open_data import open_dataset

__all__ = ["Batch", "Dataset", "NpzArrays", "open_dataset", "sample_digest"]
