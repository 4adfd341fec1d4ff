"""What bfloat16 weights do to a recipe whose rates fall: best on the pocket track, with either kind of weights.

    python book/tools/measure_bfloat16_weights.py [FOLDER]

Writes blueberry_lib/recorded/bfloat16_weights.json. Runs that are in FOLDER already are read, not repeated. The
float32 arm is the ladder's best, of recorded/ladder.json.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from blueberry_lib.speedrun.compare import run_once
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.training.folder import write_json

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "blueberry_lib" / "recorded"


def main(folder: Path) -> None:
    ladder = json.loads((RECORDED / "ladder.json").read_text(encoding="utf-8"))
    float32 = {run["seed"]: run["val_loss"] for run in ladder["runs"] if run["recipe"] == "best"}
    config = replace(get_recipe("best", "pocket"), weights="bfloat16", recipe="best-bfloat16-weights")
    records = [run_once(folder / f"seed{seed}", replace(config, seed=seed), print) for seed in sorted(float32)]
    hardware = records[0]["hardware"]
    result = {
        "what": "Final validation loss of best on the pocket track with weights in bfloat16, nats a token",
        "machine": f"{hardware['name']}, {hardware['cores']} cores, bfloat16 autocast",
        "date": records[0]["date"][:10],
        "versions": records[0]["versions"],
        "track": "pocket",
        "tokens": records[0]["tokens"],
        "data_sha256": records[0]["data_sha256"],
        "runs": [{"weights": "bfloat16", "seed": r["seed"], "val_loss": r["val_loss"]} for r in records],
    }
    result["rise"] = [record["val_loss"] - float32[record["seed"]] for record in records]
    result["mean_rise"] = sum(result["rise"]) / len(records)
    write_json(RECORDED / "bfloat16_weights.json", result)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/bfloat16-weights"))
