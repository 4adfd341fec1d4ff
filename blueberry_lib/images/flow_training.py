"""A run of the flow model: images → noise and time → velocity → loss → update → record, grids and panel."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from blueberry_lib.config import BlueberryError, OptimizerConfig, ScheduleConfig
from blueberry_lib.data.batches import RowBatches
from blueberry_lib.hardware import Hardware, autocast
from blueberry_lib.images.datasets import ImageData, load
from blueberry_lib.images.diffusion_transformer import DiT2D, DiTConfig, dit_10m, dit_30m, dit_130m
from blueberry_lib.images.flow_matching import TIMES, drop_labels, fixed_noise_loss, flow_loss, sample
from blueberry_lib.images.grid import grid, write_png
from blueberry_lib.images.metrics import Panel, class_labels
from blueberry_lib.images.training import ImageTraining, check_data, load_trained, start, train
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.training.average import Averaged
from blueberry_lib.training.folder import write_json

VALIDATION_DRAWS = 2_400  # times and noises, at least, spread over the held-out images
SAMPLE_STEPS = 20  # of Heun, 40 evaluations
GRID_COLUMNS = 10
LOOK_COLUMNS = 5  # in the grids drawn during training


def _training() -> ImageTraining:
    return ImageTraining(
        steps=2_000,
        optimizer=OptimizerConfig(muon_lr=0.02, adamw_lr=0.002, betas=(0.9, 0.99), adamw_weight_decay=0.0),
        schedule=ScheduleConfig("wsd", warmup=0.02, decay=0.7),
        eval_every=500,
        checkpoint_every=500,
    )


@dataclass(frozen=True)
class FlowRun:
    """One training run of a flow model."""

    model: DiTConfig = field(default_factory=DiTConfig)
    training: ImageTraining = field(default_factory=_training)
    times: Literal["uniform", "logit_normal"] = "uniform"
    """How training times are drawn; evaluation is at uniform ones."""
    label_dropout: float = 0.1
    """Share of labels replaced by the null label, each on its own; without it there is nothing to guide away from."""
    ema_decay: float = 0.999
    """Decay of the average of the weights that evaluation and sampling use."""
    flip: bool = False
    """Whether half of the training images are mirrored; not for digits."""

    def __post_init__(self) -> None:
        if not (0 <= self.label_dropout < 1 and 0 <= self.ema_decay < 1):
            raise BlueberryError("label_dropout and ema_decay must lie in [0, 1).")


def cifar_small() -> FlowRun:
    """For 32 × 32 colour images on two CPU cores, in minutes."""
    training = replace(_training(), data="cifar10", steps=2_400, batch_size=32, eval_every=600)
    return FlowRun(DiTConfig(32, 3, 4, d_model=128, n_layers=4), training, flip=True)


def _gpu(model: DiTConfig) -> FlowRun:
    training = replace(_training(), data="cifar10", steps=20_000, batch_size=256, eval_every=2_000)
    return FlowRun(model, replace(training, checkpoint_every=1_000), ema_decay=0.9995, flip=True)


PRESETS: dict[str, Callable[[], FlowRun]] = {
    "digits": FlowRun,
    "cifar-small": cifar_small,
    "dit-10m": lambda: _gpu(dit_10m()),
    "dit-30m": lambda: _gpu(dit_30m()),
    "dit-130m": lambda: _gpu(dit_130m()),
}


def evaluator(config: FlowRun, data: ImageData, hardware: Hardware, folder: Path) -> Callable[..., dict]:
    """``evaluate(model: Averaged)``: the loss on fixed times and noise, whole and by time, with and without the average
    of the weights; and a class grid of each, the same noise every time, under samples/ in ``folder``."""
    x1, labels = data.scale(data.val).to(hardware.device), data.val_labels.to(hardware.device)
    repeats = max(1, VALIDATION_DRAWS // len(x1))

    def evaluate(model: Averaged, batches: int | None = None) -> dict:
        with autocast(hardware.device, hardware.compute_dtype):
            loss, by_time = fixed_noise_loss(model.average, x1, labels, repeats, batches=batches)
            raw, _ = fixed_noise_loss(model.model, x1, labels, repeats, batches=batches)
            for name, network in {"ema": model.average, "raw": model.model}.items() if batches is None else ():
                images, _ = sample(network, class_labels(config.model.classes, LOOK_COLUMNS), SAMPLE_STEPS)
                path = folder / "samples" / f"step-{int(model.updates):08d}-{name}.png"
                write_png(path, grid(data.round(images), LOOK_COLUMNS))
        return {"loss": loss, "loss_without_ema": raw, "loss_by_time": by_time}

    return evaluate


def run(
    config: FlowRun, folder: Path, resume: bool = False, say: Callable[[str], None] = print, quiet: bool = False
) -> dict:
    """Train as ``config`` says, into ``folder``; returns the record, with the panel of samples and its baselines.

    Writes what ``images.training.train`` does, sample grids under samples/ and class_grid.png.
    """
    data, hardware, clock = start(config.training)
    found, expected = (*data.shape, len(data.classes)), (*config.model.shape, config.model.classes)
    if found != expected:
        raise BlueberryError(
            f"{data.name} has (channels, height, width, classes) {found} and the model expects {expected}: choose "
            "another --preset, or set --model.channels, --model.image-size and --model.classes."
        )
    averaged = Averaged(DiT2D(config.model), config.ema_decay).to(hardware.device)

    def loss_fn(model: Averaged, batch: tuple[Tensor, Tensor]) -> Tensor:
        x1, labels = data.scale(batch[0]), drop_labels(batch[1], config.label_dropout, config.model.null_label)
        if config.flip:
            x1 = x1.where(torch.rand(len(x1), 1, 1, 1, device=x1.device) < 0.5, x1.flip(-1))
        return flow_loss(lambda x, t: model(x, t, labels), x1, TIMES[config.times])

    training = config.training
    record = train(
        config,
        folder,
        data,
        averaged,
        RowBatches((data.train, data.train_labels), training.batch_size, training.seed, hardware.device),
        loss_fn,
        build_optimizers(averaged.model, training.optimizer, hardware.compute_dtype),
        hardware,
        clock,
        evaluate=evaluator(config, data, hardware, folder),
        after_step=averaged.update,
        resume=resume,
        say=say,
        quiet=quiet,
    )
    say("Sampling 60 of each class …")
    labels, panel = class_labels(len(data.classes)), Panel(data)
    with autocast(hardware.device, hardware.compute_dtype):
        images, evaluations = sample(averaged.eval().average, labels, SAMPLE_STEPS, quiet=quiet)
    first = data.round(images).unflatten(0, (len(data.classes), -1))[:, :GRID_COLUMNS]
    write_png(folder / "class_grid.png", grid(first.flatten(0, 1), GRID_COLUMNS))
    record["panel"] = {"generated": panel(images, labels), "real": panel.real(), "gaussian": panel.gaussian()}
    record["evaluations"] = evaluations
    write_json(folder / "record.json", record)
    return record


def load_flow(path: Path, device: str = "cpu") -> tuple[DiT2D, FlowRun, ImageData, Path]:
    """The averaged model of a run or checkpoint, its config, its data, which must be unchanged, and its folder."""
    model, config, folder = load_trained(
        FlowRun, path, lambda config, _: Averaged(DiT2D(config.model), config.ema_decay), device
    )
    data = load(config.training.data)
    check_data(folder, data)
    return model.average, config, data, folder
