"""Measure a mixture of experts against the dense model with the same FLOPs a token, on the pocket track.

    python book/tools/measure_moe.py [--tokens N] [--seeds N] [--note TEXT]

Both follow the recipe `best`, seed by seed in turn; the experts' hidden layers are half as wide, and a token uses two.
Writes book/records/moe_against_dense.json: a run's losses are in nats a token, its times in seconds, and `busiest` is,
for each layer, the load of the busiest expert over the mean load, on the validation tokens (1 is even).
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from blueberry_lib.config import TrainConfig
from blueberry_lib.data.shards import prepare
from blueberry_lib.model import Blueberry
from blueberry_lib.model.moe import MixtureOfExperts
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.records import write_json
from blueberry_lib.speedrun.run import load_run, run

TARGET = Path(__file__).parents[1] / "records" / "moe_against_dense.json"
COPIED = ("seed", "params", "tokens", "steps", "train_loss", "val_loss", "bits_per_byte", "active_seconds")


def busiest(model: Blueberry, config: TrainConfig) -> list[float]:
    """Largest load over mean load of the experts of each layer, over 64 windows of validation tokens."""
    context = config.model.context_length
    tokens = torch.from_numpy(prepare(config.data, config.model.vocab_size).val[: 64 * context].astype("int64"))
    loads = []

    def note(layer: MixtureOfExperts, inputs: tuple[torch.Tensor]) -> None:
        chosen, _ = layer.route(inputs[0].flatten(0, -2))
        load = chosen.flatten().bincount(minlength=len(layer.experts)).float()
        loads.append(round((load.max() / load.mean()).item(), 3))

    for module in model.modules():
        if isinstance(module, MixtureOfExperts):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        model.hidden(tokens.view(-1, context))
    return loads


def measure(config: TrainConfig) -> tuple[dict, dict]:
    """Train once; returns what the comparison needs, and the whole record."""
    with tempfile.TemporaryDirectory() as folder:
        record = run(config, Path(folder), quiet=True)
        model, _ = load_run(Path(folder))
    return {**{key: record[key] for key in COPIED}, "busiest": busiest(model, config)}, record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2**19, help="training tokens of a run")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each model")
    parser.add_argument("--note", default="", help="what else to say of the machine, such as who shares it")
    arguments = parser.parse_args()
    dense = replace(get_recipe("best", "pocket"), train_tokens=arguments.tokens)
    experts = replace(dense.model, n_experts=8, experts_per_token=2, d_ff=dense.model.d_ff // 2)
    arms = {"dense": dense, "moe": replace(dense, model=experts)}
    runs = {name: [] for name in arms}
    for seed in range(arguments.seeds):
        for name, config in arms.items():
            result, record = measure(replace(config, seed=seed))
            runs[name].append(result)
            print(name, result)
    write_json(
        TARGET,
        {
            "what": "8 experts of half the width, 2 a token, against the dense model; recipe best on pocket",
            "note": arguments.note,
            **{key: record[key] for key in ("hardware", "versions", "data_sha256", "date")},
            "arms": {
                name: {
                    "flops_per_token": config.model.flops_per_token(),
                    "val_loss": statistics.fmean(run["val_loss"] for run in runs[name]),
                    "active_seconds": statistics.fmean(run["active_seconds"] for run in runs[name]),
                    "config": record["config"] | {"model": config.model.__dict__},
                    "runs": runs[name],
                }
                for name, config in arms.items()
            },
        },
    )
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
