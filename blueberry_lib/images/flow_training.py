"""A run of the flow model: images → noise and time → velocity → loss → update → record, grids and panel."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from blueberry_lib.config import Decay, OptimizerConfig, ScheduleConfig
from blueberry_lib.hardware import Hardware, autocast
from blueberry_lib.images.datasets import ImageData
from blueberry_lib.images.diffusion_transformer import DiT2D, DiTConfig
from blueberry_lib.images.flow_matching import TIMES, drop_labels, fixed_noise_loss, sample, training_points
from blueberry_lib.images.grid import grid, write_png
from blueberry_lib.images.metrics import Panel, class_labels
from blueberry_lib.images.training import ImageTraining, PictureRun, open_run, own_images
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.training.average import Averaged
from blueberry_lib.training.checkpoint import load_model

VALIDATION_DRAWS = 2_400  # times and noises, at least, spread over the held-out images
SAMPLE_STEPS = 5  # of midpoint, 10 evaluations
GRID_COLUMNS = 10
LOOK_COLUMNS = 5  # in the grids drawn during training
TRAINING = ImageTraining(
    steps=2_000,
    optimizer=OptimizerConfig(muon_lr=0.02, adamw_lr=0.002, betas=(0.9, 0.99), adamw_weight_decay=0.0),
    schedule=ScheduleConfig("wsd", warmup=0.02, decay=0.7),
    eval_every=500,
)


@dataclass(frozen=True)
class FlowRun(PictureRun):
    """One training run of a flow model."""

    model: DiTConfig = field(default_factory=DiTConfig)
    training: ImageTraining = TRAINING
    times: Literal["uniform", "logit_normal"] = "uniform"
    """How training times are drawn; evaluation is at uniform ones."""
    label_dropout: Decay = 0.1
    """Share of labels replaced by the null label, each on its own; without it there is nothing to guide away from."""
    ema_decay: Decay = 0.999
    """Decay of the average of the weights that evaluation and sampling use."""
    flip: bool = False
    """Whether half of the training images are mirrored; not for digits."""

    def build(self, data: ImageData | None = None) -> Averaged:
        return Averaged(DiT2D(self.model), self.ema_decay)

    def optimizers(self, model: Averaged, dtype: torch.dtype) -> list[Optimizer]:
        return build_optimizers(model.model, self.training.optimizer, dtype)

    def draw(self, data: ImageData, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """(x_t, t, v, labels) of the rows."""
        x1, labels = data.scale(batch[0], self.image_size), batch[1]
        labels = drop_labels(labels, self.label_dropout, self.model.null_label)
        if self.flip:
            x1 = x1.where(torch.rand(len(x1), 1, 1, 1, device=x1.device) < 0.5, x1.flip(-1))
        return *training_points(x1, TIMES[self.times]), labels

    def loss(self, model: Averaged, data: ImageData, drawn: tuple[Tensor, ...]) -> Tensor:
        x, t, v, labels = drawn
        return F.mse_loss(model(x, t, labels).float(), v)

    def evaluate(
        self, model: Averaged, data: ImageData, hardware: Hardware, folder: Path, batches: int | None = None
    ) -> dict:
        """The loss on fixed times and noise, whole and by time, with and without the average of the weights; and a
        class grid of each, the same noise every time, under samples/ in ``folder``."""
        x1, labels = data.scale(data.val.to(hardware.device), self.image_size), data.val_labels.to(hardware.device)
        found, looks = {}, class_labels(self.model.classes, LOOK_COLUMNS)
        with autocast(hardware.device, hardware.compute_dtype):
            for name, network in {"ema": model.average, "raw": model.model}.items():
                repeats = max(1, VALIDATION_DRAWS // len(x1))
                found[name], found[f"{name} by time"] = fixed_noise_loss(network, x1, labels, repeats, batches=batches)
                if batches is None:
                    picture = grid(data.round(sample(network, looks, SAMPLE_STEPS)[0]), LOOK_COLUMNS)
                    write_png(folder / "samples" / f"step-{int(model.updates):08d}-{name}.png", picture)
        return {"loss": found["ema"], "loss_without_ema": found["raw"], "loss_by_time": found["ema by time"]}

    def finish(self, model: Averaged, data: ImageData, hardware: Hardware, folder: Path, quiet: bool) -> dict:
        """60 samples of each class: ten of them in class_grid.png, and their panel, real images' and a Gaussian's,
        unless there is no scikit-learn."""
        labels = class_labels(len(data.classes))
        with autocast(hardware.device, hardware.compute_dtype):
            images, evaluations = sample(model.average, labels, SAMPLE_STEPS, quiet=quiet)
        first = data.round(images).unflatten(0, (len(data.classes), -1))[:, :GRID_COLUMNS]
        write_png(folder / "class_grid.png", grid(first.flatten(0, 1), GRID_COLUMNS))
        found = {"evaluations": evaluations}
        return found if find_spec("sklearn") is None else found | {"panel": Panel(data).beside(images, labels)}


def cifar_small() -> FlowRun:
    """For 32 × 32 colour images on two CPU cores, in minutes."""
    training = replace(TRAINING, data="cifar10", steps=2_400, batch_size=32, eval_every=600)
    return FlowRun(DiTConfig(32, 3, 4, d_model=128, n_layers=4), training, flip=True)


def _gpu(d_model: int, n_layers: int, n_heads: int) -> FlowRun:
    training = replace(TRAINING, data="cifar10", steps=20_000, batch_size=256, eval_every=2_000, checkpoint_every=1_000)
    model = DiTConfig(32, 3, d_model=d_model, n_layers=n_layers, n_heads=n_heads)
    return FlowRun(model, training, ema_decay=0.9995, flip=True)


PRESETS: dict[str, Callable[[], FlowRun]] = {
    "digits": FlowRun,
    "cifar-small": cifar_small,
    "dit-10m": lambda: _gpu(256, 8, 4),
    "dit-30m": lambda: _gpu(384, 11, 6),
    "dit-130m": lambda: _gpu(768, 12, 12),  # the original's shape; 43.7 M of its 129.5 M parameters are adaLN's
}


def load_flow(path: Path, device: str = "cpu") -> tuple[DiT2D, FlowRun, ImageData, Path]:
    """The averaged model of a run or checkpoint, its config, its data, which must be unchanged, and its folder."""
    config, folder, checkpoint = open_run(FlowRun, path)
    model = config.build()
    load_model(checkpoint, model)
    return model.to(device).eval().average, config, own_images(config, folder), folder
