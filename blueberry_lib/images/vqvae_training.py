"""A run of the image tokenizer, from images to record."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from blueberry_lib.config import BlueberryError, OptimizerConfig, ScheduleConfig
from blueberry_lib.data.batches import RowBatches
from blueberry_lib.images.datasets import ImageData
from blueberry_lib.images.grid import grid, write_png
from blueberry_lib.images.training import ImageTraining, load_trained, start, train
from blueberry_lib.images.vqvae import VQVAE, VQVAEConfig, cifar_8x8, cifar_16x16, original

EVAL_IMAGES = 256
GRID_COLUMNS = 12


def _training() -> ImageTraining:
    return ImageTraining(
        steps=1_600,
        optimizer=OptimizerConfig(adamw_lr=2e-3, adamw_weight_decay=0.0),
        schedule=ScheduleConfig(kind="wsd", warmup=0.02, decay=0.5, floor=0.01),
    )


@dataclass(frozen=True)
class VQVAERun:
    """A run of the tokenizer."""

    model: VQVAEConfig = field(default_factory=VQVAEConfig)
    training: ImageTraining = field(default_factory=_training)


def cifar_small() -> VQVAERun:
    """For 32 × 32 colour images on two CPU cores, in minutes: 8 × 8 of 512 codes."""
    model = replace(cifar_8x8(), width=64, residual_blocks=1, codes=512, decay=0.97)
    return VQVAERun(model, replace(_training(), data="cifar10", steps=2_000, batch_size=64, eval_every=250))


def _gpu(model: VQVAEConfig) -> VQVAERun:
    training = replace(_training(), data="cifar10", steps=20_000, batch_size=256, eval_every=2_000)
    return VQVAERun(model, replace(training, optimizer=replace(training.optimizer, adamw_lr=5e-4)))


PRESETS: dict[str, Callable[[], VQVAERun]] = {
    "digits": VQVAERun,
    "cifar-small": cifar_small,
    "cifar-8x8": lambda: _gpu(cifar_8x8()),
    "cifar-16x16": lambda: _gpu(cifar_16x16()),
    "original": lambda: _gpu(original()),
}


def usage(counts: Tensor) -> dict:
    """``usage``, the share of codes used at all, and ``perplexity``, exp of the entropy; ``counts`` (K,)."""
    shares = counts.double() / counts.sum()
    entropy = -torch.special.xlogy(shares, shares).sum().item()
    return {"usage": (counts > 0).double().mean().item(), "perplexity": math.exp(entropy)}


@torch.no_grad()
def all_tokens(model: VQVAE, data: ImageData, images: Tensor, device: str, noise: float = 0.0) -> Tensor:
    """The tokens (N, h, w) of the data's ``images`` (N, C, H, W) uint8, in float32. To each image Gaussian noise may be
    added first, of a strength drawn from 0 to ``noise``."""
    chunks = []
    for part in images.split(EVAL_IMAGES):
        x = data.scale(part.to(device))
        strength = noise * torch.rand(len(x), 1, 1, 1, device=device)
        chunks.append(model.tokens(model.resized(x + strength * torch.randn_like(x))))
    return torch.cat(chunks).cpu()


def evaluator(data: ImageData, png: Path | None, device: str) -> Callable[..., dict]:
    """An ``evaluate(model)`` over the whole validation set: ``loss``, the mean squared error of pixels in [−1, 1],
    ``psnr`` in dB, and ``usage`` and ``perplexity`` of the codes. Draws the first images and, below each row of them,
    their reconstructions into ``png``."""

    @torch.no_grad()
    def evaluate(model: VQVAE, batches: int | None = None) -> dict:
        squares, counts, pairs = 0.0, torch.zeros(model.config.codes), []
        for part in data.val.split(EVAL_IMAGES)[:batches]:
            images = model.resized(data.scale(part.to(device)))
            reconstruction, tokens, _ = model(images)
            squares += F.mse_loss(reconstruction.float(), images, reduction="sum").item() / images[0].numel()
            counts += tokens.flatten().bincount(minlength=len(counts)).cpu()
            pairs = pairs or [images.split(GRID_COLUMNS)[:4], reconstruction.split(GRID_COLUMNS)[:4]]
        if png and batches is None:
            rows = torch.cat([row for pair in zip(*pairs, strict=True) for row in pair])
            write_png(png, grid(data.round(rows), GRID_COLUMNS))
        mse = squares / len(data.val)
        return {"loss": mse, "psnr": 10 * math.log10(4 / mse) if mse else math.inf, **usage(counts)}

    return evaluate


def run(
    config: VQVAERun, folder: Path, resume: bool = False, say: Callable[[str], None] = print, quiet: bool = False
) -> dict:
    """Train a tokenizer as ``config`` says, into ``folder``; returns the record."""
    data, hardware, clock = start(config.training)
    device, optimizer = hardware.device, config.training.optimizer
    model = VQVAE(config.model).to(device)
    if data.shape[0] != config.model.channels:
        raise BlueberryError(f"{data.name} has {data.shape[0]} channels and the model {config.model.channels}.")
    if data.shape[1] != config.model.image_size:
        say(f"{data.name} has images of side {data.shape[1]}: they are resized to {config.model.image_size}.")
    batches = RowBatches([data.train], config.training.batch_size, config.training.seed, device)
    if config.model.kmeans_start and config.model.quantizer != "fsq":
        some = data.train[torch.randperm(len(data.train))[:EVAL_IMAGES]].to(device)
        with torch.no_grad():
            model.quantizer.start(model.encoder(model.resized(data.scale(some))).movedim(1, -1))

    def loss_fn(model: VQVAE, batch: tuple[Tensor]) -> Tensor:
        images = model.resized(data.scale(batch[0]))
        reconstruction, _, loss = model(images)
        return F.mse_loss(reconstruction.float(), images) + loss

    adamw = torch.optim.AdamW(
        model.parameters(), optimizer.adamw_lr, optimizer.betas, weight_decay=optimizer.adamw_weight_decay
    )
    return train(
        config, folder, data, model, batches, loss_fn, [adamw], hardware, clock,
        evaluate=evaluator(data, folder / "reconstructions.png", device), resume=resume, say=say, quiet=quiet,
    )  # fmt: skip


def load_run(path: Path, device: str = "cpu") -> tuple[VQVAE, VQVAERun, Path]:
    """A trained tokenizer, its run's config and folder; ``path`` is the folder or one of its checkpoints."""
    return load_trained(VQVAERun, path, lambda config, _: VQVAE(config.model), device)
