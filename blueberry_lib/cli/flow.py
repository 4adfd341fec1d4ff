"""flow train, flow sample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from blueberry_lib.cli.options import Checkpoint, Device, Resume, RunName
from blueberry_lib.cli.pictures import command, labels_and_columns
from blueberry_lib.cli.runs import carry_out
from blueberry_lib.config import Amount, Count, Seed
from blueberry_lib.images.flow_training import PRESETS, FlowRun


@dataclass(frozen=True)
class FlowTrain:
    """Train a flow model on images, and write it, its log, its record and its samples to runs/<experiment-name>/.

    The defaults are a preset's (--preset digits): every flag changes one setting of it. Ctrl-C saves; --resume goes on.
    """

    config: Annotated[FlowRun, arg(name="")]
    preset: str = "digits"
    """digits, cifar-small, dit-10m, dit-30m or dit-130m."""
    experiment_name: RunName = None
    resume: Resume = None

    def run(self) -> None:
        from blueberry_lib.images.metrics import table
        from blueberry_lib.images.training import run

        record, folder = carry_out(self, "flow train", f"flow-{self.preset}", run)
        print(
            f"\nvalidation loss {record['evaluation']['loss']:.4f}, {record['seconds']['active']:.0f} s of training\n\n"
            f"{table(record['panel']) if 'panel' in record else 'No panel of metrics: it needs scikit-learn.'}\n\n"
            f"See {folder}/class_grid.png, samples/, record.json, log.jsonl and checkpoints/."
        )


@dataclass(frozen=True)
class FlowSample:
    """Draw images with a trained flow model into a PNG grid."""

    checkpoint: Checkpoint
    num_samples: Count = 64
    """Images to draw, of all classes in turn."""
    class_label: str | None = None
    """A class, by name or number: all images are of it."""
    class_grid: bool = False
    """Draw a grid of all classes, one a row, instead."""
    samples_per_class: Count = 10
    """Images in a row of the class grid."""
    num_steps: Count = 20
    """Steps from noise to image; each costs one evaluation of the model with euler, two with the others."""
    cfg_scale: Amount = 1.0
    """Guidance: 1 is off, more makes the class plainer and the images more alike."""
    solver: Literal["euler", "midpoint", "heun"] = "heun"
    """How a step is taken."""
    seed: Seed = 0
    """Seed of the noise."""
    device: Device = "auto"
    output: Path | None = None
    """The PNG to write; unset: samples.png in the run's folder."""

    def run(self) -> None:
        from blueberry_lib.hardware import autocast, detect
        from blueberry_lib.images.flow_matching import sample
        from blueberry_lib.images.flow_training import load_flow
        from blueberry_lib.images.grid import grid, write_png

        hardware = detect(self.device)
        model, _, data, folder = load_flow(self.checkpoint, hardware.device)
        labels, columns = labels_and_columns(self, data)
        with autocast(hardware.device, hardware.compute_dtype):
            images, evaluations = sample(
                model, labels, self.num_steps, self.solver, self.cfg_scale, self.seed, quiet=False
            )
        target = self.output or folder / "samples.png"
        write_png(target, grid(data.round(images), columns))
        print(f"Wrote {len(images)} images to {target}: {evaluations} evaluations of the velocity for each.")


def flow_command(argv: list[str]) -> type:
    about = "Images by flow matching: train a diffusion transformer, and sample from it."
    return command(argv, "flow", FlowTrain, PRESETS, {"sample": FlowSample}, about)
