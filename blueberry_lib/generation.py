"""Sampling with a key-value cache: one token at a time, many prompts at once."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from blueberry_lib.config import BlueberryError
from blueberry_lib.hardware import compute_dtype
from blueberry_lib.model.attention import KVCache
from blueberry_lib.model.blueberry import Blueberry
from blueberry_lib.model.decoding import Decoder

FEW = 1024


def most_probable(probabilities: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The largest entries of each row in descending order, at least enough to add up to ``share``, and their ids."""
    few = probabilities.topk(min(FEW, probabilities.shape[-1]))  # a third of the time of sorting them all
    return few if (few.values.sum(dim=-1) >= share).all() else probabilities.sort(dim=-1, descending=True)


def sample(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one id from each row of ``logits`` (B, V); returns (B,).

    ``temperature`` divides the logits, and 0 takes the largest. ``top_k`` keeps the k most probable entries;
    ``top_p`` then the smallest set of them that holds at least that probability (Holtzman et al., 2020).
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits.float() / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        smallest_kept = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < smallest_kept, -torch.inf)
    probabilities, ids = logits.softmax(dim=-1), None
    if top_p is not None and top_p < 1:
        probabilities, ids = most_probable(probabilities, top_p)
        before = probabilities.cumsum(dim=-1) - probabilities  # the probability of everything more likely
        probabilities = probabilities.masked_fill(before >= top_p, 0)
    # A point of (0, total] falls into an entry's share of the cumulative sum with that entry's probability. This takes
    # one random number a row; torch.multinomial draws one for every entry.
    cumulative = probabilities.cumsum(dim=-1)
    point = 1 - torch.rand(len(logits), 1, generator=generator, device=logits.device)
    drawn = torch.searchsorted(cumulative, point * cumulative[:, -1:])
    return (drawn if ids is None else ids.gather(1, drawn))[:, 0]


@torch.inference_mode()
def stream(
    model: Blueberry,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_tokens: Collection[int] = (),
    seed: int | None = None,
    sampler: Callable[..., Tensor] = sample,
) -> Iterator[list[int | None]]:
    """Continue ``prompts``, lists of token ids; yields a list with the next id of each, None for one that
    has met a stop token. Ends when all have, or after ``max_new_tokens``.

    With a ``seed`` the draws repeat. ``sampler`` takes what ``sample`` takes. Raises BlueberryError for bad settings,
    an empty prompt, and where prompt and new tokens exceed the model's context.
    """
    _check(model, prompts, max_new_tokens, temperature, top_k, top_p)
    device = model.embedding.weight.device
    longest = max(map(len, prompts))
    rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    tokens = torch.tensor(rows, device=device)  # (B, T), padded on the left: rotary positions are relative
    padding = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
    dtype = compute_dtype(model.embedding.weight)
    cache = KVCache(model.config, len(rows), longest + max_new_tokens, padding, dtype)
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)
    finished = [False] * len(rows)
    logits = model(tokens, cache=cache, last=True)  # (B, V)
    decoder = None
    for count in range(max_new_tokens):
        if count:
            decoder = decoder or Decoder(model, cache)
            logits = decoder(tokens)
        tokens = sampler(logits, temperature, top_k, top_p, generator)  # (B,)
        ids = tokens.tolist()
        yield [None if done else i for done, i in zip(finished, ids, strict=True)]
        if stop_tokens:
            finished = [done or i in stop_tokens for done, i in zip(finished, ids, strict=True)]
            if all(finished):
                return


def generate(model: Blueberry, prompts: Sequence[Sequence[int]], max_new_tokens: int, **settings) -> list[list[int]]:
    """The new ids of each prompt, a stop token included; ``settings`` as for ``stream``."""
    new: list[list[int]] = [[] for _ in prompts]
    for ids in stream(model, prompts, max_new_tokens, **settings):
        for row, i in zip(new, ids, strict=True):
            if i is not None:
                row.append(i)
    return new


def text_pieces(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[str]:
    """Text as its tokens come, whole characters only: one may span several tokens."""
    seen: list[int] = []
    shown = ""
    for i in ids:
        seen.append(i)
        text = tokenizer.decode(seen)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text[len(shown) :]
            shown = text


def _check(model, prompts, max_new_tokens, temperature, top_k, top_p) -> None:
    if not prompts or not all(prompts):
        raise BlueberryError("A prompt is empty; start from the end-of-text token to sample from nothing.")
    if max(map(max, prompts)) >= model.config.vocab_size:
        raise BlueberryError(f"A prompt holds an id beyond the vocabulary of {model.config.vocab_size}.")
    longest, context = max(map(len, prompts)), model.config.context_length
    if max_new_tokens < 1 or longest + max_new_tokens > context:
        raise BlueberryError(
            f"max_new_tokens is {max_new_tokens} and the longest prompt {longest} tokens; together they must fit "
            f"the model's context of {context}, with at least one new token."
        )
    if temperature < 0 or (top_k is not None and top_k < 1) or (top_p is not None and not 0 < top_p <= 1):
        raise BlueberryError(
            f"temperature {temperature} must be ≥ 0, top_k {top_k} at least 1, top_p {top_p} in (0, 1]."
        )
