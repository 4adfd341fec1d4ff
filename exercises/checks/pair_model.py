"""A model that counts pairs of tokens, for exercises that compare vocabularies on a small text."""

import inspect
from functools import cache

import torch
from torch import Tensor

from blueberry_lib.data.tokens import train_tokenizer

ALPHAS = [4.0**-k for k in range(8)]


@cache
def texts() -> tuple[str, str, str]:
    """Python source to learn from, to choose the smoothing on, and to predict: modules of the standard library."""
    import argparse
    import shutil
    import subprocess
    import tarfile
    import zipfile

    read = "".join(map(inspect.getsource, (argparse, subprocess, tarfile)))
    return read[:200_000], inspect.getsource(shutil)[:60_000], inspect.getsource(zipfile)[:60_000]


@cache
def pair_bits(vocab_size: int) -> float:
    """Bits per byte of a table of pairs on the held-out file, tokenizer and table from the other files.

    Each vocabulary has the smoothing, of a few values, that suits it best on a file of its own.
    """
    read, spare, held_out = texts()
    tokenizer = train_tokenizer([read], vocab_size)
    ids = torch.tensor(tokenizer.encode(read).ids)
    kinds, times = (ids[:-1] * vocab_size + ids[1:]).unique(return_counts=True)
    follows = ids[:-1].bincount(minlength=vocab_size)

    def bits(ahead: Tensor, alpha: float) -> float:
        wanted = ahead[:-1] * vocab_size + ahead[1:]
        at = torch.searchsorted(kinds, wanted).clamp(max=len(kinds) - 1)
        count = torch.where(kinds[at] == wanted, times[at], 0)  # of each pair that comes
        return -((count + alpha) / (follows[ahead[:-1]] + alpha * vocab_size)).log2().sum().item()

    spare, ahead = (torch.tensor(tokenizer.encode(text).ids) for text in (spare, held_out))
    alpha = min(ALPHAS, key=lambda alpha: bits(spare, alpha))
    return bits(ahead, alpha) / len(tokenizer.decode(ahead[1:].tolist()).encode())
