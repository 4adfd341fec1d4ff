"""From a vector to one of a few codes, and back; all in float32, whatever the rest is computed in."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMOOTHING = 1e-5


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The index of each vector's nearest in the codebook: (..., D), (K, D) → (...)."""
    flat = vectors.flatten(0, -2)
    distances = codebook.square().sum(-1) - 2 * flat @ codebook.T  # (N, K), less ‖vector‖², the same for every code
    return distances.argmin(-1).view(vectors.shape[:-1])


def straight_through(vectors: Tensor, chosen: Tensor) -> Tensor:
    """``chosen`` going forward; going backward their gradient is that of ``vectors`` (Bengio et al., 2013)."""
    return vectors + (chosen - vectors).detach()


def kmeans(vectors: Tensor, count: int, iterations: int = 10) -> Tensor:
    """Centres (count, D) of ``vectors`` (N, D) by Lloyd's method from random ones; a centre of nothing stays."""
    order = torch.randperm(len(vectors), device=vectors.device)
    centres = vectors[order[torch.arange(count, device=vectors.device) % len(vectors)]].clone()
    for _ in range(iterations):
        indices = nearest(vectors, centres)
        sizes = indices.bincount(minlength=count).unsqueeze(1)
        means = torch.zeros_like(centres).index_add_(0, indices, vectors) / sizes.clamp(min=1)
        centres = torch.where(sizes > 0, means, centres)
    return centres


class Codebook(nn.Module):
    """The nearest of K vectors: (..., D) → straight-through vectors (..., D) of the codebook, indices (...) and a loss.

    "gradient": the codebook loss draws the codes to their vectors, the commitment loss the vectors to their codes.
    "ema": there is no codebook loss, and each code is the moving average of its vectors, sums / counts, both decayed;
    counts are smoothed by SMOOTHING, lest an unused code be 0/0. That happens in the forward pass, in training mode.
    With ``revive_below`` a code used less than this share of the mean use is put onto a vector of the batch. With
    ``normalized`` vectors and codes have length 1.
    """

    def __init__(
        self, count: int, dim: int, *, ema=True, commitment=0.25, decay=0.97, revive_below=0.03, normalized=False
    ) -> None:
        super().__init__()
        self.ema, self.commitment, self.decay = ema, commitment, decay
        self.revive_below, self.normalized = revive_below, normalized
        vectors = self.prepared(torch.randn(count, dim))
        if ema:
            self.register_buffer("vectors", vectors)
            self.register_buffer("counts", torch.ones(count))
            self.register_buffer("sums", vectors.clone())
        else:
            self.vectors = nn.Parameter(vectors)

    def codebook(self) -> Tensor:
        """(K, D)."""
        return self.prepared(self.vectors)

    def prepared(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors.float(), dim=-1) if self.normalized else vectors.float()

    def nearest(self, vectors: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):
            return nearest(self.prepared(vectors), self.codebook())

    def lookup(self, indices: Tensor) -> Tensor:
        """(...) → (..., D)."""
        return F.embedding(indices, self.codebook())

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = self.prepared(vectors)
            indices = nearest(vectors, self.codebook())
            chosen = self.lookup(indices)
            loss = self.commitment * F.mse_loss(vectors, chosen.detach())
            if not self.ema:
                loss = loss + F.mse_loss(chosen, vectors.detach())
            elif self.training:
                self.follow(vectors.detach().flatten(0, -2), indices.flatten())
            return straight_through(vectors, chosen), indices, loss

    @torch.no_grad()
    def kmeans_start(self, vectors: Tensor) -> None:
        """Put the codes at the centres of ``vectors`` (..., D)."""
        self.vectors.copy_(kmeans(self.prepared(vectors).flatten(0, -2), len(self.vectors)))
        if self.ema:
            self.counts.fill_(1.0)
            self.sums.copy_(self.vectors)

    @torch.no_grad()
    def follow(self, vectors: Tensor, indices: Tensor) -> None:
        """Move each code towards the mean of its ``vectors`` (N, D); put the dead ones onto random ones of them."""
        K = len(self.counts)
        self.counts.lerp_(indices.bincount(minlength=K).float(), 1 - self.decay)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, indices, vectors), 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + SMOOTHING) / (total + K * SMOOTHING) * total
        self.vectors.copy_(self.prepared(self.sums / smoothed.unsqueeze(1)))
        if self.revive_below:
            least = self.revive_below * len(vectors) / K
            dead = self.counts < least  # (K,)
            drawn = vectors[torch.randint(len(vectors), (K,), device=vectors.device)]
            self.vectors.copy_(torch.where(dead.unsqueeze(1), drawn, self.vectors))
            self.sums.copy_(torch.where(dead.unsqueeze(1), least * drawn, self.sums))
            self.counts.clamp_(min=least)


class FiniteScalar(nn.Module):
    """FSQ (Mentzer et al., 2024): each entry is squashed by tanh and rounded to one of its levels, spread over [−1, 1].

    Every combination is a code; nothing is learnt, so no code can die, and there is no loss. Its interface is
    Codebook's.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        levels = torch.tensor(levels)  # (D,)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("place", levels.cumprod(0) // levels, persistent=False)  # 1, L₀, L₀L₁, …

    def bounded(self, vectors: Tensor) -> Tensor:
        """Any numbers (..., D) → a little beyond the lowest level, −⌊L/2⌋, to as much beyond the highest."""
        reach = (self.levels - 1) * (1 + 1e-3) / 2
        even = 0.5 * (self.levels % 2 == 0)
        return torch.tanh(vectors.float() + torch.atanh(even / reach)) * reach - even

    def indices(self, rounded: Tensor) -> Tensor:
        return ((rounded + self.levels // 2) * self.place).sum(-1).long()

    def nearest(self, vectors: Tensor) -> Tensor:
        return self.indices(self.bounded(vectors).round())

    def lookup(self, indices: Tensor) -> Tensor:
        digits = indices.unsqueeze(-1) // self.place % self.levels  # (..., D)
        return (digits - self.levels // 2) / (self.levels // 2)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(vectors.device.type, enabled=False):
            bounded = self.bounded(vectors)
            rounded = bounded.round()
            return straight_through(bounded, rounded) / (self.levels // 2), self.indices(rounded), bounded.new_zeros(())
