"""What is copied is what followed an earlier state like the present one, and all shares add up to 1."""

import math

import torch

from blueberry_lib.model.copy_head import CopyHead, mixed


def head(tiny):
    copy = CopyHead(tiny).double()
    with torch.no_grad():
        for p in copy.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return copy


@torch.no_grad()
def test_it_equals_a_loop_over_tokens(tiny):
    copy, hidden, tokens = head(tiny), torch.randn(1, 6, 32, dtype=torch.float64), torch.randint(97, (1, 6))
    copied, _, ids = copy(hidden, tokens)
    assert torch.equal(ids, tokens)
    norms = copy.query_norm, copy.key_norm
    q, k = (norm(linear(hidden[0])) for norm, linear in zip(norms, (copy.query, copy.key), strict=True))
    for t in range(6):
        keys = [torch.zeros(8, dtype=torch.float64), *k][: t + 1]  # that of the state before each token
        scores = [math.exp((q[t] @ key).item() / 8**0.5) for key in keys]
        gate = 1 / (1 + math.exp(-(hidden[0, t] @ copy.gate + copy.gate_bias).item()))
        expected = torch.tensor([gate * score / sum(scores) for score in scores] + [0.0] * (5 - t))
        torch.testing.assert_close(copied[0, t], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_mixture_is_a_distribution_that_holds_each_copied_share(tiny):
    copied, kept, ids = head(tiny)(torch.randn(2, 9, 32, dtype=torch.float64), torch.randint(97, (2, 9)))
    logits = torch.randn(2, 9, 97)
    probabilities = mixed(logits, copied, kept, ids).exp()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 9))
    expected = logits.softmax(-1) * (1 - copied.sum(-1, keepdim=True))
    for b, t, s in ((b, t, s) for b in range(2) for t in range(9) for s in range(9)):
        expected[b, t, ids[b, s]] += copied[b, t, s]
    torch.testing.assert_close(probabilities, expected, atol=1e-6, rtol=1e-5)


def test_it_starts_by_copying_a_twentieth(tiny):
    copied, kept, _ = CopyHead(tiny)(torch.randn(2, 9, 32), torch.randint(97, (2, 9)))
    torch.testing.assert_close(copied.sum(-1), torch.full((2, 9), 1 / (1 + math.exp(3.0))))
    torch.testing.assert_close(copied.sum(-1) + kept, torch.ones(2, 9))


@torch.no_grad()
def test_it_copies_the_token_after_the_same_state(tiny):
    copy, hidden = CopyHead(tiny), torch.randn(1, 9, 32)
    copy.key.weight.copy_(copy.query.weight)
    hidden[0, 8] = hidden[0, 3]
    copied, _, _ = copy(hidden, torch.arange(9)[None])
    assert copied[0, 8].argmax() == 4
