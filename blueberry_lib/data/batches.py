"""Batches of token windows, in an order that depends on the seed alone and can be taken up anywhere."""

import numpy as np
import torch
from torch import Tensor

from blueberry_lib.config import BlueberryError


class TokenBatches:
    """An endless iterator of (inputs, targets), each (batch_size, context) int64.

    The stream is cut into windows that begin a context apart and overlap by one token, so that
    in an epoch every token but the first is a target once; fewer than ``context`` tokens at the end are left out. Each
    epoch has its own order, drawn from (seed, epoch).
    """

    def __init__(self, tokens: np.ndarray, batch_size: int, context: int, seed: int, device: str = "cpu") -> None:
        self.windows = (len(tokens) - 1) // context
        if self.windows < 1:
            raise BlueberryError(
                f"The corpus has {len(tokens)} training tokens, fewer than one context of {context} + 1. "
                "Give more text, or a smaller --model.context-length."
            )
        self.tokens, self.batch_size, self.context = tokens, batch_size, context
        self.seed, self.device = seed, device
        self.position = 0  # windows handed out so far
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    @property
    def units(self) -> int:
        """Tokens in a batch."""
        return self.batch_size * self.context

    def _window(self, index: int) -> np.ndarray:
        epoch, within = divmod(index, self.windows)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.windows)
            self._epoch = epoch
        start = self._order[within] * self.context
        return self.tokens[start : start + self.context + 1]

    def __iter__(self) -> "TokenBatches":
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        rows = [self._window(self.position + i) for i in range(self.batch_size)]
        self.position += self.batch_size
        windows = torch.from_numpy(np.stack(rows).astype(np.int64)).to(self.device)  # (B, T + 1)
        return windows[:, :-1], windows[:, 1:]

    def state_dict(self) -> dict:
        return {"position": self.position}

    def load_state_dict(self, state: dict) -> None:
        self.position = state["position"]
