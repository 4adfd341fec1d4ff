"""One run of a picture model, from data to record: what flow, VQ-VAE and multimodal transformer share."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from blueberry_lib.config import BlueberryError, OptimizerConfig, ScheduleConfig
from blueberry_lib.hardware import Hardware
from blueberry_lib.images.datasets import ImageData, load
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.training import LoopConfig, fit
from blueberry_lib.training.checkpoint import Checkpoints, load_model
from blueberry_lib.training.clock import Clock
from blueberry_lib.training.folder import load_config, save_config, write_json
from blueberry_lib.training.log import Log
from blueberry_lib.training.run import begin, facts


@dataclass(frozen=True)
class ImageTraining:
    """How a picture model is trained, whichever it is."""

    data: str = "digits"
    """Images: digits, cifar10 or npz:PATH."""
    steps: int = 1_000
    """Optimizer steps."""
    batch_size: int = 128
    """Images in a step."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    seed: int = 0
    """Seed of the weights, of the order of the data and of the noise."""
    eval_every: int = 0
    """Steps between evaluations, each with its sample grids; 0: only at the end."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto: CUDA, then MPS, then the CPU."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Dtype of the matrix products; auto: what this machine is fast at (see doctor)."""
    compile: Literal["auto", "yes", "no"] = "auto"
    """torch.compile; auto: on CUDA only."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise BlueberryError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.eval_every < 0:
            raise BlueberryError(f"eval_every is {self.eval_every}; it must not be negative.")


def preset(presets: dict[str, Callable[[], Any]], name: str) -> Any:
    """The config that ``presets`` make under a name."""
    if name not in presets:
        raise BlueberryError(f"There is no preset {name!r}; there are {', '.join(presets)}.")
    return presets[name]()


def start(training: ImageTraining) -> tuple[ImageData, Hardware, Clock]:
    """Start the clock, find the hardware, load the data and seed the generators."""
    hardware, clock = begin(training.device, training.precision)
    data = load(training.data)
    torch.manual_seed(training.seed)
    return data, hardware, clock


def check_data(folder: Path, data: ImageData) -> None:
    """Raises BlueberryError unless ``data`` is what the run in ``folder`` was trained on."""
    path = folder / "data.json"
    if not path.is_file():
        raise BlueberryError(f"{folder} has no data.json, which says what it was trained on: start the run anew.")
    trained_on = json.loads(path.read_text(encoding="utf-8"))
    if trained_on["sha256"] != data.sha256:
        raise BlueberryError(
            f"{folder} was trained on {trained_on['name']} with sha256 {trained_on['sha256'][:12]}…, and {data.name} "
            f"now has {data.sha256[:12]}…: the images have changed. Restore them, or train anew."
        )


def train(
    config: Any,
    folder: Path,
    data: ImageData,
    model: nn.Module,
    batches,
    loss_fn: Callable,
    optimizers: list[Optimizer],
    hardware: Hardware,
    clock: Clock,
    *,
    evaluate: Callable[..., dict],
    after_step: Callable[[], None] | None = None,
    resume: bool = False,
    say: Callable[[str], None] = print,
    quiet: bool = False,
) -> dict:
    """Train ``model`` as ``config.training``, an ImageTraining, says; returns the record.

    ``batches`` counts images. Writes config.json, data.json, log.jsonl, checkpoints/ and record.json into ``folder``;
    with ``resume`` the run there goes on from its newest checkpoint, if its data is still the same.
    """
    training: ImageTraining = config.training
    checkpoints = Checkpoints(folder / "checkpoints")
    step = checkpoints.latest_step() if resume else None
    if resume:
        check_data(folder, data)
    else:
        save_config(folder, config)
        write_json(folder / "data.json", {"name": data.name, "sha256": data.sha256})
    if training.compile == "yes" or (training.compile == "auto" and hardware.device == "cuda"):
        model.compile(dynamic=False)
    params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    log = Log(folder / "log.jsonl", step)
    say(
        f"{hardware.name}, {str(hardware.compute_dtype).removeprefix('torch.')}; {params:,} parameters, "
        f"{len(data.train):,} images, {training.steps} steps of {training.batch_size}; writing to {folder}"
        + (f"; going on after step {step}" if resume else "")
    )
    result = fit(
        model,
        batches,
        loss_fn,
        optimizers,
        lambda step: learning_rate_factor(training.schedule, step, training.steps),
        LoopConfig(
            total_steps=training.steps,
            clip_norm=training.optimizer.clip_norm,
            eval_every=training.eval_every,
            checkpoint_every=training.checkpoint_every,
            unit="images",
        ),
        hardware,
        evaluate=evaluate,
        after_step=after_step,
        checkpoints=checkpoints,
        resume=resume,
        log=log,
        clock=clock,
        quiet=quiet,
    )
    log.close()
    seconds = dict(clock.seconds)
    record = {
        "params": params,
        "evaluation": result.evaluation,
        "seconds": seconds,
        "images_per_second": result.units / seconds["active"] if seconds["active"] else None,
        "data_sha256": data.sha256,
        **facts(config, result, clock, hardware, "images"),
    }
    write_json(folder / "record.json", record)
    return record


def load_trained(
    cls: type, path: Path, build: Callable[[Any, Path], nn.Module], device: str
) -> tuple[nn.Module, Any, Path]:
    """What a run has learnt: (model in eval mode, config, the run's folder).

    ``path`` is the folder of a run, of which the newest checkpoint is taken, or of one of its checkpoints;
    ``build(config, folder)`` makes the model, its config being a ``cls``. Raises BlueberryError where there is none.
    """
    one = path.parent.name == "checkpoints"
    folder = path.parent.parent if one else path
    config = load_config(cls, folder)
    if one and not path.is_dir():
        raise BlueberryError(f"There is no checkpoint {path}; there are those in {path.parent}.")
    model = build(config, folder)
    load_model(path if one else Checkpoints(folder / "checkpoints").latest(), model)
    return model.to(device).eval(), config, folder
