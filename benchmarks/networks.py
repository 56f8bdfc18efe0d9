"""Export networks of realistic size with random weights, with data and a ``hil.toml``, for benchmarks on a GPU.

``python -m benchmarks.networks FOLDER --python PYTHON --board NAME`` writes three ONNX models with a static batch of 1:
ResNet-50 and MobileNetV3-Large as torchvision defines them, and the transformer encoder of this module. Weights are
random with a fixed seed. Batch normalization is calibrated on the data, so that activations have the scale of a trained
network's. This needs PyTorch (the CPU build is enough), and torchvision for the first two networks.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.zoo.packages import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

SEED = 1
OPSET = 17
SAMPLES, CALIBRATION = 16, 32
NETWORKS = ("resnet50", "mobilenet", "encoder")
DETECTOR = "detector"
IMAGE = (3, 224, 224)
SEQUENCE, WIDTH, HEADS, LAYERS = 128, 384, 6, 6


def images(count: int, seed: int) -> npt.NDArray[np.float32]:
    """Return images [count, 3, 224, 224] of about zero mean and unit variance: a few plane waves each, and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*(np.linspace(0, 1, side) for side in IMAGE[1:]), indexing="ij")
    made = rng.normal(0, 0.3, (count, *IMAGE))
    for image in made:
        for channel in image:
            for _ in range(4):
                down, across, phase = rng.uniform(-12, 12), rng.uniform(-12, 12), rng.uniform(0, 2 * np.pi)
                channel[...] += 0.67 * np.sin(2 * np.pi * (down * rows + across * columns) + phase)
    return made.astype(np.float32)


def embeddings(count: int, seed: int) -> npt.NDArray[np.float32]:
    """Return embedded sequences [count, 128, 384] of a vocabulary of 50 words, each with a positional wave."""
    vocabulary = np.random.default_rng(SEED).normal(0, 1, (50, WIDTH))
    words = np.random.default_rng(seed).integers(0, len(vocabulary), (count, SEQUENCE))
    place = np.arange(SEQUENCE)[:, None] / 10000 ** (np.arange(WIDTH)[None, :] / WIDTH)
    return np.asarray(vocabulary[words] + np.sin(place), dtype=np.float32)


DATA: Mapping[str, Callable[[int, int], npt.NDArray[np.float32]]] = {
    "resnet50": images,
    "mobilenet": images,
    "encoder": embeddings,
}


def encoder() -> Any:
    """Return a transformer encoder without a head: 6 layers of width 384, 6 heads; input and output [batch, 128, 384].

    It uses only basic operators, such as matrix products, softmax and means, which every opset and every TensorRT
    version supports.
    """
    import torch  # takes seconds; only an export needs it
    from torch import nn

    def normal(x: Any) -> Any:
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-5)

    class Layer(nn.Module):  # type: ignore[misc, unused-ignore]  # without PyTorch its classes are Any
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            parts = self.into(normal(x)).reshape(-1, SEQUENCE, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            scores = torch.softmax(parts[0] @ parts[1].transpose(-1, -2) * (WIDTH // HEADS) ** -0.5, -1)
            x = x + self.out((scores @ parts[2]).transpose(1, 2).reshape(-1, SEQUENCE, WIDTH))
            return x + self.narrow(torch.relu(self.wide(normal(x))))

    class Encoder(nn.Module):  # type: ignore[misc, unused-ignore]  # as above
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return normal(x)

    return Encoder()


def network(name: str) -> Any:
    """Return the network with random weights and calibrated batch normalization, ready for export."""
    import torch

    torch.manual_seed(SEED)
    if name == "encoder":
        return encoder().eval()
    from torchvision import models

    made = models.resnet50(weights=None) if name == "resnet50" else models.mobilenet_v3_large(weights=None)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    made.train()
    with torch.no_grad():
        for seed in (11, 12):
            made(torch.from_numpy(images(8, seed)))
    return made.eval()


def export(name: str, folder: Path) -> Path:
    """Write ``NAME.onnx`` and its two data sets, and return the model's path.

    ``detector`` is copied from the package NudeNet. The others have random weights, input ``x`` and output ``y``.
    """
    if name == DETECTOR:
        return _detector(folder)
    import torch

    made, path = network(name), folder / f"{name}.onnx"
    sample = torch.from_numpy(DATA[name](1, 2))
    names = {"input_names": ["x"], "output_names": ["y"]}
    with torch.no_grad():
        torch.onnx.export(made, (sample,), str(path), opset_version=OPSET, dynamo=False, **names)
    np.savez(folder / f"{name}-validation.npz", x=DATA[name](SAMPLES, 3))
    np.savez(folder / f"{name}-calibration.npz", x=DATA[name](CALIBRATION, 4))
    return path


def _detector(folder: Path) -> Path:
    from benchmarks.accuracy.people import collages  # needs Pillow and the packages, which only an export does

    path = folder / f"{DETECTOR}.onnx"
    shutil.copy(installed() / "nudenet/320n.onnx", path)
    for part, count, seed in (("validation", 120, 3), ("calibration", 48, 4)):
        np.savez(folder / f"{DETECTOR}-{part}.npz", images=collages(count, 320, seed))
    return path


def main() -> int:
    """Write the networks and their project."""
    from benchmarks.projects import networks_project  # circular otherwise

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", required=True, help="the interpreter that has TensorRT")
    parser.add_argument("--board", help="the GPU's name, e.g. h200; without it evidence is 'host'")
    parser.add_argument("--only", choices=NETWORKS, action="append", help="only this network; may be repeated")
    arguments = parser.parse_args()
    names = tuple(arguments.only or NETWORKS)
    networks_project(arguments.folder, arguments.python, arguments.board, names)
    for name in names:
        print(export(name, arguments.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
