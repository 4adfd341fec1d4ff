"""Checkpoints: weights and optimizer state in safetensors, the rest in JSON, each written whole or not at all."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from blueberry_lib.config import BlueberryError
from blueberry_lib.training.clock import rng_state, set_rng_state

KEPT = 2


class Checkpoints:
    """The folder ``checkpoints/`` of a run: ``step-00000100/`` and so on, the newest two kept.

    A checkpoint is written into a hidden folder and renamed when complete, so a killed run leaves either all of it or
    nothing. Every file is data: nothing is unpickled.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))

    def save(self, step: int, model: nn.Module, optimizers: list[Optimizer], state: dict, device: str) -> None:
        """Write model, optimizers, random generators and ``state``, which must be JSON."""
        target = self.folder / f"step-{step:08d}"
        if target.exists():
            return
        building = self.folder / f".building-{step:08d}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        tensors, scalars = _flatten_optimizers(optimizers)
        tensors |= {f"rng.{name}": value for name, value in rng_state(device).items()}
        files = {
            "model.safetensors": save_tensors({k: v.contiguous() for k, v in model.state_dict().items()}),
            "state.safetensors": save_tensors({k: v.contiguous() for k, v in tensors.items()}),
        }
        content = {
            "step": step,
            "optimizers": scalars,
            "state": state,
            "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }
        for name, data in files.items():
            (building / name).write_bytes(data)
        text = json.dumps(content)
        signed = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": content}
        (building / "state.json").write_text(json.dumps(signed), encoding="utf-8")
        building.rename(target)
        for old in self.all()[:-KEPT]:
            shutil.rmtree(old)

    def latest(self) -> Path:
        found = self.all()
        if not found:
            raise BlueberryError(
                f"No checkpoint in {self.folder}: the run stopped before its first one. Remove {self.folder.parent} "
                "and start it anew."
            )
        return found[-1]

    def latest_step(self) -> int:
        return int(self.latest().name.removeprefix("step-"))

    def load(self, model: nn.Module, optimizers: list[Optimizer]) -> dict:
        """Restore all that ``save`` wrote from the newest checkpoint; returns its ``state``. Removes what a killed
        process left half written, and says if the checkpoint is another kind of device's."""
        for left in self.folder.glob(".building-*"):
            shutil.rmtree(left, ignore_errors=True)
        path = self.latest()
        content = _read_content(path)
        load_model(path, model)
        tensors = _read_tensors(path / "state.safetensors", content)
        generators = {k.removeprefix("rng."): tensors.pop(k) for k in list(tensors) if k.startswith("rng.")}
        _restore_optimizers(optimizers, tensors, content["optimizers"])
        here = {"cpu", next(model.parameters()).device.type}
        set_rng_state({k: v for k, v in generators.items() if k in here})
        if generators.keys() != here:
            then, now = (" and ".join(sorted(devices)) for devices in (generators, here))
            print(f"The checkpoint has random generators of {then}, and goes on with those of {now}.", file=sys.stderr)
        return content["state"]


def restore_scaler(scaler, state: dict) -> None:
    """Give a gradient scaler its state back, if the checkpoint has one: only those of float16 have."""
    if state:
        scaler.load_state_dict(state)
    elif scaler.is_enabled():
        print("The checkpoint is not of float16, and goes on with a fresh gradient scaler.", file=sys.stderr)


def load_model(path: Path, model: nn.Module) -> None:
    """Load a checkpoint folder's weights. Raises BlueberryError for a damaged file or another model's."""
    weights = _read_tensors(path / "model.safetensors", _read_content(path))
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
        found = {k: tuple(v.shape) for k, v in weights.items()}
        name = next(k for k in sorted(expected | found) if expected.get(k) != found.get(k))
        raise BlueberryError(
            f"{path} belongs to another model: {name} is {found.get(name, 'missing')} there and "
            f"{expected.get(name, 'missing')} here. Use the model settings in the run's config.json."
        ) from None


def _damaged(path: Path) -> BlueberryError:
    return BlueberryError(
        f"{path} is damaged: its sha256 is not the one recorded. Delete the folder {path.parent} to go on from "
        "the checkpoint before it, if there is one."
    )


def _read_content(path: Path) -> dict:
    try:
        signed = json.loads((path / "state.json").read_text(encoding="utf-8"))
        content = signed["content"]
        intact = hashlib.sha256(json.dumps(content).encode()).hexdigest() == signed["sha256"]
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise _damaged(path / "state.json")
    return content


def _read_tensors(path: Path, content: dict) -> dict[str, Tensor]:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != content["sha256"][path.name]:
        raise _damaged(path)
    try:
        return load_tensors(data)
    except SafetensorError:
        raise _damaged(path) from None


def _flatten_optimizers(optimizers: list[Optimizer]) -> tuple[dict[str, Tensor], list]:
    """Tensors under "optimizer.parameter.name", and each optimizer's groups and other values."""
    tensors, scalars = {}, []
    for i, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        for parameter, values in state["state"].items():
            tensors |= {f"{i}.{parameter}.{name}": value for name, value in values.items()}
        scalars.append(state["param_groups"])
    return tensors, scalars


def _restore_optimizers(optimizers: list[Optimizer], tensors: dict[str, Tensor], groups: list) -> None:
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, value in tensors.items():
        i, parameter, name = key.split(".")
        states[int(i)].setdefault(int(parameter), {})[name] = value
    for optimizer, state, own in zip(optimizers, states, groups, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": own})
