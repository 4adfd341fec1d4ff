"""Each parameter has one optimizer, the one that fits it."""

from dataclasses import replace

import torch

from blueberry_lib.config import OptimizerConfig
from blueberry_lib.model import Blueberry
from blueberry_lib.optim.hybrid import build_optimizers, split_parameters


def test_every_parameter_is_in_exactly_one_group(variants):
    for name, config in variants.items():
        model = Blueberry(config)
        parts = split_parameters(model)
        assert sorted(id(p) for part in parts for p in part) == sorted(id(p) for p in model.parameters()), name
        matrices, embeddings, others = parts
        in_feed_forward = 3 if config.feed_forward == "swiglu" else 2
        if config.n_experts:
            in_feed_forward = config.n_experts * in_feed_forward + 1  # the router
        assert len(matrices) == config.n_layers * (4 + in_feed_forward) + 2 * config.copy_head, name
        assert len(embeddings) == (1 if config.tied else 2)
        assert all(p.ndim < 2 for p in others)


def test_settings_arrive(tiny):
    config = replace(OptimizerConfig(), embedding_lr=0.02, muon_lr=0.01, betas=(0.8, 0.95))
    muon, adamw = build_optimizers(Blueberry(tiny), config, torch.float32)
    assert muon.param_groups[0]["lr"] == 0.01 and muon.dtype == torch.float32
    assert [group["lr"] for group in adamw.param_groups] == [0.02, 0.006]
    assert adamw.param_groups[0]["betas"] == (0.8, 0.95) and adamw.param_groups[0]["fused"]
    _, same = build_optimizers(Blueberry(tiny), OptimizerConfig(), torch.float32)
    assert [group["lr"] for group in same.param_groups] == [0.006, 0.006]
