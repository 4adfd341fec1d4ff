"""A token at a time by the decoder gives what the model's own forward pass gives."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from blueberry_lib.model import Blueberry
from blueberry_lib.model.attention import KVCache
from blueberry_lib.model.decoding import Decoder, laid_out, normalization
from blueberry_lib.model.position import RMSNorm


def decode(model, tokens, prompt, dtype=torch.float32, positions=None):
    """Logits (B, T, V) after the first ``prompt`` tokens, a token at a time."""
    cache = KVCache(model.config, len(tokens), tokens.shape[1], torch.zeros(len(tokens), dtype=torch.long), dtype)
    model(tokens[:, :prompt], cache=cache, positions=None if positions is None else positions[None, :prompt])
    decoder = Decoder(model, cache, positions)
    return torch.stack([decoder(column) for column in tokens[:, prompt:].T], dim=1)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@torch.inference_mode()
def test_it_equals_the_forward_pass_with_every_option(variants, randomized, kv_heads):
    for name, config in variants.items():
        if config.key_offset and kv_heads == 1:
            continue
        model = randomized(Blueberry(replace(config, n_kv_heads=kv_heads)))
        tokens = torch.randint(97, (3, 20))
        decoded, whole = decode(model, tokens, 4), model(tokens)[:, 4:]
        torch.testing.assert_close(decoded, whole, atol=2e-4, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


@torch.inference_mode()
def test_it_equals_the_forward_pass_where_tokens_have_two_coordinates(tiny, randomized):
    model, tokens, positions = randomized(Blueberry(tiny)), torch.randint(97, (3, 20)), torch.randint(20, (20, 2))
    whole = model(tokens, positions=positions.expand(3, -1, -1))[:, 4:]
    torch.testing.assert_close(decode(model, tokens, 4, positions=positions), whole, atol=2e-4, rtol=1e-4)
    assert not torch.allclose(decode(model, tokens, 4), whole, atol=1e-2)


@pytest.mark.parametrize("weights", [torch.bfloat16, torch.float32])
@torch.inference_mode()
def test_in_16_bits_it_is_as_near_to_float32_as_the_forward_pass(tiny, weights):
    """With weights of 16 bits, and with autocast over weights of 32."""
    config = replace(tiny, key_offset=True, value_residual=True, embedding="normed")
    model, tokens = Blueberry(config).eval(), torch.randint(97, (3, 20))
    exact = model(tokens)[:, 4:]
    model = model.to(weights)
    autocast = torch.autocast("cpu", torch.bfloat16) if weights == torch.float32 else nullcontext()
    with autocast:
        decoded, whole = decode(model, tokens, 4, torch.bfloat16), model(tokens)[:, 4:]
    assert decoded.dtype == whole.dtype == torch.bfloat16
    error, usual = ((x.float() - exact).square().mean().sqrt().item() for x in (decoded, whole))
    assert 0 < usual < 0.02 * exact.std() and error < 1.5 * usual, (error, usual)


def test_the_short_form_of_the_norm_is_the_norm():
    norm = RMSNorm(16)
    torch.nn.init.normal_(norm.gain)
    x = torch.randn(5, 2, 16) * torch.tensor([1e-4, 1e-3, 1.0, 100.0, 0.0])[:, None, None]
    torch.testing.assert_close(normalization(norm.gain, norm.eps)(x), norm(x))


def test_the_layout_changes_no_value():
    for shape in ((6, 3), (3, 6)):
        weight = torch.randn(shape)
        assert torch.equal(laid_out(weight, torch.float32), weight)
        assert torch.equal(laid_out(weight, torch.bfloat16), weight.bfloat16())
