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
    transpose, are orthogonalized in one batch: the products are small, and their number is what costs. The matrices of
    a parameter group with ``merged=True`` are treated as one, stacked in rows.

    ``orthogonalize(matrices, steps, dtype)`` is one of ``blueberry_lib.optim.orthogonalize``; ``dtype`` is what
    it computes in, by default the gradients'. Raises ValueError for a parameter that is not a matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.024,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        orthogonalize: Callable[..., Tensor] = newton_schulz,
        steps: int = 5,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "merged": False})
        self.orthogonalize, self.steps, self.dtype = orthogonalize, steps, dtype
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon takes matrices; got a parameter of shape {tuple(p.shape)}.")

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            by_shape = defaultdict(list)
            for matrix in filter(None, [params] if group["merged"] else [[p] for p in params]):
                by_shape[tuple(sorted((sum(len(p) for p in matrix), matrix[0].shape[1])))].append(matrix)
            for same in by_shape.values():
                self._step_batch(same, **{k: group[k] for k in ("lr", "momentum", "weight_decay")})

    def _step_batch(self, matrices: list[list[Tensor]], lr: float, momentum: float, weight_decay: float) -> None:
        """Step matrices of one shape, each given as the parameters that make up its rows."""
        params = [p for matrix in matrices for p in matrix]
        grads = [p.grad for p in params]
        for p in params:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum"] for p in params]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        steps = iter(torch._foreach_lerp(grads, buffers, momentum))
        directions = [torch.cat([next(steps) for _ in m]) if len(m) > 1 else next(steps) for m in matrices]
        stacked = torch.stack([d if d.shape[0] <= d.shape[1] else d.mT for d in directions])
        updates = self.orthogonalize(stacked, self.steps, self.dtype)  # (N, short, long)
        for matrix, direction, update in zip(matrices, directions, updates, strict=True):
            rows, columns = direction.shape
            whole = update if rows <= columns else update.mT
            for p, part in zip(matrix, whole.split([len(p) for p in matrix]), strict=True):
                if weight_decay:
                    p.mul_(1 - lr * weight_decay)
                p.add_(part, alpha=-lr * max(1, rows / columns) ** 0.5)
