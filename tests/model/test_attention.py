"""Attention equals the softmax written out in float64, grouped or not, cached or not."""

import pytest
import torch

from blueberry_lib.model.attention import KVCache, attend


def reference(q, k, v, mask):
    """softmax(q kᵀ / √D) v in float64, a head at a time."""
    q, k, v = q.double(), k.double(), v.double()
    groups = q.shape[1] // k.shape[1]
    out = torch.empty_like(q)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            scores = q[b, h] @ k[b, h // groups].T / q.shape[-1] ** 0.5
            weights = scores.masked_fill(~mask[b], -torch.inf).softmax(-1)
            out[b, h] = weights @ v[b, h // groups]
    return out


def inputs(H=4, H_kv=2, T=16, S=16, D=8, dtype=torch.float32):
    shapes = ((2, H, T, D), (2, H_kv, S, D), (2, H_kv, S, D))
    return [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_causal_attention_equals_softmax_in_float64(heads, dtype, tolerance):
    q, k, v = inputs(*heads, dtype=dtype)
    mask = torch.ones(2, 16, 16, dtype=torch.bool).tril()
    torch.testing.assert_close(
        attend(q, k, v, causal=True).double(), reference(q, k, v, mask), atol=tolerance, rtol=tolerance
    )


def test_the_short_cpu_form_and_the_fused_one_have_the_same_gradients():
    mask = torch.rand(2, 1, 16, 16) < 0.5
    mask |= torch.eye(16, dtype=torch.bool)
    for settings in ({"causal": True}, {"mask": mask}):
        plain, fused = inputs(dtype=torch.bfloat16), None
        fused = [t.detach().float().requires_grad_() for t in plain]
        for tensors in (plain, fused):
            attend(*tensors, **settings).float().square().sum().backward()
        for a, b in zip(plain, fused, strict=True):
            torch.testing.assert_close(a.grad.float(), b.grad, atol=0.1, rtol=0.05)


def test_no_token_sees_a_later_one():
    q, k, v = inputs()
    out = attend(q, k, v, causal=True)
    (gradient,) = torch.autograd.grad(out[:, :, 5].sum(), v)
    assert (gradient[:, :, 6:] == 0).all() and (gradient[:, :, :6] != 0).any()


def test_the_cache_masks_padding_and_the_future(tiny):
    cache = KVCache(tiny, 2, 8, torch.tensor([0, 2]), torch.float32)
    mask = cache.mask(3)[:, 0]
    assert mask.tolist() == [
        [[True, False, False], [True, True, False], [True, True, True]],
        [[True, False, False], [False, True, False], [False, False, True]],
    ]
    cache.position = 3
    assert cache.mask(1)[:, 0].tolist() == [[[True] * 4], [[False, False, True, True]]]
    assert KVCache(tiny, 1, 8, torch.tensor([0]), torch.float32).mask(1) is None
