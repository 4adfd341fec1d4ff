"""A model that counts pairs of tokens, for exercises that compare vocabularies on a small text."""

import inspect
from functools import cache

import torch

from blueberry_lib.data.tokens import train_tokenizer

ALPHAS = [4.0**-k for k in range(8)]


@cache
def texts() -> tuple[str, str]:
    """Python source to learn from, and another file to predict: modules of the standard library."""
    import argparse
    import subprocess
    import tarfile
    import zipfile

    read = "".join(map(inspect.getsource, (argparse, subprocess, tarfile)))
    return read[:200_000], inspect.getsource(zipfile)[:60_000]


@cache
def pair_bits(vocab_size: int) -> float:
    """Bits per byte of a table of pairs on the held-out file, tokenizer and table from the other files.

    The smallest over a few values of the smoothing, so that each vocabulary has the one that suits it.
    """
    read, held_out = texts()
    tokenizer = train_tokenizer([read], vocab_size)
    ids, ahead = (torch.tensor(tokenizer.encode(text).ids) for text in (read, held_out))
    pairs = ids[:-1] * vocab_size + ids[1:]
    kinds, times = pairs.unique(return_counts=True)
    wanted = ahead[:-1] * vocab_size + ahead[1:]
    at = torch.searchsorted(kinds, wanted).clamp(max=len(kinds) - 1)
    count = torch.where(kinds[at] == wanted, times[at], 0)  # of each pair that comes
    before = ids[:-1].bincount(minlength=vocab_size)[ahead[:-1]]  # of its first token
    bits = [-((count + a) / (before + a * vocab_size)).log2().sum().item() for a in ALPHAS]
    return min(bits) / len(tokenizer.decode(ahead[1:].tolist()).encode())
