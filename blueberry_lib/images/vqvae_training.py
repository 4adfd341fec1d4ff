"""A run of the image tokenizer, from images to record."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from blueberry_lib.config import OptimizerConfig, ScheduleConfig
from blueberry_lib.hardware import Hardware
from blueberry_lib.images.datasets import ImageData, resize
from blueberry_lib.images.grid import grid, write_png
from blueberry_lib.images.training import ImageTraining, PictureRun, open_run
from blueberry_lib.images.vqvae import VQVAE, VQVAEConfig
from blueberry_lib.training.checkpoint import load_model

EVAL_IMAGES = 256
GRID_COLUMNS = 12
TRAINING = ImageTraining(
    steps=1_600,
    optimizer=OptimizerConfig(adamw_lr=2e-3, adamw_weight_decay=0.0),
    schedule=ScheduleConfig(kind="wsd", warmup=0.02, decay=0.5, floor=0.01),
)


def usage(counts: Tensor) -> dict:
    """``usage``, the share of codes used at all, and ``perplexity``, exp of the entropy; ``counts`` (K,)."""
    shares = counts.double() / counts.sum()
    entropy = -torch.special.xlogy(shares, shares).sum().item()
    return {"usage": (counts > 0).double().mean().item(), "perplexity": math.exp(entropy)}


@dataclass(frozen=True)
class VQVAERun(PictureRun):
    """A run of the tokenizer."""

    model: VQVAEConfig = field(default_factory=VQVAEConfig)
    training: ImageTraining = TRAINING

    def build(self, data: ImageData | None = None) -> VQVAE:
        """The untrained model; its codes are the centres of what it makes of some of the ``data``."""
        model = VQVAE(self.model)
        if data and self.model.kmeans_start and self.model.quantizer != "fsq":
            some = data.train[torch.randperm(len(data.train))[:EVAL_IMAGES]]
            with torch.no_grad():
                vectors = model.encoder(data.scale(some, self.image_size)).movedim(1, -1)
            model.quantizer.kmeans_start(vectors)
        return model

    def optimizers(self, model: VQVAE, dtype: torch.dtype) -> list[Optimizer]:
        o = self.training.optimizer
        return [torch.optim.AdamW(model.parameters(), o.adamw_lr, o.betas, weight_decay=o.adamw_weight_decay)]

    def loss(self, model: VQVAE, data: ImageData, batch: tuple[Tensor, Tensor]) -> Tensor:
        images = data.scale(batch[0].to(next(model.parameters()).device), self.image_size)
        reconstruction, _, loss = model(images)
        return F.mse_loss(reconstruction.float(), images) + loss

    @torch.no_grad()
    def evaluate(
        self, model: VQVAE, data: ImageData, hardware: Hardware, folder: Path, batches: int | None = None
    ) -> dict:
        """Over the whole validation set: ``loss``, the mean squared error of pixels in [−1, 1], ``psnr`` in dB, and
        ``usage`` and ``perplexity`` of the codes. Draws the first images and, below each row of them, their
        reconstructions into reconstructions.png, or ``folder`` if that is a PNG."""
        png = folder if folder.suffix == ".png" else folder / "reconstructions.png"
        squares, counts, pairs = 0.0, torch.zeros(self.model.codes), []
        for part in data.val.split(EVAL_IMAGES)[:batches]:
            images = data.scale(part.to(hardware.device), self.image_size)
            reconstruction, tokens, _ = model(images)
            squares += F.mse_loss(reconstruction.float(), images, reduction="sum").item() / images[0].numel()
            counts += tokens.flatten().bincount(minlength=len(counts)).cpu()
            pairs = pairs or [images.split(GRID_COLUMNS)[:4], reconstruction.split(GRID_COLUMNS)[:4]]
        if batches is None:
            rows = torch.cat([row for pair in zip(*pairs, strict=True) for row in pair])
            write_png(png, grid(data.round(rows), GRID_COLUMNS))
        mse = squares / len(data.val)
        return {"loss": mse, "psnr": 10 * math.log10(4 / mse) if mse else math.inf, **usage(counts)}


CIFAR = VQVAEConfig(image_size=32, channels=3, halvings=2, width=128, codes=1_024, code_dim=16, decay=0.99)


def cifar_small() -> VQVAERun:
    """For 32 × 32 colour images on two CPU cores, in minutes: 8 × 8 of 512 codes."""
    model = replace(CIFAR, width=64, residual_blocks=1, codes=512, decay=0.97)
    return VQVAERun(model, replace(TRAINING, data="cifar10", steps=2_000, batch_size=64, eval_every=250))


def _gpu(**changes) -> VQVAERun:
    optimizer = replace(TRAINING.optimizer, adamw_lr=5e-4)
    training = replace(TRAINING, data="cifar10", steps=20_000, batch_size=256, eval_every=2_000, optimizer=optimizer)
    return VQVAERun(replace(CIFAR, **changes), training)


PRESETS: dict[str, Callable[[], VQVAERun]] = {
    "digits": VQVAERun,
    "cifar-small": cifar_small,
    "cifar-8x8": _gpu,
    "cifar-16x16": lambda: _gpu(halvings=1),
    "original": lambda: _gpu(image_size=128),  # 32 × 32 codes: of CIFAR's images, enlarged, one code a pixel
}


@torch.no_grad()
def all_tokens(model: VQVAE, data: ImageData, images: Tensor, noise: float = 0.0) -> Tensor:
    """The tokens (N, h, w) of the data's ``images`` (N, C, H, W) uint8, in float32. To each image Gaussian noise may be
    added first, of a strength drawn from 0 to ``noise``."""
    device, chunks = next(model.parameters()).device, []
    for part in images.split(EVAL_IMAGES):
        x = data.scale(part.to(device))
        x = x + noise * torch.rand(len(x), 1, 1, 1, device=device) * torch.randn_like(x)
        chunks.append(model.tokens(resize(x, model.config.image_size, model.config.image_size)))
    return torch.cat(chunks).cpu()


def load_vqvae(path: Path, device: str = "cpu") -> tuple[VQVAE, VQVAERun, Path]:
    """A trained tokenizer, its run's config and folder; ``path`` is the folder or one of its checkpoints."""
    config, folder, checkpoint = open_run(VQVAERun, path)
    model = config.build()
    load_model(checkpoint, model)
    return model.to(device).eval(), config, folder
