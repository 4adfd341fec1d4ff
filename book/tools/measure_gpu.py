"""Everything that waits for a large GPU, in one command; what is there is not repeated, so it can be cut off anywhere.

    python book/tools/measure_gpu.py OUT --text TOKENS --images FILE.npz [--tokenizer JSON] [--minutes 9] [--stages …]

TOKENS is a folder with train.bin.xz and val.bin.xz (uint16, the SmolLM2 tokenizer, whose JSON the last stage needs),
FILE.npz holds CIFAR-10 or a part of it. Stages, in this order: profile (a step of r4 and of best, by kind of work), 8M
(r4, r5 and best, interleaved, five seeds; then the shortest budget at which best is no worse than r5), sweeps (one
change of best each), 20M, flow, vqvae and multimodal (the original's shapes: 1,024 tokens an image).
OUT fills with a folder a run; summary.json is written anew after each. --small shrinks models and budgets, to see on a
CPU that the whole of it runs: its figures mean nothing.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from blueberry_lib.config import TrainConfig
from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.data.prepare import prepare
from blueberry_lib.hardware import autocast, detect, measured_matmul_rate, synchronize
from blueberry_lib.model import Blueberry
from blueberry_lib.model.size import flops_per_token
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.speedrun.compare import BUDGET_STEPS, run_once, summarize, with_field
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.training.folder import versions, write_json

SEEDS = range(5)
KINDS = {  # the first word found in a kernel's name decides
    "attention": ("flash", "fmha", "attention", "sdpa"),
    "matrix products": ("gemm", "nvjet", "cutlass", "::mm", "::bmm", "::addmm", "linear", "matmul"),
    "optimizer": ("multi_tensor", "foreach", "adam", "lerp"),
}
SWEEPS = {
    "optimizer.muon-lr": ("0.012", "0.036"),
    "optimizer.embedding-lr": ("0.005", "0.02"),
    "optimizer.muon-momentum": ("0.95",),
    "schedule.decay": ("0.4", "1.0"),
    "batch-size": ("2", "8"),
    "model.soft-cap": ("15",),
}
SHAPES = {
    "13x640": {"n_layers": 13, "d_model": 640, "n_heads": 10, "n_kv_heads": 2, "d_ff": 2_560},
    "8x768": {"n_layers": 8, "d_model": 768, "n_heads": 12, "n_kv_heads": 6, "d_ff": 3_072},
}
CURRICULUM = (512, 1_024, 2_048)
SMALL_MODEL = {"n_layers": 2, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "d_ff": 128, "context_length": 256}
SMALL_TOKENS, SMALL_VALIDATION = 8_192, 4_096
ORIGINAL_STEPS = 3_000  # of the original's VQ-VAE and of its 40 M transformer


class Session:
    """Where to write, from what to read, how long there is."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.out, self.small = arguments.out, arguments.small
        self.text, self.images = f"tokens:{arguments.text}", f"npz:{arguments.images}"
        self.tokenizer = arguments.tokenizer
        self.end = time.monotonic() + 60 * arguments.minutes
        self.summary = {"versions": versions(), "stages": {}}
        self.out.mkdir(parents=True, exist_ok=True)

    def note(self, stage: str, found: object) -> None:
        self.summary["stages"][stage] = found
        write_json(self.out / "summary.json", self.summary)
        print(f"\n{stage}\n{found if isinstance(found, str) else json.dumps(found, indent=1)}", flush=True)

    def config(self, recipe: str, track: str, seed: int = 0, parts: int = BUDGET_STEPS) -> TrainConfig:
        """A recipe on a track, on the tokens at hand; shrunk where all is."""
        config = replace(get_recipe(recipe, track), data=self.text, seed=seed)
        if self.small:
            model = replace(config.model, **SMALL_MODEL)
            config = replace(config, model=model, train_tokens=SMALL_TOKENS, validation_tokens=SMALL_VALIDATION)
        return replace(config, train_tokens=config.train_tokens * parts // BUDGET_STEPS)

    def run(self, name: str, config: TrainConfig) -> dict | None:
        """The record of a run, or None where no time is left to begin it."""
        there = (self.out / name / "record.json").exists()
        return run_once(self.out / name, config, print) if there or time.monotonic() < self.end else None


def step_profile(session: Session) -> None:
    """Milliseconds of a training step by kind of work, and the floor: its FLOPs at the measured matrix rate."""
    hardware, found = detect(), {}
    for recipe in ("r4", "best"):
        config = session.config(recipe, "8M")
        data = prepare(config.data, config.model.vocab_size)
        model = Blueberry(config.model).to(hardware.device)
        if hardware.device == "cuda":
            model.hidden = torch.compile(model.hidden, dynamic=False)
        optimizers = build_optimizers(model, config.optimizer, hardware.compute_dtype)
        context = config.model.context_length
        batches = TokenBatches(data.train, config.batch_size, context, 0, hardware.device)

        def step(model=model, optimizers=optimizers, batches=batches) -> None:
            with autocast(hardware.device, hardware.compute_dtype):
                loss = model(*next(batches))
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        for _ in range(3):
            step()
        times = []
        for _ in range(10):
            synchronize(hardware.device)
            start = time.perf_counter()
            step()
            synchronize(hardware.device)
            times.append(time.perf_counter() - start)
        on_gpu = hardware.device == "cuda"
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
        with profile(activities=activities) as profiler:
            step()
            synchronize(hardware.device)
        shares = dict.fromkeys([*KINDS, "the rest"], 0.0)
        for event in profiler.key_averages():
            own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            name = event.key.lower()
            kind = next((k for k, words in KINDS.items() if any(word in name for word in words)), "the rest")
            shares[kind] += own / 1_000
        flops = flops_per_token(config.model) * config.batch_size * context
        rate = measured_matmul_rate(hardware.device, hardware.compute_dtype, 8_192 if on_gpu else 1_024)
        median = sorted(times)[len(times) // 2] * 1_000
        found[recipe] = {
            "step_ms": median,
            "kernel_ms": shares,
            "gaps_ms": median - sum(shares.values()) if on_gpu else None,
            "floor_ms": flops / rate * 1_000,
            "matmul_rate": rate,
            "utilisation_of_measured_rate": flops / rate * 1_000 / median,
        }
    session.note("profile", {"hardware": hardware.summary(), **found})


def eight_million(session: Session) -> None:
    records = []
    for seed in SEEDS:
        for recipe in ("r4", "r5", "best"):
            record = session.run(f"8M-{recipe}-seed{seed}", session.config(recipe, "8M", seed))
            if record:
                records.append(record)
                session.note("8M", summarize(records))
    bars = [r["val_loss"] for r in records if r["recipe"] == "r5"]
    if not bars:
        return
    bar, fails, holds = sum(bars) / len(bars), 0, BUDGET_STEPS
    while holds - fails > 1:
        middle = (fails + holds) // 2
        record = session.run(f"8M-best-{middle}of{BUDGET_STEPS}-seed0", session.config("best", "8M", 0, middle))
        if not record:
            return
        fails, holds = (fails, middle) if record["val_loss"] <= bar else (middle, holds)
    for seed in SEEDS:
        name = f"8M-best-{holds}of{BUDGET_STEPS}-seed{seed}"
        record = session.run(name, session.config("best", "8M", seed, holds))
        if record:
            records.append({**record, "recipe": f"best, {holds}/{BUDGET_STEPS} of the tokens"})
            session.note("8M", summarize(records))


def changes(base: TrainConfig, small: bool) -> Iterator[tuple[str, TrainConfig]]:
    """best and one change of it each."""
    yield "best", base
    for field, values in SWEEPS.items():
        for value in values:
            yield f"{field}={value}", with_field(base, field, value)
    for name, shape in SHAPES.items():
        kept = {"n_layers": shape["n_layers"]} if small else shape
        yield name, replace(base, model=replace(base.model, **kept))
    contexts = tuple(length for length in CURRICULUM if length <= base.model.context_length) or (128, 256)
    yield "curriculum", replace(base, contexts=contexts)
    yield "no value residual", replace(base, model=replace(base.model, value_residual=False))


def sweeps(session: Session) -> None:
    records = []
    for name, config in changes(session.config("best", "8M"), session.small):
        record = session.run("sweep-" + name.replace(" ", "-").replace("=", "-"), config)
        if record:
            records.append({**record, "recipe": name})
            session.note("sweeps", summarize(records))


def twenty_million(session: Session) -> None:
    records = []
    for recipe in ("r5", "best"):
        record = session.run(f"20M-{recipe}-seed0", session.config(recipe, "20M"))
        if record:
            records.append(record)
            session.note("20M", summarize(records) + "\n(two passes over the 10.7 M tokens at hand)")


def pictures(session: Session, stage: str, config, steps: int | None = None) -> None:
    """One run of a picture model, in its own folder; what it measured."""
    from blueberry_lib.images.training import run

    folder = session.out / stage
    if time.monotonic() < session.end and not (folder / "record.json").exists():
        training = replace(config.training, data=session.images, steps=steps or config.training.steps, eval_every=0)
        if session.small:
            training = replace(training, steps=4, batch_size=8)
        folder.mkdir(exist_ok=True)
        run(replace(config, training=training), folder, resume=any(folder.glob("checkpoints/step-*")))
    if (folder / "record.json").exists():
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        session.note(stage, {k: v for k, v in record.items() if k not in ("curve", "config")})


def flow(session: Session) -> None:
    from blueberry_lib.images.flow_training import PRESETS

    pictures(session, "flow", PRESETS["cifar-small" if session.small else "dit-30m"]())


def vqvae(session: Session) -> None:
    from blueberry_lib.images.vqvae_training import PRESETS

    pictures(session, "vqvae", PRESETS["cifar-small" if session.small else "original"](), ORIGINAL_STEPS)


def multimodal(session: Session) -> None:
    from blueberry_lib.images.multimodal_training import PRESETS, load_multimodal, measure

    config = PRESETS["cifar-small" if session.small else "40m"]()
    config = replace(config, vqvae=str(session.out / "vqvae"), tokenizer=session.tokenizer, copies=1)
    if (session.out / "vqvae" / "record.json").exists():
        pictures(session, "multimodal", config, ORIGINAL_STEPS)
    if (session.out / "multimodal" / "record.json").exists():
        model, config, data, _ = load_multimodal(session.out / "multimodal", detect().device)
        session.note("multimodal, measured", measure(model, config, data, 20 if session.small else 1_000))


STAGE = {
    "profile": step_profile,
    "8M": eight_million,
    "sweeps": sweeps,
    "20M": twenty_million,
    "flow": flow,
    "vqvae": vqvae,
    "multimodal": multimodal,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--text", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--stages", nargs="+", choices=STAGE, default=list(STAGE))
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    session = Session(arguments)
    for stage in arguments.stages:
        STAGE[stage](session)


if __name__ == "__main__":
    main()
