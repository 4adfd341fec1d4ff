"""Two recipes side by side: the same seeds in turn, then the shortest budget that still wins."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.records import compare, read_record
from blueberry_lib.speedrun.run import load_config, run

BUDGET_STEPS = 32  # budgets are tried in this many parts of the track's tokens


def run_once(folder: Path, recipe: str, track: str, seed: int, parts: int, device: str, say: Callable) -> dict:
    """The record of one run under ``folder``; a run that is already there is read, and one cut short is continued."""
    budget = "" if parts == BUDGET_STEPS else f"-{parts}of{BUDGET_STEPS}"
    target = folder / f"{recipe}{budget}-seed{seed}"
    if (target / "record.json").exists():
        return read_record(target / "record.json")
    config = get_recipe(recipe, track)
    config = replace(config, seed=seed, device=device, train_tokens=config.train_tokens * parts // BUDGET_STEPS)
    started = any((target / "checkpoints").glob("step-*"))
    target.mkdir(parents=True, exist_ok=True)
    say(f"\n{target.name}")
    record = run(load_config(target) if started else config, target, resume=started, say=lambda _: None)
    say(f"validation loss {record['val_loss']:.4f} after {record['active_seconds']:.1f} active seconds")
    return record


def compare_recipes(
    a: str, b: str, track: str, seeds: int, folder: Path, device: str = "auto", say: Callable = print
) -> tuple[dict, list[dict]]:
    """Run recipe ``a`` and ``b`` for each seed in turn; then the shortest budget at which the mean final
    validation loss of ``b`` is no higher than ``a``'s mean. Returns the summary and all records.

    The budget is found by bisection with the first seed and confirmed with all; each budget is a run of its own, its
    schedule fitted to it. Runs that ``folder`` already holds are not repeated.
    """

    def once(recipe: str, seed: int, parts: int = BUDGET_STEPS) -> dict:
        return run_once(folder, recipe, track, seed, parts, device, say)

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


def describe(summary: dict) -> str:
    """The summary in words."""
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
