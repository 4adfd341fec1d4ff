"""The VQ-VAE (van den Oord et al., 2017): an image as a small grid of codes, each one of a few vectors."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from blueberry_lib.config import Amount, Count, Decay, Range, Share, Whole, check_ranges, require
from blueberry_lib.images.quantizers import Codebook, FiniteScalar


@dataclass(frozen=True)
class VQVAEConfig:
    """The shape of an image tokenizer."""

    image_size: Count = 8
    """Side of the images it takes; those of another size are resized to it, bilinearly."""
    channels: Count = 1
    """1 for grey, 3 for colour."""
    halvings: Annotated[int, Range(0, 16, "from 0 to 16")] = 1
    """Times the side is halved from image to codes."""
    width: Count = 48
    """Channels inside."""
    residual_blocks: Whole = 2
    """Residual blocks of the encoder, and of the decoder."""
    quantizer: Literal["ema", "gradient", "fsq"] = "ema"
    """How codes are found: vectors that follow the mean of what they stand for; vectors learnt by gradient; or each
    entry rounded to a few levels (FSQ)."""
    codes: Count = 64
    """Entries of the codebook."""
    code_dim: Count = 8
    """Width of a code."""
    levels: tuple[Annotated[int, Range(2, 2**16, "from 2 to 65,536")], ...] = ()
    """fsq only: levels of each of the code's entries; their product is the number of codes."""
    normalized: bool = False
    """Whether vectors and codes have length 1, so that the angle alone decides (Yu et al., 2022)."""
    decay: Decay = 0.97
    """ema only: share of the old mean that remains after a step."""
    commitment: Amount = 0.25
    """Weight of the pull of the encoder towards its codes."""
    kmeans_start: bool = True
    """Whether the codebook starts at the centres of the untrained encoder's vectors."""
    revive_below: Share = 0.03
    """ema only: a code used less than this share of the mean use is moved onto a vector of the batch; 0: never."""

    def __post_init__(self) -> None:
        check_ranges(self)
        size, times, unit = self.image_size, self.halvings, 2**self.halvings
        require(size % unit == 0, f"image_size {size} cannot be halved {times} times; choose a multiple of {unit}.")
        made = math.prod(self.levels), len(self.levels)
        require(
            self.quantizer != "fsq" or made == (self.codes, self.code_dim),
            f"levels {self.levels} make {made[0]} codes of width {made[1]}; codes is {self.codes} and code_dim "
            f"{self.code_dim}, and they must agree.",
        )

    @property
    def grid_size(self) -> int:
        """Side of the grid of codes."""
        return self.image_size // 2**self.halvings


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), (B, C, H, W) → the same.

    No ReLU works in place: on the first one that would overwrite x itself, and relu(x) would go round instead of x.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class VQVAE(nn.Module):
    """Encoder, quantizer and decoder: ``images`` (B, C, H, W) in [−1, 1] ↔ ``tokens`` (B, h, w)."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        width, halvings, blocks = config.width, range(config.halvings), range(config.residual_blocks)
        down = [layer for _ in halvings for layer in (nn.ReLU(), nn.Conv2d(width, width, 4, stride=2, padding=1))]
        up = [layer for _ in halvings for layer in (nn.ReLU(), nn.ConvTranspose2d(width, width, 4, 2, padding=1))]
        self.encoder = nn.Sequential(
            nn.Conv2d(config.channels, width, 3, padding=1),
            *down,
            *(Residual(width) for _ in blocks),
            nn.ReLU(),
            nn.Conv2d(width, config.code_dim, 1),
        )
        settings = {name: getattr(config, name) for name in ("commitment", "decay", "revive_below", "normalized")}
        self.quantizer = (
            FiniteScalar(config.levels)
            if config.quantizer == "fsq"
            else Codebook(config.codes, config.code_dim, ema=config.quantizer == "ema", **settings)
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, width, 3, padding=1),
            *(Residual(width) for _ in blocks),
            *up,
            nn.ReLU(),
            nn.Conv2d(width, config.channels, 3, padding=1),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction (B, C, H, W), tokens (B, h, w) and the quantizer's loss."""
        vectors, tokens, loss = self.quantizer(self.encoder(images).movedim(1, -1))
        return self.decoder(vectors.movedim(-1, 1)), tokens, loss

    def tokens(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, h, w) int64."""
        return self.quantizer.nearest(self.encoder(images).movedim(1, -1))

    def decode(self, tokens: Tensor) -> Tensor:
        """(B, h, w) → (B, C, H, W)."""
        return self.decoder(self.quantizer.lookup(tokens).movedim(-1, 1))

    def sha256(self) -> str:
        """One hash over settings and weights: tokens made by another hash mean something else."""
        digest = hashlib.sha256(json.dumps(asdict(self.config), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
