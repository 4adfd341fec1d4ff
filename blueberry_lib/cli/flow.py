"""flow train, flow sample."""

import argparse
import sys
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg, subcommand

from blueberry_lib.cli.runs import RUNS
from blueberry_lib.config import BlueberryError
from blueberry_lib.images.flow_training import FlowConfig, preset
from blueberry_lib.training import Interrupted


@dataclass(frozen=True)
class FlowTrain:
    """Train a flow model on images, and write it, its log, its record and its samples to runs/<experiment-name>/.

    The defaults are a preset's (--preset digits): every flag changes one setting of it. Ctrl-C saves; --resume goes on.
    """

    config: Annotated[FlowConfig, arg(name="")]
    preset: str = "digits"
    """digits, cifar-small, dit-10m, dit-30m or dit-130m."""
    experiment_name: str | None = None
    """The run's folder under runs/; unset: one is chosen that is free."""
    resume: Path | None = None
    """Folder of a run to continue, with its own settings."""

    def run(self) -> None:
        from blueberry_lib.images.flow_training import run
        from blueberry_lib.images.metrics import table
        from blueberry_lib.training.folder import load_config, new_folder

        if self.resume:
            folder, config = self.resume, load_config(FlowConfig, self.resume)
        else:
            folder, config = new_folder(RUNS, self.experiment_name, f"flow-{self.preset}"), self.config
        try:
            record = run(config, folder, resume=self.resume is not None)
        except (Interrupted, KeyboardInterrupt, OSError):
            if any(folder.glob("checkpoints/step-*")):
                print(f"\nTo go on: python -m blueberry_lib flow train --resume {folder}", file=sys.stderr)
            raise
        print(
            f"\nvalidation loss {record['evaluation']['loss']:.4f}, {record['seconds']['active']:.0f} s of training\n\n"
            f"{table(record['panel'])}\n\n"
            f"Wrote {folder}/class_grid.png, samples/, record.json, log.jsonl and checkpoints/."
        )


@dataclass(frozen=True)
class FlowSample:
    """Draw images with a trained flow model into a PNG grid."""

    checkpoint: Path
    """Folder of a run, whose newest checkpoint is used, or of one of its checkpoints."""
    num_samples: int = 64
    """Images to draw, of all classes in turn."""
    class_label: str | None = None
    """A class, by name or number: all images are of it."""
    class_grid: bool = False
    """Draw a grid of all classes, one a row, instead."""
    samples_per_class: int = 10
    """Images in a row of the class grid."""
    num_steps: int = 20
    """Steps from noise to image; each costs one evaluation of the model with euler, two with the others."""
    cfg_scale: float = 1.0
    """Guidance: 1 is off, more makes the class plainer and the images more alike."""
    solver: Literal["euler", "midpoint", "heun"] = "heun"
    """How a step is taken."""
    seed: int = 0
    """Seed of the noise."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    output: Path | None = None
    """The PNG to write; unset: samples.png in the run's folder."""

    def run(self) -> None:
        import torch

        from blueberry_lib.hardware import autocast, detect
        from blueberry_lib.images.flow_matching import sample
        from blueberry_lib.images.flow_training import class_grid, load_flow
        from blueberry_lib.images.grid import write_png
        from blueberry_lib.images.metrics import class_labels

        if min(self.num_samples, self.samples_per_class, self.num_steps) < 1:
            raise BlueberryError("--num-samples, --samples-per-class and --num-steps must be at least 1.")
        hardware = detect(self.device)
        model, _, data, folder = load_flow(self.checkpoint, hardware.device)
        classes, columns = len(data.classes), 8
        if self.class_grid:
            labels, columns = class_labels(classes, self.samples_per_class), self.samples_per_class
        elif self.class_label is not None:
            labels = torch.full((self.num_samples,), data.class_index(self.class_label))
        else:
            labels = torch.arange(self.num_samples) % classes
        with autocast(hardware.device, hardware.compute_dtype):
            images, evaluations = sample(
                model, labels, self.num_steps, self.solver, self.cfg_scale, self.seed, quiet=False
            )
        target = self.output or folder / "samples.png"
        write_png(target, class_grid(data.round(images), columns))
        print(f"Wrote {len(images)} images to {target}: {evaluations} evaluations of the velocity for each.")


def flow(argv: list[str]) -> type:
    """The ``flow`` command, with the settings of the preset that ``argv`` names as the defaults of ``flow train``."""
    chosen = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chosen.add_argument("--preset", default="digits")
    name = chosen.parse_known_args(argv if argv[:2] == ["flow", "train"] else [])[0].preset
    commands = (
        Annotated[FlowTrain, subcommand("train", default=FlowTrain(preset(name), name))]
        | Annotated[FlowSample, subcommand("sample")]
    )
    made = make_dataclass("Flow", [("command", Annotated[commands, arg(name="")])], frozen=True)
    made.__doc__ = "Images by flow matching: train a diffusion transformer, and sample from it."
    made.run = lambda self: self.command.run()
    return made
