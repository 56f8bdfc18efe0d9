"""Trains the state estimator and writes ``model.onnx``: ``python -m examples.filter.train``.

Needs PyTorch, and a few minutes. ``--holdout 128`` trains without the last 128 training sequences and prints the errors
on those sequences. The settings below were chosen in this way, without the validation data.
"""

from __future__ import annotations

import argparse
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from examples._export import content_digest, float_input, write_model
from examples.arm.data import HOME
from examples.filter.data import RATE, part

if TYPE_CHECKING:
    import numpy.typing as npt

    Arrays = dict[str, npt.NDArray[np.float32]]

HERE = Path(__file__).parent
SEED = 0
MEMORY = 32
"""Width of the recurrent layer."""

PERIOD = 1 / RATE
SURPRISE = 0.02
"""Radians between reading and prediction at which the network's input begins to saturate."""

LOADS = np.array([20.0, 60.0, 40.0, 8.0, 4.0, 2.0])
"""Torque in Nm that is one unit to the network, by joint."""

PUSH = 10.0
"""Acceleration in rad/s² of one unit of the network's output."""

PULL = 20.0
"""Largest gain of the velocity in 1/s: rad/s for each rad between reading and prediction."""

EPOCHS = 20
BATCH = 128
WINDOW = 75
"""Steps after which a gradient is computed; the next window begins with the state at the end of this one."""

RATE_OF_LEARNING = 5e-3
UNITS = {"position": 2e-3, "velocity": 5e-2}
"""The errors that count as one unit in the loss, in rad and rad/s."""

SETTLED = 50
"""Steps that the errors leave out, because the estimator begins without an estimate."""

# Named at run time: training alone needs it, so it is not a dependency of the project.
torch: Any = import_module("torch")


def network() -> Any:
    """Return the layers of a gated recurrent unit (Cho et al., 2014) and its two heads, by name."""
    nn = torch.nn
    layers = {
        "gates": nn.Linear(24 + MEMORY, 2 * MEMORY),
        "candidate": nn.Linear(24 + MEMORY, MEMORY),
        "gains": nn.Linear(MEMORY, 12),
        "push": nn.Linear(MEMORY, 6),
    }
    with torch.no_grad():
        layers["gains"].bias[:] = -1.0
    return nn.ModuleDict(layers)


def step(model: Any, readings: tuple[Any, Any], states: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the next ``estimate`` (n, 12) and ``memory`` from ``encoder`` and ``torque`` (n, 6) and the states before.

    ``estimate`` is position relative to ``HOME``, and velocity. As in a Kalman filter, each step predicts the estimate
    and corrects it by the difference to the reading, with gains that the network chooses.
    """
    (encoder, torque), (estimate, memory) = readings, states
    before, speed = estimate.split(6, dim=1)
    predicted = before + PERIOD * speed
    innovation = encoder * (2 * np.pi) - torch.tensor(HOME, dtype=torch.float32) - predicted
    load = torque / torch.tensor(LOADS, dtype=torch.float32)
    features = torch.cat([torch.tanh(innovation / SURPRISE), load, predicted, speed], dim=1)
    reset, update = torch.sigmoid(model["gates"](torch.cat([features, memory], dim=1))).split(MEMORY, dim=1)
    candidate = torch.tanh(model["candidate"](torch.cat([features, reset * memory], dim=1)))
    memory = candidate + update * (memory - candidate)
    follow, turn = torch.sigmoid(model["gains"](memory)).split(6, dim=1)
    position = predicted + follow * innovation
    velocity = speed + PERIOD * PUSH * model["push"](memory) + PULL * turn * innovation
    return torch.cat([position, velocity], dim=1), memory


def begin(sequences: int) -> tuple[Any, Any]:
    """Return the states at the start of a sequence: zeros."""
    return torch.zeros(sequences, 12), torch.zeros(sequences, MEMORY)


def train(readings: Arrays, truth: Arrays) -> Any:
    """Train from ``SEED`` by truncated backpropagation through time; the same data gives the same network."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    given = [torch.from_numpy(readings[name]) for name in ("encoder", "torque")]
    home = torch.tensor(HOME, dtype=torch.float32)
    wanted = torch.cat([torch.from_numpy(truth["position"]) - home, torch.from_numpy(truth["velocity"])], dim=2)
    unit = torch.tensor([UNITS["position"]] * 6 + [UNITS["velocity"]] * 6)
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    count, steps = wanted.shape[:2]
    total = EPOCHS * -(-count // BATCH) * -(-steps // WINDOW)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE_OF_LEARNING, total_steps=total)
    for epoch in range(EPOCHS):
        for picked in torch.randperm(count).split(BATCH):
            states = begin(len(picked))
            for first in range(0, steps, WINDOW):
                states = (states[0].detach(), states[1].detach())
                made = []
                for at in range(first, min(first + WINDOW, steps)):
                    states = step(model, (given[0][picked, at], given[1][picked, at]), states)
                    made.append(states[0])
                error = (torch.stack(made, dim=1) - wanted[picked, first : first + WINDOW]) / unit
                loss = torch.nn.functional.smooth_l1_loss(error, torch.zeros_like(error))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {loss.item():.4f}", flush=True)  # noqa: T201 - a script's output
    return model.eval()


def estimates(model: Any, readings: Arrays) -> Arrays:
    """Return the trained network's ``position`` in rad and ``velocity`` in rad/s, each (sequences, steps, 6)."""
    given = [torch.from_numpy(readings[name]) for name in ("encoder", "torque")]
    states, made = begin(len(given[0])), []
    with torch.no_grad():
        for at in range(given[0].shape[1]):
            states = step(model, (given[0][:, at], given[1][:, at]), states)
            made.append(states[0].numpy())
    array = np.stack(made, axis=1)
    return {"position": array[..., :6] + HOME.astype(np.float32), "velocity": array[..., 6:]}


def errors(answer: Arrays, truth: Arrays) -> tuple[float, float]:
    """Return the RMS errors of position in mrad and of velocity in mrad/s, without the first ``SETTLED`` steps."""
    differences = [answer[name][:, SETTLED:] - truth[name][:, SETTLED:] for name in ("position", "velocity")]
    position, velocity = (1e3 * float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))) for one in differences)
    return position, velocity


def measured(readings: Arrays) -> Arrays:
    """Return position and velocity without an estimator: the encoder's reading, and its change since the last step."""
    position = readings["encoder"] * np.float32(2 * np.pi)
    return {"position": position, "velocity": np.diff(position, axis=1, prepend=position[:, :1]) * np.float32(RATE)}


def export(model: Any, path: Path, provenance: dict[str, str]) -> None:
    """Write inputs ``encoder``, ``torque``, ``estimate``, ``memory``; outputs ``position``, ``velocity`` and states."""
    weights: dict[str, Any] = {
        "to_radians": np.array(2 * np.pi, np.float32),
        "home": HOME.astype(np.float32),
        "period": np.array(PERIOD, np.float32),
        "surprise_unit": np.array(SURPRISE, np.float32),
        "load_unit": LOADS.astype(np.float32),
        "push_unit": np.array(PERIOD * PUSH, np.float32),
        "pull": np.array(PULL, np.float32),
        "halves": np.array([6, 6], np.int64),
        "gate_parts": np.array([MEMORY, MEMORY], np.int64),
    }
    for name, layer in model.items():
        weights[f"{name}.weight"] = layer.weight.detach().numpy()
        weights[f"{name}.bias"] = layer.bias.detach().numpy()
    write_model(
        path,
        nodes=_nodes(),
        inputs=[
            float_input("encoder", "batch", 6),
            float_input("torque", "batch", 6),
            float_input("estimate", "batch", 12),
            float_input("memory", "batch", MEMORY),
        ],
        outputs=[
            float_input("position", "batch", 6),
            float_input("velocity", "batch", 6),
            float_input("next_estimate", "batch", 12),
            float_input("next_memory", "batch", MEMORY),
        ],
        weights=weights,
        provenance=provenance,
    )


def _nodes() -> list[Any]:
    """Return the nodes of ``step``; each node has the name of its first output."""
    steps: tuple[tuple[str, list[str], list[str], dict[str, Any]], ...] = (
        ("Split", ["estimate", "halves"], ["before", "speed"], {"axis": 1}),
        ("Mul", ["speed", "period"], ["travelled"], {}),
        ("Add", ["before", "travelled"], ["predicted"], {}),
        ("Mul", ["encoder", "to_radians"], ["angle"], {}),
        ("Sub", ["angle", "home"], ["reading"], {}),
        ("Sub", ["reading", "predicted"], ["innovation"], {}),
        ("Div", ["innovation", "surprise_unit"], ["scaled_innovation"], {}),
        ("Tanh", ["scaled_innovation"], ["surprise"], {}),
        ("Div", ["torque", "load_unit"], ["load"], {}),
        ("Concat", ["surprise", "load", "predicted", "speed"], ["features"], {"axis": 1}),
        ("Concat", ["features", "memory"], ["with_memory"], {"axis": 1}),
        ("Gemm", ["with_memory", "gates.weight", "gates.bias"], ["gates"], {"transB": 1}),
        ("Sigmoid", ["gates"], ["open_gates"], {}),
        ("Split", ["open_gates", "gate_parts"], ["reset", "update"], {"axis": 1}),
        ("Mul", ["reset", "memory"], ["kept"], {}),
        ("Concat", ["features", "kept"], ["with_kept"], {"axis": 1}),
        ("Gemm", ["with_kept", "candidate.weight", "candidate.bias"], ["candidate"], {"transB": 1}),
        ("Tanh", ["candidate"], ["new"], {}),
        ("Sub", ["memory", "new"], ["older"], {}),
        ("Mul", ["update", "older"], ["held"], {}),
        ("Add", ["new", "held"], ["next_memory"], {}),
        ("Gemm", ["next_memory", "gains.weight", "gains.bias"], ["gain_logits"], {"transB": 1}),
        ("Sigmoid", ["gain_logits"], ["gains"], {}),
        ("Split", ["gains", "halves"], ["follow", "turn"], {"axis": 1}),
        ("Mul", ["follow", "innovation"], ["correction"], {}),
        ("Add", ["predicted", "correction"], ["relative"], {}),
        ("Add", ["relative", "home"], ["position"], {}),
        ("Gemm", ["next_memory", "push.weight", "push.bias"], ["push"], {"transB": 1}),
        ("Mul", ["push", "push_unit"], ["pushed"], {}),
        ("Mul", ["turn", "pull"], ["turn_gain"], {}),
        ("Mul", ["turn_gain", "innovation"], ["turned"], {}),
        ("Add", ["speed", "pushed"], ["driven"], {}),
        ("Add", ["driven", "turned"], ["velocity"], {}),
        ("Concat", ["relative", "velocity"], ["next_estimate"], {"axis": 1}),
    )
    return [helper.make_node(op, given, made, name=made[0], **more) for op, given, made, more in steps]


def main() -> None:
    """Train, print the errors, and write the model unless sequences were held out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holdout", type=int, default=0, help="number of sequences to evaluate on instead of training")
    holdout = parser.parse_args().holdout
    readings, truth = part("train")
    kept = len(readings["encoder"]) - holdout
    model = train(*({name: array[:kept] for name, array in arrays.items()} for arrays in (readings, truth)))
    if holdout:
        readings, truth = ({name: array[kept:] for name, array in arrays.items()} for arrays in (readings, truth))
    else:
        facts = {
            "made_by": "examples/filter/train.py",
            "seed": str(SEED),
            "training_data": content_digest(readings),
            "torch": metadata.version("torch"),
        }
        export(model, HERE / "model.onnx", facts)
        readings, truth = part("validation")
    for name, answer in (("readings alone", measured(readings)), ("estimator", estimates(model, readings))):
        position, velocity = errors(answer, truth)
        print(f"{name}: {position:.3f} mrad, {velocity:.1f} mrad/s")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
