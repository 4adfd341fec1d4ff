"""Loss with its standard error, accuracy, perplexity and bits per byte on a fixed count of held-out tokens."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from blueberry_lib.config import BlueberryError
from blueberry_lib.hardware import autocast
from blueberry_lib.model.blueberry import Blueberry
from blueberry_lib.model.loss import rows_at_once


def spread(documents: np.ndarray, count: int, context: int) -> np.ndarray:
    """The windows of ``context`` to read so that ``count`` tokens come from as many documents as there are, and as
    evenly as their lengths allow: (count / context,) numbers in order.

    ``documents`` (N,) says which document each token of the stream belongs to. A window counts for the one that its
    middle is in. Each document gives a window, drawn at random but always the same, then each that has more a second
    one, until there are enough.
    """
    drawn = np.random.default_rng(0).permutation((len(documents) - 1) // context)
    owner = documents[drawn * context + context // 2]
    order = np.argsort(owner, kind="stable")
    _, first, sizes = np.unique(owner[order], return_index=True, return_counts=True)
    turn = np.empty(len(drawn), np.int64)
    turn[order] = np.arange(len(drawn)) - np.repeat(first, sizes)
    return np.sort(drawn[np.argsort(turn, kind="stable")][: count // context])


def token_evaluator(
    tokens: np.ndarray,
    count: int,
    context: int,
    token_bytes: np.ndarray | None,
    device: str,
    dtype: torch.dtype,
    end: int | None = None,
    part: slice = slice(None),
    add_up: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor,
) -> Callable[..., dict]:
    """An ``evaluate(model)`` over ``count`` targets of ``tokens``, the same ones whatever the training batch.

    The stream is read in windows of ``context`` (see ``spread``), each token predicted once from those before it in its
    window. Returns ``loss`` (nats per token) with ``loss_error``, ``accuracy``, ``perplexity`` and ``bits_per_byte``,
    the last None without ``token_bytes`` (V,), the bytes each id stands for. ``end`` is the id that closes a document.
    The error is the standard error of a ratio over documents (Cochran, Sampling techniques, 1977, section 2.11), since
    the tokens of one are alike; without ``end`` each window counts as a document. ``evaluate(model, batches=1)`` looks
    at one batch only. Of several processes each reads a ``part`` of the batches, and ``add_up`` sums them.
    """
    if len(tokens) <= count:
        raise BlueberryError(
            f"The corpus has {len(tokens)} validation tokens, and {count} + 1 are needed. "
            "Give more text, or a smaller --validation-tokens."
        )
    if count % context:
        raise BlueberryError(f"validation_tokens {count} must be a multiple of the context, {context}.")
    stream = np.asarray(tokens).astype(np.int64)
    documents = np.arange(len(stream)) // context if end is None else np.cumsum(stream == end) - (stream == end)
    places = torch.from_numpy(spread(documents, count, context)[:, None] * context + np.arange(context))  # (W, T)
    stream, documents = torch.from_numpy(stream), torch.from_numpy(documents)
    inputs, targets, owners = stream[places], stream[places + 1], documents[places + 1]
    _, owners, sizes = owners.unique(return_inverse=True, return_counts=True)
    total_bytes = None if token_bytes is None else int(token_bytes[targets.numpy()].sum())

    @torch.no_grad()
    def evaluate(model: Blueberry, batches: int | None = None) -> dict:
        nats, correct = torch.zeros(len(sizes), dtype=torch.float64), 0
        rows = max(1, rows_at_once(model.config.vocab_size, model.embedding.weight.device) // context)
        parts = list(zip(*(whole.split(rows) for whole in (inputs, targets, owners)), strict=True))
        for x, y, of in parts[:batches][part]:
            with autocast(device, dtype):
                logits = model(x.to(device)).float().flatten(0, 1)  # (N, V)
            y = y.to(device).flatten()
            surprise = F.cross_entropy(logits, y, reduction="none")
            correct += (logits.argmax(dim=-1) == y).sum().item()
            nats += of.flatten().bincount(surprise.double().cpu(), len(sizes))
        nats, correct = add_up(torch.cat([nats, nats.new_tensor([correct])])).split([len(sizes), 1])
        loss, n = nats.sum().item() / count, len(sizes)
        apart = (nats - loss * sizes).square().sum().item()
        return {
            "loss": loss,
            "loss_error": math.sqrt(apart * n / max(1, n - 1)) / count,
            "accuracy": correct.item() / count,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": None if not total_bytes else nats.sum().item() / math.log(2) / total_bytes,
        }

    return evaluate
