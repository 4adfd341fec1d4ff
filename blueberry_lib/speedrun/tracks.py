"""What a speedrun fixes, so that two records can be compared."""

from collections.abc import Callable
from dataclasses import dataclass

from blueberry_lib.config import BlueberryError, ModelConfig, TrainConfig, blueberry_88m, blueberry_151m, pocket
from blueberry_lib.model.size import n_params


@dataclass(frozen=True)
class Track:
    """The rules of a track. Everything else is free.

    With ``target_loss`` it is a *race*: active time to a validation loss, measured off the clock every ``eval_tokens``;
    it ends where the mean of the last two is there. With ``repeated`` it is *slow*: the same text as often as one likes
    within ``most_seconds``. Any other is a *data* contest: validation loss after ``train_tokens``, each read once.
    """

    name: str
    train_tokens: int
    """Tokens to train on, at most; of a slow track, those that may be read again."""
    validation_tokens: int
    """Tokens that the loss is measured on."""
    data: str
    """The corpus."""
    model: Callable[[], ModelConfig]
    """The reference model: its size within PARAMETER_BAND, its vocabulary and its context for evaluation."""
    target_loss: float | None = None
    """The validation loss of a race."""
    eval_tokens: int = 0
    """Training tokens between the evaluations of a race."""
    most_seconds: float | None = None
    """Active time within which a run must end."""
    repeated: bool = False
    """Whether tokens may be read again, and up to MOST_TIMES the parameters used."""

    @property
    def contest(self) -> str:
        """The question that it asks: data, race or slow."""
        return "race" if self.target_loss else "slow" if self.repeated else "data"


PARAMETER_BAND = 0.05
MOST_TIMES = 4  # the reference's parameters, on a slow track

TRACKS = {
    track.name: track
    for track in (
        Track("pocket", 2**20, 131_072, "stdlib", pocket),
        Track("8M", 8_000_000, 1_048_576, "blueberry", blueberry_88m),
        Track("20M", 20_000_000, 1_048_576, "blueberry", blueberry_88m),
        Track("100M", 100_000_000, 1_048_576, "blueberry", blueberry_88m),
        Track("1B", 1_000_000_000, 1_048_576, "blueberry", blueberry_88m, most_seconds=4 * 3600),
        Track("pocket-race", 2**20, 131_072, "stdlib", pocket, target_loss=4.12, eval_tokens=2**15),
        Track("8M-race", 8_000_000, 1_048_576, "blueberry", blueberry_88m, target_loss=4.8366, eval_tokens=2**18),
        Track("loss-4.5", 40_000_000, 1_048_576, "blueberry", blueberry_151m, target_loss=4.5, eval_tokens=2**20),
        Track("loss-3.5", 100_000_000, 1_048_576, "blueberry", blueberry_151m, target_loss=3.5, eval_tokens=2**20),
        Track("pocket-slow", 2**20, 131_072, "stdlib", pocket, most_seconds=600, repeated=True),
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
        "validation_tokens": (config.validation_tokens, track.validation_tokens),
        "data": (config.data, track.data),
        "vocab_size": (config.model.vocab_size, reference.vocab_size),
        "context_length": (config.model.context_length, reference.context_length),
        "tokenizer": (config.tokenizer, None),
        "target_loss": (config.target_loss, track.target_loss),
    }
    if track.target_loss:
        tokens_between = config.eval_every * config.tokens_per_step
        expected["training tokens between evaluations"] = (tokens_between, track.eval_tokens)
    unique = config.train_tokens // config.passes
    if track.contest == "data" or unique > track.train_tokens:
        expected["train_tokens"] = (unique, track.train_tokens)
    if not track.repeated:
        expected["passes"] = (config.passes, 1)
    broken = [
        f"{name} is {found}, the track fixes {fixed}" for name, (found, fixed) in expected.items() if found != fixed
    ]
    params, allowed = n_params(config.model), n_params(reference)
    if track.repeated and params > MOST_TIMES * allowed:
        broken.append(f"{params:,} parameters, the track allows {MOST_TIMES * allowed:,}")
    if not track.repeated and abs(params / allowed - 1) > PARAMETER_BAND:
        broken.append(f"{params:,} parameters, the track allows {allowed:,} ± {PARAMETER_BAND:.0%}")
    return broken
