"""vqvae train, reconstruct; multimodal train, sample, eval."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from blueberry_lib.cli.options import Checkpoint, Device, Resume, RunName
from blueberry_lib.cli.pictures import command, labels_and_columns
from blueberry_lib.cli.runs import carry_out
from blueberry_lib.config import Amount, Count, Seed
from blueberry_lib.images import multimodal_training, vqvae_training
from blueberry_lib.images.multimodal_training import MultimodalRun
from blueberry_lib.images.training import own_images, run
from blueberry_lib.images.vqvae_training import VQVAERun


@dataclass(frozen=True)
class VQVAETrain:
    """Train an image tokenizer, and write it, its log, its record and reconstructions to runs/<experiment-name>/.

    The defaults are a preset's (--preset digits): every flag changes one setting of it. Ctrl-C saves; --resume goes on.
    """

    config: Annotated[VQVAERun, arg(name="")]
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
class VQVAEReconstruct:
    """Turn validation images into tokens and back, and write both into a PNG grid, rows of each in turn."""

    checkpoint: Checkpoint
    device: Device = "auto"
    output: Path = Path("reconstructions.png")
    """The PNG to write."""

    def run(self) -> None:
        from blueberry_lib.hardware import pick_device

        device = pick_device(self.device)
        model, config, folder = vqvae_training.load_vqvae(self.checkpoint, device)
        print(json.dumps(config.reconstruct(model, own_images(config, folder), device, self.output), indent=1))
        print(f"Wrote {self.output}.")


@dataclass(frozen=True)
class MultimodalTrain:
    """Train a transformer over captions and image tokens, and write it, its log, its record and its samples to
    runs/<experiment-name>/.

    It needs a tokenizer of images: python -m blueberry_lib vqvae train, then --vqvae runs/vqvae-digits. Ctrl-C saves;
    --resume goes on.
    """

    config: Annotated[MultimodalRun, arg(name="")]
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
class MultimodalSample:
    """Draw images from a caption into a PNG grid."""

    checkpoint: Checkpoint
    prompt: str | None = None
    """The caption; the model learnt from short ones, such as "a picture of a seven"."""
    num_samples: Count = 64
    """Images to draw; without a caption, of all classes in turn."""
    class_label: str | None = None
    """A class, by name or number, instead of a caption."""
    class_grid: bool = False
    """Draw a grid of all classes, one a row, instead."""
    samples_per_class: Count = 10
    """Images in a row of the class grid."""
    cfg_scale: Amount = 1.0
    """Guidance: 1 is off, more follows the caption more closely."""
    temperature: Amount = 1.0
    """Divides the logits; 0 always takes the most probable code."""
    top_k: Count | None = None
    """Draw from the k most probable codes only."""
    seed: Seed = 0
    """Set another to draw others."""
    device: Device = "auto"
    output: Path | None = None
    """The PNG to write; unset: samples.png in the run's folder."""

    def run(self) -> None:
        from blueberry_lib.hardware import pick_device
        from blueberry_lib.images.captions import prompt
        from blueberry_lib.images.grid import grid, write_png

        model, _, data, folder = multimodal_training.load_multimodal(self.checkpoint, pick_device(self.device))
        labels, columns = labels_and_columns(self, data.images)
        prompts = data.prompts.fixed(labels)
        if self.prompt is not None:
            prompts = [prompt(data.tokenizer, self.prompt, model.seg_start)] * self.num_samples
        images = data.draw(
            model,
            prompts,
            guidance=self.cfg_scale,
            temperature=self.temperature,
            top_k=self.top_k,
            seed=self.seed,
            quiet=False,
        )
        target = self.output or folder / "samples.png"
        write_png(target, grid(data.images.round(images), columns))
        print(f"Wrote {len(images)} images to {target}.")


@dataclass(frozen=True)
class MultimodalEval:
    """Measure a run on the validation images, with held-out captions: nats a token, well-formed samples, and the panel
    of metrics beside real images and a Gaussian for each class."""

    checkpoint: Checkpoint
    device: Device = "auto"

    def run(self) -> None:
        from blueberry_lib.hardware import pick_device
        from blueberry_lib.images.metrics import table

        model, config, data, _ = multimodal_training.load_multimodal(self.checkpoint, pick_device(self.device))
        found = multimodal_training.measure(model, config, data)
        print(json.dumps({name: value for name, value in found.items() if name != "panel"}, indent=1))
        print(table(found["panel"]))


def vqvae_command(argv: list[str]) -> type:
    others = {"reconstruct": VQVAEReconstruct}
    about = "Images as tokens: train a VQ-VAE, and try it."
    return command(argv, "vqvae", VQVAETrain, vqvae_training.PRESETS, others, about)


def multimodal_command(argv: list[str]) -> type:
    others = {"sample": MultimodalSample, "eval": MultimodalEval}
    about = "Images from captions: train a transformer over text and image tokens, sample from it, measure it."
    return command(argv, "multimodal", MultimodalTrain, multimodal_training.PRESETS, others, about)
