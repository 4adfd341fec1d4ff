"""Parameters and FLOPs of a config equal those of the built model and those published; bad values are named."""

from dataclasses import asdict, replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from blueberry_lib import config as c
from blueberry_lib.config import BlueberryError, ModelConfig, TrainConfig
from blueberry_lib.model import Blueberry
from blueberry_lib.model.size import flops_per_token, matrix_params, n_params


@pytest.mark.parametrize(
    ("preset", "params"),
    [(c.blueberry_88m, 88_630_528), (c.blueberry_151m, 151_032_320), (c.pocket, 1_246_592)],
)
def test_presets_have_the_published_sizes(preset, params):
    assert n_params(preset()) == params
    with torch.device("meta"):
        built = Blueberry(preset())
    assert sum(p.numel() for p in built.parameters()) == params


def test_every_option_counts_its_parameters(variants):
    for name, config in variants.items():
        built = Blueberry(config)
        assert sum(p.numel() for p in built.parameters()) == n_params(config), name


def test_counting_draws_no_random_number(tiny):
    before = torch.get_rng_state()
    n_params(replace(tiny, n_layers=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_flops_equal_those_torch_counts(variants):
    """torch counts whole attention matrices; ours counts the causal half."""
    for name, config in variants.items():
        model, tokens = Blueberry(config), torch.zeros(2, config.context_length, dtype=torch.long)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.logits(model.hidden(tokens)).sum().backward()
        attention = 12 * config.n_layers * config.d_model * config.context_length
        expected = 6 * matrix_params(config) + attention
        assert counter.get_total_flops() == pytest.approx(expected * tokens.numel(), rel=1e-3), name
        assert flops_per_token(config) == 6 * matrix_params(config) + attention // 2


def test_88m_needs_the_flops_of_the_speedrun_notes():
    config = c.blueberry_88m()
    assert 6 * matrix_params(config) == pytest.approx(532e6, rel=0.001)
    assert flops_per_token(config) == pytest.approx(670e6, rel=0.001)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"d_model": 100}, "n_heads"),
        ({"n_kv_heads": 3}, "multiple"),
        ({"n_layers": 0}, "n_layers"),
        ({"soft_cap": -1.0}, "soft_cap"),
        ({"n_experts": -1}, "n_experts"),
        ({"n_experts": 4, "experts_per_token": 5}, "experts_per_token"),
    ],
)
def test_a_bad_value_is_named(change, word):
    with pytest.raises(BlueberryError, match=word):
        replace(ModelConfig(), **change)


def test_a_config_survives_json():
    import json

    start = TrainConfig(model=c.pocket(), target_loss=3.5)
    assert c.from_dict(TrainConfig, json.loads(json.dumps(asdict(start)))) == start
    with pytest.raises(BlueberryError, match="speed"):
        c.from_dict(TrainConfig, {"speed": 3})
