"""The chunked cross-entropy equals torch's, gradients included, in a fraction of its memory."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from blueberry_lib.model import loss
from blueberry_lib.model.loss import chunked_cross_entropy


def reference(hidden, weight, targets, cap, shares=None, mixture=()):
    logits = hidden @ weight.T
    nats = F.cross_entropy(cap * torch.tanh(logits / cap) if cap else logits, targets, reduction="none")
    if mixture:
        kept, found = mixture
        nats = -torch.log(kept * torch.exp(-nats) + found)
    return (nats if shares is None else nats * shares).mean()


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("shares", [None, torch.linspace(0, 2, 50)])
@pytest.mark.parametrize("cap", [0.0, 2.0])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_loss_and_gradients_equal_torchs(cap, rows, shares, copies, monkeypatch):
    monkeypatch.setattr(loss, "rows_at_once", lambda *_: rows)
    results = []
    for function in (chunked_cross_entropy, reference):
        torch.manual_seed(0)
        hidden = torch.randn(50, 16, dtype=torch.float64).requires_grad_()
        weight = torch.randn(31, 16, dtype=torch.float64).requires_grad_()
        mixture = tuple(torch.rand(50, dtype=torch.float64).requires_grad_() for _ in range(2 * copies))
        value = function(hidden, weight, torch.randint(31, (50,)), cap, shares, mixture)
        (3 * value).backward()
        results.append((value.double(), *(part.grad for part in (hidden, weight, *mixture))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)  # softmax is taken in float32


def test_under_autocast_the_products_are_in_its_dtype_and_the_gradients_in_the_weights():
    hidden, weight = torch.randn(64, 32).requires_grad_(), torch.randn(101, 32).requires_grad_()
    targets = torch.randint(101, (64,))
    with torch.autocast("cpu", torch.bfloat16):
        value = chunked_cross_entropy(hidden, weight, targets)
    value.backward()
    assert hidden.grad.dtype == weight.grad.dtype == torch.float32
    exact = reference(hidden.detach(), weight.detach(), targets, 0)
    assert value.item() == pytest.approx(exact.item(), rel=0.01)


def test_float16_gradients_do_not_round_to_zero():
    """1 / (N V) is below float16's smallest number; scaled as a GradScaler does, nothing must vanish."""
    hidden = (torch.randn(4096, 8) * 0.01).half().requires_grad_()
    weight = (torch.randn(1024, 8) * 0.01).requires_grad_()
    (chunked_cross_entropy(hidden, weight, torch.zeros(4096, dtype=torch.long)) * 2.0**16).backward()
    assert (weight.grad[1:].abs().sum(1) > 0).all()


MEASURE = """
import resource, sys, torch
import torch.nn.functional as F
from blueberry_lib.model.loss import chunked_cross_entropy
rows, vocab = map(int, sys.argv[1:])
hidden, weight = torch.randn(rows, 64).requires_grad_(), torch.randn(vocab, 64).requires_grad_()
targets = torch.randint(vocab, (rows,))
torch.randn(64, 64) @ torch.randn(64, 64)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
for loss in (chunked_cross_entropy, lambda h, w, t: F.cross_entropy(h @ w.T, t)):
    loss(hidden, weight, targets).backward()
    hidden.grad = weight.grad = None
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux reports it")
@pytest.mark.parametrize(("rows", "vocab"), [(4096, 8_192), (1024, 49_152)])
def test_head_and_loss_take_at_most_a_quarter_of_the_materialized_memory(rows, vocab):
    command = [sys.executable, "-c", MEASURE, str(rows), str(vocab)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    chunked, materialized = map(int, done.stdout.split())
    assert chunked <= materialized / 4, (chunked, materialized)
