"""Runs side by side: two recipes, the ladder of all of them, a sweep of one setting, one seed twice.

Each run has a folder of its own under the experiment's; a run that is there is read and one that was cut short is
continued, so that stopping an experiment loses nothing but seconds.
"""

import statistics
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.plots import by_recipe
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.records import compare, read_record, student
from blueberry_lib.speedrun.run import run
from blueberry_lib.training.folder import load_config, occupied

BUDGET_STEPS = 32  # budgets are tried in this many parts of the track's tokens


def run_once(target: Path, config: TrainConfig, say: Callable) -> dict:
    """The record of the run of ``config`` in the folder ``target``, made if it is not there yet. Raises BlueberryError
    where a run with other settings is."""
    if (target / "config.json").exists() and load_config(TrainConfig, target) != config:
        raise BlueberryError(f"{target} holds a run with other settings: choose another --experiment-name.")
    if (target / "record.json").exists():
        return read_record(target / "record.json")
    started = any((target / "checkpoints").glob("step-*"))
    target.mkdir(parents=True, exist_ok=True)
    say(f"\n{target.name}")
    with occupied(target):
        record = run(config, target, resume=started, say=lambda _: None)
    say(f"validation loss {record['val_loss']:.4f} after {record['active_seconds']:.1f} active seconds")
    return record


def run_recipe(folder: Path, recipe: str, track: str, seed: int, parts: int, device: str, say: Callable) -> dict:
    """The record of a recipe on ``parts`` of BUDGET_STEPS of its track's tokens."""
    budget = "" if parts == BUDGET_STEPS else f"-{parts}of{BUDGET_STEPS}"
    config = get_recipe(recipe, track)
    tokens = config.train_tokens * parts // BUDGET_STEPS
    config = replace(config, seed=seed, device=device, train_tokens=tokens)
    return run_once(folder / f"{recipe}{budget}-seed{seed}", config, say)


def compare_recipes(
    a: str, b: str, track: str, seeds: int, folder: Path, device: str = "auto", say: Callable = print
) -> tuple[dict, list[dict]]:
    """Run recipe ``a`` and ``b`` for each seed in turn; then the shortest budget at which the mean final
    validation loss of ``b`` is no higher than ``a``'s mean. Returns the summary and all records.

    The budget is found by bisection with the first seed and confirmed with all; each budget is a run of its own, its
    schedule fitted to it.
    """

    def once(recipe: str, seed: int, parts: int = BUDGET_STEPS) -> dict:
        return run_recipe(folder, recipe, track, seed, parts, device, say)

    pairs = [(once(a, seed), once(b, seed)) for seed in range(seeds)]
    records_a, records_b = map(list, zip(*pairs, strict=True))
    summary = compare(records_a, records_b)
    bar = summary["val_loss"][0]
    summary["shortest"] = None
    shortest: list[dict] = []
    if summary["val_loss"][1] <= bar:
        holds = 1 + bisect_left(range(1, BUDGET_STEPS), True, key=lambda parts: once(b, 0, parts)["val_loss"] <= bar)
        while not shortest or statistics.fmean(record["val_loss"] for record in shortest) > bar:
            shortest = [once(b, seed, holds) for seed in range(seeds)]
            holds += 1
        found = compare(records_a, shortest)
        summary["shortest"] = {
            "tokens": shortest[0]["tokens"],
            "val_loss": found["val_loss"][1],
            "active_seconds": found["active_seconds"][1],
            "active_time_ratio": found["active_time_ratio"],
            "active_time_interval": found["active_time_interval"],
        }
    return summary, [*records_a, *records_b, *(r for r in shortest if r["tokens"] != records_b[0]["tokens"])]


def ladder(
    recipes: Sequence[str], track: str, seeds: int, folder: Path, device: str = "auto", say: Callable = print
) -> list[dict]:
    """The records of all ``recipes``, for each seed in turn."""
    return [
        run_recipe(folder, recipe, track, seed, BUDGET_STEPS, device, say)
        for seed in range(seeds)
        for recipe in recipes
    ]


def with_field(config: TrainConfig, field: str, value: str) -> TrainConfig:
    """A config with one number in it changed, named as on the command line: optimizer.muon-lr."""
    part, _, name = field.replace("-", "_").rpartition(".")
    owner = getattr(config, part, None) if part else config
    current = getattr(owner, name, None)
    if isinstance(current, bool) or not isinstance(current, int | float):
        raise BlueberryError(f"{field!r} is no number of a run; try optimizer.muon-lr or batch-size.")
    try:
        changed = replace(owner, **{name: type(current)(value)})
    except ValueError:
        raise BlueberryError(f"{value!r} is no value for {field}, which is {current}.") from None
    return replace(config, **{part: changed}) if part else changed


def sweep(
    config: TrainConfig, field: str, values: Sequence[str], seeds: int, folder: Path, say: Callable = print
) -> list[tuple[str, list[dict]]]:
    """For each value of one setting, its records over the seeds; the seeds are the outer turn."""
    found: dict[str, list[dict]] = {value: [] for value in values}
    for seed in range(seeds):
        for value in values:
            changed = replace(with_field(config, field, value), seed=seed)
            found[value].append(run_once(folder / f"{field}-{value}-seed{seed}", changed, say))
    return list(found.items())


def reproduce(config: TrainConfig, folder: Path, say: Callable = print) -> float:
    """The largest difference between the curves of one config run twice: 0 on a CPU, not always on a GPU."""
    first, second = (run_once(folder / name, config, say)["curve"] for name in ("first", "second"))
    losses = [[entry.get("train_loss", entry.get("val_loss")) for entry in curve] for curve in (first, second)]
    return max(abs(a - b) for a, b in zip(*losses, strict=True))


def summarize(records: Sequence[dict]) -> str:
    """A line for each recipe or run among the records: seeds, loss with its 95 % interval, active time."""
    lines = [f"{'recipe':<24} {'seeds':>5} {'validation loss':>18} {'active s':>9} {'parameters':>11}"]
    for name, runs in by_recipe(records).items():
        losses, seconds = ([run[key] for run in runs] for key in ("val_loss", "active_seconds"))
        spread = f" ± {student(losses)[1]:.4f}" if len(losses) > 1 else " " * 9
        lines.append(
            f"{name:<24} {len(runs):>5} {statistics.fmean(losses):>9.4f}{spread} {statistics.fmean(seconds):>9.1f} "
            f"{runs[0]['params']:>11,}"
        )
    return "\n".join(lines)
