"""The model equals transformers' Qwen3 with the same weights; the cache changes nothing; options do what they say."""

from dataclasses import replace

import pytest
import torch

from blueberry_lib.config import BlueberryError, blueberry_88m
from blueberry_lib.model import Blueberry
from blueberry_lib.model.attention import Attention, KVCache, attend


def qwen3(model: Blueberry):
    """transformers' Qwen3 with the weights of ``model``, whose feed-forward must be SwiGLU."""
    transformers = pytest.importorskip("transformers")
    c = model.config
    theirs = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=c.vocab_size,
            hidden_size=c.d_model,
            intermediate_size=c.d_ff,
            num_hidden_layers=c.n_layers,
            num_attention_heads=c.n_heads,
            num_key_value_heads=c.n_kv_heads,
            head_dim=c.head_dim,
            rms_norm_eps=1e-6,
            max_position_embeddings=c.context_length,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_base},
            tie_word_embeddings=False,
        )
    )
    scale = c.d_model**0.5 if c.embedding == "scaled" else 1.0
    weights = {
        "model.embed_tokens.weight": model.embedding.weight * scale,
        "model.norm.weight": model.norm.gain,
        "lm_head.weight": model.head_weight,
    }
    for i, block in enumerate(model.blocks):
        attention, feed_forward = block.attention, block.feed_forward
        for name, tensor in {
            "input_layernorm": block.attention_norm.gain,
            "post_attention_layernorm": block.feed_forward_norm.gain,
            "self_attn.q_proj": attention.query.weight,
            "self_attn.k_proj": attention.key.weight,
            "self_attn.v_proj": attention.value.weight,
            "self_attn.o_proj": attention.output.weight,
            "self_attn.q_norm": attention.query_norm.gain,
            "self_attn.k_norm": attention.key_norm.gain,
            "mlp.gate_proj": feed_forward.gate.weight,
            "mlp.up_proj": feed_forward.up.weight,
            "mlp.down_proj": feed_forward.down.weight,
        }.items():
            weights[f"model.layers.{i}.{name}.weight"] = tensor
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not missing and not unexpected
    return theirs.eval()


@pytest.mark.parametrize("embedding", ["plain", "scaled"])
def test_with_swiglu_it_equals_transformers_qwen3(tiny, randomized, embedding):
    model = randomized(Blueberry(replace(tiny, feed_forward="swiglu", embedding=embedding)))
    tokens = torch.randint(97, (3, 32))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), qwen3(model)(tokens).logits, atol=2e-4, rtol=1e-4)


def test_cached_logits_equal_uncached(variants, randomized):
    for config in variants.values():
        model = randomized(Blueberry(config))
        tokens = torch.randint(97, (2, 20))
        with torch.no_grad():
            whole = model(tokens)
            cache = KVCache(config, 2, 20, torch.zeros(2, dtype=torch.long), torch.float32)
            pieces = [model(part, cache=cache) for part in tokens.split([7, 1, 1, 5, 6], dim=1)]
        torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-4, rtol=1e-4)


def test_positions_along_a_line_change_no_bit_and_those_in_a_plane_do(variants, randomized):
    line = torch.arange(32)[None, :, None].expand(2, 32, 2)
    plane = torch.stack((line[..., 0] // 4, line[..., 0] % 4), dim=-1)
    for name, config in variants.items():
        model = randomized(Blueberry(config))
        tokens, targets = torch.randint(97, (2, 2, 32)).unbind()
        with torch.no_grad():
            assert torch.equal(model(tokens, positions=line), model(tokens)), name
            assert torch.equal(model(tokens, targets, positions=line), model(tokens, targets)), name
            assert (model(tokens, positions=plane) - model(tokens)).abs().max() > 1e-3, name


def test_with_positions_too_cached_logits_equal_uncached(variants, randomized):
    index = torch.arange(20)[None, :, None].expand(2, 20, 2)
    places = torch.where(index < 4, index, torch.stack(((index[..., 0] - 4) // 4, index[..., 0] % 4), -1) + 4)
    for config in variants.values():
        model = randomized(Blueberry(config))
        tokens = torch.randint(97, (2, 20))
        with torch.no_grad():
            whole = model(tokens, positions=places)
            cache = KVCache(config, 2, 20, torch.zeros(2, dtype=torch.long), torch.float32)
            parts = zip(tokens.split([7, 1, 12], 1), places.split([7, 1, 12], 1), strict=True)
            pieces = [model(part, cache=cache, positions=place) for part, place in parts]
        torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-4, rtol=1e-4)


def test_the_loss_is_the_cross_entropy_of_the_logits(variants, randomized):
    for config in variants.values():
        model = randomized(Blueberry(config))
        tokens, targets = torch.randint(97, (2, 2, 32)).unbind()
        expected = torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        torch.testing.assert_close(model(tokens, targets), expected)


def test_no_position_sees_a_later_token(variants, randomized):
    for name, config in variants.items():
        model = randomized(Blueberry(config))
        tokens = torch.randint(97, (1, 32))
        changed = tokens.clone()
        changed[0, 20] = (changed[0, 20] + 1) % 97
        with torch.no_grad():
            before, after = model(tokens), model(changed)
        assert torch.equal(before[:, :20], after[:, :20]), name
        assert not torch.equal(before[:, 20:], after[:, 20:]), name


def test_with_zero_init_a_block_starts_as_the_identity(tiny):
    model = Blueberry(replace(tiny, zero_init=True))
    x = torch.randn(1, 32, 32)
    out, _ = model.blocks[0](x, (model.cos, model.sin))
    assert torch.equal(out, x)


def test_logits_stay_below_the_soft_cap(tiny, randomized):
    model = randomized(Blueberry(replace(tiny, soft_cap=2.0)))
    with torch.no_grad():
        assert model(torch.randint(97, (1, 32))).abs().max() <= 2.0


def test_values_of_the_first_layer_reach_the_others(tiny, randomized):
    model = randomized(Blueberry(replace(tiny, value_residual=True)))
    tokens = torch.randint(97, (1, 32))
    shared = model(tokens)
    with torch.no_grad():
        model.blocks[1].attention.value_share.fill_(1.0)  # own values only
    plain = Blueberry(tiny).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "value_share" not in k})
    torch.testing.assert_close(model(tokens), plain(tokens))
    assert (shared - plain(tokens)).abs().max() > 1e-3


def test_with_key_offset_one_layer_finds_what_followed_the_same_token(tiny):
    """Attention is set up by hand: queries and keys are the token's own one-hot vector, without positions. A moved
    key then answers at the place after the match."""
    attention = Attention(replace(tiny, key_offset=True), layer=0)
    tokens = torch.tensor([7, 3, 5, 3])
    one_hot = torch.nn.functional.one_hot(tokens, 32).float()[None] * 10
    with torch.no_grad():
        attention.query.weight.copy_(torch.eye(32)[:8].repeat(4, 1))
        attention.key.weight.copy_(torch.eye(32)[:8].repeat(2, 1))
        attention.value.weight.copy_(torch.eye(32)[8:24])
        attention.output.weight.copy_(torch.eye(32))
        attention.query_norm.gain.fill_(20)
        still = torch.ones(4, 4), torch.zeros(4, 4)
        seen = []
        hook = "blueberry_lib.model.attention.attend"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hook, lambda q, k, v, *a, **b: seen.append(weights(q, k)) or attend(q, k, v, *a, **b))
            attention(one_hot, still)
    assert seen[0][0, 3].argmax() in (1, 3)  # a head of the first half finds the token itself
    assert seen[0][2, 3].argmax() == 2  # of the second half, its successor


def weights(q, k):
    scores = (q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).mT)[0]
    return scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), -torch.inf).softmax(-1)


def test_initial_weights_have_the_stated_spread():
    model = Blueberry(replace(blueberry_88m(), n_layers=1))
    for name, p in model.named_parameters():
        if p.ndim == 2:
            assert p.std().item() == pytest.approx(0.02, rel=0.02), name
        else:
            assert (p == 1).all(), name


def test_more_tokens_than_the_context_are_refused(tiny):
    with pytest.raises(BlueberryError, match="context of 32"):
        Blueberry(tiny)(torch.zeros(1, 33, dtype=torch.long))


def test_it_compiles_without_a_graph_break_and_keeps_its_keys(tiny):
    model = Blueberry(tiny)
    keys = list(model.state_dict())
    tokens = torch.randint(97, (2, 32))
    expected = model(tokens, tokens)
    model.hidden = torch.compile(model.hidden, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(model(tokens, tokens), expected)
    assert list(model.state_dict()) == keys
