"""Recipes: how to spend a track's tokens. Each is a small difference from the one before."""

from collections.abc import Callable
from dataclasses import replace

from blueberry_lib.config import BlueberryError, OptimizerConfig, ScheduleConfig, TrainConfig
from blueberry_lib.speedrun.tracks import Track, get_track


def r4(track: Track) -> TrainConfig:
    """The record of 2025-12-23 in the original's history, field by field: constant rates, and a first step
    at rate 0, as it ran."""
    return TrainConfig(
        model=track.model(),
        optimizer=OptimizerConfig(),
        schedule=ScheduleConfig(kind="constant", first_step_zero=True),
        data=track.data,
        train_tokens=track.train_tokens,
        validation_tokens=track.validation_tokens,
        batch_size=16 if track.name == "pocket" else 8,
        track=track.name,
        recipe="r4",
    )


def best(track: Track) -> TrainConfig:
    """Ours: smaller and more steps with less momentum, a warmdown, half of the key heads one token back, the first
    layer's values in every layer, a faster embedding without weight decay, blocks that start as the identity."""
    start = r4(track)
    return replace(
        start,
        model=replace(start.model, embedding="normed", zero_init=True, value_residual=True, key_offset=True),
        optimizer=replace(
            start.optimizer, muon_momentum=0.9, embedding_lr=0.01, betas=(0.8, 0.95), adamw_weight_decay=0.0
        ),
        schedule=ScheduleConfig(kind="wsd", decay=0.65, floor=0.03),
        batch_size=start.batch_size // 2,
        recipe="best",
    )


RECIPES: dict[str, Callable[[Track], TrainConfig]] = {"r4": r4, "best": best}


def get_recipe(name: str, track: str) -> TrainConfig:
    """The run that a recipe makes of a track."""
    if name not in RECIPES:
        raise BlueberryError(f"Unknown recipe {name!r}; expected one of {', '.join(RECIPES)}.")
    return RECIPES[name](get_track(track))
