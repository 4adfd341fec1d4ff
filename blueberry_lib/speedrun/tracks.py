"""What a speedrun fixes, so that two records can be compared."""

from collections.abc import Callable
from dataclasses import dataclass

from blueberry_lib.config import BlueberryError, ModelConfig, TrainConfig, blueberry_88m, blueberry_151m, pocket
from blueberry_lib.model.size import n_params


@dataclass(frozen=True)
class Track:
    """The rules of a track. Everything else is free."""

    name: str
    train_tokens: int
    """Tokens to train on, at most."""
    validation_tokens: int
    """Tokens the final loss is measured on."""
    data: str
    """The corpus."""
    model: Callable[[], ModelConfig]
    """The reference model: its size within PARAMETER_BAND, its vocabulary and its context for evaluation."""
    target_loss: float | None = None
    """What ranks: the active time to this training loss; without one, the validation loss and then the active time.
    Active time is that of the training steps; compiling, evaluation and saving are outside."""
    most_seconds: float | None = None
    """Active time within which a run must end."""


PARAMETER_BAND = 0.05

TRACKS = {
    track.name: track
    for track in (
        Track("pocket", 2**20, 131_072, "stdlib", pocket),
        Track("8M", 8_000_000, 1_048_576, "blueberry", blueberry_88m),
        Track("20M", 20_000_000, 1_048_576, "blueberry", blueberry_88m),
        Track("100M", 100_000_000, 1_048_576, "blueberry", blueberry_88m),
        Track("1B", 1_000_000_000, 1_048_576, "blueberry", blueberry_88m, most_seconds=4 * 3600),
        Track("loss-4.5", 40_000_000, 1_048_576, "blueberry", blueberry_151m, target_loss=4.5),
        Track("loss-3.5", 100_000_000, 1_048_576, "blueberry", blueberry_151m, target_loss=3.5),
    )
}


def get_track(name: str) -> Track:
    if name not in TRACKS:
        raise BlueberryError(f"Unknown track {name!r}; expected one of {', '.join(TRACKS)}.")
    return TRACKS[name]


def deviations(config: TrainConfig) -> list[str]:
    """Each rule of its track that a run breaks, in words; empty for an official run."""
    track = get_track(config.track)
    reference = track.model()
    expected = {
        "train_tokens": (config.train_tokens, track.train_tokens),
        "validation_tokens": (config.validation_tokens, track.validation_tokens),
        "data": (config.data, track.data),
        "vocab_size": (config.model.vocab_size, reference.vocab_size),
        "context_length": (config.model.context_length, reference.context_length),
        "tokenizer": (config.tokenizer, None),
        "target_loss": (config.target_loss, track.target_loss),
    }
    broken = [
        f"{name} is {found}, the track fixes {fixed}" for name, (found, fixed) in expected.items() if found != fixed
    ]
    params, allowed = n_params(config.model), n_params(reference)
    if abs(params / allowed - 1) > PARAMETER_BAND:
        broken.append(f"{params:,} parameters, the track allows {allowed:,} ± {PARAMETER_BAND:.0%}")
    return broken
