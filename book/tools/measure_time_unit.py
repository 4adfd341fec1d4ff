"""What it costs to tell the image model its time in the wrong unit: digits, t against 1,000 t in the time embedding.

    python book/tools/measure_time_unit.py [--steps N] [--seeds N]

The digits preset, its recipe shortened to so many steps, seed by seed in turn. Writes
blueberry_lib/recorded/time_unit.json: validation losses at fixed times and noise, whole and in ten intervals of time.
"""

import argparse
import statistics
from pathlib import Path

import torch
from record_head import measured

from blueberry_lib.data.batches import RowBatches
from blueberry_lib.images import diffusion_transformer
from blueberry_lib.images.datasets import load
from blueberry_lib.images.flow_matching import drop_labels, fixed_noise_loss, flow_loss
from blueberry_lib.images.flow_training import FlowRun
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.training import LoopConfig, fit
from blueberry_lib.training.average import Averaged
from blueberry_lib.training.folder import write_json
from blueberry_lib.training.run import begin

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "time_unit.json"
UNITS = {"t": 1.0, "thousand_t": 1_000.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    (hardware, _), data, config = begin("cpu", "auto"), load("digits"), FlowRun()
    x1, null = data.scale(data.val), config.model.null_label
    runs = []

    def loss_fn(model, batch):
        images, labels = data.scale(batch[0]), drop_labels(batch[1], config.label_dropout, null)
        return flow_loss(lambda x, t: model(x, t, labels), images)

    for seed in range(arguments.seeds):
        for unit, scale in UNITS.items():
            diffusion_transformer.TIME_SCALE = scale
            torch.manual_seed(seed)
            model = Averaged(diffusion_transformer.DiT2D(config.model), config.ema_decay)
            fit(
                model,
                RowBatches((data.train, data.train_labels), config.training.batch_size, seed),
                loss_fn,
                build_optimizers(model.model, config.training.optimizer, hardware.compute_dtype),
                lambda step: learning_rate_factor(config.training.schedule, step, arguments.steps),
                LoopConfig(arguments.steps, clip_norm=config.training.optimizer.clip_norm, unit="images"),
                hardware,
                after_step=model.update,
                quiet=True,
            )
            loss, by_time = fixed_noise_loss(model.eval().average, x1, data.val_labels)
            runs.append({"unit": unit, "seed": seed, "val_loss": loss, "by_time": by_time})
            print(f"seed {seed}, {unit}: {loss:.4f}", flush=True)
    losses = {unit: [run["val_loss"] for run in runs if run["unit"] == unit] for unit in UNITS}
    more = [a - b for a, b in zip(losses["t"], losses["thousand_t"], strict=True)]
    record = {
        **measured("validation loss of the digits model with t and with 1,000 t in its time embedding", hardware),
        "data_sha256": data.sha256,
        "steps": arguments.steps,
        "mean": {unit: statistics.fmean(values) for unit, values in losses.items()},
        "more": {"mean": statistics.fmean(more), "least": min(more), "most": max(more)},
        "runs": runs,
    }
    write_json(TARGET, record)
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
