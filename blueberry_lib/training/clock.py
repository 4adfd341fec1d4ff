"""Time by phase, and a warm-up that leaves no trace."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from blueberry_lib.hardware import synchronize


class Clock:
    """Seconds spent in each phase: "setup", "active" (training steps), "eval", "save".

    Exactly one phase runs at a time; the device is synchronized at every change, so that work queued in one phase is
    not counted in the next.
    """

    def __init__(self, device: str = "cpu", now: Callable[[], float] = time.perf_counter) -> None:
        self.device, self.now = device, now
        self.seconds = {"setup": 0.0, "active": 0.0, "eval": 0.0, "save": 0.0}
        self.phase, self.since = "setup", now()

    def switch(self, phase: str) -> str:
        """End the current phase and begin another; returns the one that ended."""
        synchronize(self.device)
        now = self.now()
        self.seconds[self.phase] += now - self.since
        ended, self.phase, self.since = self.phase, phase, now
        return ended

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """A phase for the length of a ``with`` block, then back to the one before."""
        before = self.switch(phase)
        try:
            yield
        finally:
            self.switch(before)

    def total(self, phase: str) -> float:
        """Seconds in a phase so far; the device is not synchronized."""
        running = self.now() - self.since if phase == self.phase else 0.0
        return self.seconds[phase] + running


def rng_state(device: str) -> dict[str, torch.Tensor]:
    """The state of every generator a run draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device != "cpu":
        state[device] = getattr(torch, device).get_rng_state()
    return state


def set_rng_state(state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    for device in state.keys() - {"cpu"}:
        getattr(torch, device).set_rng_state(state[device])


def _equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b


def warm_up(rehearse: Callable[[], None], model: nn.Module, others: list, device: str) -> None:
    """Run ``rehearse``, a training step and an evaluation on dummy data, so that whatever is compiled, tuned or
    allocated on first use is so before the clock starts. Then restore the model, the ``others`` (optimizers, batches,
    scaler) and the random generators, and assert that each is bit for bit what it was."""
    stateful = [model, *others]

    def snapshot() -> list:
        return [*(copy.deepcopy(part.state_dict()) for part in stateful), rng_state(device)]

    before = snapshot()
    rehearse()
    model.zero_grad(set_to_none=True)
    for part, state in zip(stateful, before, strict=False):
        part.load_state_dict(copy.deepcopy(state))
    set_rng_state(before[-1])
    if not _equal(snapshot(), before):
        raise AssertionError("the warm-up changed the run's state")
