"""The model that counts pairs, against a dense table filled one pair at a time."""

import math
from itertools import pairwise

from blueberry_checks import pair_model
from blueberry_lib.data.tokens import train_tokenizer


def test_bits_per_byte_are_those_of_a_dense_table(monkeypatch):
    read, held_out = "def f(x):\n    return x + 1\n" * 20, "def fun(xy):\n    return xy - 1\n"
    spare = "def fun(x):\n    return x + 1 - 1\n"  # here the smoothing is chosen
    monkeypatch.setattr(pair_model, "texts", lambda: (read, spare, held_out))
    tokenizer = train_tokenizer([read], 300)
    counts = [[0] * 300 for _ in range(300)]
    for a, b in pairwise(tokenizer.encode(read).ids):
        counts[a][b] += 1

    def bits(alpha, text):
        ids = tokenizer.encode(text).ids
        p = [(counts[a][b] + alpha) / (sum(counts[a]) + 300 * alpha) for a, b in pairwise(ids)]
        return -sum(map(math.log2, p)) / (len(text.encode()) - len(tokenizer.decode(ids[:1]).encode()))

    alpha = min(pair_model.ALPHAS, key=lambda alpha: bits(alpha, spare))
    assert alpha != min(pair_model.ALPHAS, key=lambda alpha: bits(alpha, held_out)), "else the test could not tell"
    assert math.isclose(pair_model.pair_bits.__wrapped__(300), bits(alpha, held_out), rel_tol=1e-5)


def test_the_best_size_is_neither_the_smallest_nor_the_largest():
    sizes = (257, 1024, 4096)
    assert min(sizes, key=pair_model.pair_bits) == 1024
