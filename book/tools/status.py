"""The tables on book/status.md: what each notebook took, profile by profile, and how the exercises' checkers score.

    python book/tools/status.py           check: exit 1 if the tables are not what the records give
    python book/tools/status.py --write   write them between the page's markers

The scores are those that book/tools/exercises.py writes to book/records/exercises.json. The record of runtimes is what
book/tools/notebooks.py writes: a notebook's stem, its profiles, and what was measured, of which this table uses

    {"00_first_model": {"cpu": {"seconds": 121.3, "machine": "AMD EPYC", "cores": 2,
                                "memory_bytes": 1.4e9, "dollars": 0.003, "versions": {"torch": "2.13.0"}}}}

Only ``seconds`` is needed; what is missing shows as a dash, and a column that nobody filled is left out.
"""

import contextlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ("smoke", "cpu", "t4", "gpu")
NOTHING = "Nothing has been measured yet: the table appears once the notebooks have been run with a clock beside them."


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


COLUMNS = {
    "notebook": lambda row: f"[{row['name']}](../{row['folder']}{row['name']}.ipynb)",
    "profile": lambda row: f"`{row['profile']}`",
    "runtime": lambda row: duration(row["seconds"]),
    "memory": lambda row: f"{row['memory_bytes'] / 2**30:.1f} GiB",
    "cost": lambda row: f"${row['dollars']:.4f}",
    "machine": lambda row: row["machine"] + (f", {row['cores']} cores" if "cores" in row else ""),
    "torch": lambda row: row["versions"]["torch"],
}


def table(measured: dict) -> str:
    """The record as a Markdown table, notebooks in reading order and profiles from small to large."""
    rows = []
    for name in sorted(measured):
        for profile in filter(measured[name].get, PROFILES):
            folder = "exercises/" if name.startswith("solutions/") else "notebooks/"
            row = {"name": name, "folder": folder, "profile": profile, **measured[name][profile]}
            cells = {}
            for column, show in COLUMNS.items():
                with contextlib.suppress(KeyError, TypeError):
                    cells[column] = show(row)
            rows.append(cells)
    if not rows:
        return NOTHING
    used = [column for column in COLUMNS if any(column in cells for cells in rows)]
    body = [[cells.get(column, "–") for column in used] for cells in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (used, ["---"] * len(used), *body))


def score_table(scores: dict[str, dict], titles: dict[str, str]) -> str:
    """The checkers' scores as a Markdown table, with a row of sums."""
    lines = ["| exercise | planted | caught | named | mutants | rejected |", "| --- | --- | --- | --- | --- | --- |"]
    columns = ("planted", "caught", "named", "mutants", "rejected")
    for name, score in scores.items():
        lines.append(f"| {name} {titles[name]} | {' | '.join(str(score[c]) for c in columns)} |")
    sums = [sum(score[column] for score in scores.values()) for column in columns]
    return "\n".join([*lines, f"| **all** | {' | '.join(f'**{n}**' for n in sums)} |"])


def filled(page: str, root: Path = ROOT) -> str:
    """The page with the tables in their places."""

    def read(path: str) -> dict:
        file = root / path
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    titles = {name: text["title"] for name, text in read("exercises/checks/exercises.json").items()}
    tables = {
        "status": table(read("book/records/notebooks.json")),
        "exercises": score_table(read("book/records/exercises.json"), titles),
    }
    for name, text in tables.items():
        begin, end = f"<!--{name}:begin-->", f"<!--{name}:end-->"
        if begin not in page or end not in page:
            raise SystemExit(f"book/status.md has lost its markers {begin} and {end}; put them back around the table.")
        page = re.sub(f"{begin}.*{end}", lambda _, whole=f"{begin}\n\n{text}\n\n{end}": whole, page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    path = ROOT / "book" / "status.md"
    before = path.read_text(encoding="utf-8")
    after = filled(before)
    if "--write" in sys.argv[1:]:
        path.write_text(after, encoding="utf-8")
    elif after != before:
        sys.exit("book/status.md is not what book/records/notebooks.json gives: python book/tools/status.py --write")
