"""Causal self-attention with grouped queries, rotary positions, QK-norm and a key-value cache."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueberry_lib.config import ModelConfig
from blueberry_lib.model.position import RMSNorm, apply_rope

SHORT_CONTEXT = 512


class KVCache:
    """Keys and values of the tokens seen so far, for every layer, allocated once.

    ``padding`` (B,) counts the padding tokens at the left of each row: they are never attended to.
    """

    def __init__(self, config: ModelConfig, batch_size: int, length: int, padding: Tensor, dtype: torch.dtype):
        shape = (batch_size, config.n_kv_heads, length, config.head_dim)
        self.keys = [torch.zeros(shape, dtype=dtype, device=padding.device) for _ in range(config.n_layers)]
        self.values = [torch.zeros_like(keys) for keys in self.keys]
        self.last_keys: list[Tensor | None] = [None] * config.n_layers
        if config.copy_head:
            self.after = torch.zeros(batch_size, length + 1, config.head_dim, dtype=dtype, device=padding.device)
            self.ids = torch.zeros(batch_size, length, dtype=torch.int64, device=padding.device)
        self.padding = padding
        self.has_padding = bool(padding.any())
        self.position = 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, H_kv, T, D) to a layer; returns all of its keys and values, (B, H_kv, S, D)."""
        new, end = keys.shape[2], self.position + keys.shape[2]
        all_keys, all_values = self.keys[layer].narrow(2, 0, end), self.values[layer].narrow(2, 0, end)
        all_keys.narrow(2, self.position, new).copy_(keys)
        all_values.narrow(2, self.position, new).copy_(values)
        return all_keys, all_values

    def previous_keys(self, layer: int, keys: Tensor) -> Tensor:
        """``previous_keys`` below, of tokens that continue those in the cache; (B, H, T, D) → the same."""
        before, self.last_keys[layer] = self.last_keys[layer], keys[:, :, -1:]
        if before is not None:
            return torch.cat((before, keys[:, :, :-1]), dim=2) if keys.shape[2] > 1 else before
        first = torch.arange(keys.shape[2], device=keys.device) == self.padding[:, None]  # (B, T)
        return torch.where(first[:, None, :, None], keys, previous_keys(keys))

    def followed(self, keys: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Append what a ``CopyHead`` looks among, (B, T, D) and ids (B, T), of the tokens that ``position`` counts
        already; returns for all the key of the state before, zeros where there is none, the ids, and what each of the
        new tokens may look at, (B, T, S) or None for everything."""
        end, start = self.position, self.position - tokens.shape[1]
        real = torch.arange(start, end, device=keys.device) >= self.padding[:, None]
        self.after[:, start + 1 : end + 1] = keys * real.unsqueeze(-1)
        self.ids[:, start:end] = tokens
        mask = self.mask(end - start, start)
        return self.after[:, :end], self.ids[:, :end], None if mask is None else mask[:, 0]

    def mask(self, new: int, start: int | None = None) -> Tensor | None:
        """What the next ``new`` tokens, or those from ``start`` on, may attend to, (B, 1, new, S), True where allowed;
        None for everything, which is all that a single new token without padding needs."""
        if new == 1 and not self.has_padding:
            return None
        start = self.position if start is None else start
        key = torch.arange(start + new, device=self.padding.device)
        query = key[start:, None]
        real = key >= self.padding[:, None, None, None]  # (B, 1, 1, S)
        return (key <= query) & (real | (key == query))  # a padding token sees itself, lest softmax be 0/0


def previous_keys(keys: Tensor) -> Tensor:
    """Each token's key replaced by that of the token before; the first keeps its own. (B, H, T, D) → the same."""
    return torch.cat((keys[:, :, :1], keys[:, :, :-1]), dim=2)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """softmax(q kᵀ / √D) v with grouped queries: (B, H, T, D), (B, H_kv, S, D) twice → (B, H, T, D).

    ``mask`` is True where attention is allowed. On a CPU in bfloat16 the plain form with short contexts
    takes half the time of torch's fused one.
    """
    B, H, T, D = q.shape
    groups, S = H // k.shape[1], k.shape[2]
    if T == 1:  # query heads that share keys become rows
        return F.scaled_dot_product_attention(q.reshape(B, -1, groups, D), k, v, mask).reshape(q.shape)
    if not (q.device.type == "cpu" and q.dtype == torch.bfloat16 and S <= SHORT_CONTEXT):
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=groups > 1)
    grouped = (q * D**-0.5).reshape(B, -1, groups * T, D)  # query heads that share keys become more rows
    scores = (grouped @ k.mT).view(B, -1, groups, T, S)
    if causal:
        mask = torch.ones(T, S, dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores + torch.zeros(mask.shape, dtype=q.dtype).masked_fill(~mask, -torch.inf).unsqueeze(-3)
    weights = scores.softmax(dim=-1).view(B, -1, groups * T, S)
    return (weights @ v).view(B, H, T, D)


class Attention(nn.Module):
    """(B, T, d_model) → (B, T, d_model).

    ``norm`` (a class), ``rotate`` and ``attend`` replace RMSNorm, ``apply_rope`` and the causal ``attend`` of q, k and
    v. With a cache the library's ``attend`` answers all the same, since it takes a mask.
    """

    def __init__(
        self,
        config: ModelConfig,
        layer: int,
        norm: Callable[[int], nn.Module] = RMSNorm,
        rotate: Callable[[Tensor, Tensor, Tensor], Tensor] = apply_rope,
        attend: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.rotate, self.own_attend = rotate, attend
        self.layer, self.head_dim, self.key_offset = layer, config.head_dim, config.key_offset
        self.query = nn.Linear(config.d_model, config.n_heads * config.head_dim, bias=False)
        self.key = nn.Linear(config.d_model, config.n_kv_heads * config.head_dim, bias=False)
        self.value = nn.Linear(config.d_model, config.n_kv_heads * config.head_dim, bias=False)
        self.output = nn.Linear(config.n_heads * config.head_dim, config.d_model, bias=False)
        self.query_norm = norm(config.head_dim)
        self.key_norm = norm(config.head_dim)
        self.value_share = nn.Parameter(torch.tensor(0.5)) if config.value_residual and layer else None

    def project(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, D) and keys (B, H_kv, T, D), normalised and turned, and values, of the keys' shape.
        ``decoding.projection`` does the same for one token in fewer operations."""
        split = (*x.shape[:2], -1, self.head_dim)  # (B, T, heads, D)
        q, k, v = (linear(x).view(split).transpose(1, 2) for linear in (self.query, self.key, self.value))
        return self.rotate(self.query_norm(q), *rope), self.rotate(self.key_norm(k), *rope), v

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        first_values: Tensor | None = None,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Returns the output and this layer's own values (B, H_kv, T, D), for ``first_values`` of later layers."""
        q, k, values = self.project(x, rope)
        v = values
        if self.key_offset:
            still, moved = k.chunk(2, dim=1)
            moved = previous_keys(moved) if cache is None else cache.previous_keys(self.layer, moved)
            k = torch.cat((still, moved), dim=1)
        if self.value_share is not None:
            v = torch.lerp(first_values, v, self.value_share.to(v.dtype))
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        own = self.own_attend if cache is None else None
        y = own(q, k, v) if own else attend(q, k, v, mask, causal=cache is None)
        return self.output(y.flatten(1) if x.ndim == 2 else y.transpose(1, 2).flatten(2)), values
