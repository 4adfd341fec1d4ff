"""Parameters and FLOPs of a config equal those of the built model and those published; bad values are named."""

import math
from dataclasses import asdict, fields, replace
from typing import Any, get_type_hints

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from blueberry_lib import config as c
from blueberry_lib.config import BlueberryError, ModelConfig, OptimizerConfig, ScheduleConfig, TrainConfig, range_of
from blueberry_lib.model import Blueberry
from blueberry_lib.model.size import flops_per_token, matrix_params, n_params
from blueberry_lib.training import LoopConfig

CONFIGS = {ModelConfig: {}, ScheduleConfig: {}, OptimizerConfig: {}, TrainConfig: {}, LoopConfig: {"total_steps": 1}}


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
            model(tokens).sum().backward()
        widths = 12 * config.n_layers * config.d_model + 6 * config.head_dim * config.copy_head
        attention = widths * config.context_length
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


def numbers(hint: Any) -> bool:
    return hint in (int, float) or any(map(numbers, getattr(hint, "__args__", ())))


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.__name__)
def test_every_number_of_a_config_has_a_range_and_is_held_to_it(cls):
    """NaN passes no comparison, so a check written as ``value < 0`` lets it through."""
    start, hints = cls(**CONFIGS[cls]), get_type_hints(cls, include_extras=True)
    for name in (f.name for f in fields(cls) if numbers(hints[f.name])):
        allowed = range_of(hints[name])
        assert allowed, f"{cls.__name__}.{name} has no range"
        beyond = [math.nextafter(allowed.low, -math.inf), math.nextafter(allowed.high, math.inf)]
        for value in (*beyond, allowed.low - 1, -math.inf, math.inf, math.nan):
            wrong = (0.5, value) if isinstance(getattr(start, name), tuple) else value
            with pytest.raises(BlueberryError, match=f"{name} is .*; it must be"):
                replace(start, **{name: wrong})


@pytest.mark.parametrize("change", [{"clip_norm": None}, {"embedding_lr": None}, {"muon_lr": 0.0}, {"betas": (0, 0.5)}])
def test_what_may_be_unset_or_zero_still_may(change):
    assert replace(OptimizerConfig(), **change)


def test_a_config_survives_json():
    import json

    start = TrainConfig(model=c.pocket(), target_loss=3.5, eval_every=16)
    assert c.from_dict(TrainConfig, json.loads(json.dumps(asdict(start)))) == start
    with pytest.raises(BlueberryError, match="speed"):
        c.from_dict(TrainConfig, {"speed": 3})
