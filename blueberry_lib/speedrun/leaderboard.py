"""The book's leaderboard page, made from the records in ``book/records``.

A file there that holds ``records`` (a ladder, a comparison) or is one is read. What ranks is the improvement over the
incumbent, measured in pairs on the same machine and data.
"""

import json
import statistics
from pathlib import Path

from blueberry_lib.config import BlueberryError
from blueberry_lib.speedrun.recipes import RECIPES
from blueberry_lib.speedrun.records import machine, student
from blueberry_lib.speedrun.tracks import TRACKS
from blueberry_lib.speedrun.verify import SEEDS, claims

BASES = ("r4", "r4-tuned")  # what stands beside every recipe, where there are runs of it
CLASSES = {"cpu": "CPU", "mps": "Apple GPU", "cuda": "GPU"}


def load_records(folder: Path) -> list[dict]:
    """Every record under a folder, those inside comparisons and ladders too; of one seed repeated on a machine the
    first, since on a CPU the others only repeat its loss."""
    found: dict[str, dict] = {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        candidates = content.get("records", [content]) if isinstance(content, dict) else []
        for record in candidates:
            if isinstance(record, dict) and {"track", "recipe", "val_loss", "hardware", "date"} <= record.keys():
                key = [record[name] for name in ("track", "recipe", "seed", "tokens", "data_sha256")]
                found.setdefault(str([*key, machine(record)]), record)
    return list(found.values())


def machine_class(record: dict) -> str:
    """CPU, T4, Apple GPU or large GPU."""
    name = record["hardware"]["name"]
    if record["hardware"]["device"] == "cuda":
        return "T4" if "T4" in name else "large GPU"
    return CLASSES[record["hardware"]["device"]]


def _mean(runs: list[dict], key: str) -> float:
    return statistics.fmean(run[key] for run in runs)


def _claims(base: list[dict], runs: list[dict]) -> tuple[str, str, str]:
    """Of runs against others of the same seeds: the difference with its 95 % interval, the standing of the better
    claim, and its p; the reason in place of the first where they make no pairs."""
    seeds = {run["seed"] for run in base} & {run["seed"] for run in runs}
    try:
        found = claims(*([run for run in arm if run["seed"] in seeds] for arm in (base, runs)))
    except BlueberryError as refusal:
        return str(refusal), "not shown", ""
    summary, claim = found["summary"], found["lower_loss"]
    p = f"p = {claim['p']:.1g}, sign flips {summary['p_sign_flips']:.2g}"
    if claim["standing"] == "not shown" != found["faster"]["standing"]:
        claim = found["faster"]
        p = f"no worse in {summary['active_time_ratio']:.2f}× the time, p = {claim['p']:.1g}"
    difference = "{:+.3f} ({:+.3f} to {:+.3f})".format(summary["val_loss_difference"], *summary["val_loss_interval"])
    return difference, claim["standing"], f"{len(seeds)} pairs, {p}"


def standings(recipes: dict[str, list[dict]]) -> tuple[str, dict[str, tuple[str, str, str, str]]]:
    """The recipe that holds the record and, for each other, the incumbent that it met and what it showed against that.

    They meet in the order of the history, r4 first; who shows something, be it provisional, is the next incumbent.
    """
    incumbent, met = "r4", {}
    place = {name: number for number, name in enumerate(RECIPES)}
    for name in sorted(recipes, key=lambda name: (place.get(name, len(place)), min(r["date"] for r in recipes[name]))):
        if name != "r4" in recipes:
            met[name] = (incumbent, *_claims(recipes[incumbent], recipes[name]))
            if met[name][2] != "not shown" and recipes[name][0]["official"]:
                incumbent = name
    return incumbent, met


def _whole(record: dict) -> bool:
    """Whether a run took its track's budget or, in a race or a slow contest, as much of it as it liked."""
    track = TRACKS[record["track"]]
    return track.contest != "data" or record["tokens"] > 0.99 * track.train_tokens


def _by_earlier_rules(recipes: dict[str, list[dict]]) -> bool:
    """Whether the seed still chose the text and validation was of few documents, as before 2026-11-25."""
    return not any("val_loss_error" in run for runs in recipes.values() for run in runs)


def _idea(recipe: str, run: dict) -> str:
    """What a recipe changes; the ``best`` of earlier runs had no copy head."""
    if recipe not in RECIPES:
        return recipe.replace("-", " ")
    without = "copy_head" not in run.get("config", {}).get("model", {"copy_head": True})
    return RECIPES[recipe].idea.removesuffix(", copy head") if without else RECIPES[recipe].idea


def render(records: list[dict]) -> str:
    """The tables: for each track, machine and data the recipes, the record first and then by validation loss, in a race
    by active time. A recipe is confirmed once what it shows against the incumbent is shown on a second machine."""
    official = [record for record in records if _whole(record)]
    groups: dict[tuple, dict[str, list[dict]]] = {}
    for record in official:
        place = (record["track"], machine_class(record), *map(str, machine(record).values()), record["data_sha256"])
        groups.setdefault(place, {}).setdefault(record["recipe"], []).append(record)
    boards = {place: standings(recipes) for place, recipes in groups.items()}
    shown = {
        (place[0], name, row[0], place[2])
        for place, (_, met) in boards.items()
        for name, row in met.items()
        if row[2] == "shown"
    }
    lines = []
    for place, recipes in sorted(groups.items(), key=lambda item: (_by_earlier_rules(item[1]), item[0])):
        track, kind, name, dtype, threads, flags, data = place
        incumbent, met = boards[place]
        ranks = "active_seconds" if TRACKS[track].contest == "race" else "val_loss"
        versions = next(iter(recipes.values()))[0]["versions"]
        bases = [base for base in BASES if base in recipes]
        earlier = _by_earlier_rules(recipes)
        lines += [
            f"### {track}, {kind}: {name}" + ", by the rules before 2026-11-25" * earlier,
            "",
            f"{dtype}, {threads} threads, processor flags {flags}. Data `{data[:12]}…`, Python {versions['python']}, "
            f"torch {versions['torch']}. Differences are paired; ± and brackets are 95 % intervals.",
            "",
            f"| recipe | what it changes | runs | validation loss |{''.join(f' against {base} |' for base in bases)} "
            "against the incumbent | active time | FLOPs a token | status |",
            "|---|---|---|---|" + len(bases) * "---|" + "---|---|---|---|",
        ]
        for recipe, runs in sorted(recipes.items(), key=lambda item: (item[0] != incumbent, _mean(item[1], ranks))):
            spread = f" ± {student([run['val_loss'] for run in runs])[1]:.3f}" if len(runs) > 1 else ""
            other, difference, standing, p = met.get(recipe, ("", "–", "", ""))
            status = [
                "**record**" if recipe == incumbent else "",
                "" if runs[0]["official"] else "history, unranked",
                f"provisional: {len(runs)} of {SEEDS} runs"
                if len(runs) < SEEDS
                else "confirmed"
                if sum(row[:3] == (track, recipe, other) for row in shown) > 1
                else "submitted",
            ]
            cells = [
                recipe,
                _idea(recipe, runs[0]),
                len(runs),
                f"{_mean(runs, 'val_loss'):.3f}{spread}",
                *("–" if base == recipe else _claims(recipes[base], runs)[0] for base in bases),
                f"{other}: {'' if other in bases else f'{difference}, '}{standing} ({p})" if p else difference,
                f"{_mean(runs, 'active_seconds'):.1f} s",
                f"{_mean(runs, 'flops') / _mean(runs, 'tokens') / 1e6:,.1f} M",
                "; ".join(filter(None, status)),
            ]
            lines.append(f"| {' | '.join(map(str, cells))} |")
        lines.append("")
    lines += ["### The original's figures", ""]
    lines += ["One RTX 4090, its own data; never to be set beside ours.", ""]
    lines += ["| recipe | date | by | what it changes | 8M: train, validation, time | 20M | 100M |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, recipe in RECIPES.items():
        if recipe.link:
            cells = [_published(recipe.published, track) for track in ("8M", "20M", "100M")]
            by = f"[{recipe.author}]({recipe.link})"
            lines.append(f"| {name} | {recipe.date} | {by} | {recipe.idea} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _published(figures: dict | None, track: str) -> str:
    if not figures or track not in figures:
        return "–"
    row = figures[track]
    parts = [f"{row[key]:.4f}" for key in ("train_loss", "val_loss") if row[key]]
    minutes, seconds = divmod(row["seconds"], 60)
    return ", ".join([*parts, f"{minutes:.0f} min {seconds:.0f} s"])


def fill(page: str, records: list[dict]) -> str:
    """A page with the tables between its markers. Raises ValueError if it has none."""
    begin, end = "<!--leaderboard:begin-->", "<!--leaderboard:end-->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{before}{begin}\n\n{render(records)}\n\n{end}{after}"
