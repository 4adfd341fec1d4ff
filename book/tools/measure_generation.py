"""How often the trained pocket model runs into a loop.

    python -m blueberry_lib speedrun run --recipe best --track pocket
    python book/tools/measure_generation.py RUN

Writes blueberry_lib/recorded/generation.json. A text of 128 tokens counts as a loop where zlib compresses it to less
than 0.4 of its length, as in book/what_we_tried.md; the same is counted for stretches of held-back code.
"""

import argparse
import zlib
from pathlib import Path

import torch
from record_head import measured

from blueberry_lib.data.prepare import prepare
from blueberry_lib.generation import generate
from blueberry_lib.hardware import detect
from blueberry_lib.speedrun.run import encode_prompt, load_run
from blueberry_lib.training.folder import read_json, write_json

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "generation.json"
COUNT, LENGTH, SHARE, SEEDS = 100, 128, 0.4, (3, 4, 5, 6, 7)
TEMPERATURES = (0.7, 0.8, 0.9, 1.0)


def is_loop(text: str) -> bool:
    """Whether zlib compresses the text to less than 0.4 of its length."""
    raw = text.encode()
    return len(zlib.compress(raw)) < SHARE * len(raw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of a finished pocket run of best")
    run = parser.parse_args().run
    data = prepare("stdlib", vocab_size=4096)
    tokenizer = data.tokenizer()
    model, _ = load_run(run)

    def loops(prompts: list[list[int]], **settings) -> int:
        return sum(is_loop(tokenizer.decode(row)) for row in generate(model, prompts, LENGTH, **settings))

    prompt = encode_prompt(tokenizer, "\n\n\ndef")
    sampled = {}
    for temperature in TEMPERATURES:
        counts = [loops([prompt] * COUNT, temperature=temperature, top_p=0.95, seed=seed) for seed in SEEDS]
        sampled[f"t{round(100 * temperature):03d}"] = {"counts": counts, "mean": sum(counts) / len(SEEDS)}
        print(temperature, counts, flush=True)
    stretches = torch.from_numpy(data.val[: COUNT * 2 * LENGTH].astype("int64")).view(COUNT, 2 * LENGTH)
    real = sum(is_loop(tokenizer.decode(row[LENGTH:].tolist())) for row in stretches)
    greedy = loops([row[:LENGTH].tolist() for row in stretches], temperature=0)
    drawn = [loops([row[:LENGTH].tolist() for row in stretches], temperature=1.0, seed=seed) for seed in SEEDS]
    print("after 128 tokens of held-back code: greedy", greedy, "drawn", drawn, "the code itself", real)
    hardware = detect("cpu")
    record = {
        **measured(
            "of 100 continuations of 128 tokens, those that zlib compresses below 0.4 of their length", hardware
        ),
        "data_sha256": data.sha256,
        "val_loss": read_json(run / "record.json")["val_loss"],
        "seeds": SEEDS,
        "after_def": sampled,
        "after_held_back_code": {
            "greedy": greedy,
            "drawn": {"counts": drawn, "mean": sum(drawn) / len(SEEDS)},
            "code": real,
        },
    }
    write_json(TARGET, record)
    print(f"wrote {TARGET.name}")


if __name__ == "__main__":
    main()
