"""The two feed-forward layers: squared ReLU and SwiGLU."""

import torch.nn.functional as F
from torch import Tensor, nn

from blueberry_lib.config import ModelConfig


class SquaredReLU(nn.Module):
    """down(relu(up(x))²), (B, T, d_model) → (B, T, d_model) (So et al., 2021)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x)).square())


class SwiGLU(nn.Module):
    """down(silu(gate(x)) × up(x)), (B, T, d_model) → (B, T, d_model) (Shazeer, 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


FEED_FORWARD = {"relu2": SquaredReLU, "swiglu": SwiGLU}
