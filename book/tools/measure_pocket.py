"""Repeat what chapters 11 and 12 show of the pocket track, and keep it.

    python book/tools/measure_pocket.py ladder     every recipe, three seeds: half an hour, both cores to itself
    python book/tools/measure_pocket.py seeds      r4 with ten seeds, best with five: losses only, on a shared machine
    python book/tools/measure_pocket.py ablations  best without its differences, three seeds: losses only

Runs lie in runs/pocket-records; one that is there is not repeated. The full records of the ladder go to
book/records/ladder_pocket.json, what the notebooks draw to blueberry_lib/recorded/.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from blueberry_lib.speedrun.compare import BUDGET_STEPS, run_recipe
from blueberry_lib.speedrun.recipes import DIFFERENCES, RECIPES
from blueberry_lib.speedrun.records import p_lower
from blueberry_lib.training.folder import write_json

ROOT = Path(__file__).parents[2]
RUNS = Path("runs/pocket-records")
LADDER_SEEDS, ABLATION_SEEDS, NOISE_SEEDS = range(3), range(3), {"r4": range(10), "best": range(5)}
WITHOUT = {f"best-without-{name.replace(' ', '-')}": name for name in DIFFERENCES}
WITHOUT["best-without-embedding+zero-init"] = "embedding and zero init"
WHAT = {
    "ladder": "Every recipe on the pocket track: final validation loss, nats a token, and active seconds",
    "seeds": "Final validation loss of one recipe on the pocket track, nats a token, seed by seed",
    "ablations": "Final validation loss on the pocket track, nats a token, of best without some of its differences",
}


def runs(recipes: Sequence[str], seeds: Sequence[int]) -> list[dict]:
    RUNS.mkdir(parents=True, exist_ok=True)
    return [
        run_recipe(RUNS, recipe, "pocket", seed, BUDGET_STEPS, "auto", print) for seed in seeds for recipe in recipes
    ]


def summary(rows: list[dict], key: str) -> dict[str, dict]:
    """Mean and standard deviation of the losses that share a key."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(str(row[key]).replace(" ", "_"), []).append(row["val_loss"])
    return {
        name: {"mean": statistics.fmean(losses), "std": statistics.stdev(losses), "seeds": len(losses)}
        for name, losses in groups.items()
    }


def write(
    name: str, target: str, records: list[dict], rows: list[dict], cores: str, found: dict[str, dict] | None = None
) -> None:
    first = records[0]
    head = {
        "what": WHAT[name],
        "machine": f"{first['hardware']['name']}, {cores}, {first['hardware']['compute_dtype']} autocast",
        "date": max(record["date"] for record in records)[:10],
        "versions": first["versions"],
        "track": "pocket",
        "tokens": first["tokens"],
        "data_sha256": first["data_sha256"],
    }
    write_json(
        ROOT / "blueberry_lib" / "recorded" / f"{target}.json",
        {**head, **({"summary": found} if found else {}), "runs": rows},
    )


def ladder() -> None:
    records = runs(list(RECIPES), LADDER_SEEDS)
    write_json(ROOT / "book" / "records" / "ladder_pocket.json", {"records": records})
    kept = ("recipe", "seed", "params", "val_loss", "bits_per_byte", "active_seconds", "flops", "utilisation")
    rows = []
    for record in records:
        points = [entry for entry in record["curve"] if "train_loss" in entry]
        curve = [[e["tokens"], round(e["active_seconds"], 1), round(e["train_loss"], 3)] for e in points]
        rows.append({key: record[key] for key in kept} | {"curve": curve})
    write("ladder", "ladder", records, rows, "2 cores")


def seeds() -> None:
    records = [record for recipe, seeds in NOISE_SEEDS.items() for record in runs([recipe], seeds)]
    rows = [{key: record[key] for key in ("recipe", "seed", "val_loss")} for record in records]
    write("seeds", "ten_seeds", records, rows, "1 or 2 cores", summary(records, "recipe"))


def ablations() -> None:
    recipes = ["best", *WITHOUT]
    records = runs(recipes, ABLATION_SEEDS)
    rows = [
        {"recipe": recipe, "without": WITHOUT.get(recipe)}
        | {key: record[key] for key in ("seed", "params", "val_loss")}
        for recipe, record in zip(recipes * len(ABLATION_SEEDS), records, strict=True)
    ]
    found = summary(rows, "without")
    whole = [row["val_loss"] for row in rows if row["without"] is None]
    for name in WITHOUT.values():
        arm = found[name.replace(" ", "_")]
        arm["rise"] = arm["mean"] - found["None"]["mean"]
        arm["p"] = p_lower(whole, [row["val_loss"] for row in rows if row["without"] == name])
    write("ablations", "ablations", records, rows, "1 or 2 cores", found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT)
    {"ladder": ladder, "seeds": seeds, "ablations": ablations}[parser.parse_args().what]()
