"""Orthogonalization against the SVD, and the published coefficients against a linear program."""

import numpy as np
import pytest
import torch

from blueberry_lib.optim.orthogonalize import _OPTIMAL, NEWTON_SCHULZ, newton_schulz, polar_express


def polar_factor(g):
    u, _, vt = torch.linalg.svd(g.double(), full_matrices=False)
    return u @ vt


def matrix(rows, columns, spread=30.0):
    """Random singular vectors, singular values from 1 down to 1 / spread."""
    short = min(rows, columns)
    u, _ = torch.linalg.qr(torch.randn(rows, short, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(columns, short, dtype=torch.float64))
    return (u * torch.logspace(0, -np.log10(spread), short, dtype=torch.float64)) @ v.T


@pytest.mark.parametrize("shape", [(64, 64), (128, 32), (32, 128), (1, 50), (50, 1)])
@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_singular_values_end_in_band_and_vectors_stay(shape, scale):
    g = (matrix(*shape) * scale).float()
    exact = polar_factor(g / scale)
    for function, low, high, closeness in ((newton_schulz, 0.65, 1.21, 0.97), (polar_express, 0.85, 1.15, 0.99)):
        out = function(g).double()
        values = torch.linalg.svdvals(out)
        assert low < values.min() and values.max() < high, (function.__name__, values.min(), values.max())
        cosine = (out * exact).sum() / out.norm() / exact.norm()
        assert cosine > closeness, function.__name__


def test_polar_express_converges_to_the_polar_factor():
    g = matrix(48, 96)
    errors = [(polar_express(g, steps) - polar_factor(g)).norm().item() for steps in (3, 5, 8, 12)]
    assert errors[0] > errors[1] > errors[2] and max(errors[2:]) < 1e-12


def test_a_rank_deficient_matrix_keeps_its_null_space():
    g = torch.randn(32, 4, dtype=torch.float64) @ torch.randn(4, 64, dtype=torch.float64)
    for function in (newton_schulz, polar_express):
        values = torch.linalg.svdvals(function(g))
        assert (values[:4] > 0.6).all() and (values[4:] < 1e-6).all()
        assert torch.equal(function(torch.zeros(8, 8)), torch.zeros(8, 8))


def test_a_batch_equals_one_at_a_time():
    g = torch.randn(5, 24, 40)
    for function in (newton_schulz, polar_express):
        torch.testing.assert_close(function(g), torch.stack([function(m) for m in g]), atol=1e-5, rtol=1e-4)


def test_bfloat16_is_close_to_float32():
    g = matrix(64, 128).float()
    for function in (newton_schulz, polar_express):
        out = function(g, dtype=torch.bfloat16)
        assert out.dtype == torch.bfloat16
        assert (out.float() - function(g)).norm() / function(g).norm() < 0.05


def test_newton_schulz_on_a_number_is_the_scalar_polynomial():
    a, b, c = NEWTON_SCHULZ
    x = 1.0
    for _ in range(5):
        x = a * x + b * x**3 + c * x**5
    assert newton_schulz(torch.tensor([[7.0]], dtype=torch.float64)).item() == pytest.approx(x)


def test_polar_express_coefficients_are_the_best_for_their_intervals():
    """Each quintic minimizes the largest |1 − p(s)| over [max(l, 0.024 u), u], then is centred on [l, u]
    (Amsel et al., 2025, algorithm 2); a linear program over a fine grid finds the same."""
    optimize = pytest.importorskip("scipy.optimize")
    low, high = 1e-3, 1.0
    for published in _OPTIMAL[:5]:
        s = np.linspace(max(low, 0.02407327424182761 * high), high, 4000)
        powers = np.stack([s, s**3, s**5], 1)
        ones = np.ones((len(s), 1))
        found = optimize.linprog(
            [0, 0, 0, 1],
            A_ub=np.block([[powers, -ones], [-powers, -ones]]),
            b_ub=np.concatenate([ones[:, 0], -ones[:, 0]]),
            bounds=[(None, None)] * 3 + [(0, None)],
        ).x[:3]

        def p(x, k):
            return k[0] * x + k[1] * x**3 + k[2] * x**5

        found *= 2 / (p(low, found) + p(s, found).max())
        np.testing.assert_allclose(found, published, rtol=3e-3)
        low = p(low, published)
        high = 2 - low
