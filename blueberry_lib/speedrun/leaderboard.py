"""The book's leaderboard page, made from the records in ``book/records``.

A file there that holds ``records`` (a ladder, a comparison) or is one is read. What ranks is the improvement over
``r4`` measured on the same machine and data.
"""

import json
import statistics
from pathlib import Path

from blueberry_lib.speedrun.recipes import RECIPES
from blueberry_lib.speedrun.tracks import TRACKS
from blueberry_lib.speedrun.verify import SEEDS, claims

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
                machine = (record["hardware"]["name"], record["data_sha256"])
                key = (record["track"], record["recipe"], record["seed"], record["tokens"], *machine)
                found.setdefault(str(key), record)
    return list(found.values())


def machine_class(record: dict) -> str:
    """CPU, T4, Apple GPU or large GPU."""
    name = record["hardware"]["name"]
    if record["hardware"]["device"] == "cuda":
        return "T4" if "T4" in name else "large GPU"
    return CLASSES[record["hardware"]["device"]]


def _mean(runs: list[dict], key: str) -> float:
    return statistics.fmean(run[key] for run in runs)


def _against(base: list[dict], runs: list[dict]) -> tuple[str, bool]:
    """The improvement over r4 in words, and whether it is shown."""
    if not base or runs[0]["recipe"] == "r4":
        return "–", False
    difference = _mean(runs, "val_loss") - _mean(base, "val_loss")
    if min(len(base), len(runs)) < 2:
        return f"{difference:+.3f} (one run says nothing of its spread)", False
    found = claims(base, runs)
    if found["lower_loss"]["shown"]:
        return f"**{difference:+.3f}**, shown (p = {found['lower_loss']['p']:.1g})", True
    if found["faster"]["shown"]:
        return f"{difference:+.3f}, faster: shown (p = {found['faster']['p']:.1g})", True
    return f"{difference:+.3f}, not shown", False


def render(records: list[dict]) -> str:
    """The tables: for each track, machine class, machine and data, the recipes, lowest validation loss first. A recipe
    is confirmed once its improvement over r4 is shown on a second machine."""
    official = [record for record in records if record["tokens"] > 0.99 * TRACKS[record["track"]].train_tokens]
    groups: dict[tuple, dict[str, list[dict]]] = {}
    for record in official:
        place = (record["track"], machine_class(record), record["hardware"]["name"], record["data_sha256"])
        groups.setdefault(place, {}).setdefault(record["recipe"], []).append(record)
    verdicts = {
        (place, name): _against(recipes.get("r4", []), runs)
        for place, recipes in groups.items()
        for name, runs in recipes.items()
    }
    shown_on = {(place[0], name, place[2]) for (place, name), (_, shown) in verdicts.items() if shown}
    lines = []
    for place, recipes in sorted(groups.items()):
        track, kind, machine, data = place
        versions = next(iter(recipes.values()))[0]["versions"]
        lines += [
            f"### {track}, {kind}: {machine}",
            "",
            f"Data `{data[:12]}…`, Python {versions['python']}, torch {versions['torch']}.",
            "",
            "| recipe | what it changes | runs | validation loss | against r4 | active time | status |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, runs in sorted(recipes.items(), key=lambda item: _mean(item[1], "val_loss")):
            losses = [run["val_loss"] for run in runs]
            spread = f" ± {statistics.stdev(losses):.3f}" if len(losses) > 1 else ""
            idea = RECIPES[name].idea if name in RECIPES else name.replace("-", " ")
            unranked = "" if runs[0]["official"] else "history, unranked; "
            machines = sum(shown[:2] == (track, name) for shown in shown_on)
            confirmed = "confirmed" if machines > 1 else "submitted"
            status = unranked + (confirmed if len(runs) >= SEEDS else f"provisional: {len(runs)} of {SEEDS} runs")
            lines.append(
                f"| {name} | {idea} | {len(runs)} | {_mean(runs, 'val_loss'):.3f}{spread} | {verdicts[place, name][0]} "
                f"| {_mean(runs, 'active_seconds'):.1f} s | {status} |"
            )
        lines.append("")
    lines += ["### The original's figures", ""]
    lines += ["One RTX 4090, its own data; never to be set beside ours.", ""]
    lines += ["| recipe | date | by | what it changes | 8M: train, validation, time | 20M | 100M |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, recipe in RECIPES.items():
        if name != "best":
            cells = [_published(recipe.published, track) for track in ("8M", "20M", "100M")]
            by = f"[{recipe.author}]({recipe.link})"
            lines.append(f"| {name} | {recipe.date} | {by} | {recipe.idea} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _published(figures: dict | None, track: str) -> str:
    if not figures or track not in figures:
        return "–"
    row = figures[track]
    parts = [f"{row[key]:.4f}" for key in ("train_loss", "val_loss") if key in row]
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
