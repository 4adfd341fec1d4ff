"""Batches in an order that depends on the seed alone and can be taken up anywhere."""

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from blueberry_lib.config import BlueberryError


class Order:
    """An endless walk through ``count`` rows: ``order[i]`` is the row at step i, each row once an epoch. Each epoch
    has its own order, drawn from (seed, epoch)."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch, self._rows = -1, np.empty(0, dtype=np.int64)

    def __getitem__(self, index: int) -> int:
        epoch, within = divmod(index, self.count)
        if epoch != self._epoch:
            self._rows = np.random.default_rng((self.seed, epoch)).permutation(self.count)
            self._epoch = epoch
        return int(self._rows[within])


class Batches(Protocol):
    """What the training loop asks of its data: an iterator of tuples of tensors that can be taken up anywhere."""

    position: int = 0
    """Rows handed out so far, all that its state consists of."""
    batch_size: int
    """Rows in a full batch."""
    row_units: int = 1
    """What a row counts for: its tokens, or 1."""

    @property
    def units(self) -> int:
        """What a full batch counts for."""
        return self.batch_size * self.row_units

    @property
    def units_done(self) -> int:
        """The same of all that was handed out so far."""
        return self.position * self.row_units

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Tensor, ...]: ...

    def rehearsal(self) -> list[tuple[Tensor, ...]]:
        """A dummy batch of each shape that is to come; draws none."""

    def state_dict(self) -> dict:
        return {"position": self.position}

    def load_state_dict(self, state: dict) -> None:
        self.position = state["position"]


class TokenBatches(Batches):
    """An iterator, endless without a limit, of (inputs, targets), each (batch_size, context) int64.

    The stream is cut into windows that begin a context apart and overlap by one token, so that
    in an epoch every token but the first is a target once; fewer than ``context`` tokens at the end are left out.

    With ``limit`` there are so many windows in all, in ``passes`` over the first ones of the stream whatever the seed,
    and the last batch has what is left. With ``contexts``, a curriculum, the windows are cut into pieces of these
    lengths, one after another over equal shares of the limit: the same tokens in the same order, in more and shorter
    rows.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        batch_size: int,
        context: int,
        seed: int,
        device: str = "cpu",
        limit: int | None = None,
        contexts: tuple[int, ...] = (),
        passes: int = 1,
    ) -> None:
        windows = (len(tokens) - 1) // context
        if windows < 1:
            raise BlueberryError(
                f"The corpus has {len(tokens)} training tokens, fewer than one context of {context} + 1. "
                "Give more text, or a smaller --model.context-length."
            )
        self.tokens, self.batch_size = tokens, batch_size
        self.context = self.row_units = context
        self.device, self.limit = device, limit
        self.contexts = contexts or (context,)
        self.order = Order(min(windows, limit // passes if limit else windows), seed)

    def __next__(self) -> tuple[Tensor, Tensor]:
        left = self.batch_size if self.limit is None else min(self.batch_size, self.limit - self.position)
        if left <= 0:
            raise StopIteration
        length = self.contexts[self.position * len(self.contexts) // self.limit if self.limit else 0]
        starts = [self.order[self.position + i] * self.context for i in range(left)]
        rows = [self.tokens[start : start + self.context + 1] for start in starts]
        self.position += left
        windows = torch.from_numpy(np.stack(rows).astype(np.int64)).to(self.device)  # (B, T + 1)
        return windows[:, :-1].reshape(-1, length), windows[:, 1:].reshape(-1, length)

    def rehearsal(self) -> list[tuple[Tensor, Tensor]]:
        """Batches of zeros."""
        shapes = {(self.units // length, length) for length in self.contexts}
        if self.limit and self.limit % self.batch_size:
            last = self.contexts[-1]
            shapes.add((self.limit % self.batch_size * self.context // last, last))
        zeros = [torch.zeros(shape, dtype=torch.int64, device=self.device) for shape in sorted(shapes)]
        return [(z, z) for z in zeros]


class RowBatches(Batches):
    """An endless iterator of tuples of rows, (batch_size, …) each, drawn together from tensors of equal length."""

    def __init__(self, tensors: Sequence[Tensor], batch_size: int, seed: int, device: str = "cpu") -> None:
        self.tensors, self.batch_size, self.device = tensors, batch_size, device
        self.order = Order(len(tensors[0]), seed)

    def __next__(self) -> tuple[Tensor, ...]:
        rows = torch.tensor([self.order[self.position + i] for i in range(self.batch_size)])
        self.position += self.batch_size
        return tuple(tensor[rows].to(self.device) for tensor in self.tensors)

    def rehearsal(self) -> list[tuple[Tensor, ...]]:
        """One batch of the first rows."""
        rows = torch.arange(self.batch_size) % len(self.tensors[0])
        return [tuple(tensor[rows].to(self.device) for tensor in self.tensors)]
