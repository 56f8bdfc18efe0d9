"""Trains the arm's network and writes ``model.onnx``: ``python -m examples.arm.train``.

Needs PyTorch, and about two minutes on two cores. ``--holdout 4000`` trains without the last 4,000
training samples and prints the errors on those samples. The settings below were chosen in this way,
without the validation data.
"""

from __future__ import annotations

import argparse
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from examples._export import content_digest, float_input, write_model
from examples.arm.data import REACH, truth
from examples.arm.kinematics import angle_between, from_six

if TYPE_CHECKING:
    import numpy.typing as npt

    Arrays = dict[str, npt.NDArray[np.float32]]

HERE = Path(__file__).parent
SEED = 0
WIDTH = 384
EPOCHS = 100
BATCH = 128
RATE = 2e-3
LAYERS = {"dense1": 0, "dense2": 2, "dense3": 4, "heads": 6}
"""Position of each layer that has weights in ``network``."""

# Named at run time: training alone needs it, so it is not a dependency of the project.
torch: Any = import_module("torch")


def network() -> Any:
    """Return the network from features (n, 15) to position and rotation (n, 9): three hidden layers with ReLU.

    SiLU halves the error in FP32, but has a larger error in INT8.
    """
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(15, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, 9),
    )


def features(inputs: Arrays) -> npt.NDArray[np.float32]:
    """Return the features (n, 15) that the graph computes first: sines, cosines, and the tool in units of ``REACH``."""
    joints = inputs["joints"]
    return np.concatenate([np.sin(joints), np.cos(joints), inputs["tool"] / np.float32(REACH)], axis=1)


def train(inputs: Arrays) -> Any:
    """Train from ``SEED`` on the closed form's truth; the same data gives the same network."""
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(mode=True)
    x, y = torch.from_numpy(features(inputs)), torch.from_numpy(np.concatenate(list(truth(inputs).values()), axis=1))
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps, pct_start=0.1)
    for _ in range(EPOCHS):
        for picked in torch.randperm(len(x)).split(BATCH):
            loss = torch.nn.functional.mse_loss(model(x[picked]), y[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def errors(answer: Arrays, expected: Arrays) -> tuple[float, float]:
    """Return the mean distance in millimetres and the mean angle in degrees between two sets of poses."""
    distance = np.linalg.norm(answer["position"] - expected["position"], axis=1)
    angle = angle_between(from_six(answer["rotation"]), from_six(expected["rotation"]))
    return float(distance.mean() * 1e3), float(np.degrees(angle).mean())


def predict(model: Any, inputs: Arrays) -> Arrays:
    """Return the trained network's ``position`` (n, 3) in metres and ``rotation`` (n, 6)."""
    with torch.no_grad():
        values = model(torch.from_numpy(features(inputs))).numpy()
    return {"position": values[:, :3], "rotation": values[:, 3:]}


def export(model: Any, path: Path, provenance: dict[str, str]) -> None:
    """Write inputs ``joints`` [batch, 6], ``tool`` [batch, 3]; outputs ``position``, ``rotation``."""
    dense = {name: (model[at].weight.detach().numpy(), model[at].bias.detach().numpy()) for name, at in LAYERS.items()}
    weight, bias = dense.pop("heads")
    dense["position"], dense["rotation"] = (weight[:3], bias[:3]), (weight[3:], bias[3:])
    weights = {f"{name}.weight": pair[0] for name, pair in dense.items()}
    weights |= {f"{name}.bias": pair[1] for name, pair in dense.items()}
    weights["reach"] = np.array(REACH, dtype=np.float32)
    node = helper.make_node
    nodes = [
        node("Sin", ["joints"], ["sines"], name="sines"),
        node("Cos", ["joints"], ["cosines"], name="cosines"),
        node("Div", ["tool", "reach"], ["scaled_tool"], name="scaled_tool"),
        node("Concat", ["sines", "cosines", "scaled_tool"], ["features"], name="features", axis=1),
    ]

    def add_dense(name: str, source: str) -> None:
        nodes.append(node("Gemm", [source, f"{name}.weight", f"{name}.bias"], [name], name=name, transB=1))

    last = "features"
    for index in (1, 2, 3):
        add_dense(f"dense{index}", last)
        last = f"relu{index}"
        nodes.append(node("Relu", [f"dense{index}"], [last], name=last))
    add_dense("position", last)
    add_dense("rotation", last)
    write_model(
        path,
        nodes=nodes,
        inputs=[float_input("joints", "batch", 6), float_input("tool", "batch", 3)],
        outputs=[float_input("position", "batch", 3), float_input("rotation", "batch", 6)],
        weights=weights,
        provenance=provenance,
    )


def main() -> None:
    """Train, print the errors, and write the model unless samples were held out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holdout", type=int, default=0, help="number of samples to evaluate on instead of training")
    holdout = parser.parse_args().holdout
    with np.load(HERE / "train.npz", allow_pickle=False) as data:
        inputs = {name: data[name] for name in ("joints", "tool")}
    kept = len(inputs["joints"]) - holdout
    model = train({name: array[:kept] for name, array in inputs.items()})
    held = {name: array[kept:] for name, array in inputs.items()}
    if not holdout:
        facts = {
            "made_by": "examples/arm/train.py",
            "seed": str(SEED),
            "training_data": content_digest(inputs),
            "torch": metadata.version("torch"),
        }
        export(model, HERE / "model.onnx", facts)
        with np.load(HERE / "validation.npz", allow_pickle=False) as data:
            held = {name: data[name] for name in ("joints", "tool")}
    millimetres, degrees = errors(predict(model, held), truth(held))
    where = "held out of train" if holdout else "validation"
    print(f"{where}: {millimetres:.2f} mm, {degrees:.3f} degrees")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
