"""One transformer block: attention, then a feed-forward layer, each added to the residual stream."""

from torch import Tensor, nn

from blueberry_lib.config import ModelConfig
from blueberry_lib.model.attention import Attention
from blueberry_lib.model.feed_forward import FEED_FORWARD
from blueberry_lib.model.position import RMSNorm


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); (B, T, d_model) → (B, T, d_model)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.d_model)
        if config.n_experts:
            from blueberry_lib.model.moe import MixtureOfExperts  # brings in torch's compiler, which takes a second

            self.feed_forward = MixtureOfExperts(config)
        else:
            self.feed_forward = FEED_FORWARD[config.feed_forward](config)

    def forward(self, x: Tensor, *context) -> tuple[Tensor, Tensor]:
        """The new stream and the attention's own values; ``context`` is what else ``Attention`` takes."""
        attended, values = self.attention(self.attention_norm(x), *context)
        x = x + attended
        return x + self.feed_forward(self.feed_forward_norm(x)), values
