"""What a model of a config would hold and cost, counted on one that is built without memory."""

import functools

import torch

from blueberry_lib.config import ModelConfig
from blueberry_lib.model.blueberry import Blueberry


@functools.cache
def _sizes(config: ModelConfig) -> tuple[int, int]:
    """Trained numbers, and entries of the matrices that a token is multiplied by."""
    with torch.device("meta"):
        model = Blueberry(config)
    inside = [*model.blocks.named_parameters(), *(model.copy.named_parameters() if model.copy else ())]
    matrices = {name: p.numel() for name, p in inside if p.ndim == 2}
    experts = sum(size for name, size in matrices.items() if ".experts." in name)
    used = experts * config.experts_per_token // config.n_experts if experts else 0
    multiplied = sum(matrices.values()) - experts + used + model.head_weight.numel()
    return sum(p.numel() for p in model.parameters()), multiplied


def n_params(config: ModelConfig) -> int:
    """Trained numbers, used by every token or not."""
    return _sizes(config)[0]


def matrix_params(config: ModelConfig) -> int:
    """Entries of the matrices a token is multiplied by, the output head among them; of the experts, those it uses."""
    return _sizes(config)[1]


def flops_per_token(config: ModelConfig, *contexts: int) -> float:
    """Floating-point operations to train on one token: 2 per matrix entry forward, 4 backward, and causal attention, in
    which a token sees half the context on average; the mean over ``contexts``, if not the model's own. Elementwise work
    and the optimizer are not counted (as in Kaplan et al., 2020; PaLM's MFU counts attention over all pairs)."""
    contexts = contexts or (config.context_length,)
    copying = 3 * config.head_dim if config.copy_head else 0  # one product with the keys, where attention has two
    products, attention = 6 * matrix_params(config), 6 * config.n_layers * config.d_model + copying
    return sum(products + attention * context for context in contexts) / len(contexts)
