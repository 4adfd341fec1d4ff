"""The forward pass for one more token, in few operations.

With one token at a time there is little to compute, and what takes the time is to start each operation from Python: a
microsecond or more, and some six more for a module around it. So the model's own ``forward`` methods run here on bare
tensors: one matrix holds the weights of query, key and value, and queries and keys are normalised and turned together.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from blueberry_lib.hardware import compute_dtype
from blueberry_lib.model.attention import Attention, KVCache
from blueberry_lib.model.block import Block
from blueberry_lib.model.blueberry import Blueberry
from blueberry_lib.model.copy_head import mixed
from blueberry_lib.model.feed_forward import SquaredReLU, SwiGLU
from blueberry_lib.model.position import RMSNorm, apply_rope, rope_2d


def normalization(gain: Tensor, eps: float) -> Callable[[Tensor], Tensor]:
    """RMSNorm as x / sqrt(‖x‖² + D eps) × (√D gain): four operations instead of six."""
    scale = gain.shape[-1] ** 0.5
    scaled = gain.float() * scale
    added = scaled.new_tensor(scale * eps**0.5)

    def norm(x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return (x / torch.hypot(length, added) * scaled).to(x.dtype)

    return norm


def laid_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in ``dtype``, and where that pays, column by column in memory: in float32 a CPU (an AMD EPYC with
    torch's MKL) multiplies a vector by a matrix of more rows than columns twice as fast that way."""
    weight, tall = weight.to(dtype), weight.shape[0] > weight.shape[1]
    by_columns = tall and dtype == torch.float32 and weight.device.type == "cpu"
    return weight.t().contiguous().t() if by_columns else weight


def product(weight: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """x (B, columns) → ``F.linear(x, weight)``, which would transpose the weight each time."""
    transposed = laid_out(weight, dtype).t()
    return lambda x: torch.mm(x, transposed)


def projection(attention: Attention, dtype: torch.dtype) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """``attention.project`` for a token a row, x (B, d_model), its ``rope`` being (cos, cos) and (−sin, sin), (D,)."""
    D = attention.head_dim
    H, H_kv = (len(linear.weight) // D for linear in (attention.query, attention.key))
    qkv = product(torch.cat((attention.query.weight, attention.key.weight, attention.value.weight)), dtype)
    gains = torch.stack([attention.query_norm.gain] * H + [attention.key_norm.gain] * H_kv)
    norm = normalization(gains.unsqueeze(1), attention.query_norm.eps)  # (H + H_kv, 1, D)

    def project(x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        cos, sin = rope
        qk, v = qkv(x).view(len(x), -1, 1, D).split((H + H_kv, H_kv), dim=1)  # (B, heads, 1, D)
        qk = norm(qk)
        # apply_rope: roll puts each entry's partner in its place, and sin has the signs
        q, k = torch.addcmul(qk * cos, qk.roll(D // 2, -1), sin).to(qk.dtype).split((H, H_kv), dim=1)
        return q, k, v

    return project


def bare(module: nn.Module, dtype: torch.dtype) -> Any:
    """``module`` with its weights, in ``dtype``, and its parts as plain attributes, called without ceremony: the same
    ``forward``, quicker to start. Modules that are not listed here, such as experts, stay as they are."""
    if isinstance(module, nn.Linear):
        return product(module.weight, dtype)
    if type(module) is RMSNorm:
        return normalization(module.gain, module.eps)
    if isinstance(module, nn.ModuleList):
        return [bare(part, dtype) for part in module]
    if not isinstance(module, Blueberry | Block | Attention | SquaredReLU | SwiGLU):
        return module
    kind = type(module)
    made = object.__new__(type(kind.__name__, (kind,), {"__call__": kind.forward}))
    vars(made).update(vars(module))
    vars(made).update((name, p.to(dtype)) for name, p in module.named_parameters(recurse=False))
    vars(made).update((name, bare(part, dtype)) for name, part in module.named_children())
    if isinstance(module, Attention):
        vars(made)["project"] = projection(module, dtype)
    return made


def ours(block: nn.Module) -> bool:
    """Whether the forms in this file compute what a block does: those for norms, turns and the attention are ours."""
    attention = getattr(block, "attention", None)
    if type(block) is not Block or type(attention) is not Attention:
        return False
    return attention.rotate is apply_rope and type(attention.query_norm) is type(attention.key_norm) is RMSNorm


class Decoder:
    """Continues each row of a cache by a token: ``decoder(tokens)``, (B,) → logits (B, V).

    ``positions`` (S, 2) are the coordinates of all places, those in the cache included, if tokens have two. It copies
    many of the weights when it is made, and does not see later changes to them. A model with blocks of one's own is run
    by its own forward pass.
    """

    def __init__(self, model: Blueberry, cache: KVCache, positions: Tensor | None = None) -> None:
        self.whole, self.positions = None if all(map(ours, model.blocks)) else model, positions
        if self.whole is not None:
            self.cache = cache
            return
        dtype = compute_dtype(model.embedding.weight)
        self.model, self.cache, self.head = bare(model, dtype), cache, product(model.head_weight, dtype)
        cos, sin = model.cos, model.sin
        if positions is not None:
            cos, sin = (table[0, 0] for table in rope_2d(cos, sin, positions.unsqueeze(0)))
        self.cos, self.sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)  # (S, D)

    def __call__(self, tokens: Tensor) -> Tensor:
        cache = self.cache
        if self.whole is not None:
            place = slice(cache.position, cache.position + 1)
            positions = None if self.positions is None else self.positions[None, place]
            return self.whole(tokens[:, None], None, cache, positions, last=True)
        rope = self.cos[cache.position], self.sin[cache.position]
        x = self.model.through_blocks(tokens, rope, cache, cache.mask(1))
        cache.position += 1
        logits = self.model.cap(self.head(x))
        if self.model.copy is None:
            return logits
        return mixed(logits.unsqueeze(1), *self.model.copy(x.unsqueeze(1), tokens.unsqueeze(1), cache))[:, 0]
