"""Shards read as one stream, whether there is one or many."""

import json
import tracemalloc
from itertools import islice

import numpy as np
import pytest

from blueberry_lib.data import shards
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


def test_what_training_holds_in_memory_does_not_grow_with_the_shards(tmp_path, monkeypatch):
    peaks = []
    for count in (2**19, 2**22):  # tokens: 1 and 8 MiB, in three shards each
        monkeypatch.setattr(shards, "SHARD_TOKENS", count // 3 + 1)
        folder = tmp_path / str(count)
        folder.mkdir()
        pieces = {"train": [np.ones(count // 12, np.uint16)] * 12, "val": [np.ones(100, np.uint16)]}
        splits = {split: shards.write_split(folder, split, ids) for split, ids in pieces.items()}
        (folder / "manifest.json").write_text(json.dumps({"splits": splits, "vocab_size": 2}))
        tracemalloc.start()
        train = shards.load(folder).train
        for _ in islice(TokenBatches(train, 8, 1024, seed=0), 100):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(train.parts) == 3 and all(isinstance(part, np.memmap) for part in train.parts)
    assert peaks[1] < peaks[0] + 2**17
