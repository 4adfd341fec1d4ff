"""A model and the moving average of its weights."""

import copy

import torch
from torch import nn


class Averaged(nn.Module):
    """Trains ``model``; in eval mode it is the exponential moving average of its weights.

    Both are in the state_dict, and so in every checkpoint. ``update()`` after each optimizer step moves the average by
    1 − d towards the model, d = min(decay, (1 + i) / (10 + i)) at update i = 0, 1, …: at first it follows closely, as
    it must not remember the random start (the warm-up of TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        self.model, self.decay = model, decay
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, *inputs):
        return (self.model if self.training else self.average)(*inputs)

    @torch.no_grad()
    def update(self) -> None:
        share = 1 - ((1 + self.updates) / (10 + self.updates)).clamp(max=self.decay)  # on the device: nothing waits
        for average, parameter in zip(self.average.parameters(), self.model.parameters(), strict=True):
            average.lerp_(parameter, share)
        for average, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
            average.copy_(buffer)
        self.updates += 1
