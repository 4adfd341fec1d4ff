"""flow train, sample; vqvae train, reconstruct; multimodal train, sample, eval."""

import argparse
import json
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor
from tyro.conf import arg, subcommand

from blueberry_lib.cli.runs import Checkpoint, Device, Resume, RunName, carry_out
from blueberry_lib.config import Amount, Count, Seed
from blueberry_lib.hardware import autocast, detect, pick_device
from blueberry_lib.images import flow_training, multimodal_training, vqvae_training
from blueberry_lib.images.captions import prompt
from blueberry_lib.images.datasets import ImageData
from blueberry_lib.images.flow_matching import sample
from blueberry_lib.images.grid import grid, write_png
from blueberry_lib.images.metrics import class_labels, table
from blueberry_lib.images.training import own_images, preset, run


@dataclass(frozen=True)
class FlowTrain:
    """Train a flow model on images, and write it, its log, its record and its samples to runs/<experiment-name>/.

    The defaults are a preset's (--preset digits): every flag changes one setting of it. Ctrl-C saves; --resume goes on.
    """

    config: Annotated[flow_training.FlowRun, arg(name="")]
    preset: str = "digits"
    """digits, cifar-small, dit-10m, dit-30m or dit-130m."""
    experiment_name: RunName = None
    resume: Resume = None

    def run(self) -> None:
        record, folder = carry_out(self, "flow train", f"flow-{self.preset}", run)
        print(
            f"\nvalidation loss {record['evaluation']['loss']:.4f}, {record['seconds']['active']:.0f} s of training\n\n"
            f"{table(record['panel']) if 'panel' in record else 'No panel of metrics: it needs scikit-learn.'}\n\n"
            f"See {folder}/class_grid.png, samples/, record.json, log.jsonl and checkpoints/."
        )


@dataclass(frozen=True)
class VQVAETrain:
    """Train an image tokenizer, and write it, its log, its record and reconstructions to runs/<experiment-name>/.

    The defaults are a preset's (--preset digits): every flag changes one setting of it. Ctrl-C saves; --resume goes on.
    """

    config: Annotated[vqvae_training.VQVAERun, arg(name="")]
    preset: str = "digits"
    """digits, cifar-small, cifar-8x8, cifar-16x16 or original."""
    experiment_name: RunName = None
    resume: Resume = None

    def run(self) -> None:
        record, folder = carry_out(self, "vqvae train", f"vqvae-{self.preset}", run)
        found = record["evaluation"]
        print(
            f"\nmean squared error {found['loss']:.4f}, {found['psnr']:.1f} dB, {found['usage']:.0%} of codes used, "
            f"perplexity {found['perplexity']:.1f}, {record['seconds']['active']:.0f} s of training\n"
            f"See {folder}/reconstructions.png, record.json, log.jsonl and checkpoints/."
        )


@dataclass(frozen=True)
class MultimodalTrain:
    """Train a transformer over captions and image tokens, and write it, its log, its record and its samples to
    runs/<experiment-name>/.

    It needs a tokenizer of images: python -m blueberry_lib vqvae train, then --vqvae runs/vqvae-digits. Ctrl-C saves;
    --resume goes on.
    """

    config: Annotated[multimodal_training.MultimodalRun, arg(name="")]
    preset: str = "digits"
    """digits, cifar-small or 40m."""
    experiment_name: RunName = None
    resume: Resume = None

    def run(self) -> None:
        record, folder = carry_out(self, "multimodal train", f"multimodal-{self.preset}", run)
        found = record["evaluation"]
        print(
            f"\n{found['loss']:.3f} nats an image token ({found['unigram']:.3f} from class and place alone), "
            f"{found['text_loss']:.3f} a text token, {record['seconds']['active']:.0f} s of training\n"
            f"See {folder}/samples.png, record.json, log.jsonl and checkpoints/."
        )


@dataclass(frozen=True)
class Draw:
    """What the commands that draw images ask for."""

    checkpoint: Checkpoint
    num_samples: Count = 64
    """Images to draw, of all classes in turn unless something else is asked for."""
    class_label: str | None = None
    """A class, by name or number: all images are of it."""
    class_grid: bool = False
    """Draw a grid of all classes, one a row, instead."""
    samples_per_class: Count = 10
    """Images in a row of the class grid."""
    cfg_scale: Amount = 1.0
    """Guidance: 1 is off, more makes what is asked for plainer and the images more alike."""
    seed: Seed = 0
    """Set another to draw others."""
    device: Device = "auto"
    output: Path | None = None
    """The PNG to write; unset: samples.png in the run's folder."""

    def labels(self, data: ImageData) -> Tensor:
        """The label of each image, (N,)."""
        if self.class_grid:
            return class_labels(len(data.classes), self.samples_per_class)
        if self.class_label is not None:
            return torch.full((self.num_samples,), data.class_index(self.class_label))
        return torch.arange(self.num_samples) % len(data.classes)

    def write(self, data: ImageData, images: Tensor, folder: Path, cost: str = "") -> None:
        target = self.output or folder / "samples.png"
        write_png(target, grid(data.round(images), self.samples_per_class if self.class_grid else 8))
        print(f"Wrote {len(images)} images to {target}{cost}.")


@dataclass(frozen=True)
class FlowSample(Draw):
    """Draw images with a trained flow model into a PNG grid."""

    num_steps: Count = 20
    """Steps from noise to image; each costs one evaluation of the model with euler, two with the others."""
    solver: Literal["euler", "midpoint", "heun"] = "midpoint"
    """How a step is taken."""

    def run(self) -> None:
        hardware = detect(self.device)
        model, _, data, folder = flow_training.load_flow(self.checkpoint, hardware.device)
        with autocast(hardware.device, hardware.compute_dtype):
            images, evaluations = sample(
                model, self.labels(data), self.num_steps, self.solver, self.cfg_scale, self.seed, quiet=False
            )
        self.write(data, images, folder, f": {evaluations} evaluations of the velocity for each")


@dataclass(frozen=True)
class VQVAEReconstruct:
    """Turn validation images into tokens and back, and write both into a PNG grid, rows of each in turn."""

    checkpoint: Checkpoint
    device: Device = "auto"
    output: Path = Path("reconstructions.png")
    """The PNG to write."""

    def run(self) -> None:
        hardware = detect(self.device)
        model, config, folder = vqvae_training.load_vqvae(self.checkpoint, hardware.device)
        print(json.dumps(config.evaluate(model, own_images(config, folder), hardware, self.output), indent=1))
        print(f"Wrote {self.output}.")


@dataclass(frozen=True)
class MultimodalSample(Draw):
    """Draw images from a caption, or of a class, into a PNG grid."""

    prompt: str | None = None
    """The caption; the model learnt from short ones, such as "a picture of a seven"."""
    temperature: Amount = 1.0
    """Divides the logits; 0 always takes the most probable code."""
    top_k: Count | None = None
    """Draw from the k most probable codes only."""

    def run(self) -> None:
        model, _, data, folder = multimodal_training.load_multimodal(self.checkpoint, pick_device(self.device))
        prompts = data.prompts.fixed(self.labels(data.images))
        if self.prompt is not None:
            prompts = [prompt(data.tokenizer, self.prompt, model.seg_start)] * self.num_samples
        drawn = {"guidance": self.cfg_scale, "temperature": self.temperature, "top_k": self.top_k, "seed": self.seed}
        self.write(data.images, data.draw(model, prompts, **drawn, quiet=False), folder)


@dataclass(frozen=True)
class MultimodalEval:
    """Measure a run on the validation images, with held-out captions: nats a token, well-formed samples, and the panel
    of metrics beside real images and a Gaussian for each class."""

    checkpoint: Checkpoint
    device: Device = "auto"

    def run(self) -> None:
        model, config, data, _ = multimodal_training.load_multimodal(self.checkpoint, pick_device(self.device))
        found = multimodal_training.measure(model, config, data)
        print(json.dumps({name: value for name, value in found.items() if name != "panel"}, indent=1))
        print(table(found["panel"]))


COMMANDS = {  # a help text, the presets of train, and the subcommands
    "flow": (
        "Images by flow matching: train a diffusion transformer, and sample from it.",
        flow_training.PRESETS,
        {"train": FlowTrain, "sample": FlowSample},
    ),
    "vqvae": (
        "Images as tokens: train a VQ-VAE, and try it.",
        vqvae_training.PRESETS,
        {"train": VQVAETrain, "reconstruct": VQVAEReconstruct},
    ),
    "multimodal": (
        "Images from captions: train a transformer over text and image tokens, sample from it, measure it.",
        multimodal_training.PRESETS,
        {"train": MultimodalTrain, "sample": MultimodalSample, "eval": MultimodalEval},
    ),
}


def image_command(argv: list[str], name: str) -> type:
    """The command ``name``, the defaults of its train those of the preset that ``argv`` names."""
    about, presets, kinds = COMMANDS[name]
    chosen = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chosen.add_argument("--preset", default="digits")
    wanted = chosen.parse_known_args(argv if argv[:2] == [name, "train"] else [])[0].preset
    train, *others = kinds
    union = Annotated[kinds[train], subcommand(train, default=kinds[train](preset(presets, wanted), wanted))]
    for other in others:
        union = union | Annotated[kinds[other], subcommand(other)]
    made = make_dataclass(name.capitalize(), [("command", Annotated[union, arg(name="")])], frozen=True)
    made.__doc__, made.run = about, lambda self: self.command.run()
    return made
