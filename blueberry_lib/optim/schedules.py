"""Learning-rate schedules: a factor for every optimizer step."""

import math

from blueberry_lib.config import ScheduleConfig


def learning_rate_factor(config: ScheduleConfig, step: int, total_steps: int) -> float:
    """The factor on each learning rate at ``step`` = 0 … total_steps − 1.

    The first step of a warm-up is one warm-up step's worth, not 0; linear and cosine then begin at 1; the last step of
    the run is the floor.
    """
    if step == 0 and config.first_step_zero:
        return 0.0
    warmup_steps = round(config.warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    decay_steps = total_steps - 1 - warmup_steps
    if config.kind == "wsd":  # the first step of the decay is below 1 already
        decay_steps = min(decay_steps + 1, max(1, round(config.decay * total_steps)))
    remaining = min(1.0, (total_steps - 1 - step) / max(1, decay_steps))  # 1 before the decay, 0 at the last step
    if config.kind == "constant":
        return 1.0
    if config.kind == "cosine":
        remaining = (1 - math.cos(math.pi * remaining)) / 2
    return config.floor + (1 - config.floor) * remaining
