"""One run of a picture model: data → model → loss → loop → evaluation → record."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from blueberry_lib import scaling
from blueberry_lib.config import Count, OptimizerConfig, ScheduleConfig, Seed, Whole, check_ranges, require
from blueberry_lib.data.batches import RowBatches
from blueberry_lib.hardware import Hardware
from blueberry_lib.images.datasets import ImageData, load
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.training import LoopConfig, fit
from blueberry_lib.training.average import Averaged
from blueberry_lib.training.checkpoint import Checkpoints
from blueberry_lib.training.folder import load_config, read_json, save_config, write_json
from blueberry_lib.training.log import Log
from blueberry_lib.training.run import begin, facts


@dataclass(frozen=True)
class ImageTraining:
    """How a picture model is trained, whichever it is."""

    data: str = "digits"
    """Images: digits, cifar10, npz:PATH or folder:PATH, with a folder of JPEG and PNG files for each class."""
    steps: Count = 1_000
    """Optimizer steps."""
    batch_size: Count = 128
    """Images in a step."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    seed: Seed = 0
    """Seed of the weights, of the order of the data and of the noise."""
    eval_every: Whole = 0
    """Steps between evaluations, each with its sample grids; 0: only at the end."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto: CUDA, then MPS, then the CPU."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Dtype of the matrix products; auto: what this machine is fast at (see doctor)."""
    compile: Literal["auto", "yes", "no"] = "auto"
    """torch.compile; auto: on CUDA only."""

    __post_init__ = check_ranges


class PictureRun:
    """What is trained: a config with a ``model``, a ``training`` (ImageTraining) and, beside the methods here,

    build(data) → the model; optimizers(model, dtype); loss(model, data, drawn) → the mean loss of some rows;
    evaluate(model, data, hardware, folder, batches) → a dict with ``loss``, and pictures in ``folder``.
    """

    __post_init__ = check_ranges

    @property
    def image_size(self) -> int:
        return self.model.image_size

    def draw(self, data: Any, batch: tuple) -> tuple:
        """What ``loss`` takes of a batch, row for row, with all that is left to chance."""
        return batch

    def prepare(self, images: ImageData, folder: Path, device: str, say: Callable) -> tuple[Any, Any]:
        """The config with what only files tell, and the data: ``train``, ``train_labels``."""
        return self, images

    def finish(self, model: nn.Module, data: Any, hardware: Hardware, folder: Path, quiet: bool) -> dict:
        """What more the record says."""
        return {}


def preset(presets: dict[str, Callable[[], Any]], name: str) -> Any:
    """The config that ``presets`` make under a name."""
    require(name in presets, f"There is no preset {name!r}; there are {', '.join(presets)}.")
    return presets[name]()


def run(config: PictureRun, folder: Path, resume: bool = False, say: Callable = print, quiet: bool = False) -> dict:
    """Train as ``config`` says, into ``folder``; returns the record.

    Writes config.json, data.json, log.jsonl, checkpoints/, record.json and the pictures of the evaluation; with
    ``resume`` the run there goes on from its newest checkpoint. Raises BlueberryError, before anything is trained, for
    data that the model cannot learn or that are not those of the run.
    """
    training, size, writes = config.training, config.image_size, scaling.rank() == 0
    checkpoints = scaling.checkpoints(folder / "checkpoints")
    there = find_spec("matplotlib") is not None
    require(there, "Pictures need matplotlib, which is not installed: pip install 'blueberry-lib[images]'.")
    hardware, clock = begin(training.device, training.precision)
    hardware, several = scaling.together(hardware), scaling.ranks() > 1
    step = checkpoints.latest_step() if resume else None
    images = own_images(config, folder) if resume else load(training.data, size)
    for name, found in {"channels": images.shape[0], "classes": len(images.classes)}.items():
        expected, way = getattr(config.model, name, found), f"choose another --preset, or set --model.{name} {found}."
        require(found == expected, f"{images.name} has {found} {name} and the model {expected}: {way}")
    torch.manual_seed(training.seed)
    config, data = config.prepare(images, folder, hardware.device, say)
    if writes and not resume:
        save_config(folder, config)
        write_json(folder / "data.json", {"name": images.name, "sha256": images.sha256})
    torch.manual_seed(training.seed)
    model = config.build(data).to(hardware.device)
    if training.compile == "yes" or (training.compile == "auto" and hardware.device == "cuda"):
        model.compile(dynamic=False)
    params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if images.shape[1:] != (size, size):
        say(f"The images of {images.name}, {images.shape[1]} × {images.shape[2]}, are resized to {size} × {size}.")
    say(
        f"{hardware.name}, {str(hardware.compute_dtype).removeprefix('torch.')}; {params:,} parameters, "
        f"{len(images.train):,} images, {training.steps} steps of {training.batch_size}; writing to {folder}"
        + (f"; going on after step {step}" if resume else "")
    )
    log, clip = Log(folder / "log.jsonl", step) if writes else None, training.optimizer.clip_norm
    elsewhere = tempfile.TemporaryDirectory()  # for what other processes draw
    pictures = folder if writes else Path(elsewhere.name)
    result = fit(
        *scaling.shared_out(
            model,
            RowBatches((data.train, data.train_labels), training.batch_size, training.seed, hardware.device),
            lambda model, drawn: config.loss(model, data, drawn),
            config.optimizers(model, hardware.compute_dtype),
            lambda batch: config.draw(data, batch),
        ),
        lambda step: learning_rate_factor(training.schedule, step, training.steps),
        LoopConfig(training.steps, 1, clip, None, training.eval_every, training.checkpoint_every, unit="images"),
        hardware,
        evaluate=lambda model, batches=None: config.evaluate(model, data, hardware, pictures, batches),
        after_step=model.update if isinstance(model, Averaged) else None,
        agree=scaling.agree if several else None,
        checkpoints=checkpoints,
        resume=resume,
        log=log,
        clock=clock,
        quiet=quiet,
    )
    active = clock.seconds["active"]
    record = {
        "params": params,
        "evaluation": result.evaluation,
        "seconds": dict(clock.seconds),
        "images_per_second": result.units / active if active else None,
        "data_sha256": images.sha256,
        **facts(config, result, clock, hardware, "images"),
        **config.finish(model.eval(), data, hardware, pictures, quiet),
    }
    elsewhere.cleanup()
    if writes:
        log.close()
        write_json(folder / "record.json", record)
    return record


def open_run(cls: type, path: Path) -> tuple[Any, Path, Path]:
    """The config of a run, which is a ``cls``, its folder and its newest checkpoint, or the one that ``path`` names."""
    one = path.parent.name == "checkpoints"
    folder = path.parent.parent if one else path
    config = load_config(cls, folder)
    require(not one or path.is_dir(), f"There is no checkpoint {path}; there are those in {path.parent}.")
    return config, folder, path if one else Checkpoints(folder / "checkpoints").latest()


def own_images(config: Any, folder: Path) -> ImageData:
    """The images that the run in ``folder`` was trained on. Raises BlueberryError if they have changed since."""
    known, images = read_json(folder / "data.json"), load(config.training.data, config.image_size)
    require(
        known["sha256"] == images.sha256,
        f"{folder} was trained on {known['name']} with sha256 {known['sha256'][:12]}…, and {images.name} now has "
        f"{images.sha256[:12]}…: the images have changed. Restore them, or train anew.",
    )
    return images
