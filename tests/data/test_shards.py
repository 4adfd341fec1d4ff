"""Shards read as one stream, whether there is one or many."""

import numpy as np
import pytest

from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.data.shards import Tokens


def test_several_shards_read_as_one():
    whole = np.arange(23, dtype=np.uint16)
    parts = [whole[:7], whole[7:8], whole[8:20], whole[20:]]
    tokens = Tokens(parts)
    assert len(tokens) == 23 and np.array_equal(np.asarray(tokens), whole)
    for start in range(-25, 26):
        for stop in (None, *range(-25, 26)):
            assert np.array_equal(tokens[start:stop], whole[start:stop])
    assert tokens[9:15].base is not None  # within a shard nothing is copied
    with pytest.raises(ValueError, match="without a step"):
        tokens[::2]
    for (x, y), (u, v) in zip(
        TokenBatches(tokens, 2, 3, 0, limit=8), TokenBatches(whole, 2, 3, 0, limit=8), strict=True
    ):
        assert x.equal(u) and y.equal(v)
