"""The forward pass for one more token, in few operations.

With one token at a time there is little to compute, and what takes the time is to start each operation from Python: a
microsecond or more, and some six more for a module around it. So everything here works on bare tensors: one matrix
holds the weights of query, key and value, and queries and keys are normalised and turned together. What comes out is
what ``Blueberry`` gives.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueberry_lib.model.attention import KVCache
from blueberry_lib.model.block import Block
from blueberry_lib.model.blueberry import Blueberry
from blueberry_lib.model.feed_forward import SquaredReLU, SwiGLU
from blueberry_lib.model.loss import compute_dtype
from blueberry_lib.model.position import RMSNorm, rope_2d


class Gain(NamedTuple):
    """RMSNorm as x / sqrt(‖x‖² + D eps) × (√D gain): four operations instead of six."""

    gain: Tensor
    eps: Tensor

    @classmethod
    def of(cls, *norms: RMSNorm) -> "Gain":
        """One row for each norm, all of the same width D; (rows, D)."""
        gain = torch.stack([norm.gain.float() for norm in norms])
        scale = gain.shape[-1] ** 0.5
        return cls(gain * scale, gain.new_tensor(scale * norms[0].eps ** 0.5))

    def __call__(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return (x / torch.hypot(length, self.eps) * self.gain).to(x.dtype)


class Layer(NamedTuple):
    """The weights of a block."""

    attention_norm: Gain
    qkv: Tensor
    query_key_norm: Gain
    value_share: Tensor | None
    output: Tensor
    feed_forward_norm: Gain
    feed_forward: Callable[[Tensor], Tensor]


def laid_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in ``dtype``, and where that pays, column by column in memory: in float32 a CPU (an AMD EPYC with
    torch's MKL) multiplies a vector by a matrix of more rows than columns twice as fast that way."""
    weight, tall = weight.to(dtype), weight.shape[0] > weight.shape[1]
    by_columns = tall and dtype == torch.float32 and weight.device.type == "cpu"
    return weight.t().contiguous().t() if by_columns else weight


def bare(feed_forward: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A dense feed-forward layer without its modules; experts stay as they are."""
    if isinstance(feed_forward, SquaredReLU):
        up, down = (laid_out(p, dtype) for p in feed_forward.parameters())
        return lambda x: F.linear(F.relu(F.linear(x, up)).square(), down)
    if isinstance(feed_forward, SwiGLU):
        gate, up, down = (laid_out(p, dtype) for p in feed_forward.parameters())
        return lambda x: F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)
    return feed_forward


class Decoder:
    """Continues each row of a cache by a token: ``decoder(tokens)``, (B,) → logits (B, V).

    ``positions`` (S, 2) are the coordinates of all places, those in the cache included, if tokens have two. It copies
    many of the weights when it is made, and does not see later changes to them.
    """

    def __init__(self, model: Blueberry, cache: KVCache, positions: Tensor | None = None) -> None:
        self.model, self.cache = model, cache
        self.dtype = compute_dtype(model.embedding.weight)
        self.layers = [self.layer(block) for block in model.blocks]
        self.norm, self.head = Gain.of(model.norm), laid_out(model.head_weight, self.dtype)
        cos, sin = model.cos, model.sin
        if positions is not None:
            cos, sin = (table[0, 0] for table in rope_2d(cos, sin, positions.unsqueeze(0)))
        self.cos, self.sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)  # (S, D)

    def layer(self, block: Block) -> Layer:
        a, c = block.attention, self.model.config
        return Layer(
            Gain.of(block.attention_norm),
            laid_out(torch.cat((a.query.weight, a.key.weight, a.value.weight)), self.dtype),
            Gain.of(*[a.query_norm] * c.n_heads, *[a.key_norm] * c.n_kv_heads),
            None if a.value_share is None else a.value_share.to(self.dtype),
            laid_out(a.output.weight, self.dtype),
            Gain.of(block.feed_forward_norm),
            bare(block.feed_forward, self.dtype),
        )

    def __call__(self, tokens: Tensor) -> Tensor:
        model, cache, config = self.model, self.cache, self.model.config
        B, H, H_kv, D = len(tokens), config.n_heads, config.n_kv_heads, config.head_dim
        cos, sin, mask = self.cos[cache.position], self.sin[cache.position], cache.mask(1)
        first_values = None
        x = model.embed(tokens)  # (B, d)
        for i, layer in enumerate(self.layers):
            qkv = F.linear(layer.attention_norm(x), layer.qkv).view(B, -1, D)
            qk, v = qkv.split((H + H_kv, H_kv), dim=1)
            qk = layer.query_key_norm(qk)
            # apply_rope: roll puts each entry's partner in its place, and sin has the signs
            qk = torch.addcmul(qk * cos, qk.roll(D // 2, -1), sin).to(qk.dtype)
            q, k = qk.split((H, H_kv), dim=1)
            k, v = k.unsqueeze(2), v.unsqueeze(2)  # (B, H_kv, 1, D)
            if config.key_offset:
                own_keys, moved = k.chunk(2, dim=1)
                k = torch.cat((own_keys, cache.previous_keys(i, moved)), dim=1)
            first_values = v if first_values is None else first_values
            if layer.value_share is not None:
                v = torch.lerp(first_values, v, layer.value_share)
            k, v = cache.extend(i, k, v)
            q = q.reshape(B, H_kv, -1, D)  # query heads that share keys become rows
            y = F.scaled_dot_product_attention(q, k, v, mask)
            x = x + F.linear(y.view(B, H * D), layer.output)
            x = x + layer.feed_forward(layer.feed_forward_norm(x))
        cache.position += 1
        return model.cap(F.linear(self.norm(x), self.head))
