"""The image tokenizer and the transformer over its tokens: three seeds on digits, what did not help, CIFAR-10.

    python book/tools/measure_tokens.py vqvae NAME [NPZ]        one run: seed-0 … seed-2, cifar10 (with its file) or one
    python book/tools/measure_tokens.py multimodal NAME [NPZ]   of those tried
    python book/tools/measure_tokens.py digits                  measure the runs there are, write *_digits.json
    python book/tools/measure_tokens.py cifar10                 write *_cifar10.json

A run is kept under runs/measure-tokens/ and goes on where it stopped. Everything on a CPU; training times are of the
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

from blueberry_lib.images import multimodal_training, vqvae_training
from blueberry_lib.images import training as image_training
from blueberry_lib.images.captions import HELD_OUT, LEADS, PREDICATES, TEMPLATES, Prompts
from blueberry_lib.images.datasets import load
from blueberry_lib.images.grid import grid, write_png
from blueberry_lib.images.metrics import Panel, class_labels, table
from blueberry_lib.images.multimodal_training import MultimodalRun, load_multimodal
from blueberry_lib.images.vqvae_training import VQVAERun, load_vqvae
from blueberry_lib.training.folder import write_json

RUNS = Path("runs/measure-tokens")
RECORDS = Path(__file__).parents[1] / "records"
SEEDS = ("seed-0", "seed-1", "seed-2")
BARS = {
    "vqvae": {"loss": 0.013, "usage": 0.95, "judge": 0.98, "seconds": 45},
    "multimodal": {"below_unigram": 0.3, "judge": 0.93, "two_sample": 0.72, "well_formed": 1.0, "seconds": 90},
}
AT_MOST = {"loss", "two_sample", "seconds"}
WITHOUT_BOTH = {"revive_below": 0.0, "kmeans_start": False}
VQVAE_TRIED = {
    "no-revival": ("k-means start, dead codes stay dead", {"revive_below": 0.0}),
    "no-kmeans": ("random start, dead codes revived", {"kmeans_start": False}),
    "neither": ("random start, dead codes stay dead", WITHOUT_BOTH),
    "gradient": ("codebook loss instead of the moving average; k-means start", {"quantizer": "gradient"}),
    "gradient-random": ("codebook loss, random start", {"quantizer": "gradient", "kmeans_start": False}),
    "normalized": ("vectors and codes of length 1", {"normalized": True}),
    "fsq": ("three entries of four levels each", {"quantizer": "fsq", "levels": (4, 4, 4), "code_dim": 3}),
}
CAPTIONS = {
    "known": TEMPLATES,
    "class_first": HELD_OUT[-1:],
    # with words that the tokenizer never saw; nothing was chosen by them
    "unheard_of": (
        *("could I have {a} {name}", "{a} {name} would be fine", "nothing but {a} {name}", "how does {a} {name} look"),
    ),
}
CLASS_LAST = "class-last"
GUIDANCE = (0.0, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
TEMPERATURES = (0.0, 0.5, 0.8, 0.9, 1.0, 1.2)


def multimodal_tried() -> dict[str, tuple[str, MultimodalRun]]:
    """What was tried instead of the default, and found no better."""
    base = MultimodalRun()
    return {
        "one-copy": ("each training image in the same tokens always", replace(base, copies=1)),
        "no-noise": ("every token is read as it is", replace(base, token_noise=0.0)),
        CLASS_LAST: ("no caption that begins with the class", base),
    }


def go(kind: str, name: str, file: str | None) -> None:
    """Do the run ``name``, or go on with it."""
    module = {"vqvae": vqvae_training, "multimodal": multimodal_training}[kind]
    if name == "cifar10":
        config = module.cifar_small()
        config = replace(config, training=replace(config.training, data=f"npz:{file}"))
    elif name in SEEDS:
        config = module.PRESETS["digits"]()
        config = replace(config, training=replace(config.training, seed=SEEDS.index(name)))
    elif kind == "vqvae":
        config = replace(VQVAERun(), model=replace(VQVAERun().model, **VQVAE_TRIED[name][1]))
    else:
        config = multimodal_tried()[name][1]
    if name == CLASS_LAST:
        beginning = {f"{lead} {{a}} {{name}} {predicate}".strip() for lead in LEADS for predicate in PREDICATES}
        multimodal_training.TEMPLATES = tuple(t for t in TEMPLATES if t not in beginning)
    if kind == "multimodal":
        config = replace(config, vqvae=str(RUNS / "vqvae" / (name if name == "cifar10" else "seed-0")))
    folder = RUNS / kind / name
    resume = any(folder.glob("checkpoints/step-*"))
    folder.mkdir(parents=True, exist_ok=True)
    record = image_training.run(replace(config, training=replace(config.training, device="cpu")), folder, resume=resume)
    write_json(folder / "record.json", {**record, "threads": torch.get_num_threads()})
    print(name, record["evaluation"], record["seconds"])


def record_of(kind: str, name: str) -> dict:
    return json.loads((RUNS / kind / name / "record.json").read_text(encoding="utf-8"))


def summary(kind: str, name: str) -> dict:
    """What the book tells of a run."""
    record = record_of(kind, name)
    kept = ("evaluation", "train_loss", "steps", "seconds", "images_per_second", "threads")
    curve = [entry for entry in record["curve"] if "val_loss" in entry or entry["step"] % 100 == 0]
    return {key: record[key] for key in kept} | {"curve": curve}


def done(kind: str, names) -> list[str]:
    return [name for name in names if (RUNS / kind / name / "record.json").exists()]


def passed(kind: str, found: dict) -> dict:
    return {n: found[n] <= bar if n in AT_MOST else found[n] >= bar for n, bar in BARS[kind].items()}


def median(rows: list[dict]) -> dict:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def digits_vqvae() -> None:
    data = load("digits")
    panel, runs = Panel(data), {}
    for name in done("vqvae", (*SEEDS, *VQVAE_TRIED)):
        model, _, _ = load_vqvae(RUNS / "vqvae" / name)
        with torch.no_grad():
            reconstructions = model(data.scale(data.train))[0]
        judged = panel(reconstructions, data.train_labels)["judge"]
        runs[name] = summary("vqvae", name) | {"judge_of_reconstructed_training_images": judged}
    rows = [
        {
            **runs[n]["evaluation"],
            "judge": runs[n]["judge_of_reconstructed_training_images"],
            "seconds": runs[n]["seconds"]["active"],
        }
        for n in SEEDS
    ]
    record = {
        **head("VQ-VAE on digits: 8 x 8 pixels as 4 x 4 of 64 codes", record_of("vqvae", SEEDS[0])),
        "median": median(rows),
        "bars": BARS["vqvae"],
        "passed": passed("vqvae", median(rows)),
        "judge_of_real_training_images": panel.judge.score(panel.train, data.train_labels.numpy()),
        "seeds": {name: runs[name] for name in SEEDS},
        "tried": {name: {"what": VQVAE_TRIED[name][0], **runs[name]} for name in runs if name in VQVAE_TRIED},
    }
    write_json(RECORDS / "vqvae_digits.json", rounded(record))
    print(record["median"], record["passed"])
    for name, run in runs.items():
        print(name, rounded(run["evaluation"]), rounded(run["judge_of_reconstructed_training_images"]))


def sampling_time(model, prompts: list) -> dict:
    """Seconds to draw one image for each prompt with the cache and without, in turns."""
    seconds = {True: [], False: []}
    for _ in range(5):
        for cached in seconds:
            start = time.perf_counter()
            model.sample(prompts, seed=0, cached=cached)
            seconds[cached].append(time.perf_counter() - start)
    cached, computed = (statistics.median(seconds[key]) for key in (True, False))
    return {"images": len(prompts), "cached": cached, "computed_anew": computed, "ratio": computed / cached}


def digits_multimodal() -> None:
    data = load("digits")
    labels, panel = class_labels(10), Panel(data)
    found, runs = {}, {}
    for name in done("multimodal", (*SEEDS, *multimodal_tried())):
        model, config, captioned, _ = load_multimodal(RUNS / "multimodal" / name)
        found[name] = multimodal_training.measure(model, config, captioned)
        rows = {}
        for kind, templates in CAPTIONS.items():
            captions = Prompts(captioned.tokenizer, data.classes, templates, model.seg_start)
            rows[kind] = panel(captioned.draw(model, captions.fixed(labels), seed=0), labels)
        runs[name] = summary("multimodal", name) | {
            "panel": found[name]["panel"]["generated"],
            "captions": rows,
            "well_formed": found[name]["well_formed"],
        }
    rows = [
        {
            **runs[n]["panel"],
            **runs[n]["evaluation"],
            "below_unigram": runs[n]["evaluation"]["unigram"] - runs[n]["evaluation"]["loss"],
            "well_formed": runs[n]["well_formed"]["masked"],
            "well_formed_unmasked": runs[n]["well_formed"]["unmasked"],
            "seconds": runs[n]["seconds"]["active"],
        }
        for n in SEEDS
    ]
    model, _, captioned, _ = load_multimodal(RUNS / "multimodal" / SEEDS[0])
    prompts = captioned.held_out.fixed(labels)
    first = [i for i in range(len(labels)) if i % 60 < 10]
    images = data.round(captioned.draw(model, [prompts[i] for i in first], seed=0))
    write_png(RUNS / "multimodal_digits.png", grid(images, 10, 5))
    record = {
        **head("A transformer over captions and image tokens of digits", record_of("multimodal", SEEDS[0])),
        "median": median(rows),
        "captions": {kind: median([runs[n]["captions"][kind] for n in SEEDS]) for kind in CAPTIONS},
        "bars": BARS["multimodal"],
        "passed": passed("multimodal", median(rows)),
        "seeds": {name: runs[name] for name in SEEDS},
        "real": found[SEEDS[0]]["panel"]["real"],
        "gaussian": found[SEEDS[0]]["panel"]["gaussian"],
        "sampling": [sampling_time(model, prompts[:count]) for count in (1, 64, 600)],
        "guidance": {str(w): panel(captioned.draw(model, prompts, seed=0, guidance=w), labels) for w in GUIDANCE},
        "temperature": {
            str(t): panel(captioned.draw(model, prompts, seed=0, temperature=t), labels) for t in TEMPERATURES
        },
        "threads": torch.get_num_threads(),
        "tried": {n: {"what": multimodal_tried()[n][0], **runs[n]} for n in runs if n not in SEEDS},
    }
    write_json(RECORDS / "multimodal_digits.json", rounded(record))
    print(rounded(record["median"]), record["passed"], record["sampling"])
    print(table({name: run["panel"] for name, run in runs.items()}))
    print(table({f"{name}, {kind}": row for name, run in runs.items() for kind, row in run["captions"].items()}))
    print({name: (run["evaluation"]["loss"], run["well_formed"]) for name, run in runs.items()})
    print(table({f"w = {w}": row for w, row in record["guidance"].items()}))
    print(table({f"T = {t}": row for t, row in record["temperature"].items()}))


def cifar10() -> None:
    kinds = {"vqvae": "VQ-VAE on a subset of CIFAR-10", "multimodal": "A transformer over captions and their tokens"}
    for kind, what in kinds.items():
        for name in done(kind, ["cifar10"]):
            record = {**head(what, record_of(kind, name)), **summary(kind, name)}
            if kind == "multimodal":
                model, config, captioned, _ = load_multimodal(RUNS / kind / name)
                record["measured"] = multimodal_training.measure(model, config, captioned)
                prompts = captioned.held_out.fixed(class_labels(10, 10))
                record["sampling"] = [sampling_time(model, prompts[:count]) for count in (1, 64)]
                write_png(RUNS / "multimodal_cifar10.png", grid(captioned.draw(model, prompts, seed=0), 10))
            write_json(RECORDS / f"{kind}_cifar10.json", rounded(record))
            print(kind, rounded(record["evaluation"]), [e["val_loss"] for e in record["curve"] if "val_loss" in e])


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["digits"]
    if what == "digits":
        digits_vqvae()
        digits_multimodal()
    elif what == "cifar10":
        cifar10()
    else:
        go(what, rest[0], *(rest[1:] or [None]))
