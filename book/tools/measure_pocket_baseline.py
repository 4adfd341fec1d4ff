"""The pocket transformer beside chapter 02's tables: one run of the best recipe, seed 0.

    python book/tools/measure_pocket_baseline.py

Takes about a minute and a half on two cores; writes blueberry_lib/recorded/pocket_baseline.json.
"""

import tempfile
from pathlib import Path

from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.run import run
from blueberry_lib.training.folder import write_json

ROOT = Path(__file__).parents[2]
KEPT = (
    "track", "recipe", "seed", "params", "tokens", "val_loss", "val_perplexity", "bits_per_byte", "active_seconds",
    "hardware", "versions", "source_sha256", "data_sha256", "date",
)  # fmt: skip

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        record = run(get_recipe("best", "pocket"), Path(folder), quiet=True)
    machine = f"{record['hardware']['name']}, {record['hardware']['cores']} cores"
    kept = {"machine": machine, **{key: record[key] for key in KEPT}}
    write_json(ROOT / "blueberry_lib" / "recorded" / "pocket_baseline.json", kept)
    print(f"{kept['val_loss']:.4f} nats a token, {kept['bits_per_byte']:.4f} bits per byte")
