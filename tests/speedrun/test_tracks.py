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
        ({"target_loss": 3.0, "eval_every": 8}, "target_loss"),
        ({"passes": 2, "train_tokens": 2**21}, "passes"),
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


def test_a_race_is_as_long_as_its_recipe_likes_and_looks_as_often_as_its_track_says():
    race = get_recipe("best", "pocket-race")
    assert deviations(race) == [] and deviations(replace(race, train_tokens=2**18)) == []
    (broken,) = deviations(replace(race, eval_every=8))
    assert "between evaluations is 16384, the track fixes 32768" in broken
    (broken,) = deviations(replace(race, train_tokens=2**21))
    assert "train_tokens" in broken


def test_a_slow_run_reads_its_text_again_with_up_to_four_times_the_parameters():
    slow = get_recipe("best", "pocket-slow")
    again = replace(slow, train_tokens=5 * 2**20, passes=5, model=replace(slow.model, d_model=256, n_layers=3))
    assert deviations(again) == []
    (broken,) = deviations(replace(again, passes=4))
    assert "train_tokens" in broken, "that would be more text"
    (broken,) = deviations(replace(again, model=replace(slow.model, d_model=512)))
    assert "parameters, the track allows 4,986,368" in broken
