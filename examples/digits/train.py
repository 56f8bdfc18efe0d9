"""Trains the digit classifier and writes ``model.onnx``: ``python -m examples.digits.train``.

Needs PyTorch and scikit-learn, and about half a minute on two cores. ``--holdout 200`` trains without the
last 200 training samples and prints the accuracy on those samples. The settings below were chosen in this
way, without the validation data.
"""

from __future__ import annotations

import argparse
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from examples._export import content_digest, float_input, write_model

if TYPE_CHECKING:
    import numpy.typing as npt

    Images = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.int64]

HERE = Path(__file__).parent
SEED = 0
EPOCHS = 80
BATCH = 50
RATE = 3e-3
DECAY = 1e-3
LAYERS = {"conv1": 0, "conv2": 2, "conv3": 5, "logits": 10}
"""Position of each layer that has weights in ``network``."""

# Named at run time: training alone needs it, so it is not a dependency of the project.
torch: Any = import_module("torch")


def network() -> Any:
    """Return three convolutions and a linear layer with ReLU between them; about 77,000 weights."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(256, 10),
    )


def shifted(images: Images, rng: np.random.Generator) -> Images:
    """Return each image moved by at most one pixel in each direction, with black at the edge."""
    count, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(0, 3, (2, count))
    rows = down[:, None] + np.arange(height)
    columns = right[:, None] + np.arange(width)
    moved: Images = padded[np.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]
    return moved


def train(images: Images, labels: Labels) -> Any:
    """Train from ``SEED`` on images (n, 1, 8, 8) and labels (n,); the same data gives the same network."""
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(mode=True)
    rng = np.random.default_rng(SEED)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=DECAY)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            picked = order[start : start + BATCH]
            scores = model(torch.from_numpy(shifted(images[picked], rng)))
            loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels[picked]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model: Any, images: Images, labels: Labels) -> float:
    """Return the share of images whose highest score is that of their label."""
    with torch.no_grad():
        guesses = model(torch.from_numpy(images)).argmax(1).numpy()
    return float(np.mean(guesses == labels))


def export(model: Any, path: Path, provenance: dict[str, str]) -> None:
    """Write the network with input ``image`` [batch, 1, 8, 8] and output ``logits`` [batch, 10]."""
    weights = {
        f"{name}.{part}": getattr(model[position], part).detach().numpy()
        for name, position in LAYERS.items()
        for part in ("weight", "bias")
    }
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("Conv", "conv1", conv),
        ("Relu", "relu1", {}),
        ("Conv", "conv2", conv),
        ("Relu", "relu2", {}),
        ("MaxPool", "pool2", pool),
        ("Conv", "conv3", conv),
        ("Relu", "relu3", {}),
        ("MaxPool", "pool3", pool),
        ("Flatten", "flatten", {"axis": 1}),
        ("Gemm", "logits", {"transB": 1}),
    ]
    nodes, last = [], "image"
    for op, name, attributes in steps:
        parameters = [f"{name}.weight", f"{name}.bias"] if name in LAYERS else []
        nodes.append(helper.make_node(op, [last, *parameters], [name], name=name, **attributes))
        last = name
    write_model(
        path,
        nodes=nodes,
        inputs=[float_input("image", "batch", 1, 8, 8)],
        outputs=[float_input("logits", "batch", 10)],
        weights=weights,
        provenance=provenance,
    )


def main() -> None:
    """Train, print the accuracy, and write the model unless samples were held out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holdout", type=int, default=0, help="number of samples to evaluate on instead of training")
    holdout = parser.parse_args().holdout
    with np.load(HERE / "train.npz", allow_pickle=False) as data:
        images, labels = data["image"], data["labels"]
    kept = len(images) - holdout
    model = train(images[:kept], labels[:kept])
    if holdout:
        print(f"held out of train: {accuracy(model, images[kept:], labels[kept:]):.4f}")  # noqa: T201 - a script's output
        return
    facts = {
        "made_by": "examples/digits/train.py",
        "seed": str(SEED),
        "training_data": content_digest({"image": images, "labels": labels}),
        "torch": metadata.version("torch"),
    }
    export(model, HERE / "model.onnx", facts)
    with np.load(HERE / "validation.npz", allow_pickle=False) as data:
        print(f"validation: {accuracy(model, data['image'], data['labels']):.4f}")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
