"""Recipes are what their names say, inside their tracks' rules."""

from dataclasses import asdict

import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.speedrun.recipes import RECIPES, get_recipe
from blueberry_lib.speedrun.tracks import TRACKS, deviations


def test_r4_is_the_originals_field_by_field():
    config = get_recipe("r4", "8M")
    assert asdict(config.optimizer) == {
        "muon_lr": 0.024,
        "muon_momentum": 0.95,
        "muon_weight_decay": 0.0,
        "orthogonalize": "polar_express",
        "orthogonalize_steps": 5,
        "adamw_lr": 0.006,
        "embedding_lr": None,
        "betas": (0.9, 0.999),
        "adamw_weight_decay": 0.2,
        "clip_norm": 1.0,
    }
    assert config.schedule.kind == "constant" and config.schedule.first_step_zero
    assert config.model.embedding == "scaled" and config.model.n_params == 88_630_528
    assert config.tokens_per_step == 8 * 2048 and config.total_steps == 489
    pocket = get_recipe("r4", "pocket")
    assert pocket.tokens_per_step == 16 * 256 and pocket.optimizer == config.optimizer


def test_every_recipe_keeps_every_tracks_rules():
    for recipe in RECIPES:
        for track in TRACKS:
            config = get_recipe(recipe, track)
            assert deviations(config) == [], (recipe, track)
            assert config.total_steps * config.tokens_per_step - config.train_tokens < config.tokens_per_step


def test_unknown_names_are_refused():
    with pytest.raises(BlueberryError, match="expected one of r4"):
        get_recipe("r99", "pocket")
    with pytest.raises(BlueberryError, match="expected one of pocket"):
        get_recipe("r4", "7M")
