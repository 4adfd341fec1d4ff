"""Measure a mixture of experts against the dense model with the same FLOPs a token, on the pocket track.

    python book/tools/measure_moe.py [--tokens N] [--seeds N] [--note TEXT]

All follow the recipe `best`, seed by seed in turn; the experts' hidden layers are half as wide, and a token uses two.
The mixture is trained with two sizes of the step that moves the balancing bias. Writes
book/records/moe_against_dense.json: a run's losses are in nats a token, its times in seconds, and `busiest` is, for
each layer, the load of the busiest expert over the mean load, on the validation tokens (1 is even).
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from blueberry_lib.config import TrainConfig
from blueberry_lib.data.prepare import prepare
from blueberry_lib.model import Blueberry, moe
from blueberry_lib.model.size import flops_per_token
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.run import load_run, run
from blueberry_lib.training.folder import write_json

TARGET = Path(__file__).parents[1] / "records" / "moe_against_dense.json"
COPIED = ("seed", "params", "tokens", "steps", "train_loss", "val_loss", "bits_per_byte", "active_seconds")
BIAS_STEPS = {"dense": 0.0, "moe_bias_1e3": 1e-3, "moe_bias_1e2": 1e-2}


def busiest(model: Blueberry, config: TrainConfig) -> list[float]:
    """Largest load over mean load of the experts of each layer, over 64 windows of validation tokens."""
    context = config.model.context_length
    tokens = torch.from_numpy(prepare(config.data, config.model.vocab_size).val[: 64 * context].astype("int64"))
    loads = []

    def note(layer: moe.MixtureOfExperts, inputs: tuple[torch.Tensor]) -> None:
        chosen, _ = layer.route(inputs[0].flatten(0, -2))
        load = chosen.flatten().bincount(minlength=len(layer.experts)).float()
        loads.append(round((load.max() / load.mean()).item(), 3))

    for module in model.modules():
        if isinstance(module, moe.MixtureOfExperts):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        model.hidden(tokens.view(-1, context))
    return loads


def arm_config(arm: str, seed: int, tokens: int) -> TrainConfig:
    dense = replace(get_recipe("best", "pocket"), train_tokens=tokens, seed=seed)
    if arm == "dense":
        return dense
    return replace(dense, model=replace(dense.model, n_experts=8, experts_per_token=2, d_ff=dense.model.d_ff // 2))


def measure(arm: str, seed: int, tokens: int) -> dict:
    """Train once; returns the whole record, and in ``result`` what the comparison needs."""
    config = arm_config(arm, seed, tokens)
    moe.BIAS_STEP = BIAS_STEPS[arm]
    with tempfile.TemporaryDirectory() as folder:
        record = run(config, Path(folder), quiet=True)
        model, _ = load_run(Path(folder))
    return record | {"result": {**{key: record[key] for key in COPIED}, "busiest": busiest(model, config)}}


def write(records: dict[str, list[dict]], note: str) -> None:
    """Write the records of each arm's runs as one."""
    arms = {}
    for arm, done in records.items():
        config, runs = arm_config(arm, 0, done[0]["tokens"]), [record["result"] for record in done]
        losses = [run["val_loss"] for run in runs]
        arms[arm] = {
            "flops_per_token": flops_per_token(config.model),
            "bias_step": BIAS_STEPS[arm],
            "val_loss": statistics.fmean(losses),
            "val_loss_std": statistics.stdev(losses) if len(losses) > 1 else None,
            "busiest": [statistics.fmean(layer) for layer in zip(*(run["busiest"] for run in runs), strict=True)],
            "active_seconds": statistics.fmean(run["active_seconds"] for run in runs),
            "config": done[0]["config"],
            "runs": runs,
        }
    write_json(
        TARGET,
        {
            "what": "8 experts of half the width, 2 a token, against the dense model; recipe best on pocket",
            "note": note,
            **{key: done[0][key] for key in ("hardware", "versions", "data_sha256", "date")},
            "arms": arms,
        },
    )
    print(f"wrote {TARGET}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2**19, help="training tokens of a run")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each model")
    parser.add_argument("--note", default="", help="what else to say of the machine, such as who shares it")
    arguments = parser.parse_args()
    records = {arm: [] for arm in BIAS_STEPS}
    for seed in range(arguments.seeds):
        for arm in records:
            records[arm].append(measure(arm, seed, arguments.tokens))
            print(arm, records[arm][-1]["result"], flush=True)
    write(records, arguments.note)


if __name__ == "__main__":
    main()
