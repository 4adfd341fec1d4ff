"""What a small transformer seems to know when the neighbours of its validation text are in training: chapter 14.

    python book/tools/measure_leak.py [--seeds N]

Both arms validate on the same windows of the same documents and train on equally many tokens; in the leaky arm the
windows between them have taken the place of other documents. Writes blueberry_lib/recorded/leak.json.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
from record_head import measured

from blueberry_lib.config import ModelConfig, OptimizerConfig, ScheduleConfig
from blueberry_lib.data.batches import RowBatches
from blueberry_lib.data.prepare import prepare
from blueberry_lib.hardware import detect
from blueberry_lib.model.blueberry import Blueberry
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.training.folder import write_json
from blueberry_lib.training.loop import LoopConfig, fit

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "leak.json"
VOCABULARY, CONTEXT, TOKENS, BATCH, PASSES = 1_024, 128, 2**18, 16, 5
MODEL = ModelConfig(
    vocab_size=VOCABULARY, context_length=CONTEXT, n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, d_ff=256,
    embedding="normed", zero_init=True,
)  # fmt: skip
OPTIMIZER = OptimizerConfig(
    embedding_lr=0.01, betas=(0.8, 0.95), adamw_weight_decay=0.0, muon_momentum=0.9, fused=False
)
SCHEDULE = ScheduleConfig(kind="wsd", decay=0.65, floor=0.03)


def windows() -> torch.Tensor:
    """(N, CONTEXT + 1), in the order of the documents."""
    ids = torch.from_numpy(prepare("stdlib", VOCABULARY).train[: TOKENS + 1].astype(np.int64))
    return ids.unfold(0, CONTEXT + 1, CONTEXT)


def arms(rows: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Training windows by split, and the validation windows of both."""
    others, held = rows[: -len(rows) // 5], rows[-len(rows) // 5 :]
    between = held[::2]
    return {"by_document": others, "by_chunk": torch.cat([others[: len(others) - len(between)], between])}, held[1::2]


def train(rows: torch.Tensor, val: torch.Tensor, seed: int) -> list[float]:
    """Validation loss after each pass, nats per token."""
    torch.manual_seed(seed)
    hardware, model, steps = detect(), Blueberry(MODEL), len(rows) // BATCH
    optimizers = build_optimizers(model, OPTIMIZER, torch.float32)
    curve = []

    def evaluate(model, **_) -> dict:
        with torch.no_grad():
            loss = torch.stack([model(part[:, :-1], part[:, 1:]) for part in val.split(68)]).mean().item()
        curve.append(loss)
        return {"loss": loss}

    fit(
        model,
        RowBatches((rows[:, :-1], rows[:, 1:]), BATCH, seed),
        lambda model, batch: model(*batch),
        optimizers,
        lambda step: learning_rate_factor(SCHEDULE, step, PASSES * steps),
        LoopConfig(PASSES * steps, clip_norm=1.0, eval_every=steps, unit="rows"),
        hardware,
        evaluate=evaluate,
        quiet=True,
    )
    return curve[-PASSES:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    training, val = arms(windows())
    record = measured("validation loss of a small transformer, split by document and by chunk", detect())
    record |= {"parameters": sum(p.numel() for p in Blueberry(MODEL).parameters()), "passes": PASSES}
    record |= {"tokens": {name: len(rows) * CONTEXT for name, rows in training.items()}, "curves": {}}
    for seed in range(options.seeds):
        for name, rows in training.items():
            record["curves"].setdefault(name, []).append(train(rows, val, seed))
            print(seed, name, record["curves"][name][-1], flush=True)
            write_json(TARGET, record)
    ends = [statistics.mean(curve[-1] for curve in record["curves"][name]) for name in ("by_document", "by_chunk")]
    write_json(TARGET, record | {"leak": ends[0] - ends[1]})
