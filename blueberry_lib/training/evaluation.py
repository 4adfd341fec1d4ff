"""Loss, accuracy, perplexity and bits per byte on a fixed count of validation tokens."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from blueberry_lib.config import BlueberryError
from blueberry_lib.hardware import autocast
from blueberry_lib.model.blueberry import Blueberry
from blueberry_lib.model.loss import rows_at_once

EVAL_BATCH_TOKENS = 8_192


def token_evaluator(
    tokens: np.ndarray, count: int, context: int, token_bytes: np.ndarray | None, device: str, dtype: torch.dtype
) -> Callable[..., dict]:
    """An ``evaluate(model)`` over the first ``count`` targets of ``tokens``, whatever the training batch.

    The stream is read in windows of ``context``, each token predicted once from those before it in its window. Returns
    ``loss`` (nats a token), ``accuracy``, ``perplexity`` and ``bits_per_byte``, the last None without ``token_bytes``
    (V,), the bytes each id stands for. ``evaluate(model, batches=1)`` looks at one batch only.
    """
    if len(tokens) <= count:
        raise BlueberryError(
            f"The corpus has {len(tokens)} validation tokens, and {count} + 1 are needed. "
            "Give more text, or a smaller --validation-tokens."
        )
    if count % context:
        raise BlueberryError(f"validation_tokens {count} must be a multiple of the context, {context}.")
    stream = torch.from_numpy(np.asarray(tokens[: count + 1]).astype(np.int64))
    inputs, targets = stream[:-1].view(-1, context), stream[1:].view(-1, context)
    total_bytes = None if token_bytes is None else int(token_bytes[stream[1:].numpy()].sum())
    rows = max(1, EVAL_BATCH_TOKENS // context)

    @torch.no_grad()
    def evaluate(model: Blueberry, batches: int | None = None) -> dict:
        nats, correct = 0.0, 0
        for x, y in list(zip(inputs.split(rows), targets.split(rows), strict=True))[:batches]:
            with autocast(device, dtype):
                hidden = model.hidden(x.to(device)).flatten(0, 1)  # (N, d)
                chunk = rows_at_once(model.config.vocab_size, hidden.device)
                for h, t in zip(hidden.split(chunk), y.to(device).flatten().split(chunk), strict=True):
                    logits = model.logits(h).float()
                    nats += F.cross_entropy(logits, t, reduction="sum").item()
                    correct += (logits.argmax(dim=-1) == t).sum().item()
        loss = nats / count
        return {
            "loss": loss,
            "accuracy": correct / count,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": None if not total_bytes else nats / math.log(2) / total_bytes,
        }

    return evaluate
