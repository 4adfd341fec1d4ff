"""Flow matching (Lipman et al., 2023; Liu et al., 2023): learn the velocity of a straight path from noise to data.

One convention everywhere: x₀ ~ N(0, I) at t = 0, data x₁ at t = 1, x_t = (1 − t) x₀ + t x₁, velocity v = x₁ − x₀.
"""

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x (B, …), t (B,)) → velocity, shaped as x."""
BATCH_SIZE = 600  # images at a time in sampling and evaluation


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


def training_points(x1: Tensor, times: Callable[..., Tensor] = uniform_times) -> tuple[Tensor, Tensor, Tensor]:
    """At one random time and noise for each of ``x1`` (B, …): (x_t as x1, t (B,), velocity of the line as x1)."""
    x0, t = torch.randn_like(x1), times(len(x1), device=x1.device)
    return interpolate(x0, x1, t), t, x1 - x0


def flow_loss(velocity: Velocity, x1: Tensor, times: Callable[..., Tensor] = uniform_times) -> Tensor:
    """Mean squared error of the velocity at one random time and noise for each of ``x1`` (B, …), in float32.

    Its least value is not 0: the same point lies on lines to different data, and the best velocity is their mean.
    """
    x, t, v = training_points(x1, times)
    return F.mse_loss(velocity(x, t).float(), v)


def drop_labels(labels: Tensor, rate: float, null_label: int) -> Tensor:
    """Each of ``labels`` (B,) becomes the null label with probability ``rate``, on its own."""
    return labels.where(torch.rand(labels.shape, device=labels.device) >= rate, null_label)


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
def integrate(velocity: Velocity, x0: Tensor, steps: int, solver: str = "midpoint", quiet: bool = True) -> Tensor:
    """Follow the velocity from ``x0`` (B, …) at t = 0 to t = 1 in ``steps`` equal steps, in float32."""
    step, x = SOLVERS[solver][0], x0.float()
    times = torch.linspace(0, 1, steps + 1, device=x.device)
    for t, after in tqdm(itertools.pairwise(times), total=steps, unit="step", disable=quiet):
        x = step(velocity, x, t.expand(len(x)), after - t)
    return x


def guided(model: nn.Module, labels: Tensor, guidance: float, null_label: int) -> Velocity:
    """v = v_∅ + w (v_c − v_∅), w being ``guidance``, of ``model(x, t, labels)``: 1 is the conditional velocity, 0 the
    unconditional one, more overshoots (Ho & Salimans, 2022). Both come from one call with twice the rows."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        if guidance == 1:
            return model(x, t, labels).float()
        both = torch.cat((torch.full_like(labels, null_label), labels))
        null, conditional = model(x.repeat(2, *[1] * (x.ndim - 1)), t.repeat(2), both).float().chunk(2)
        return torch.lerp(null, conditional, guidance)

    return velocity


@torch.no_grad()
def sample(
    model: nn.Module,
    labels: Tensor,
    steps: int = 20,
    solver: str = "midpoint",
    guidance: float = 1.0,
    seed: int = 0,
    quiet: bool = True,
) -> tuple[Tensor, int]:
    """Images of the ``labels`` (N,): (float32 (N, C, H, W) about [−1, 1], evaluations of the velocity for each).

    ``model`` is a DiT2D in eval mode. The noise depends on the seed alone, not on the device. With guidance an
    evaluation takes twice the work.
    """
    device, config = next(model.parameters()).device, model.config
    noise = torch.randn(len(labels), *config.shape, generator=torch.Generator().manual_seed(seed))
    images = []
    for x0, wanted in zip(noise.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):
        velocity = guided(model, wanted.to(device), guidance, config.null_label)
        images.append(integrate(velocity, x0.to(device), steps, solver, quiet).cpu())
    return torch.cat(images), steps * SOLVERS[solver][1]


@torch.no_grad()
def fixed_noise_loss(
    model: nn.Module, x1: Tensor, labels: Tensor, repeats: int = 4, seed: int = 0, batches: int | None = None
) -> tuple[float, list[float]]:
    """The loss on ``x1`` (N, …) at times and noise that depend on the seed alone: (mean, mean in each tenth of time).

    The times, ``repeats`` for each of ``x1``, lie evenly in [0, 1]. With ``batches`` only the first so many are used.
    """
    generator, count = torch.Generator().manual_seed(seed), repeats * len(x1)
    t = (torch.randperm(count, generator=generator) + 0.5) / count
    x0 = torch.randn(count, *x1.shape[1:], generator=generator)
    losses = []
    for rows in torch.arange(count).split(BATCH_SIZE)[:batches]:
        data, noise, time = x1[rows % len(x1)], x0[rows].to(x1.device), t[rows].to(x1.device)
        v = model(interpolate(noise, data, time), time, labels[rows % len(x1)])
        losses.append((v.float() - (data - noise)).square().flatten(1).mean(dim=1).cpu())
    loss = torch.cat(losses)
    tenth = (t[: len(loss)] * 10).long()
    return loss.mean().item(), [loss[tenth == i].mean().item() for i in range(10)]
