"""Train models of three sizes on three budgets, and a fourth to test the prediction, for the scaling law of chapter 15.

    python book/tools/measure_scaling.py

The models are the pocket model made smaller, width / layers = 16, by the recipe best, vocabulary 1,024, context 128,
512 tokens a step. At the middle budget the learning rates are doubled until the loss no longer falls, and the best
factor is kept for the other budgets. The fourth size runs once, at the largest budget, with the factor of the size
before it. Writes blueberry_lib/recorded/scaling.json after each run, and skips the runs that are there: a minute or
two on one core that has nothing else to do.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from record_head import measured

from blueberry_lib.config import TrainConfig
from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.data.prepare import prepare
from blueberry_lib.hardware import detect, keep_freed_memory
from blueberry_lib.model import Blueberry
from blueberry_lib.model.size import flops_per_token, matrix_params, n_params
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.speedrun.recipes import changed, get_recipe
from blueberry_lib.speedrun.run import evaluator
from blueberry_lib.training import LoopConfig, fit
from blueberry_lib.training.clock import Clock
from blueberry_lib.training.folder import read_json, write_json

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "scaling.json"
WIDTHS, LARGEST, BUDGETS = (16, 32, 48), 64, (2**14, 2**15, 2**16)
VOCABULARY, CONTEXT = 1_024, 128


def config_of(width: int, tokens: int, factor: float, seed: int) -> TrainConfig:
    recipe = get_recipe("best", "pocket")
    model = {"vocab_size": VOCABULARY, "context_length": CONTEXT}
    model |= {"d_model": width, "n_layers": width // 16, "d_ff": 4 * width}
    rates = {name: factor * getattr(recipe.optimizer, name) for name in ("muon_lr", "adamw_lr", "embedding_lr")}
    return replace(changed(recipe, model, rates), batch_size=4, train_tokens=tokens, validation_tokens=2**15, seed=seed)


def train(config: TrainConfig, data, hardware) -> dict:
    torch.manual_seed(config.seed)
    model, clock = Blueberry(config.model), Clock("cpu")
    context = config.model.context_length
    batches = TokenBatches(data.train, config.batch_size, context, config.seed, "cpu", config.windows)
    fit(
        model,
        batches,
        loss_fn=lambda model, batch: model(*batch),
        optimizers=build_optimizers(model, config.optimizer, hardware.compute_dtype),
        schedule=lambda step: learning_rate_factor(config.schedule, step, config.total_steps),
        config=LoopConfig(config.total_steps, clip_norm=config.optimizer.clip_norm),
        hardware=hardware,
        clock=clock,
        quiet=True,
    )
    found = evaluator(config, data, "cpu", hardware.compute_dtype)(model.eval())
    return {
        "loss": round(found["loss"], 5),
        "loss_error": round(found["loss_error"], 5),
        "bits_per_byte": round(found["bits_per_byte"], 5),
        "seconds": round(clock.seconds["active"]),
    }


def main() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    hardware, data = detect("cpu"), prepare("stdlib", vocab_size=VOCABULARY)
    rows = read_json(TARGET)["runs"] if TARGET.exists() else []

    def loss_of(width: int, tokens: int, factor: float, seed: int = 0) -> float:
        key = {"width": width, "tokens": tokens, "factor": factor, "seed": seed}
        row = next((row for row in rows if key.items() <= row.items()), None)
        if row is None:
            config = config_of(width, tokens, factor, seed)
            model = config.model
            counts = {"params": n_params(model), "outside_embedding": n_params(model) - model.vocab_size * width}
            flops = flops_per_token(model) * config.tokens
            row = key | counts | {"multiplied": matrix_params(model), "flops": flops} | train(config, data, hardware)
            rows.append(row)
            what = "final validation loss of the recipe best on stdlib, by width and budget"
            head = {**measured(what, hardware), "threads": 1, "data_sha256": data.sha256}
            write_json(TARGET, {**head, "runs": rows})
            print(row, file=sys.stderr, flush=True)
        return row["loss"]

    for width in WIDTHS:
        factor = 1.0
        while loss_of(width, BUDGETS[1], 2 * factor) < loss_of(width, BUDGETS[1], factor):
            factor *= 2
        for tokens in BUDGETS:
            loss_of(width, tokens, factor)
    loss_of(LARGEST, BUDGETS[-1], factor)


if __name__ == "__main__":
    main()
