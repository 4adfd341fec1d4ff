"""The Blueberry language model: embedding, blocks, head, and how its weights start."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueberry_lib.config import BlueberryError, ModelConfig
from blueberry_lib.model.attention import KVCache
from blueberry_lib.model.block import Block
from blueberry_lib.model.copy_head import CopyHead, kept_and_found, mixed
from blueberry_lib.model.loss import chunked_cross_entropy
from blueberry_lib.model.position import RMSNorm, rope_2d, rope_tables

INIT_STD = 0.02


class Blueberry(nn.Module):
    """A decoder-only transformer: token ids (B, T) in, logits (B, T, V) or a loss out.

    ``block`` and ``norm`` are the classes to use; ``parts`` are what else ``Block`` and ``Attention`` take: attention,
    feed_forward, rotate, attend. One's own block or attention takes what ours takes, the cache included.
    """

    def __init__(
        self,
        config: ModelConfig,
        block: Callable[..., nn.Module] = Block,
        norm: Callable[[int], nn.Module] = RMSNorm,
        **parts,
    ) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(block(config, layer, norm=norm, **parts) for layer in range(config.n_layers))
        self.norm = norm(config.d_model)
        self.head = None if config.tied else nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.copy = CopyHead(config) if config.copy_head else None
        cos, sin = rope_tables(config.head_dim, config.context_length, config.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        init_weights(self)

    @property
    def head_weight(self) -> Tensor:
        """The output head, (V, d_model)."""
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        cache: KVCache | None = None,
        positions: Tensor | None = None,
        last: bool = False,
    ) -> Tensor:
        """Logits (B, T, V), or of the ``last`` token alone, (B, V); with ``targets`` (B, T) the mean cross-entropy in
        nats; with a ``cache`` the tokens continue those already in it; with ``positions`` (B, T, 2) each has two
        coordinates."""
        x = self.hidden(tokens, cache, positions)
        shares = self.copy(x, tokens, cache) if self.copy else None  # (B, T, S), (B, T), (B, S)
        if targets is not None:
            rows = x.flatten(0, 1), self.head_weight, targets.flatten(), self.config.soft_cap
            return chunked_cross_entropy(*rows, mixture=kept_and_found(*shares, targets) if shares else ())
        if last:
            x, shares = x[:, -1:], shares and (shares[0][:, -1:], shares[1][:, -1:], shares[2])
        logits = mixed(self.logits(x), *shares) if shares else self.logits(x)
        return logits[:, -1] if last else logits

    def hidden(self, tokens: Tensor, cache: KVCache | None = None, positions: Tensor | None = None) -> Tensor:
        """The residual stream after the last norm, (B, T, d_model): what the head reads."""
        start, length = (cache.position if cache else 0), tokens.shape[1]
        end = start + length
        if end > len(self.cos):
            raise BlueberryError(
                f"{end} tokens exceed the model's context of {len(self.cos)}; use a shorter prompt or "
                "fewer new tokens, or train with a larger --model.context-length."
            )
        if positions is None:
            rope = self.cos[start:end], self.sin[start:end]
        else:
            rope = rope_2d(self.cos, self.sin, positions)
        x = self.through_blocks(tokens, rope, cache, cache.mask(length) if cache else None)
        if cache:
            cache.position = end
        return x

    def through_blocks(
        self, tokens: Tensor, rope: tuple[Tensor, Tensor], cache: KVCache | None, mask: Tensor | None
    ) -> Tensor:
        """The forward pass itself, of many tokens (B, T) or, in the ``Decoder``, of one a row (B,): (..., d_model)."""
        x, first_values = self.embed(tokens), None
        for block in self.blocks:
            x, values = block(x, rope, first_values, cache, mask)
            first_values = values if first_values is None else first_values
        return self.norm(x)

    def embed(self, tokens: Tensor) -> Tensor:
        """The start of the residual stream, (...) → (..., d_model)."""
        x = self.embedding(tokens)
        if self.config.embedding == "scaled":
            return x * self.config.d_model**0.5
        return F.rms_norm(x, x.shape[-1:], eps=1e-6) if self.config.embedding == "normed" else x

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., d_model) → (..., V), without what is copied."""
        return self.cap(F.linear(hidden, self.head_weight))

    def cap(self, logits: Tensor) -> Tensor:
        """Logits kept between ± ``soft_cap``, where there is one."""
        cap = self.config.soft_cap
        return cap * torch.tanh(logits / cap) if cap else logits


@torch.no_grad()
def init_weights(model: Blueberry) -> None:
    """Every matrix from N(0, 0.02²), gains at 1; with ``zero_init`` the matrices of each block that write
    into the residual stream at 0, so that a block starts as the identity."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INIT_STD)
    if model.config.zero_init:
        for name, p in model.named_parameters():
            if name.endswith((".attention.output.weight", ".down.weight")):
                nn.init.zeros_(p)
