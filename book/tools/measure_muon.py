"""Measure Muon against AdamW on the pocket track: another optimizer for the matrices, all else equal.

    python book/tools/measure_muon.py [--most N] [--tokens N]

In every arm AdamW trains the embedding and the gains; what differs is who trains the matrices of the blocks, or how.
First each of the two rivals' learning rate is swept with one seed, then the best rate and its neighbours are run
with three, then the embedding's rate is varied at the best of these (one seed); last come the ablations. Each
run is written to blueberry_lib/recorded/muon_against_adamw.json when it ends, and a run found there is not repeated.
Losses are in nats a token.
"""

import argparse
import json
import math
import platform
import statistics
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from blueberry_lib.config import BlueberryError, ScheduleConfig, TrainConfig
from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.data.prepare import prepare
from blueberry_lib.hardware import detect, keep_freed_memory
from blueberry_lib.model import Blueberry
from blueberry_lib.optim.hybrid import split_parameters
from blueberry_lib.optim.muon import Muon
from blueberry_lib.optim.orthogonalize import newton_schulz, polar_express
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.run import evaluator
from blueberry_lib.training import LoopConfig, fit
from blueberry_lib.training.folder import versions, write_json

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "muon_against_adamw.json"
RATES = {"adamw": (0.00025, 0.0005, 0.001, 0.002, 0.004), "muon": (0.006, 0.012, 0.024, 0.048, 0.096)}
EMBEDDING_RATE, EMBEDDING_RATES = 0.006, (0.003, 0.012)
BETAS = (0.9, 0.95)
SEEDS = (0, 1, 2)
WHAT = {
    "adamw": "AdamW on the matrices",
    "muon": "Muon on the matrices",
    "muon_embedding": "Muon on the matrices and, at the rate given, on the embedding",
    "merged": "as muon, the query, key, value and output matrices of a layer stacked into one",
    "merged_factor_1": "as merged, without the shape factor of the stacked matrix",
    "no_momentum": "as muon, momentum 0",
    "plain_momentum": "as muon, without Nesterov's step ahead",
    "no_shape_factor": "as muon, without the shape factor",
    "svd": "as muon, orthogonalized exactly, by SVD in float32",
    "polar_express": "as muon, orthogonalized by Polar Express",
}


def exact(matrices: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """U Vᵀ of each matrix (N, rows, columns)."""
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    return u @ vt


class PlainMomentum(Muon):
    """Muon that follows its momentum itself."""

    def _step_batch(self, params: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        for p in params:
            buffer = self.state[p].setdefault("average", torch.zeros_like(p))
            p.grad = buffer.lerp_(p.grad, 1 - momentum).clone()
        super()._step_batch(params, lr, 0.0, weight_decay)


class NoShapeFactor(Muon):
    """Muon with a factor of 1 for tall matrices too."""

    def _step_batch(self, params: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        factors = {max(1, p.shape[0] / p.shape[1]) ** 0.5 for p in params}
        for factor in factors:
            same = [p for p in params if max(1, p.shape[0] / p.shape[1]) ** 0.5 == factor]
            super()._step_batch(same, lr / factor, momentum, weight_decay)


class Merged(Optimizer):
    """Muon that takes the four attention matrices of a layer for one, stacked by rows."""

    def __init__(self, model: nn.Module, lr: float, muon: type[Muon], **settings) -> None:
        attentions = [block.attention for block in model.blocks]
        self.parts = [[getattr(a, n).weight for n in ("query", "key", "value", "output")] for a in attentions]
        self.stacked = [nn.Parameter(torch.cat(list(parts)).detach()) for parts in self.parts]
        self.inner = muon(self.stacked, lr=lr, **settings)
        super().__init__([p for parts in self.parts for p in parts], {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        for stacked, parts in zip(self.stacked, self.parts, strict=True):
            stacked.copy_(torch.cat(parts))
            stacked.grad = torch.cat([p.grad for p in parts])
        self.inner.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        self.inner.step()
        for stacked, parts in zip(self.stacked, self.parts, strict=True):
            for p, new in zip(parts, stacked.split([len(p) for p in parts]), strict=True):
                p.copy_(new)

    def state_dict(self) -> dict:
        return {"outer": super().state_dict(), "inner": self.inner.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state["outer"])
        self.inner.load_state_dict(state["inner"])


def optimizers(arm: str, rate: float, embedding_rate: float, muon_rate: float, model: Blueberry) -> list[Optimizer]:
    """The arm's optimizers; ``muon_rate`` is the matrices' where ``rate`` is the embedding's."""
    matrices, embeddings, others = split_parameters(model)
    dtype = detect().compute_dtype
    adamw_groups = [{"params": [*embeddings, *others], "lr": embedding_rate}]
    muon = {"lr": rate, "dtype": dtype}
    if arm == "adamw":
        chosen = [AdamW([{"params": matrices, "lr": rate}], betas=BETAS, weight_decay=0.0, fused=True)]
    elif arm == "muon_embedding":
        chosen = [Muon(matrices, muon_rate, dtype=dtype), Muon(embeddings, rate, dtype=dtype)]
        adamw_groups = [{"params": others, "lr": embedding_rate}]
    elif arm.startswith("merged"):
        kind = Muon if arm == "merged" else NoShapeFactor
        attention = {id(p) for block in model.blocks for p in block.attention.parameters()}
        rest = [p for p in matrices if id(p) not in attention]
        chosen = [Merged(model, rate, kind, dtype=dtype), Muon(rest, **muon)]
    else:
        kind = {"plain_momentum": PlainMomentum, "no_shape_factor": NoShapeFactor}.get(arm, Muon)
        iteration = {"svd": exact, "polar_express": polar_express}.get(arm, newton_schulz)
        momentum = 0.0 if arm == "no_momentum" else 0.95
        chosen = [kind(matrices, **muon, momentum=momentum, orthogonalize=iteration)]
    return [*chosen, AdamW(adamw_groups, betas=BETAS, weight_decay=0.0, fused=True)]


def recipe(tokens: int, seed: int) -> TrainConfig:
    """The pocket model of r4, none of the changes that were chosen with Muon; a short warm-up and a warmdown."""
    return replace(
        get_recipe("r4", "pocket"),
        schedule=ScheduleConfig(kind="wsd", warmup=0.05, decay=0.65, floor=0.03),
        train_tokens=tokens,
        batch_size=8,
        seed=seed,
    )


def measure(run: dict, tokens: int, muon_rate: float) -> dict:
    """Train once; returns ``run`` with its losses (None where it diverged)."""
    config, hardware = recipe(tokens, run["seed"]), detect()
    keep_freed_memory()
    data = prepare(config.data, config.model.vocab_size)
    torch.manual_seed(config.seed)
    model = Blueberry(config.model)
    try:
        result = fit(
            model,
            TokenBatches(data.train, config.batch_size, config.model.context_length, config.seed),
            lambda model, batch: model(*batch),
            optimizers(run["arm"], run["rate"], run["embedding_rate"], muon_rate, model),
            lambda step: learning_rate_factor(config.schedule, step, config.total_steps),
            LoopConfig(config.total_steps, clip_norm=config.optimizer.clip_norm, log_every=8),
            hardware,
            evaluate=evaluator(config, data, hardware.device, hardware.compute_dtype),
            quiet=True,
        )
    except BlueberryError as error:
        print(error)
        return run | {"val_loss": None}
    curve = [round(entry["train_loss"], 3) for entry in result.curve if "train_loss" in entry]
    found = {
        "val_loss": round(result.evaluation["loss"], 4),
        "bits_per_byte": round(result.evaluation["bits_per_byte"], 4),
    }
    return run | found | {"steps": result.step, "curve": curve}


def losses(runs: list[dict], arm: str, rate: float, embedding_rate: float = EMBEDDING_RATE) -> list[float]:
    wanted = {"arm": arm, "rate": rate, "embedding_rate": embedding_rate}
    return [math.inf if r["val_loss"] is None else r["val_loss"] for r in runs if wanted.items() <= r.items()]


def best_rate(runs: list[dict], arm: str, rates: tuple[float, ...]) -> float:
    """The rate of the lowest mean among those run with the most seeds."""
    tried = [rate for rate in rates if losses(runs, arm, rate)]
    most = max(len(losses(runs, arm, rate)) for rate in tried)
    full = [rate for rate in tried if len(losses(runs, arm, rate)) == most]
    return min(full, key=lambda rate: statistics.fmean(losses(runs, arm, rate)))


def plan(runs: list[dict]) -> Iterator[dict]:
    """The runs in their order; what comes later depends on what was found."""

    def one(arm: str, rate: float, seed: int, embedding_rate: float = EMBEDDING_RATE) -> dict:
        return {"arm": arm, "rate": rate, "embedding_rate": embedding_rate, "seed": seed}

    for pair in zip(*RATES.values(), strict=True):
        for arm, rate in zip(RATES, pair, strict=True):
            yield one(arm, rate, 0)
    first = [run for run in runs if run["seed"] == 0]
    around = {}
    for arm, rates in RATES.items():
        middle = rates.index(best_rate(first, arm, rates))
        around[arm] = rates[max(0, middle - 1) : middle + 2]
    for seed in SEEDS[1:]:
        for arm, rates in around.items():
            for rate in rates:
                yield one(arm, rate, seed)
    chosen = {arm: best_rate(runs, arm, rates) for arm, rates in around.items()}
    for embedding_rate in EMBEDDING_RATES:
        for arm, rate in chosen.items():
            yield one(arm, rate, 0, embedding_rate)
    for rate in (0.006, 0.024, 0.096):
        yield one("muon_embedding", rate, 0)
    for seed in SEEDS:
        for arm in ("merged", "merged_factor_1"):
            yield one(arm, chosen["muon"], seed)
    rate = best_rate([run for run in runs if run["seed"] == 0], "muon_embedding", (0.006, 0.024, 0.096))
    for seed in SEEDS[1:]:
        yield one("muon_embedding", rate, seed)
    for seed in SEEDS:
        for arm in ("no_momentum", "plain_momentum", "no_shape_factor", "svd", "polar_express"):
            yield one(arm, chosen["muon"], seed)


def summary(runs: list[dict]) -> dict:
    """Mean and standard deviation of every setting that was run with all seeds, and the best of the two rivals."""
    rows = []
    for key in dict.fromkeys((run["arm"], run["rate"], run["embedding_rate"]) for run in runs):
        found = losses(runs, *key)
        if len(found) == len(SEEDS) and max(found) < math.inf:
            mean, spread = statistics.fmean(found), statistics.stdev(found)
            names = ("arm", "rate", "embedding_rate")
            rows.append(dict(zip(names, key, strict=True)) | {"mean": round(mean, 4), "std": round(spread, 4)})
    best = {}
    for row in sorted(rows, key=lambda row: row["mean"]):
        best.setdefault(row["arm"], row)
    found = {"three_seeds": rows, "best": best}
    if {"adamw", "muon"} <= best.keys():
        error = math.hypot(best["adamw"]["std"], best["muon"]["std"]) / len(SEEDS) ** 0.5
        gap = best["adamw"]["mean"] - best["muon"]["mean"]
        found["gap"] = {"mean": round(gap, 4), "standard_error": round(error, 4)}
    return found


def write(runs: list[dict], tokens: int) -> None:
    hardware = detect()
    found = summary(runs)
    write_json(
        TARGET,
        {
            "what": "Validation loss on the pocket track, nats a token, when AdamW or Muon trains the blocks' matrices",
            "arms": WHAT,
            "tokens": tokens,
            "betas": BETAS,
            "momentum": 0.95,
            "machine": f"{hardware.name}, one core, {str(hardware.compute_dtype).removeprefix('torch.')} autocast",
            "python": platform.python_version(),
            "versions": versions(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            **found,
            "runs": runs,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=3 * 2**17, help="training tokens of a run")
    parser.add_argument("--most", type=int, default=10**9, help="runs to do now")
    arguments = parser.parse_args()
    runs = json.loads(TARGET.read_text(encoding="utf-8"))["runs"] if TARGET.exists() else []
    for run in plan(runs):
        if any(run.items() <= done.items() for done in runs):
            continue
        if not arguments.most:
            return
        arguments.most -= 1
        muon_rate = best_rate(runs, "muon", RATES["muon"]) if any(r["arm"] == "muon" for r in runs) else 0.0
        runs.append(measure(run, arguments.tokens, muon_rate))
        print({k: v for k, v in runs[-1].items() if k != "curve"}, flush=True)
        write(runs, arguments.tokens)
    print("all runs are done")


if __name__ == "__main__":
    main()
