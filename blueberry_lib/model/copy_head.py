"""A second way to predict: look for an earlier state like the present one, and copy the token that came after it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueberry_lib.config import ModelConfig
from blueberry_lib.model.attention import KVCache
from blueberry_lib.model.position import RMSNorm

SHARPNESS = 8.0  # of the scores at the start; 1 is attention's own
START = -3.0  # of the gate, before the sigmoid: a twentieth is copied


class CopyHead(nn.Module):
    """The share of each prediction that is copied from each token so far, (B, T, S), what is left of 1, (B, T), and
    the ids of those tokens, (B, S).

    A state's query meets the keys of the states before, and each stands for the token that came next; the softmax of
    the scores is multiplied by a gate in (0, 1). What is left belongs to the head over the vocabulary (``mixed``).
    This is the continuous cache of Grave et al. (2017), trained with the model, in the mixture of Merity et al. (2017).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.d_model, config.head_dim, bias=False)
        self.key = nn.Linear(config.d_model, config.head_dim, bias=False)
        self.query_norm, self.key_norm = RMSNorm(config.head_dim), RMSNorm(config.head_dim)
        for norm in (self.query_norm, self.key_norm):
            nn.init.constant_(norm.gain, SHARPNESS**0.5)
        self.gate = nn.Parameter(torch.zeros(config.d_model))
        self.gate_bias = nn.Parameter(torch.tensor(START))

    def forward(self, hidden: Tensor, tokens: Tensor, cache: KVCache | None = None) -> tuple[Tensor, Tensor, Tensor]:
        q, k = self.query_norm(self.query(hidden)), self.key_norm(self.key(hidden))
        if cache is None:
            keys, ids = F.pad(k[:, :-1], (0, 0, 1, 0)), tokens
            mask = torch.ones(2 * (tokens.shape[1],), dtype=torch.bool, device=tokens.device).tril()
        else:
            keys, ids, mask = cache.followed(k, tokens)
        scores = (q @ keys.mT).float() / q.shape[-1] ** 0.5  # (B, T, S)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        gate = hidden.float() @ self.gate.float() + self.gate_bias  # (B, T)
        return scores.softmax(dim=-1) * torch.sigmoid(gate).unsqueeze(-1), torch.sigmoid(-gate), ids


def mixed(logits: Tensor, copied: Tensor, kept: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities (B, T, V) of the vocabulary's ``logits`` (B, T, V) and what a ``CopyHead`` gives."""
    probabilities = logits.float().softmax(dim=-1) * kept.unsqueeze(-1)
    probabilities = probabilities.scatter_add(-1, ids.unsqueeze(1).expand_as(copied), copied)
    return probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()


def kept_and_found(copied: Tensor, kept: Tensor, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """For each of ``targets`` (B, T) the share that is not copied and the probability by copying, (B · T,) each."""
    found = (copied * (ids.unsqueeze(1) == targets.unsqueeze(-1))).sum(dim=-1)
    return kept.flatten(), found.flatten()
