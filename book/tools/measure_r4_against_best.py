"""What chapters 11 and 20 read of a comparison of two recipes: what statistics need of each record, and one whole.

    speedrun compare r4 best --seeds 7 …                    (see book/leaderboard.md)
    python book/tools/measure_r4_against_best.py [FILE]     FILE: that comparison's

Writes blueberry_lib/recorded/best_pairs.json, for chapter 20. Chapter 11 reads r4_against_best.json, written so
from the five pairs of 2026-11-21.
"""

import json
import sys
from pathlib import Path

from blueberry_lib.training.folder import write_json

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "book" / "records" / "compare_pocket_r4_best.json"
TARGET = ROOT / "blueberry_lib" / "recorded" / "best_pairs.json"
KEPT = ("track", "recipe", "seed", "tokens", "val_loss", "active_seconds", "data_sha256")


def main() -> None:
    records = json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else SOURCE).read_text(encoding="utf-8"))["records"]
    first = records[0]
    arms = {
        recipe: [
            {**{key: record[key] for key in KEPT}, "hardware": {"name": record["hardware"]["name"]}}
            for record in records
            if record["recipe"] == recipe and record["tokens"] == first["tokens"]
        ]
        for recipe in ("r4", "best")
    }
    write_json(
        TARGET,
        {
            "what": "interleaved runs of r4 and best on the pocket track, and the whole record of the first",
            "machine": f"{first['hardware']['name']}, {first['hardware']['cores']} core(s)",
            "date": first["date"][:10],
            "versions": first["versions"],
            "arms": arms,
            "record": first,
        },
    )


if __name__ == "__main__":
    main()
