"""The experts equal a loop over tokens; a token uses the chosen ones alone; the bias evens out their load."""

from dataclasses import replace

import pytest
import torch

from blueberry_lib.model import Blueberry
from blueberry_lib.model.feed_forward import FEED_FORWARD
from blueberry_lib.model.moe import BIAS_STEP, MixtureOfExperts
from blueberry_lib.training.clock import warm_up


@pytest.fixture
def moe(tiny, randomized):
    """Six experts, two a token, unequal biases."""
    layer = randomized(MixtureOfExperts(replace(tiny, n_experts=6, experts_per_token=2, d_ff=24)))
    layer.bias.copy_(torch.randn(6) * 0.1)
    return layer


def by_hand(layer, x):
    """Token by token: the formula of the DeepSeek-V3 report."""
    rows = []
    for token in x.flatten(0, 1):
        scores = [1 / (1 + torch.exp(-(row @ token))) for row in layer.router.weight]
        order = sorted(range(len(scores)), key=lambda e: scores[e] + layer.bias[e], reverse=True)
        chosen = order[: layer.experts_per_token]
        total = sum(scores[e] for e in chosen)
        rows.append(sum(scores[e] / total * layer.experts[e](token) for e in chosen))
    return torch.stack(rows).view(x.shape)


@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
@pytest.mark.parametrize("k", [1, 2, 6])
def test_it_equals_a_loop_over_tokens_in_float64(tiny, randomized, feed_forward, k):
    config = replace(tiny, n_experts=6, experts_per_token=k, d_ff=24, feed_forward=feed_forward)
    layer = randomized(MixtureOfExperts(config))
    layer.bias.copy_(torch.randn(6) * 0.1)
    x = torch.randn(2, 9, 32)
    expected_layer = MixtureOfExperts(config).double().eval()
    expected_layer.load_state_dict(layer.state_dict())
    ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    out, expected = layer(ours), by_hand(expected_layer, theirs)
    torch.testing.assert_close(out.double(), expected, atol=1e-4, rtol=1e-4)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=1e-2, rtol=1e-3)
    for (name, p), q in zip(layer.named_parameters(), expected_layer.parameters(), strict=True):
        expected_grad = torch.zeros_like(q) if q.grad is None else q.grad
        torch.testing.assert_close(p.grad.double(), expected_grad, atol=1e-2, rtol=1e-3, msg=name)


def test_the_weights_of_a_token_add_up_to_1_and_know_nothing_of_the_bias(moe):
    tokens = torch.randn(50, 32)
    chosen, weights = moe.route(tokens)
    torch.testing.assert_close(weights.sum(-1), torch.ones(50))
    scores = (tokens @ moe.router.weight.T).sigmoid().gather(1, chosen)
    torch.testing.assert_close(weights, scores / scores.sum(-1, keepdim=True))
    moe.bias[3] = 10.0
    assert (moe.route(tokens)[0] == 3).any(-1).all()


def test_one_expert_is_the_dense_layer(tiny, randomized):
    config = replace(tiny, n_experts=1, experts_per_token=1)
    layer, dense = randomized(MixtureOfExperts(config)), FEED_FORWARD["relu2"](tiny)
    dense.load_state_dict(layer.experts[0].state_dict())
    x = torch.randn(2, 9, 32)
    torch.testing.assert_close(layer(x), dense(x))


def test_gradient_reaches_only_the_chosen_experts(moe):
    token = torch.randn(1, 1, 32)
    moe(token).sum().backward()
    chosen = moe.route(token[0])[0][0].tolist()
    moved = [e for e, expert in enumerate(moe.experts) if any((p.grad != 0).any() for p in expert.parameters())]
    assert moved == sorted(chosen)
    assert (moe.router.weight.grad != 0).any(1).nonzero()[:, 0].tolist() == sorted(chosen)


def most(layer, tokens):
    """The busiest expert's load over the mean: 1 is even, E / k the worst there is."""
    load = layer.route(tokens)[0].flatten().bincount(minlength=len(layer.experts)).float()
    return (load.max() / load.mean()).item()


def test_the_bias_evens_out_a_skewed_load(moe):
    tokens = torch.randn(512, 32) * 0.5 + moe.router.weight[0] / moe.router.weight[0].norm() * 3
    moe.bias.zero_()
    before = most(moe, tokens)
    moe.train()
    with torch.no_grad():
        for _ in range(int(1 / BIAS_STEP)):
            moe(tokens[None])
    after = most(moe, tokens)
    assert before > 2 and after < 1.1, (before, after)


def test_the_bias_moves_in_training_only_and_is_no_parameter(moe):
    bias, x = moe.bias.clone(), torch.randn(1, 40, 32)
    moe(x)
    assert torch.equal(moe.bias, bias)
    load = moe.route(x[0])[0].flatten().bincount(minlength=6)
    moe.train()(x)
    torch.testing.assert_close(moe.bias - bias, BIAS_STEP * (80 / 6 - load).sign())
    assert "bias" in moe.state_dict() and "bias" not in dict(moe.named_parameters())


def test_the_warm_up_leaves_the_bias_as_it_was(tiny):
    model, tokens = Blueberry(replace(tiny, n_experts=4, d_ff=32)).train(), torch.randint(97, (2, 32))
    bias = model.blocks[0].feed_forward.bias
    moved = []

    def rehearse():
        model(tokens, tokens).backward()
        moved.append(bias.abs().sum().item())

    warm_up(rehearse, model, [], "cpu")
    assert moved[0] > 0 and (bias == 0).all()


def test_in_16_bits_the_choice_is_made_in_float32(moe):
    tokens = torch.randn(200, 32)
    with torch.autocast("cpu", torch.bfloat16):
        out, (chosen, weights) = moe(tokens[None]), moe.route(tokens)
    assert torch.equal(chosen, moe.route(tokens)[0]) and weights.dtype == torch.float32
    torch.testing.assert_close(out[0].float(), moe(tokens[None])[0], atol=0.3, rtol=0.1)


def test_it_compiles(tiny, randomized):
    model = randomized(Blueberry(replace(tiny, n_experts=4, d_ff=32)))
    batches = [torch.randint(97, (2, 32)) for _ in range(12)]
    with torch.no_grad():
        expected = [model(tokens) for tokens in batches]
        torch.compiler.reset()
        model.hidden = torch.compile(model.hidden, backend="eager", dynamic=False)
        torch._dynamo.config.error_on_recompile, before = True, torch._dynamo.config.error_on_recompile
        try:
            model(batches[0])
            torch.testing.assert_close([model(tokens) for tokens in batches], expected)
        finally:
            torch._dynamo.config.error_on_recompile = before
