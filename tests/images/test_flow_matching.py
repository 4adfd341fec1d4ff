"""Paths, loss, guidance and solvers against closed forms, and against other people's packages where they are there."""

import itertools
import math

import pytest
import torch
from torch import nn

from blueberry_lib.images.flow_matching import (
    SOLVERS,
    TIMES,
    drop_labels,
    fixed_noise_loss,
    flow_loss,
    guided,
    integrate,
    interpolate,
    logit_normal_times,
    predict_data,
    sample,
)

MEAN = torch.tensor([0.5, -1.0])
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.5]])
ROOT = torch.linalg.cholesky(COVARIANCE)


def gaussian_velocity(x, t):
    """The exact velocity for data from N(MEAN, COVARIANCE)."""
    t, eye = t[:, None, None], torch.eye(2)
    spread = (1 - t) ** 2 * eye + t**2 * COVARIANCE
    centred = (x - t[:, 0] * MEAN)[..., None]
    return MEAN + ((t * COVARIANCE - (1 - t) * eye) @ torch.linalg.solve(spread, centred))[..., 0]


class Labelled(nn.Module):
    """A stand-in for a DiT2D: another smooth velocity for each label, and a count of its calls."""

    def __init__(self, channels=4):
        super().__init__()
        self.table = nn.Parameter(torch.randn(4, channels, 2, 2))
        self.config = type("Config", (), {"shape": (channels, 2, 2), "null_label": 3})
        self.calls = []

    def forward(self, x, t, labels):
        self.calls.append(len(x))
        return torch.tanh(x) * self.table[labels] + t.view(-1, 1, 1, 1)


def test_the_path_is_the_straight_line_and_points_at_its_end():
    x0, x1, t = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2), torch.rand(5)
    assert torch.equal(interpolate(x0, x1, torch.zeros(5)), x0) and torch.equal(interpolate(x0, x1, torch.ones(5)), x1)
    x = interpolate(x0, x1, t)
    torch.testing.assert_close(x[2], x0[2] + t[2] * (x1 - x0)[2])
    torch.testing.assert_close(predict_data(x, x1 - x0, t), x1)


@pytest.mark.parametrize("name", TIMES)
def test_times_lie_in_the_unit_interval_as_they_should(name):
    t = TIMES[name](200_000, generator=torch.Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= 1
    # the logistic function of a normal's quartile ±0.6745
    quartile = 0.25 if name == "uniform" else 1 / (1 + math.exp(0.6745))
    torch.testing.assert_close(t.quantile(torch.tensor([0.25, 0.5, 0.75])), torch.tensor([quartile, 0.5, 1 - quartile]),
                               atol=0.005, rtol=0)  # fmt: skip


def test_the_exact_velocity_of_a_gaussian_has_the_least_loss():
    """Least loss a dimension: (π / 2) · mean √λ, λ the eigenvalues of the covariance. Every other velocity has more."""
    x1 = MEAN + torch.randn(400_000, 2) @ ROOT.T
    floor = math.pi / 2 * torch.linalg.eigvalsh(COVARIANCE).sqrt().mean().item()
    assert flow_loss(gaussian_velocity, x1).item() == pytest.approx(floor, rel=0.01)
    assert flow_loss(lambda x, t: 1.1 * gaussian_velocity(x, t), x1).item() > floor * 1.01
    nothing = 1 + (x1**2).mean().item()  # E|x₁ − x₀|² a dimension
    assert flow_loss(lambda x, t: torch.zeros_like(x), x1).item() == pytest.approx(nothing, rel=0.01)


def test_the_loss_draws_its_times_as_told_and_is_float32():
    seen = []

    def velocity(x, t):
        seen.append(t)
        return x.bfloat16()

    assert flow_loss(velocity, torch.zeros(50_000, 1), logit_normal_times).dtype == torch.float32
    flow_loss(velocity, torch.zeros(50_000, 1))
    assert seen[0].std() < 0.22 < 0.27 < seen[1].std()


@pytest.mark.parametrize("solver", SOLVERS)
def test_gaussian_noise_flows_into_the_gaussian(solver):
    """The exact flow map is x₁ = m + S^½ x₀."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    x0 = torch.randn(50, 2)
    expected = MEAN + x0 @ (vectors * values.sqrt()) @ vectors.T
    found = integrate(gaussian_velocity, x0, 400, solver)
    torch.testing.assert_close(found, expected, atol=1e-2 if solver == "euler" else 1e-4, rtol=0)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_halving_the_step_divides_the_error_as_the_order_says(solver, order):
    """On a field that is linear in neither x nor t: x' = 3 cos(4 t) x², so x(1) = x₀ / (1 − x₀ · ¾ sin 4)."""
    x0 = torch.linspace(0.1, 0.5, 5).double()
    exact = x0 / (1 - x0 * 0.75 * math.sin(4))

    def error(steps):
        x, times = x0, torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        for t, after in itertools.pairwise(times):
            x = SOLVERS[solver][0](lambda x, t: 3 * torch.cos(4 * t) * x**2, x, t.expand(5), after - t)
        return (x - exact).abs().max().item()

    assert error(64) / error(128) == pytest.approx(2**order, rel=0.1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_evaluations_are_what_a_step_costs_times_steps(solver):
    model = Labelled()
    _, evaluations = sample(model, torch.arange(3), 7, solver)
    assert evaluations == len(model.calls) == 7 * SOLVERS[solver][1]
    assert integrate(gaussian_velocity, torch.randn(3, 2).bfloat16(), 7, solver).dtype == torch.float32


def test_the_empirical_velocity_only_returns_training_points():
    """The exact velocity of a finite set: its minimizer of the loss memorizes."""
    points = torch.randn(20, 6)

    def velocity(x, t):
        distance = torch.cdist(x, t[0] * points).square() / (2 * (1 - t[0]) ** 2)
        return ((-distance).softmax(dim=1) @ points - x) / (1 - t[0])

    ends = integrate(velocity, torch.randn(30, 6), 32, "euler")
    assert torch.cdist(ends, points).min(dim=1).values.max() < 1e-2


def test_labels_are_dropped_one_by_one_at_their_rate():
    labels = torch.arange(10).repeat(10_000)
    dropped = drop_labels(labels, 0.1, null_label=10)
    gone = dropped == 10
    assert abs(gone.float().mean().item() - 0.1) < 0.004 and torch.equal(dropped[~gone], labels[~gone])
    assert gone.view(-1, 10).any(dim=1).float().mean() > 0.6  # of ten neighbours some and not all: 1 − 0.9¹⁰ = 0.65
    assert torch.equal(drop_labels(labels, 0.0, 10), labels)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 3.0])
def test_one_call_guides_every_channel_as_two_passes_would(guidance):
    model, x, t, labels = Labelled(), torch.randn(5, 4, 2, 2), torch.rand(5), torch.tensor([0, 1, 2, 0, 1])
    conditional, null = model(x, t, labels), model(x, t, torch.full((5,), 3))
    model.calls.clear()
    found = guided(model, labels, guidance, null_label=3)(x, t)
    assert model.calls == [5 if guidance == 1 else 10]
    torch.testing.assert_close(found, null + guidance * (conditional - null))
    if guidance == 3:
        assert ((found - conditional).abs().amax(dim=(0, 2, 3)) > 0.1).all(), "a channel was left unguided"
    if guidance == 1:
        assert torch.equal(found, conditional)


def test_samples_depend_on_seed_and_label_alone(monkeypatch):
    model, labels = Labelled(), torch.arange(9) % 3
    images, evaluations = sample(model, labels, steps=4)
    assert images.shape == (9, 4, 2, 2) and evaluations == 8 and not images.requires_grad
    torch.rand(3)
    assert torch.equal(sample(model, labels, steps=4)[0], images)
    assert not torch.equal(sample(model, labels, steps=4, seed=1)[0], images)
    assert not torch.equal(sample(model, 2 - labels, steps=4)[0][0], images[0])
    monkeypatch.setattr("blueberry_lib.images.flow_matching.BATCH_SIZE", 4)
    torch.testing.assert_close(sample(model, labels, steps=4)[0], images)


def test_the_validation_loss_is_the_same_every_time_and_adds_up(monkeypatch):
    model, x1, labels = Labelled(), torch.randn(40, 4, 2, 2), torch.arange(40) % 3
    before = torch.get_rng_state()
    loss, by_time = fixed_noise_loss(model, x1, labels, repeats=5)
    assert torch.equal(torch.get_rng_state(), before), "it drew from the generator of the training"
    with monkeypatch.context() as smaller:
        smaller.setattr("blueberry_lib.images.flow_matching.BATCH_SIZE", 64)
        assert fixed_noise_loss(model, x1, labels, repeats=5)[0] == pytest.approx(loss, rel=1e-5)
    assert len(by_time) == 10 and sum(by_time) / 10 == pytest.approx(loss, rel=1e-5)  # 20 times in each
    assert fixed_noise_loss(model, x1, labels, repeats=5, seed=1)[0] != loss
    with torch.no_grad():
        model.table.zero_()
    zero, by_time = fixed_noise_loss(model, x1, labels, repeats=250)  # predicts t: E(x₁ − x₀ − t)²
    assert zero == pytest.approx(1 + (x1**2).mean().item() + 1 / 3 - x1.mean().item(), rel=0.02)


def test_torchcfm_agrees():
    torchcfm = pytest.importorskip("torchcfm.conditional_flow_matching")
    x0, x1, t = torch.randn(6, 3, 4, 4), torch.randn(6, 3, 4, 4), torch.rand(6)
    matcher = torchcfm.ConditionalFlowMatcher(sigma=0.0)
    _, x, v = matcher.sample_location_and_conditional_flow(x0, x1, t)
    assert torch.equal(interpolate(x0, x1, t), x) and torch.equal(x1 - x0, v)


def test_flow_matching_agrees():
    pytest.importorskip("flow_matching")
    from flow_matching.path import CondOTProbPath
    from flow_matching.solver import ODESolver

    x0, x1, t = torch.randn(6, 2), torch.randn(6, 2), torch.rand(6)
    path = CondOTProbPath().sample(x_0=x0, x_1=x1, t=t)
    assert torch.equal(interpolate(x0, x1, t), path.x_t) and torch.equal(x1 - x0, path.dx_t)

    def velocity(x, t):
        return gaussian_velocity(x, t.float().expand(len(x)))

    for ours, theirs in (("euler", "euler"), ("midpoint", "midpoint"), ("heun", "heun2")):
        grid = torch.linspace(0, 1, 9, dtype=torch.float64)
        expected = ODESolver(velocity).sample(x_init=x0, step_size=None, method=theirs, time_grid=grid)
        torch.testing.assert_close(integrate(velocity, x0, 8, ours), expected.float(), atol=1e-6, rtol=0)


def test_diffusers_agrees():
    diffusers = pytest.importorskip("diffusers")
    steps, x = 10, torch.randn(6, 2)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, steps + 1)[:-1].tolist())
    expected = x.clone()
    for timestep in scheduler.timesteps:
        t = (1 - timestep / 1000).expand(6)
        expected = scheduler.step(-gaussian_velocity(expected, t), timestep, expected).prev_sample
    torch.testing.assert_close(integrate(gaussian_velocity, x, steps, "euler"), expected, atol=5e-6, rtol=0)
