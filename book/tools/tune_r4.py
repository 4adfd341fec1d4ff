"""Tune r4's schedule, batch and rates one after the other, at half of the pocket track's tokens, seed 0.

    python book/tools/tune_r4.py [FOLDER]

Each stage changes the best run so far and keeps a change that lowers the validation loss. Twenty runs: about as many
as the rates, batches and schedules that were tried on the way to ``best``. Runs lie in FOLDER (runs/tune-r4), and one
that is there is not repeated. Writes book/records/tune_r4.json; the recipe r4-tuned holds what it found.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from blueberry_lib.config import ScheduleConfig, TrainConfig
from blueberry_lib.speedrun.compare import run_once
from blueberry_lib.speedrun.recipes import batched, changed, get_recipe
from blueberry_lib.training.folder import write_json

TARGET = Path(__file__).parents[1] / "records" / "tune_r4.json"


def warmdown(share: float) -> Callable[[TrainConfig], TrainConfig]:
    return lambda c: replace(c, schedule=ScheduleConfig(kind="wsd", decay=share, floor=0.03))


def batch(size: int) -> Callable[[TrainConfig], TrainConfig]:
    return lambda c: batched(c, size)


def momentum(value: float) -> Callable[[TrainConfig], TrainConfig]:
    return lambda c: changed(c, optimizer={"muon_momentum": value})


def times(factor: float, *rates: str) -> Callable[[TrainConfig], TrainConfig]:
    return lambda c: changed(c, optimizer={rate: getattr(c.optimizer, rate) * factor for rate in rates})


MUON, ADAMW = "muon_lr", "adamw_lr"
STAGES: list[dict[str, Callable[[TrainConfig], TrainConfig]]] = [
    {"r4": lambda c: c},
    {f"warmdown {share}": warmdown(share) for share in (0.4, 0.65, 1.0)},
    {f"batch {size}": batch(size) for size in (4, 8, 32)},
    {f"momentum {value}": momentum(value) for value in (0.85, 0.9)},
    {f"Muon's rate times {factor}": times(factor, MUON) for factor in (0.5, 2)},
    {f"AdamW's rate times {factor}": times(factor, ADAMW) for factor in (0.5, 2, 4)},
    {f"both rates times {factor}": times(factor, MUON, ADAMW) for factor in (0.7, 1.4)},
    {"batch 2": batch(2)},  # what was kept so far lay at the end of its range
    {f"warmdown {share}, again": warmdown(share) for share in (0.2, 0.65)},
    {"momentum 0.8": momentum(0.8)},
]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tune-r4")
    config = get_recipe("r4", "pocket")
    config = replace(config, train_tokens=config.train_tokens // 2)
    lowest, trials, record = float("inf"), [], {}
    for stage in STAGES:
        start = config
        for name, change in stage.items():
            tried = change(start)
            record = run_once(folder / re.sub(r"[ ',]+", "-", name), tried, print)
            kept = record["val_loss"] < lowest
            if kept:
                config, lowest = tried, record["val_loss"]
            trials.append({"change": name, "val_loss": record["val_loss"], "lowest_so_far": kept})
    write_json(
        TARGET,
        {
            "what": "r4 tuned at half of the pocket track's tokens, one seed: a stage starts from the best before it",
            "machine": f"{record['hardware']['name']}, {record['hardware']['compute_dtype']}",
            "date": record["date"][:10],
            "versions": record["versions"],
            "tokens": config.train_tokens,
            "trials": trials,
            "optimizer": vars(config.optimizer),
            "schedule": vars(config.schedule),
            "batch_size": config.batch_size,
        },
    )


if __name__ == "__main__":
    main()
