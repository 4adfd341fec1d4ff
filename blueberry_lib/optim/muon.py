"""Muon: momentum, then orthogonalization (Jordan et al., 2024)."""

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from blueberry_lib.optim.orthogonalize import newton_schulz


class Muon(Optimizer):
    """Muon for matrices, (rows, columns) each.

    momentum m ← μ m + (1 − μ) g; direction d = (1 − μ) g + μ m (Nesterov); w ← (1 − lr·decay) w
    − lr · sqrt(max(1, rows / columns)) · orthogonalize(d). Matrices of the same shape, or of its
    transpose, are orthogonalized in one batch: the products are small, and their number is what costs.

    ``orthogonalize(matrices, steps, dtype)`` is one of ``blueberry_lib.optim.orthogonalize``; ``dtype`` is what
    it computes in. Raises ValueError for a parameter that is not a matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.024,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        orthogonalize: Callable[..., Tensor] = newton_schulz,
        steps: int = 5,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.orthogonalize, self.steps, self.dtype = orthogonalize, steps, dtype
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon takes matrices; got a parameter of shape {tuple(p.shape)}.")

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[tuple(sorted(p.shape))].append(p)
            for same in by_shape.values():
                self._step_batch(same, **{k: group[k] for k in ("lr", "momentum", "weight_decay")})

    def _step_batch(self, params: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        grads = [p.grad for p in params]
        for p in params:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum"] for p in params]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        directions = torch._foreach_lerp(grads, buffers, momentum)
        stacked = torch.stack([d if d.shape[0] <= d.shape[1] else d.mT for d in directions])
        updates = self.orthogonalize(stacked, self.steps, self.dtype)  # (N, short, long)
        for p, update in zip(params, updates, strict=True):
            rows, columns = p.shape
            p.mul_(1 - lr * weight_decay)
            p.add_(update if rows <= columns else update.mT, alpha=-lr * max(1, rows / columns) ** 0.5)
