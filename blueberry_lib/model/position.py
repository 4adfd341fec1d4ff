"""Rotary position embedding (RoPE; Su et al., 2021), half-rotated convention, and RMSNorm."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rope_tables(head_dim: int, length: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines of position × frequency, each (length, head_dim / 2), float32.

    Frequency i is base^(-2i / head_dim), so the first pair turns by one radian a token.
    """
    frequencies = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)  # (D/2)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)  # (T, D/2)
    return angles.cos().float(), angles.sin().float()


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + D/2]) of ``x`` (..., T, D) by its angle at its position.

    ``cos`` and ``sin`` are (T, D/2). The dot product of two turned vectors depends on their
    positions only through the difference.
    """
    a, b = x.chunk(2, dim=-1)  # the float32 tables lift the products to float32
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


def rope_2d(cos: Tensor, sin: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (B, 1, T, D/2) each, of tokens that have two coordinates: ``positions`` (B, T, 2).

    ``cos`` and ``sin`` are ``rope_tables``. Even pairs turn by the first coordinate and odd ones by the second, so a
    token at (p, p) turns exactly as one at position p (as in Qwen2-VL; Wang et al., 2024).
    """
    first, second = positions.unbind(-1)  # (B, T) each
    even = torch.arange(cos.shape[1], device=cos.device) % 2 == 0
    cos, sin = (torch.where(even, table[first], table[second]).unsqueeze(1) for table in (cos, sin))
    return cos, sin


def interleaved_to_half(head_dim: int) -> Tensor:
    """The permutation between RoPE's two conventions.

    The original paper turns neighbours (x[0], x[1]), (x[2], x[3]), …; we turn (x[0], x[D/2]), … as
    GPT-NeoX and Llama's Hugging Face port do. ``x[..., interleaved_to_half(D)]`` reorders a vector of the first
    convention for the second; applied to the rows of a query and key projection it converts weights.
    """
    return torch.arange(head_dim).view(-1, 2).T.reshape(-1)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) × gain, over the last dimension (Zhang & Sennrich, 2019), in float32."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.gain.shape, self.gain.float(), self.eps).to(x.dtype)
