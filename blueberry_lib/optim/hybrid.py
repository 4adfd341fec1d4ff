"""Which parameter goes to which optimizer."""

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from blueberry_lib.config import OptimizerConfig
from blueberry_lib.optim.muon import Muon
from blueberry_lib.optim.orthogonalize import ORTHOGONALIZE


def split_parameters(model: nn.Module) -> tuple[list, list, list]:
    """(matrices, embeddings, others).

    Matrices are the 2-D weights inside ``model.blocks`` and ``model.copy``: maps from a space of features to another,
    which Muon is for. An embedding or a head is 2-D too, but each of its rows belongs to one token and is looked up
    alone: how far the table stretches a mixture of tokens says nothing of how far a step moves any of them.
    """
    matrices, embeddings, others = [], [], []
    for name, p in model.named_parameters():
        inside = name.startswith(("blocks.", "copy."))
        (matrices if inside and p.ndim == 2 else embeddings if p.ndim == 2 else others).append(p)
    return matrices, embeddings, others


def build_optimizers(model: nn.Module, config: OptimizerConfig, dtype: torch.dtype) -> list[Optimizer]:
    """[Muon, AdamW] over all parameters of ``model``; Muon orthogonalizes in ``dtype``."""
    matrices, embeddings, others = split_parameters(model)
    groups = [{"params": matrices}]
    if config.merged_qkvo:
        layers = [(b.attention.query, b.attention.key, b.attention.value, b.attention.output) for b in model.blocks]
        merged = [[linear.weight for linear in layer] for layer in layers]
        taken = {id(p) for layer in merged for p in layer}
        groups = [{"params": [p for p in matrices if id(p) not in taken]}]
        groups += [{"params": layer, "merged": True} for layer in merged]
    muon = Muon(
        groups,
        lr=config.muon_lr,
        momentum=config.muon_momentum,
        weight_decay=config.muon_weight_decay,
        orthogonalize=ORTHOGONALIZE[config.orthogonalize],
        steps=config.orthogonalize_steps,
        dtype=dtype,
    )
    embedding_lr = config.adamw_lr if config.embedding_lr is None else config.embedding_lr
    adamw = AdamW(
        [{"params": embeddings, "lr": embedding_lr}, {"params": others, "lr": config.adamw_lr}],
        betas=config.betas,
        weight_decay=config.adamw_weight_decay,
        fused=config.fused,
    )
    return [muon, adamw]
