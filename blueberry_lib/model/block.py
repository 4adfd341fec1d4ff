"""One transformer block: attention, then a feed-forward layer, each added to the residual stream."""

from collections.abc import Callable

from torch import Tensor, nn

from blueberry_lib.config import ModelConfig
from blueberry_lib.model.attention import Attention
from blueberry_lib.model.feed_forward import FEED_FORWARD
from blueberry_lib.model.position import RMSNorm


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); (B, T, d_model) → (B, T, d_model).

    The classes of its parts are arguments; ``parts`` are what else the attention takes.
    """

    def __init__(
        self,
        config: ModelConfig,
        layer: int,
        norm: Callable[[int], nn.Module] = RMSNorm,
        attention: Callable[..., nn.Module] = Attention,
        feed_forward: Callable[[ModelConfig], nn.Module] | None = None,
        **parts,
    ) -> None:
        super().__init__()
        self.attention_norm = norm(config.d_model)
        self.attention = attention(config, layer, norm=norm, **parts)
        self.feed_forward_norm = norm(config.d_model)
        if feed_forward is not None:
            self.feed_forward = feed_forward(config)
        elif config.n_experts:
            from blueberry_lib.model.moe import MixtureOfExperts  # brings in torch's compiler, which takes a second

            self.feed_forward = MixtureOfExperts(config)
        else:
            self.feed_forward = FEED_FORWARD[config.feed_forward](config)

    def forward(self, x: Tensor, *context) -> tuple[Tensor, Tensor]:
        """The new stream and the attention's own values; ``context`` is what else ``Attention`` takes."""
        attended, values = self.attention(self.attention_norm(x), *context)
        x = x + attended
        return x + self.feed_forward(self.feed_forward_norm(x)), values
