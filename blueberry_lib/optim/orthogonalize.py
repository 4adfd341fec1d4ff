"""Replace a matrix by its nearest (semi-)orthogonal one, with matrix products alone.

With the singular value decomposition G = U S Vᵀ that is U Vᵀ: every singular value becomes 1. Both iterations
below apply an odd polynomial p(X) = aX + b(XXᵀ)X + c(XXᵀ)²X, which moves each singular value s to
as + bs³ + cs⁵ and leaves U and V alone.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Coefficients = tuple[float, float, float]

# Keller Jordan's quintic (2024): steepest at 0, so small singular values grow fast; the others end up between
# about 0.7 and 1.2 and never settle.
NEWTON_SCHULZ: Coefficients = (3.4445, -4.7750, 2.0315)

# Polar Express (Amsel et al., 2025), for singular values in [0.001, 1]: each quintic is the best one for the
# interval the step before left. All but the last are damped, s → p(s / 1.01), against rounding in 16 bits.
_OPTIMAL: tuple[Coefficients, ...] = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845749475, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.875, -1.25, 0.375),
)
POLAR_EXPRESS: tuple[Coefficients, ...] = tuple((a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in _OPTIMAL[:-1]) + (
    _OPTIMAL[-1],
)


def _iterate(g: Tensor, coefficients: Sequence[Coefficients], margin: float, dtype: torch.dtype | None) -> Tensor:
    wide = g.shape[-2] <= g.shape[-1]
    x = g.to(torch.promote_types(g.dtype, torch.float32))
    x = x if wide else x.mT
    # Dividing by the largest entry first keeps the squares in the norm within range.
    x = x / x.abs().amax((-2, -1), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * margin).clamp(min=1e-7)
    x = x.to(dtype or g.dtype)
    flat = x if x.ndim == 3 else x.reshape(-1, *x.shape[-2:])
    for a, b, c in coefficients:
        gram = flat @ flat.mT  # (N, m, m), m the shorter side
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        flat = torch.baddbmm(flat, polynomial, flat, beta=a)
    x = flat.view(x.shape)
    return x if wide else x.mT


def newton_schulz(g: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Orthogonalize ``g`` (..., rows, columns) by Newton–Schulz iterations with Keller Jordan's coefficients.

    Computes in ``dtype`` (default: ``g``'s) and returns it. After five steps the singular values lie near
    1, in about [0.7, 1.2]; those below about 0.001 of the norm have not yet arrived, and zero stays zero.
    """
    return _iterate(g, [NEWTON_SCHULZ] * steps, 1.0, dtype)


def polar_express(g: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Orthogonalize ``g`` (..., rows, columns) by the Polar Express iterations.

    As ``newton_schulz``, but each step has its own coefficients and the singular values converge to 1.
    """
    chosen = [POLAR_EXPRESS[min(i, len(POLAR_EXPRESS) - 1)] for i in range(steps)]
    return _iterate(g, chosen, 1.01, dtype)


ORTHOGONALIZE: dict[str, Callable[..., Tensor]] = {
    "newton_schulz": newton_schulz,
    "polar_express": polar_express,
}
