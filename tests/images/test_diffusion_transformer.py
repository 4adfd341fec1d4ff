"""DiT2D: its size by formula, zero at the start, a block that is torch's own, and what each input does."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from blueberry_lib.config import BlueberryError
from blueberry_lib.images.diffusion_transformer import (
    Block,
    DiT2D,
    DiTConfig,
    modulate,
    patchify,
    sine_positions,
    sinusoidal_embedding,
    unpatchify,
)
from blueberry_lib.images.flow_training import PRESETS

SMALL = DiTConfig(
    image_size=8, channels=3, patch_size=2, classes=5, d_model=16, n_layers=2, n_heads=2, time_frequencies=12
)


def inputs(count=6):
    return torch.randn(count, *SMALL.shape), torch.rand(count), torch.arange(count) % SMALL.classes


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DiTConfig(), 254_276),
        (PRESETS["dit-10m"]().model, 9_740_300),
        (PRESETS["dit-30m"]().model, 29_815_692),
        (PRESETS["dit-130m"]().model, 129_537_036),
        (SMALL, None),
    ],
)
def test_parameters_are_as_many_as_the_formula_says(config, expected):
    with torch.device("meta"):
        model = DiT2D(config)
    found = sum(p.numel() for p in model.parameters())
    assert found == config.n_params and expected in (found, None)
    modulation = sum(p.numel() for name, p in model.named_parameters() if "modulation" in name)
    assert modulation == config.modulation_params


def test_the_work_of_a_step_is_six_times_the_weights_of_every_token_or_image_they_meet():
    """Counted over the layers of a built model: those that only the condition goes through run once for an image."""
    config = DiTConfig()
    with torch.device("meta"):
        model = DiT2D(config)
    once = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and ("time" in name or "modu" in name)]
    all_layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    sizes = {m: sum(p.numel() for p in m.parameters()) for m in all_layers}
    expected = 6 * sum(size * (1 if m in once else 16) for m, size in sizes.items())
    pairs = 3 * 2 * 2 * 16 * 16 * config.d_model * config.n_layers  # scores and mixing, forward and twice backward
    assert config.flops_per_image == expected + pairs
    as_it_was = 6 * (config.modulation_params + 16 * (config.n_params - config.modulation_params))
    assert as_it_was / expected == pytest.approx(1.128, abs=1e-3)  # time and label counted once a token


def test_a_model_takes_the_block_it_is_given():
    class Passing(Block):
        def forward(self, x, condition):
            return x

    model = DiT2D(SMALL, block=Passing)
    assert all(type(block) is Passing for block in model.blocks)
    x, t, labels = inputs()
    assert model(x, t, labels).shape == x.shape


def test_the_originals_768_wide_model_is_not_50_million_but_130_a_third_of_it_modulation():
    config = PRESETS["dit-130m"]().model
    assert (config.d_model, config.n_layers, config.n_heads, config.patch_size, config.shape) == (
        768,
        12,
        12,
        2,
        (3, 32, 32),
    )
    assert round(config.n_params / 1e6, 1) == 129.5 and round(config.modulation_params / 1e6, 1) == 43.7


def test_a_new_model_gives_zero_and_its_blocks_are_the_identity(randomized):
    model = DiT2D(SMALL)
    x, t, labels = inputs()
    assert torch.equal(model(x, t, labels), torch.zeros_like(x))
    h = torch.randn(2, 16, 16)
    assert torch.equal(model.blocks[0](h, torch.randn(2, 16)), h)
    assert randomized(model)(x, t, labels).abs().max() > 0.01


def test_patches_are_cut_row_by_row_and_put_together_again():
    images = torch.randn(2, 3, 8, 8)
    patches = patchify(images, 2)
    assert patches.shape == (2, 16, 12)
    assert torch.equal(patches[1, 6], images[1, :, 2:4, 4:6].flatten())  # row 1, column 2 of four
    assert torch.equal(unpatchify(patches, 2), images)
    assert torch.equal(patchify(images, 1), images.flatten(2).transpose(1, 2))


def test_each_position_has_its_own_waves_rows_first():
    table = sine_positions(4, 16)
    assert table.shape == (16, 16) and torch.cdist(table, table).add(torch.eye(16)).min() > 0.1
    assert torch.equal(table[4, :8], table[7, :8]) and torch.equal(table[1, 8:], table[13, 8:])
    torch.testing.assert_close(table[9, 0], torch.tensor(2.0).cos())  # row 2, column 1
    torch.testing.assert_close(table[9, 12], torch.tensor(1.0).sin())


def test_times_reach_their_embedding_times_a_thousand():
    """On [0, 1] most waves hardly move: unscaled, the embedding has few dimensions to tell times apart with."""
    model, seen = DiT2D(SMALL), []
    model.time.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x, t, labels = inputs()
    model(x, t, labels)
    torch.testing.assert_close(seen[0], sinusoidal_embedding(1_000 * t, 12))
    grid = torch.linspace(0, 1, 200)
    scaled, plain = (
        torch.linalg.svdvals(table - table.mean(0))
        for table in (sinusoidal_embedding(s * grid, 128) for s in (1_000, 1))
    )
    assert (scaled / scaled[0] > 0.05).sum() > 30 and (plain / plain[0] > 0.05).sum() < 5


def test_a_block_that_shifts_and_scales_nothing_is_torchs_transformer_layer():
    block = Block(replace(SMALL, d_model=32, n_heads=4))
    layer = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation=lambda x: nn.functional.gelu(x, approximate="tanh"), norm_first=True,
        batch_first=True, layer_norm_eps=1e-6,
    )  # fmt: skip
    with torch.no_grad():
        for p in block.parameters():
            p.normal_(std=0.2)
        block.modulation.weight.zero_()
        block.modulation.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 1.0]).repeat_interleave(32))
        own, theirs = block.attention, layer.self_attn
        theirs.in_proj_weight.copy_(torch.cat([m.weight for m in (own.query, own.key, own.value)]))
        theirs.in_proj_bias.copy_(torch.cat([m.bias for m in (own.query, own.key, own.value)]))
        theirs.out_proj.load_state_dict(own.output.state_dict())
        layer.linear1.load_state_dict(block.feed_forward[0].state_dict())
        layer.linear2.load_state_dict(block.feed_forward[2].state_dict())
    x = torch.randn(3, 10, 32)
    torch.testing.assert_close(block(x, torch.randn(3, 32)), layer(x), atol=1e-5, rtol=1e-4)


def test_modulation_is_a_layer_norm_then_scale_and_shift():
    x, shift, scale = torch.randn(2, 5, 16), torch.randn(2, 1, 16), torch.randn(2, 1, 16)
    expected = nn.LayerNorm(16, eps=1e-6, elementwise_affine=False)(x) * (1 + scale) + shift
    torch.testing.assert_close(modulate(x, shift, scale), expected)


def test_every_input_matters_and_no_image_sees_another(randomized):
    model = randomized(DiT2D(SMALL))
    x, t, labels = inputs()
    whole = model(x, t, labels)
    for i in range(3):
        torch.testing.assert_close(
            model(x[i : i + 1], t[i : i + 1], labels[i : i + 1])[0], whole[i], atol=1e-5, rtol=1e-4
        )
    changed_label, changed_time = labels.clone(), t.clone()
    changed_label[1], changed_time[2] = SMALL.null_label, 1 - t[2]
    for found, row in ((model(x, t, changed_label), 1), (model(x, changed_time, labels), 2)):
        differs = (found - whole).abs().amax(dim=(1, 2, 3)) > 1e-3
        assert differs.nonzero().flatten().tolist() == [row]
    moved = x.clone()
    moved[0, 2, 7, 7] += 1  # the last pixel reaches the first patch
    assert (model(moved, t, labels) - whole)[0, :, :2, :2].abs().max() > 1e-4


def test_products_in_bfloat16_still_give_a_float32_velocity(randomized):
    model, (x, t, labels) = randomized(DiT2D(SMALL)), inputs()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x, t, labels).dtype == torch.float32


def test_one_batch_can_be_learnt_by_heart():
    torch.manual_seed(0)
    model = DiT2D(replace(SMALL, d_model=32))
    x, t, labels = inputs()
    target = torch.randn_like(x)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        loss = (model(x, t, labels) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_size": 3}, "multiple of patch_size"),
        ({"n_heads": 3}, "multiple of n_heads"),
        ({"n_layers": 0}, "n_layers is 0"),
    ],
)
def test_impossible_shapes_are_refused(changes, words):
    with pytest.raises(BlueberryError, match=words):
        replace(SMALL, **changes)
