"""DiT2D, a transformer that predicts the velocity of an image at a time, given its class (Peebles & Xie, 2023)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueberry_lib.config import Count, check_ranges, require
from blueberry_lib.model.attention import attend

TIME_SCALE = 1_000.0
"""Times in [0, 1] are multiplied by this before their embedding, whose slowest waves would not tell them apart."""


@dataclass(frozen=True)
class DiTConfig:
    """The shape of a DiT2D."""

    image_size: Count = 8
    """Height and width of the images, in pixels."""
    channels: Count = 1
    """Channels of the images."""
    patch_size: Count = 2
    """Height and width of a patch, in pixels; each patch is a token."""
    classes: Count = 10
    """Labels; one more, the null label, stands for none."""
    d_model: Count = 64
    """Width of the residual stream."""
    n_layers: Count = 3
    """Transformer blocks."""
    n_heads: Count = 4
    """Attention heads; each is d_model / n_heads wide."""
    time_frequencies: Count = 128
    """Frequencies of the time embedding, a sine and a cosine each."""

    def __post_init__(self) -> None:
        check_ranges(self)
        size, patch, d, heads = self.image_size, self.patch_size, self.d_model, self.n_heads
        require(size % patch == 0, f"image_size {size} must be a multiple of patch_size {patch}.")
        require(d % heads == d % 4 == 0, f"d_model {d} must be a multiple of n_heads {heads} and of 4.")

    @property
    def null_label(self) -> int:
        """The label that stands for none."""
        return self.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        return self.channels, self.image_size, self.image_size

    @property
    def tokens(self) -> int:
        return (self.image_size // self.patch_size) ** 2

    @property
    def modulation_params(self) -> int:
        """Entries of the layers that turn time and label into shifts, scales and gates (adaLN)."""
        return (6 * self.n_layers + 2) * (self.d_model**2 + self.d_model)

    @property
    def n_params(self) -> int:
        """Trained numbers; the default's, for 8 × 8 digits, are 254,276."""
        with torch.device("meta"):
            return sum(p.numel() for p in DiT2D(self).parameters())

    @property
    def flops_per_image(self) -> int:
        """Of a training step: 6 for each weight, and 12 · width for each pair of tokens in a layer. Time and modulation
        are computed once for an image, all else for each token; the label is looked up."""
        d, T = self.d_model, self.tokens
        once = self.modulation_params + (2 * self.time_frequencies + 1) * d + d**2 + d
        each = self.n_params - once - (self.classes + 1) * d
        return 6 * (once + T * each) + 12 * d * T * T * self.n_layers


def patchify(images: Tensor, size: int) -> Tensor:
    """Cut images (B, C, H, W) into patches, row by row: (B, H/size · W/size, C · size²)."""
    return F.pixel_unshuffle(images, size).flatten(2).transpose(1, 2)


def unpatchify(patches: Tensor, size: int) -> Tensor:
    """Put square images together again: (B, h², C · size²) → (B, C, h · size, h · size)."""
    side = math.isqrt(patches.shape[1])
    return F.pixel_shuffle(patches.transpose(1, 2).unflatten(2, (side, side)), size)


def sinusoidal_embedding(positions: Tensor, frequencies: int) -> Tensor:
    """Cosines and sines of positions (N,) at ``frequencies`` from 1 down to nearly 1/10,000: (N, 2 · frequencies)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(frequencies, device=positions.device) / frequencies)
    angles = positions.float()[:, None] * rates  # (N, F)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def sine_positions(side: int, d_model: int) -> Tensor:
    """Each token's row in the first half of its features, its column in the second: (side², d_model)."""
    along = sinusoidal_embedding(torch.arange(side), d_model // 4)  # (side, d_model / 2)
    return torch.cat((along.repeat_interleave(side, dim=0), along.repeat(side, 1)), dim=-1)


class Attention(nn.Module):
    """Every token attends to all; (B, T, d_model) → the same."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.query, self.key, self.value, self.output = (nn.Linear(config.d_model, config.d_model) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            linear(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for linear in (self.query, self.key, self.value)
        )  # (B, H, T, D)
        return self.output(attend(q, k, v).transpose(1, 2).flatten(2))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm without weights of its own, then a shift and a scale that time and label chose: (B, T, d_model)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)


class Block(nn.Module):
    """Attention, then a feed-forward layer, each modulated before and gated after; adaLN-Zero: all gates start at 0."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        d = config.d_model
        self.feed_forward = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU("tanh"), nn.Linear(4 * d, d))
        self.modulation = nn.Linear(d, 6 * d)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition).unsqueeze(1).chunk(6, dim=-1)
        x = x + gate1 * self.attention(modulate(x, shift1, scale1))
        return x + gate2 * self.feed_forward(modulate(x, shift2, scale2))


class DiT2D(nn.Module):
    """(images (B, C, H, W) at times t (B,) in [0, 1], labels (B,)) → velocity (B, C, H, W), float32; 0 at the start."""

    def __init__(self, config: DiTConfig, block: type[nn.Module] = Block) -> None:
        super().__init__()
        self.config, d, patch_values = config, config.d_model, config.channels * config.patch_size**2
        self.patches = nn.Linear(patch_values, d)
        self.register_buffer("positions", sine_positions(config.image_size // config.patch_size, d), persistent=False)
        self.time = nn.Sequential(nn.Linear(2 * config.time_frequencies, d), nn.SiLU(), nn.Linear(d, d))
        self.labels = nn.Embedding(config.classes + 1, d)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.n_layers))
        self.modulation = nn.Linear(d, 2 * d)
        self.head = nn.Linear(d, patch_values)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for embedding in (self.labels, self.time[0], self.time[2]):
            nn.init.normal_(embedding.weight, std=0.02)
        for zero in (self.head, self.modulation, *(block.modulation for block in self.blocks)):
            nn.init.zeros_(zero.weight)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        config = self.config
        h = self.patches(patchify(x, config.patch_size)) + self.positions  # (B, T, d_model)
        time = self.time(sinusoidal_embedding(TIME_SCALE * t, config.time_frequencies))
        condition = F.silu(time + self.labels(labels))  # (B, d_model)
        for block in self.blocks:
            h = block(h, condition)
        h = modulate(h, *self.modulation(condition).unsqueeze(1).chunk(2, dim=-1))
        return unpatchify(self.head(h).float(), config.patch_size)
