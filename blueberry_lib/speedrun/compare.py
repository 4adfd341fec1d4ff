"""Runs side by side: two recipes, the ladder of all of them, a sweep of one setting, one seed twice.

Each run has a folder of its own under the experiment's; a run that is there is read and one that was cut short is
continued, so that stopping an experiment loses nothing but seconds.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.plots import by_recipe
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.records import compare, read_record
from blueberry_lib.speedrun.run import run
from blueberry_lib.training.folder import load_config, occupied

BUDGET_STEPS = 32  # budgets are tried in this many parts of the track's tokens


def run_once(target: Path, config: TrainConfig, say: Callable) -> dict:
    """The record of the run of ``config`` in the folder ``target``, made if it is not there yet."""
    if (target / "record.json").exists():
        return read_record(target / "record.json")
    started = any((target / "checkpoints").glob("step-*"))
    target.mkdir(parents=True, exist_ok=True)
    say(f"\n{target.name}")
    with occupied(target):
        begun = load_config(TrainConfig, target) if started else config
        record = run(begun, target, resume=started, say=lambda _: None)
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
        fails, holds = 0, BUDGET_STEPS
        while holds - fails > 1:
            middle = (fails + holds) // 2
            if once(b, 0, middle)["val_loss"] <= bar:
                holds = middle
            else:
                fails = middle
        while True:
            shortest = [once(b, seed, holds) for seed in range(seeds)]
            loss = statistics.fmean(record["val_loss"] for record in shortest)
            if loss <= bar:
                break
            holds += 1
        seconds = statistics.fmean(record["active_seconds"] for record in shortest)
        summary["shortest"] = {
            "tokens": shortest[0]["tokens"],
            "val_loss": loss,
            "active_seconds": seconds,
            "active_time_ratio": seconds / summary["active_seconds"][0],
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


def describe(summary: dict) -> str:
    """A comparison in words."""
    (a, b), (loss_a, loss_b), (std_a, std_b) = summary["recipes"], summary["val_loss"], summary["val_loss_std"]
    shown = "shown" if summary["p_lower_loss"] < 0.01 else "not shown"
    lines = [
        f"{a}: validation loss {loss_a:.4f} ± {std_a:.4f}, {summary['active_seconds'][0]:.1f} active seconds",
        f"{b}: validation loss {loss_b:.4f} ± {std_b:.4f}, {summary['active_seconds'][1]:.1f} active seconds",
        f"{b} − {a}: {summary['val_loss_difference']:+.4f} nats at the same tokens, in "
        f"{summary['active_time_ratio']:.2f}× the time; lower loss {shown} "
        f"(Welch, one-sided, p = {summary['p_lower_loss']:.2g})",
    ]
    shortest = summary["shortest"]
    if shortest:
        lines.append(
            f"{b} is no worse than {a} from {shortest['tokens']:,} tokens on (loss {shortest['val_loss']:.4f}): "
            f"{shortest['active_time_ratio']:.2f}× {a}'s active time"
        )
    return "\n".join(lines)


def summarize(records: Sequence[dict]) -> str:
    """A line for each recipe or run among the records: seeds, loss with spread, active time."""
    lines = [f"{'recipe':<24} {'seeds':>5} {'validation loss':>18} {'active s':>9} {'parameters':>11}"]
    for name, runs in by_recipe(records).items():
        losses, seconds = ([run[key] for run in runs] for key in ("val_loss", "active_seconds"))
        spread = f" ± {statistics.stdev(losses):.4f}" if len(losses) > 1 else " " * 9
        lines.append(
            f"{name:<24} {len(runs):>5} {statistics.fmean(losses):>9.4f}{spread} {statistics.fmean(seconds):>9.1f} "
            f"{runs[0]['params']:>11,}"
        )
    return "\n".join(lines)
