"""Recipes: how to spend a track's tokens. Each is a small difference from the one before.

r0 to r6 are the history of the open 5-dollar-LLM leaderboard, one RTX 4090; ``best`` is ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from blueberry_lib.config import BlueberryError, OptimizerConfig, ScheduleConfig, TrainConfig
from blueberry_lib.speedrun.tracks import Track, get_track

LEADERBOARD = "https://github.com/Open-Superintelligence-Lab/5-dollar-llm/blob/main/docs/LEADERBOARD.md"


@dataclass(frozen=True)
class Recipe:
    """A way to spend a track's tokens, and what its author published of it."""

    build: Callable[[Track], TrainConfig]
    idea: str
    """What it changes, in a sentence."""
    date: str
    author: str = "the 5-dollar-LLM contributors"
    published: dict[str, dict] | None = None
    """Track → train_loss, val_loss and seconds, as the original's leaderboard has them."""
    link: str = LEADERBOARD


def r0(track: Track) -> TrainConfig:
    """32 layers with SwiGLU, 4 sequences a step, constant rates, and a first step at rate 0, as it ran. (On pocket the
    layers and the batch shrink by as much.)"""
    model = track.model()
    pocket = track.name == "pocket"
    return TrainConfig(
        model=replace(model, n_layers=6 if pocket else 32, feed_forward="swiglu"),
        optimizer=OptimizerConfig(muon_lr=0.015, adamw_lr=0.001, orthogonalize="newton_schulz", fused=False),
        schedule=ScheduleConfig(kind="constant", first_step_zero=True),
        data=track.data,
        train_tokens=track.train_tokens,
        validation_tokens=track.validation_tokens,
        target_loss=track.target_loss,
        batch_size=8 if pocket else 4,
        track=track.name,
        recipe="r0",
    )


def r1(track: Track) -> TrainConfig:
    """Twice the batch, a third fewer layers, higher rates."""
    before = r0(track)
    return replace(
        before,
        model=replace(before.model, n_layers=4 if track.name == "pocket" else 22),
        optimizer=replace(before.optimizer, muon_lr=0.024, adamw_lr=0.006),
        batch_size=2 * before.batch_size,
        recipe="r1",
    )


def r2(track: Track) -> TrainConfig:
    """Squared ReLU: two matrices in place of SwiGLU's three."""
    before = r1(track)
    return replace(before, model=replace(before.model, feed_forward="relu2"), recipe="r2")


def r3(track: Track) -> TrainConfig:
    """Polar Express: other coefficients at each step of the orthogonalization."""
    before = r2(track)
    return replace(before, optimizer=replace(before.optimizer, orthogonalize="polar_express"), recipe="r3")


def r4(track: Track) -> TrainConfig:
    """AdamW as one fused kernel."""
    before = r3(track)
    return replace(before, optimizer=replace(before.optimizer, fused=True), recipe="r4")


def r5(track: Track) -> TrainConfig:
    """Weights, and with them the optimizers' state, in bfloat16."""
    return replace(r4(track), weights="bfloat16", recipe="r5")


def r6(track: Track) -> TrainConfig:
    """Query, key, value and output as one matrix to Muon."""
    before = r5(track)
    return replace(before, optimizer=replace(before.optimizer, merged_qkvo=True), recipe="r6")


def _small_steps(c: TrainConfig) -> TrainConfig:
    """Half the batch, so twice the steps, with momentum 0.9."""
    return replace(c, batch_size=c.batch_size // 2, optimizer=replace(c.optimizer, muon_momentum=0.9))


def _warmdown(c: TrainConfig) -> TrainConfig:
    """Rates fall linearly over the last 65 % of the run, to 3 %; no wasted first step."""
    return replace(c, schedule=ScheduleConfig(kind="wsd", decay=0.65, floor=0.03))


def _embedding(c: TrainConfig) -> TrainConfig:
    """Normed, learned faster, with betas (0.8, 0.95), without weight decay."""
    optimizer = replace(c.optimizer, embedding_lr=0.01, betas=(0.8, 0.95), adamw_weight_decay=0.0)
    return replace(c, optimizer=optimizer, model=replace(c.model, embedding="normed"))


DIFFERENCES: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "small steps": _small_steps,
    "warmdown": _warmdown,
    "embedding": _embedding,
    "zero init": lambda c: replace(c, model=replace(c.model, zero_init=True)),
    "value residual": lambda c: replace(c, model=replace(c.model, value_residual=True)),
    "key offset": lambda c: replace(c, model=replace(c.model, key_offset=True)),
}


def best(track: Track, without: Sequence[str] = ()) -> TrainConfig:
    """Ours: r4 and the named differences, but for those left out."""
    for name in without:
        if name not in DIFFERENCES:
            raise BlueberryError(f"best has no difference {name!r}; it has {', '.join(DIFFERENCES)}.")
    config = r4(track)
    if track.target_loss:  # these tracks ask for 151 M parameters
        config = replace(config, model=replace(config.model, n_layers=44))
    for name, change in DIFFERENCES.items():
        if name not in without:
            config = change(config)
    left_out = "+".join(name.replace(" ", "-") for name in without)
    return replace(config, recipe=f"best-without-{left_out}" if without else "best")


def _figures(train_loss: float, val_loss: float, seconds: float) -> dict:
    return {"train_loss": train_loss, "val_loss": val_loss, "seconds": seconds}


RECIPES: dict[str, Recipe] = {
    "r0": Recipe(r0, "32 layers, 4 sequences a step, rates tuned", "2025-12-18", "VukRosic99"),
    "r1": Recipe(
        r1,
        "batch 4 to 8, layers 32 to 22, Muon's rate 0.015 to 0.024, AdamW's 0.001 to 0.006",
        "2025-12-21",
        "VukRosic99",
        {
            "8M": _figures(4.7487, 4.8466, 104.08),
            "20M": {"val_loss": 4.2021, "seconds": 248},
            "100M": {"val_loss": 3.7492, "seconds": 1228},
        },
    ),
    "r2": Recipe(
        r2,
        "squared ReLU for SwiGLU",
        "2025-12-22",
        published={
            "8M": _figures(4.7479, 4.8467, 89.21),
            "20M": {"val_loss": 4.2087, "seconds": 212},
            "100M": {"val_loss": 3.7526, "seconds": 1047},
        },
    ),
    "r3": Recipe(
        r3,
        "Polar Express for Newton–Schulz",
        "2025-12-22",
        "toheedakhtar",
        {"8M": _figures(4.7286, 4.8363, 88.66), "20M": {"val_loss": 4.2056, "seconds": 209}},
        "https://github.com/Open-Superintelligence-Lab/5-dollar-llm/pull/56",
    ),
    "r4": Recipe(
        r4,
        "fused AdamW",
        "2025-12-23",
        published={
            "8M": _figures(4.7333, 4.8366, 87.86),
            "20M": {"val_loss": 4.2075, "seconds": 209},
            "100M": {"val_loss": 3.7609, "seconds": 1029},
        },
    ),
    "r5": Recipe(
        r5,
        "bfloat16 weights",
        "2025-12-23",
        published={
            "8M": _figures(4.7409, 4.8403, 86.18),
            "20M": {"val_loss": 4.1791, "seconds": 199},
            "100M": {"val_loss": 3.7094, "seconds": 977},
        },
    ),
    "r6": Recipe(r6, "merged QKVO", "2026-01-02"),
    "best": Recipe(best, ", ".join(DIFFERENCES), "2026-11-21", "the Blueberry authors", link=""),
}


def get_recipe(name: str, track: str) -> TrainConfig:
    """The run that a recipe makes of a track; best-without-NAME or best-without-NAME+NAME leaves out differences of
    best."""
    if name.startswith("best-without-"):
        left_out = name.removeprefix("best-without-").split("+")
        return best(get_track(track), [part.replace("-", " ") for part in left_out])
    if name not in RECIPES:
        raise BlueberryError(f"Unknown recipe {name!r}; expected one of {', '.join(RECIPES)}.")
    return RECIPES[name].build(get_track(track))
