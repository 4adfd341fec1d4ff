"""Recipes: how to spend a track's tokens. Each is a small difference from the one before.

r0 to r6 are the history of the open 5-dollar-LLM leaderboard, one RTX 4090; ``best`` is ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from blueberry_lib.config import (
    BlueberryError,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    blueberry_151m,
    pocket,
)
from blueberry_lib.speedrun.tracks import Track, get_track

LEADERBOARD = "https://github.com/Open-Superintelligence-Lab/5-dollar-llm/blob/main/docs/LEADERBOARD.md"
R3_LINK = "https://github.com/Open-Superintelligence-Lab/5-dollar-llm/pull/56"


@dataclass(frozen=True)
class Recipe:
    """A way to spend a track's tokens, and what its author published of it."""

    idea: str
    """What it changes, in a sentence."""
    date: str
    author: str = "the 5-dollar-LLM contributors"
    published: dict[str, dict] | None = None
    """Track → train_loss (None: not said), val_loss and seconds, as the original's leaderboard has them."""
    link: str = LEADERBOARD


def r0(track: Track) -> TrainConfig:
    """32 layers with SwiGLU, 4 sequences a step, constant rates, and a first step at rate 0, as it ran. (On pocket the
    layers and the batch shrink by as much.)"""
    model, small = track.model(), track.model is pocket
    batch = 8 if small else 4
    return TrainConfig(
        model=replace(model, n_layers=6 if small else 32, feed_forward="swiglu"),
        optimizer=OptimizerConfig(muon_lr=0.015, adamw_lr=0.001, orthogonalize="newton_schulz", fused=False),
        schedule=ScheduleConfig(kind="constant", first_step_zero=True),
        data=track.data,
        train_tokens=track.train_tokens,
        validation_tokens=track.validation_tokens,
        target_loss=track.target_loss,
        eval_every=track.eval_tokens // (batch * model.context_length),
        batch_size=batch,
        track=track.name,
        recipe="r0",
    )


def changed(config: TrainConfig, model: dict | None = None, optimizer: dict | None = None, **fields) -> TrainConfig:
    """A run with other ``fields``, and others of its model and optimizer."""
    parts = {"model": replace(config.model, **model or {}), "optimizer": replace(config.optimizer, **optimizer or {})}
    return replace(config, **parts, **fields)


def batched(c: TrainConfig, size: int) -> TrainConfig:
    """A run with batches of another size, evaluated after as many tokens as before."""
    return replace(c, batch_size=size, eval_every=c.eval_every * c.batch_size // size)


def _larger_batch(c: TrainConfig) -> TrainConfig:
    """Twice the batch, a third fewer layers, higher rates."""
    layers = {"n_layers": 4 if get_track(c.track).model is pocket else 22}
    return batched(changed(c, layers, {"muon_lr": 0.024, "adamw_lr": 0.006}), 2 * c.batch_size)


HISTORY: dict[str, Callable[[TrainConfig], TrainConfig]] = {  # each on top of the one before, the first on r0
    "r1": _larger_batch,
    "r2": lambda c: changed(c, {"feed_forward": "relu2"}),
    "r3": lambda c: changed(c, optimizer={"orthogonalize": "polar_express"}),
    "r4": lambda c: changed(c, optimizer={"fused": True}),
    "r5": lambda c: changed(c, weights="bfloat16"),
    "r6": lambda c: changed(c, optimizer={"merged_qkvo": True}),
}


def history(name: str, track: Track) -> TrainConfig:
    """A recipe of the original, r0 to r6."""
    config = r0(track)
    for later, change in HISTORY.items():
        if config.recipe != name:
            config = replace(change(config), recipe=later)
    return config


def _small_steps(c: TrainConfig) -> TrainConfig:
    """Half the batch, so twice the steps, with momentum 0.9."""
    return batched(changed(c, optimizer={"muon_momentum": 0.9}), c.batch_size // 2)


def _warmdown(c: TrainConfig) -> TrainConfig:
    """Rates fall linearly over the last 65 % of the run, to 3 %; no wasted first step."""
    return replace(c, schedule=ScheduleConfig(kind="wsd", decay=0.65, floor=0.03))


def _embedding(c: TrainConfig) -> TrainConfig:
    """Normed, learned faster, with betas (0.8, 0.95), without weight decay."""
    optimizer = {"embedding_lr": 0.01, "betas": (0.8, 0.95), "adamw_weight_decay": 0.0}
    return changed(c, {"embedding": "normed"}, optimizer)


DIFFERENCES: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "small steps": _small_steps,
    "warmdown": _warmdown,
    "embedding": _embedding,
    "zero init": lambda c: changed(c, {"zero_init": True}),
    "value residual": lambda c: changed(c, {"value_residual": True}),
    "key offset": lambda c: changed(c, {"key_offset": True}),
    "copy head": lambda c: changed(c, {"copy_head": True}),
}


def best(track: Track, without: Sequence[str] = ()) -> TrainConfig:
    """Ours: r4 and the named differences, but for those left out."""
    for name in without:
        if name not in DIFFERENCES:
            raise BlueberryError(f"best has no difference {name!r}; it has {', '.join(DIFFERENCES)}.")
    config = history("r4", track)
    if track.model is blueberry_151m:
        config = changed(config, {"n_layers": 44})
    if track.target_loss:  # a race's length is the recipe's own choice: measured on pocket, a guess elsewhere
        config = replace(config, train_tokens=track.train_tokens * (2 if track.model is pocket else 3) // 8)
    for name, change in DIFFERENCES.items():
        if name not in without:
            config = change(config)
    left_out = "+".join(name.replace(" ", "-") for name in without)
    return replace(config, recipe=f"best-without-{left_out}" if without else "best")


def _figures(val_loss: float, seconds: float, train_loss: float | None = None) -> dict:
    return {"train_loss": train_loss, "val_loss": val_loss, "seconds": seconds}


R1 = {"8M": _figures(4.8466, 104.08, 4.7487), "20M": _figures(4.2021, 248), "100M": _figures(3.7492, 1228)}
R2 = {"8M": _figures(4.8467, 89.21, 4.7479), "20M": _figures(4.2087, 212), "100M": _figures(3.7526, 1047)}
R3 = {"8M": _figures(4.8363, 88.66, 4.7286), "20M": _figures(4.2056, 209)}
R4 = {"8M": _figures(4.8366, 87.86, 4.7333), "20M": _figures(4.2075, 209), "100M": _figures(3.7609, 1029)}
R5 = {"8M": _figures(4.8403, 86.18, 4.7409), "20M": _figures(4.1791, 199), "100M": _figures(3.7094, 977)}
R1_IDEA = "batch 4 to 8, layers 32 to 22, Muon's rate 0.015 to 0.024, AdamW's 0.001 to 0.006"
RECIPES: dict[str, Recipe] = {
    "r0": Recipe("32 layers, 4 sequences a step, rates tuned", "2025-12-18", "VukRosic99"),
    "r1": Recipe(R1_IDEA, "2025-12-21", "VukRosic99", R1),
    "r2": Recipe("squared ReLU for SwiGLU", "2025-12-22", published=R2),
    "r3": Recipe("Polar Express for Newton–Schulz", "2025-12-22", "toheedakhtar", R3, R3_LINK),
    "r4": Recipe("fused AdamW", "2025-12-23", published=R4),
    "r5": Recipe("bfloat16 weights", "2025-12-23", published=R5),
    "r6": Recipe("merged QKVO", "2026-01-02"),
    "best": Recipe(", ".join(DIFFERENCES), "2026-11-21", "the Blueberry authors", link=""),
}


def get_recipe(name: str, track: str) -> TrainConfig:
    """The run that a recipe makes of a track; best-without-NAME or best-without-NAME+NAME leaves out differences of
    best."""
    if name.startswith("best-without-"):
        left_out = name.removeprefix("best-without-").split("+")
        return best(get_track(track), [part.replace("-", " ") for part in left_out])
    if name not in RECIPES:
        raise BlueberryError(f"Unknown recipe {name!r}; expected one of {', '.join(RECIPES)}.")
    return best(get_track(track)) if name == "best" else history(name, get_track(track))
