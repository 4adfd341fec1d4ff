"""Flow matching (Lipman et al., 2023; Liu et al., 2023): learn the velocity of a straight path from noise to data.

One convention everywhere: x₀ ~ N(0, I) at t = 0, data x₁ at t = 1, x_t = (1 − t) x₀ + t x₁, velocity v = x₁ − x₀.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x (B, …), t (B,)) → velocity, shaped as x."""


def interpolate(x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    """The point at time ``t`` (B,) on the straight line from ``x0`` to ``x1``, (B, …) each."""
    t = t.view(-1, *[1] * (x0.ndim - 1))  # (B, 1, …)
    return (1 - t) * x0 + t * x1


def predict_data(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """Where the straight line through ``x`` at time ``t`` with velocity ``v`` ends: the data it points at, x̂₁."""
    t = t.view(-1, *[1] * (x.ndim - 1))  # (B, 1, …)
    return x + (1 - t) * v


def uniform_times(count: int, generator: torch.Generator | None = None, device: str = "cpu") -> Tensor:
    """Times (count,) in [0, 1)."""
    return torch.rand(count, generator=generator, device=device)


def logit_normal_times(count: int, generator: torch.Generator | None = None, device: str = "cpu") -> Tensor:
    """Times (count,) in (0, 1), most of them in the middle: the logistic function of N(0, 1) (Esser et al., 2024)."""
    return torch.randn(count, generator=generator, device=device).sigmoid()


TIMES = {"uniform": uniform_times, "logit_normal": logit_normal_times}


def euler_step(velocity: Velocity, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
    """One evaluation; the error of the whole path falls as the step."""
    return x + h * velocity(x, t)


def midpoint_step(velocity: Velocity, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
    """Two evaluations, here and half a step on; the error falls as the square of the step."""
    halfway = x + h / 2 * velocity(x, t)
    return x + h * velocity(halfway, t + h / 2)


def heun_step(velocity: Velocity, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
    """Two evaluations, here and a step on, averaged; the error falls as the square of the step."""
    here = velocity(x, t)
    there = velocity(x + h * here, t + h)
    return x + h / 2 * (here + there)


SOLVERS = {"euler": (euler_step, 1), "midpoint": (midpoint_step, 2), "heun": (heun_step, 2)}
"""Name → (step, evaluations of the velocity it takes)."""


@torch.no_grad()
def integrate(velocity: Velocity, x0: Tensor, steps: int, solver: str = "heun") -> Tensor:
    """Follow the velocity from ``x0`` (B, …) at t = 0 to t = 1 in ``steps`` equal steps, in float32."""
    step, _ = SOLVERS[solver]
    x = x0.float()
    times = torch.linspace(0, 1, steps + 1, device=x.device)
    for t, after in zip(times[:-1], times[1:], strict=True):
        x = step(velocity, x, t.expand(len(x)), after - t)
    return x
