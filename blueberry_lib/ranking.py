"""How probable a model finds a given continuation, and which of several it prefers."""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.tokens import END_OF_TEXT
from blueberry_lib.model.blueberry import Blueberry
from blueberry_lib.model.loss import rows_at_once

LENGTHS = {"sum": lambda text, n: 1, "token": lambda text, n: n, "character": lambda text, n: len(text),
           "byte": lambda text, n: len(text.encode())}  # fmt: skip


def encode_pair(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """The ids of a context and of what follows it. The text is encoded in one piece, as a model has read it, and cut
    where the context's own ids end; spaces at the context's end go to the continuation, whose first word they belong
    to (as lm-eval does it). Without a context the continuation begins a document."""
    stem = context.rstrip()
    start = len(tokenizer.encode(stem, add_special_tokens=False).ids)
    ids = tokenizer.encode(context + continuation, add_special_tokens=False).ids
    return (ids[:start], ids[start:]) if start else ([tokenizer.token_to_id(END_OF_TEXT)], ids)


@torch.no_grad()
def continuations(model: Blueberry, pairs: Sequence[tuple[list[int], list[int]]]) -> list[tuple[Tensor, bool]]:
    """For each (context, continuation) of ids: log p of each of the continuation's tokens after all before it, in nats,
    float32 (C,), and whether each is the most probable one there.

    Batched by length; a context that is too long loses its beginning. Raises BlueberryError for an empty context or
    continuation, and for a continuation that is longer than the model's context.
    """
    limit, device = model.config.context_length, model.embedding.weight.device
    for context, continuation in pairs:
        if not context or not 0 < len(continuation) <= limit:
            raise BlueberryError(
                f"A context of {len(context)} tokens and a continuation of {len(continuation)}; expected at least 1 of "
                f"each, and at most {limit} to score, the model's context."
            )
    found: list = [None] * len(pairs)
    whole = [(context + continuation)[-limit - 1 :] for context, continuation in pairs]
    order = sorted(range(len(pairs)), key=lambda i: -len(whole[i]))
    while order:
        longest = len(whole[order[0]]) - 1
        rows = max(1, rows_at_once(model.config.vocab_size, device) // longest)
        batch, order = order[:rows], order[rows:]
        padded = [whole[i][:-1] + [0] * (longest + 1 - len(whole[i])) for i in batch]  # to the right: causal
        for i, logits in zip(batch, model(torch.tensor(padded, device=device)), strict=True):
            end, targets = len(whole[i]) - 1, torch.tensor(pairs[i][1], device=device)
            log_p = logits[end - len(targets) : end].float().log_softmax(dim=-1)  # (C, V)
            chosen = log_p.gather(1, targets[:, None])[:, 0].cpu()
            found[i] = chosen, bool((log_p.argmax(dim=-1) == targets).all())
    return found


def choice_scores(
    model: Blueberry, tokenizer: Tokenizer, context: str, choices: Sequence[str], per: str = "sum"
) -> list[float]:
    """log p(choice | context) of each choice in nats, as a ``sum`` or divided by the choice's length: per ``token``,
    ``character`` or ``byte``. The model's answer is the largest."""
    if per not in LENGTHS:
        raise BlueberryError(f"per is {per!r}; expected one of {', '.join(LENGTHS)}.")
    pairs = [encode_pair(tokenizer, context, choice) for choice in choices]
    sums = [log_p.double().sum().item() for log_p, _ in continuations(model, pairs)]
    return [s / LENGTHS[per](c, len(ids)) for s, c, (_, ids) in zip(sums, choices, pairs, strict=True)]
