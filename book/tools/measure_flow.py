"""The flow model: three seeds on digits, guidance, solvers, what did not help; and a small one on CIFAR-10.

    python book/tools/measure_flow.py train NAME [NPZ]     one run: seed-0 … seed-2, cifar10 (with its file) or a TRIED
    python book/tools/measure_flow.py digits               measure the three seeds, write flow_digits.json
    python book/tools/measure_flow.py tried                add to it the runs of TRIED that there are
    python book/tools/measure_flow.py cifar10              write flow_cifar10.json

A run is kept under runs/measure-flow/NAME and goes on where it stopped. Everything on a CPU; training times are of the
threads torch was given.
"""

import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from picture_records import head, rounded

from blueberry_lib.hardware import autocast, detect
from blueberry_lib.images import diffusion_transformer, flow_training
from blueberry_lib.images.flow_matching import SOLVERS, sample
from blueberry_lib.images.flow_training import FlowRun, cifar_small, load_flow
from blueberry_lib.images.metrics import Panel, class_labels, table
from blueberry_lib.images.training import run
from blueberry_lib.training.folder import write_json

RUNS = Path("runs/measure-flow")
RECORDS = Path(__file__).parents[1] / "records"
SEEDS = ("seed-0", "seed-1", "seed-2")
GUIDANCE = (0.0, 1.0, 1.5, 2.0, 3.0, 4.0)
STEPS = {"euler": (2, 5, 10, 20, 40, 80), "midpoint": (2, 5, 10, 20), "heun": (2, 5, 10, 20, 50)}
BARS = {"judge": 0.97, "frechet": 0.30, "recall": 0.75, "precision": 0.83, "two_sample": 0.60, "copies": 0.02}
AT_LEAST = {"judge", "recall", "precision"}
LOSS_BAR = 0.37
TRIED = {
    "time-unscaled": "times in [0, 1] go into their embedding as they are",
    "adamw-alone": "AdamW at 0.002 for the matrices too, instead of Muon",
    "logit-normal-times": "training times from the logistic function of a normal",
    "more-steps": "3,600 steps",
    "wider": "width 96, 6 heads",
    "patches-of-one-pixel": "64 tokens instead of 16, 500 steps",
}


def changed(name: str) -> FlowRun:
    """The config of a run that is not the default; two of them change the code too."""
    config = FlowRun()
    training = config.training
    if name == "time-unscaled":
        diffusion_transformer.TIME_SCALE = 1.0
    if name == "adamw-alone":

        def adamw(model, optimizer, dtype):
            return [torch.optim.AdamW(model.parameters(), optimizer.adamw_lr, optimizer.betas, weight_decay=0.0)]

        flow_training.build_optimizers = adamw
    return {
        "logit-normal-times": replace(config, times="logit_normal"),
        "more-steps": replace(config, training=replace(training, steps=3_600)),
        "wider": replace(config, model=replace(config.model, d_model=96, n_heads=6)),
        "patches-of-one-pixel": replace(
            config, model=replace(config.model, patch_size=1), training=replace(training, steps=500)
        ),
    }.get(name, config)


def train(name: str, file: str | None) -> None:
    if name in SEEDS:
        config = FlowRun()
        config = replace(config, training=replace(config.training, seed=SEEDS.index(name)))
    elif name == "cifar10":
        config = cifar_small()
        config = replace(config, training=replace(config.training, data=f"npz:{file}"))
    else:
        config = changed(name)
    folder = RUNS / name
    resume = any(folder.glob("checkpoints/step-*"))
    folder.mkdir(parents=True, exist_ok=True)
    record = run(replace(config, training=replace(config.training, device="cpu")), folder, resume=resume)
    write_json(folder / "record.json", {**record, "threads": torch.get_num_threads()})
    print(record["evaluation"], record["seconds"])
    print(table(record["panel"]))


def summary(record: dict) -> dict:
    """What the book tells of a run."""
    return {
        "validation_loss": record["evaluation"],
        "panel": record["panel"]["generated"],
        "train_loss": record["train_loss"],
        "steps": record["steps"],
        "seconds": record["seconds"],
        "images_per_second": record["images_per_second"],
        "threads": record["threads"],
        "curve": [e for e in record["curve"] if "val_loss" in e or e["step"] % 100 == 0],
    }


def digits() -> None:
    hardware = detect("cpu")
    model, _, data, _ = load_flow(RUNS / "seed-0")
    labels, panel = class_labels(10), Panel(data)

    def measured(network, **settings) -> dict:
        with autocast("cpu", hardware.compute_dtype):
            start = time.perf_counter()
            images, evaluations = sample(network, labels, **settings)
            seconds = time.perf_counter() - start
        return {"evaluations": evaluations, "seconds": seconds, **panel(images, labels)}

    runs = {name: read_record_of(name) for name in SEEDS}
    generated = [record["panel"]["generated"] for record in runs.values()]
    losses = [record["evaluation"]["loss"] for record in runs.values()]
    median = {name: statistics.median(p[name] for p in generated) for name in generated[0]}
    passed = {n: median[n] >= bar if n in AT_LEAST else median[n] <= bar for n, bar in BARS.items()}
    passed["validation_loss"] = statistics.median(losses) < LOSS_BAR
    passed["two_sample_each"] = max(p["two_sample"] for p in generated) <= 0.64
    with autocast("cpu", hardware.compute_dtype):
        times = []
        for _ in range(7):
            start = time.perf_counter()
            _, evaluations = sample(model, torch.arange(64) % 10)
            times.append(time.perf_counter() - start)
    record = {
        **head("flow matching on digits: 600 samples, 60 a class, midpoint x 5, w = 1", read_record_of(SEEDS[0])),
        "median": median,
        "median_validation_loss": statistics.median(losses),
        "bars": BARS | {"validation_loss": LOSS_BAR, "two_sample_each": 0.64},
        "passed": passed,
        "seeds": {name: summary(run) for name, run in runs.items()},
        "real": [panel.real(seed=seed) for seed in range(5)],
        "gaussian": [panel.gaussian(seed=seed) for seed in range(5)],
        "sampling_64": {
            "evaluations": evaluations,
            "seconds": statistics.median(times),
            "threads": torch.get_num_threads(),
        },
        "guidance": {str(w): measured(model, guidance=w) for w in GUIDANCE},
        "solvers": {
            solver: {str(steps): measured(model, steps=steps, solver=solver) for steps in STEPS[solver]}
            for solver in SOLVERS
        },
    }
    write_json(RECORDS / "flow_digits.json", rounded(record))
    print(table({**{n: p["panel"]["generated"] for n, p in runs.items()}, "median": median}))
    print(table({f"w = {w}": {k: row[k] for k in median} for w, row in record["guidance"].items()}))
    print(passed, losses, record["sampling_64"])


def read_record_of(name: str) -> dict:
    return json.loads((RUNS / name / "record.json").read_text(encoding="utf-8"))


def tried() -> None:
    """Add the runs of TRIED that there are to the record."""
    path = RECORDS / "flow_digits.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    found = {name: what for name, what in TRIED.items() if (RUNS / name / "record.json").exists()}
    record["tried"] = {name: {"what": what, **summary(read_record_of(name))} for name, what in found.items()}
    write_json(path, rounded(record))
    print(table({name: run["panel"] for name, run in record["tried"].items()}))
    print({name: run["validation_loss"]["loss"] for name, run in record["tried"].items()})


def cifar10() -> None:
    record = read_record_of("cifar10")
    _, _, data, _ = load_flow(RUNS / "cifar10")
    write_json(
        RECORDS / "flow_cifar10.json",
        rounded(
            {
                **head("flow matching on a subset of CIFAR-10, a small model", record),
                "images": {"train": len(data.train), "held_out": len(data.val)},
                **summary(record),
                "real": record["panel"]["real"],
                "gaussian": record["panel"]["gaussian"],
            }
        ),
    )


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["digits"]
    if what == "train":
        train(rest[0], *(rest[1:] or [None]))
    else:
        {"digits": digits, "tried": tried, "cifar10": cifar10}[what]()
