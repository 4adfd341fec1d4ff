"""One's own block, attention, norm, turn, feed-forward layer and sampler in place of the library's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blueberry_lib.generation import generate
from blueberry_lib.model import Blueberry
from blueberry_lib.model.attention import Attention
from blueberry_lib.model.block import Block


class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.gain


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x):
        return self.down(self.up(x).clamp(min=0) ** 2)


def attend(q, k, v):
    groups = q.shape[1] // k.shape[1]
    return F.scaled_dot_product_attention(q, *(t.repeat_interleave(groups, 1) for t in (k, v)), is_causal=True)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    turned = torch.complex(a, b) * torch.complex(cos, sin)
    return torch.cat((turned.real, turned.imag), dim=-1)


class OwnAttention(Attention):
    def project(self, x, rope):
        return super().project(1.0 * x, rope)


class OwnBlock(nn.Module):
    def __init__(self, config, layer, norm, attention=Attention, **parts):
        super().__init__()
        self.attention_norm, self.attention = norm(config.d_model), attention(config, layer, norm=norm, **parts)
        self.feed_forward_norm, self.feed_forward = norm(config.d_model), FeedForward(config)

    def forward(self, x, *context):
        attended, values = self.attention(self.attention_norm(x), *context)
        x = x + attended
        return x + self.feed_forward(self.feed_forward_norm(x)), values


PARTS = {
    "norm": {"norm": Norm},
    "feed forward": {"feed_forward": FeedForward},
    "attend": {"attend": attend},
    "rotate": {"rotate": rotate},
    "attention": {"attention": OwnAttention},
    "block": {"block": OwnBlock},
    "all": {"block": OwnBlock, "norm": Norm, "attend": attend, "rotate": rotate, "attention": OwnAttention},
}


@pytest.mark.parametrize("name", PARTS)
def test_a_model_of_ones_own_parts_is_the_same_model(name, variants, randomized):
    for config in variants.values():
        if config.n_experts or config.feed_forward != "relu2":
            continue
        ours, own = randomized(Blueberry(config)), Blueberry(config, **PARTS[name]).eval()
        assert list(own.state_dict()) == list(ours.state_dict())
        own.load_state_dict(ours.state_dict())
        tokens = torch.randint(97, (2, 20))
        torch.testing.assert_close(own(tokens), ours(tokens), atol=1e-4, rtol=1e-4)
        prompts = [[1, 2, 3, 4], [5, 6]]
        assert generate(own, prompts, 8, temperature=0) == generate(ours, prompts, 8, temperature=0)


@pytest.mark.parametrize("name", PARTS)
def test_the_part_that_is_given_is_the_part_that_runs(name, tiny):
    """A part that answers something else changes the logits."""

    def other(whole):
        return lambda *inputs: 2 * whole(*inputs)

    parts = dict(PARTS[name])
    for kind, part in parts.items():
        if kind in ("attend", "rotate"):
            parts[kind] = other(part)
        elif kind in ("norm", "feed_forward"):
            parts[kind] = type("Other", (part,), {"forward": lambda self, x, part=part: 2 * part.forward(self, x)})
        else:
            parts[kind] = type("Other", (part,), {"forward": lambda self, x, *c, part=part: part.forward(self, -x, *c)})
    ours, own = Blueberry(tiny), Blueberry(tiny, **parts)
    own.load_state_dict(ours.state_dict())
    tokens = torch.randint(97, (2, 20))
    assert not torch.allclose(own(tokens), ours(tokens), atol=1e-3)


def test_a_part_that_nobody_knows_is_an_error(tiny):
    with pytest.raises(TypeError, match="nrom"):
        Blueberry(tiny, nrom=Norm)
    assert isinstance(Blueberry(tiny).blocks[0], Block)


def test_ones_own_sampler_chooses(tiny):
    def smallest(logits, temperature, top_k, top_p, generator):
        return logits.argmin(dim=-1)

    model = Blueberry(tiny)
    (got,) = generate(model, [[1, 2, 3]], 2, sampler=smallest)
    expected = model(torch.tensor([[1, 2, 3]]))[0, -1].argmin().item()
    assert got[0] == expected != generate(model, [[1, 2, 3]], 2, temperature=0)[0][0]
