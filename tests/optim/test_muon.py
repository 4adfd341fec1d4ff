"""A Muon step equals torch's, whatever the shapes."""

import pytest
import torch

from blueberry_lib.optim.muon import Muon
from blueberry_lib.optim.orthogonalize import NEWTON_SCHULZ, newton_schulz

SHAPES = [(32, 32), (64, 32), (32, 64), (32, 32), (48, 16)]


def torchs_iteration(matrices, steps, dtype):
    from torch.optim._muon import _zeropower_via_newtonschulz

    return torch.stack([_zeropower_via_newtonschulz(m, NEWTON_SCHULZ, steps, 1e-7) for m in matrices])


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("orthogonalize", "tolerance"),
    [(torchs_iteration, 1e-6), (newton_schulz, 0.03)],  # bfloat16 rounds differently in ours and torch's
)
def test_steps_equal_torchs(weight_decay, orthogonalize, tolerance):
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": weight_decay}
    optimizers = (
        Muon(ours, **settings, orthogonalize=orthogonalize),
        torch.optim.Muon(theirs, **settings, nesterov=True),
    )
    start = [p.detach().clone() for p in ours]
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b, before in zip(ours, theirs, start, strict=True):
        moved = (b - before).norm()
        assert moved > 0.1 and (a - b).norm() < tolerance * moved


def test_the_update_has_the_shape_factor_and_no_memory_of_the_gradients_size():
    for shape, factor in (((64, 16), 2.0), ((16, 64), 1.0), ((16, 16), 1.0)):
        for size in (1e-6, 1e6):
            p = torch.nn.Parameter(torch.zeros(shape))
            p.grad = torch.randn(shape) * size
            Muon([p], lr=0.5, orthogonalize=newton_schulz, dtype=torch.float32).step()
            values = torch.linalg.svdvals(p.detach()) / 0.5 / factor
            assert values.min() > 0.65 and values.max() < 1.25


def test_a_parameter_without_gradient_stays():
    p, still = (torch.nn.Parameter(torch.ones(4, 4)) for _ in range(2))
    p.grad = torch.eye(4)
    Muon([p, still]).step()
    assert torch.equal(still, torch.ones(4, 4)) and not torch.equal(p, still)


def test_without_decay_the_weights_are_not_swept():
    for decay in (0.0, 0.1):
        p = torch.nn.Parameter(torch.ones(4, 4))
        p.grad = torch.eye(4)
        with torch.autograd.profiler.profile() as seen:
            Muon([p], weight_decay=decay).step()
        assert ("aten::mul_" in [event.key for event in seen.key_averages()]) == bool(decay)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.ones(4))])


def test_merged_matrices_step_as_the_one_that_holds_their_rows():
    whole = torch.nn.Parameter(torch.randn(80, 32))
    parts = [torch.nn.Parameter(p.clone()) for p in whole.detach().split([32, 16, 32])]
    alone = [torch.nn.Parameter(p.detach().clone()) for p in parts]
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1, "dtype": torch.float32}
    optimizers = (
        Muon([whole], **settings),
        Muon([{"params": parts, "merged": True}], **settings),
        Muon(alone, **settings),
    )
    for _ in range(3):
        whole.grad = torch.randn(80, 32)
        for p, q, grad in zip(parts, alone, whole.grad.split([32, 16, 32]), strict=True):
            p.grad, q.grad = grad.clone(), grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
    assert not torch.allclose(torch.cat(alone), whole, atol=1e-3)
