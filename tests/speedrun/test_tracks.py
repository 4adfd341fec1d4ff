"""A run that breaks a rule is told which."""

from dataclasses import replace

import pytest

from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.tracks import deviations

START = get_recipe("best", "pocket")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"train_tokens": 2**20 + 2048}, "train_tokens"),
        ({"validation_tokens": 65_536}, "validation_tokens"),
        ({"data": "docs"}, "data is docs"),
        ({"tokenizer": "mine.json"}, "tokenizer"),
        ({"target_loss": 3.0}, "target_loss"),
        ({"model": replace(START.model, d_ff=768)}, "parameters"),
        ({"model": replace(START.model, d_ff=384)}, "parameters"),
        ({"model": replace(START.model, vocab_size=4000)}, "vocab_size"),
    ],
)
def test_each_broken_rule_is_named(change, word):
    (broken,) = deviations(replace(START, **change))
    assert word in broken


def test_what_is_free_stays_free():
    free = replace(START, batch_size=3, seed=9, precision="float32", model=replace(START.model, soft_cap=5.0))
    assert deviations(free) == []
