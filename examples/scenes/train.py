"""Trains the detector of digits and writes ``model.onnx``: ``python -m examples.scenes.train``.

Needs PyTorch, and a few minutes. ``--holdout 200`` trains without the last 200 training digits and prints the mAP
on scenes composed of those digits. The settings below were chosen in this way, without the validation scenes.
"""

from __future__ import annotations

import argparse
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from examples._export import content_digest, float_input, write_model
from examples.scenes.data import SIZE, TRAINING, scenes

if TYPE_CHECKING:
    import numpy.typing as npt

HERE = Path(__file__).parent
SEED = 0
WIDTH = 32
STRIDE = 4
CELLS = SIZE // STRIDE
LARGEST = 24.0
"""Largest width and height of a box in pixels."""

EPOCHS = 36
BATCH = 32
RATE = 3e-3
CLASSES = 10
FOCUS = 2.0
"""Gamma of the focal loss (Lin et al., ICCV 2017), which is used because nearly all cells are empty."""

CONVOLUTIONS = {"conv1": 0, "conv2": 2, "conv3": 4, "conv4": 6, "conv5": 8, "conv6": 10, "head": 12}
"""Position of each convolution in ``network``."""

STRIDES = {"conv1": 2, "conv3": 2}

# Named at run time: training alone needs it, so it is not a dependency of the project.
torch: Any = import_module("torch")


def network() -> Any:
    """Return the network from images (n, 1, 48, 48) to maps (n, 14, 12, 12).

    The 14 values of a cell are the place of its box (2), its size (2) and the logits of its class (10).
    """
    nn = torch.nn
    layers: list[Any] = []
    width = 1
    for name in list(CONVOLUTIONS)[:-1]:
        layers += [nn.Conv2d(width, WIDTH, 3, stride=STRIDES.get(name, 1), padding=1), nn.ReLU()]
        width = WIDTH
    layers.append(nn.Conv2d(WIDTH, 4 + CLASSES, 1))
    torch.nn.init.constant_(layers[-1].bias[4:], -4.0)  # at first nothing is anywhere
    return nn.Sequential(*layers)


def grid() -> npt.NDArray[np.float32]:
    """Return column and row of each cell, shape (144, 2), row by row."""
    rows, columns = np.divmod(np.arange(CELLS * CELLS), CELLS)
    return np.stack([columns, rows], axis=1).astype(np.float32)


def targets(labels: npt.NDArray[np.float32]) -> tuple[Any, Any, Any]:
    """Return each cell's class as one of ten (n, 144, 10), its box (n, 144, 4), and whether it has a box (n, 144)."""
    classes = np.zeros((len(labels), CELLS * CELLS, CLASSES), np.float32)
    boxes = np.zeros((len(labels), CELLS * CELLS, 4), np.float32)
    for image, rows in enumerate(labels):
        for x1, y1, x2, y2, one in rows[rows[:, 4] >= 0]:
            cell = int((y1 + y2) / 2 // STRIDE) * CELLS + int((x1 + x2) / 2 // STRIDE)
            classes[image, cell, int(one)] = 1
            boxes[image, cell] = x1, y1, x2, y2
    return torch.from_numpy(classes), torch.from_numpy(boxes), torch.from_numpy(classes.any(axis=2))


def decoded(maps: Any) -> tuple[Any, Any]:
    """Return boxes (n, 144, 4) as corners in pixels, and logits of the classes (n, 144, 10), from ``maps``."""
    rows = maps.permute(0, 2, 3, 1).reshape(len(maps), CELLS * CELLS, -1)
    middle = (torch.sigmoid(rows[..., :2]) + torch.from_numpy(grid())) * STRIDE
    half = torch.sigmoid(rows[..., 2:4]) * (LARGEST / 2)
    return torch.cat([middle - half, middle + half], dim=-1), rows[..., 4:]


def loss_of(maps: Any, labels: npt.NDArray[np.float32]) -> Any:
    """Return the sum of the classes' focal loss and the distance of the boxes' corners, divided by the digits."""
    classes, boxes, there = targets(labels)
    ours, logits = decoded(maps)
    chance = torch.sigmoid(logits)
    right = torch.where(classes > 0, chance, 1 - chance)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, classes, reduction="none")
    digits = there.sum()
    return ((1 - right) ** FOCUS * entropy).sum() / digits + (ours - boxes).abs()[there].sum() / digits / 8


def train(count: int, held_out: int = 0) -> Any:
    """Train from ``SEED`` with ``count`` new scenes in each epoch. One machine always gives the same network."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-3)
    steps = EPOCHS * -(-count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        made = scenes("train", count, seed=None if not epoch else 1000 + epoch, held_out=held_out)
        for picked in torch.randperm(count).split(BATCH):
            loss = loss_of(model(torch.from_numpy(made["image"][picked.numpy()])), made["labels"][picked.numpy()])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {loss.item():.4f}", flush=True)  # noqa: T201 - a script's output
    return model.eval()


def export(model: Any, path: Path, provenance: dict[str, str]) -> None:
    """Write the network with input ``image`` and outputs ``boxes`` [batch, 144, 4] and ``scores`` [batch, 144, 10]."""
    weights: dict[str, Any] = {
        f"{name}.{part}": getattr(model[position], part).detach().numpy()
        for name, position in CONVOLUTIONS.items()
        for part in ("weight", "bias")
    }
    weights |= {
        "rows": np.array([-1, CELLS * CELLS, 4 + CLASSES], np.int64),
        "parts": np.array([2, 2, CLASSES], np.int64),
        "grid": grid()[None],
        "stride": np.array(STRIDE, np.float32),
        "reach": np.array(LARGEST / 2, np.float32),
    }
    nodes, last = [], "image"
    for name in CONVOLUTIONS:
        pads, kernel = ([0] * 4, [1, 1]) if name == "head" else ([1] * 4, [3, 3])
        step = [STRIDES.get(name, 1)] * 2
        given = [last, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", given, [name], name=name, kernel_shape=kernel, pads=pads, strides=step))
        last = name
        if name != "head":
            last = name.replace("conv", "relu")
            nodes.append(helper.make_node("Relu", [name], [last], name=last))
    nodes += _decoding()
    write_model(
        path,
        nodes=nodes,
        inputs=[float_input("image", "batch", 1, SIZE, SIZE)],
        outputs=[
            float_input("boxes", "batch", CELLS * CELLS, 4),
            float_input("scores", "batch", CELLS * CELLS, CLASSES),
        ],
        weights=weights,
        provenance=provenance,
    )


def _decoding() -> list[Any]:
    """Return the nodes that compute corners and scores from the map, as ``decoded`` does."""
    steps: tuple[tuple[str, list[str], list[str], dict[str, Any]], ...] = (
        ("Transpose", ["head"], ["cells"], {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["cells", "rows"], ["table"], {}),
        ("Split", ["table", "parts"], ["place", "extent", "logits"], {"axis": 2}),
        ("Sigmoid", ["place"], ["within"], {}),
        ("Add", ["within", "grid"], ["cell"], {}),
        ("Mul", ["cell", "stride"], ["middle"], {}),
        ("Sigmoid", ["extent"], ["share"], {}),
        ("Mul", ["share", "reach"], ["half"], {}),
        ("Sub", ["middle", "half"], ["low"], {}),
        ("Add", ["middle", "half"], ["high"], {}),
        ("Concat", ["low", "high"], ["boxes"], {"axis": 2}),
        ("Sigmoid", ["logits"], ["scores"], {}),
    )
    return [helper.make_node(op, given, made, name=made[0], **more) for op, given, made, more in steps]


def average_precision(path: Path, arrays: dict[str, Any]) -> float:
    """Return COCO's mAP of the exported file for the scenes ``arrays``, computed with hil's own metric."""
    from onnxruntime import InferenceSession

    from hil.config.spec import DetectionSpec
    from hil.metrics import open_metric

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = dict(zip(("boxes", "scores"), session.run(None, {"image": arrays["image"]}), strict=True))
    metric = open_metric("detection", boxes_as=DetectionSpec(layout="boxes-scores", nms=0.5))
    evidence = metric.score(outputs, {"": arrays["labels"]})
    if metric.pools is None:
        raise TypeError("mAP pools its evidence")
    return float(metric.pools(evidence, evidence)[0](np.ones((1, len(evidence))))[0])


def main() -> None:
    """Train, print mAP, and write the model unless digits were held out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holdout", type=int, default=0, help="number of digits to evaluate on instead of training")
    holdout = parser.parse_args().holdout
    model = train(TRAINING, holdout)
    first = scenes("train", TRAINING)
    facts = {
        "made_by": "examples/scenes/train.py",
        "seed": str(SEED),
        "training_data": content_digest(first),
        "torch": metadata.version("torch"),
    }
    path = HERE / ("holdout.onnx" if holdout else "model.onnx")
    export(model, path, facts)
    if holdout:
        found = average_precision(path, scenes("train", 500, seed=99, held_out=-holdout))
        print(f"held out: {found:.4f}")  # noqa: T201 - a script's output
        path.unlink()
        return
    with np.load(HERE / "validation.npz", allow_pickle=False) as data:
        print(f"validation: {average_precision(path, dict(data)):.4f}")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
