"""Measure decoding: blueberry_lib.generation against transformers' generate, one prompt on a CPU, greedily.

    python book/tools/measure_decoding.py [--threads N] [--rounds N] [--note TEXT]

Both hold the same weights (transformers' in Qwen3ForCausalLM) and must give the same tokens; they run in turn, and the
medians count. Writes book/records/decoding.json: what a token takes, and what it would take at least, its weights being
read once at the bandwidth measured here.

What bounds it: at pocket size the starting of operations from Python, 24 kernels and 19 views a layer (the model's own
forward pass has 46 and 41), since reading the weights is the smaller part of a token's time; at 22 layers of width 512
the speed at which torch's matrix-vector products read the weights, 447 MB a token in float32. bfloat16 halves the
bytes, but torch multiplies them at a lower rate, and starts more slowly.
"""

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from blueberry_lib.config import ModelConfig, pocket
from blueberry_lib.generation import generate
from blueberry_lib.hardware import detect
from blueberry_lib.model import Blueberry
from blueberry_lib.model.size import matrix_params, n_params
from blueberry_lib.training.folder import versions, write_json

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "book" / "records" / "decoding.json"
PROMPT = [5, 3, 80, 41]


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def bandwidth() -> float:
    """Bytes a second at which a 256 MiB matrix is multiplied by a vector: what reading weights can reach."""
    matrix, vector = torch.ones(2**14, 2**12), torch.ones(2**12)
    return matrix.nbytes / min(seconds(lambda: matrix @ vector) for _ in range(10))


def measure(config: ModelConfig, new_tokens: int, rounds: int) -> dict:
    """Tokens a second of both libraries, and of ours with bfloat16 weights."""
    import transformers

    sys.path.insert(0, str(ROOT / "tests" / "model"))
    from test_blueberry import qwen3

    torch.manual_seed(0)
    model = Blueberry(config).eval()
    theirs, halved = qwen3(model), copy.deepcopy(model).to(torch.bfloat16)
    settings = transformers.GenerationConfig(
        max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, pad_token_id=0
    )
    calls = {
        "blueberry_lib": lambda: generate(model, [PROMPT], new_tokens, temperature=0)[0],
        "transformers": lambda: theirs.generate(torch.tensor([PROMPT]), settings)[0, len(PROMPT) :].tolist(),
        "blueberry_lib_bfloat16": lambda: generate(halved, [PROMPT], new_tokens, temperature=0)[0],
    }
    outputs = {name: call() for name, call in calls.items()}
    assert outputs["blueberry_lib"] == outputs["transformers"], "the two libraries do not give the same tokens"
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call) / new_tokens)
    per_token = {name: statistics.median(values) for name, values in times.items()}
    rate, weight_bytes = bandwidth(), 4 * matrix_params(config)
    return {
        "layers": config.n_layers,
        "width": config.d_model,
        "vocab_size": config.vocab_size,
        "params": n_params(config),
        "new_tokens": new_tokens,
        "tokens_per_second": {name: 1 / value for name, value in per_token.items()},
        "best_tokens_per_second": {name: 1 / min(values) for name, values in times.items()},
        "ratio_to_transformers": per_token["transformers"] / per_token["blueberry_lib"],
        "bfloat16_ratio_to_transformers": per_token["transformers"] / per_token["blueberry_lib_bfloat16"],
        "bfloat16_speedup": per_token["blueberry_lib"] / per_token["blueberry_lib_bfloat16"],
        "bfloat16_same_tokens": outputs["blueberry_lib"] == outputs["blueberry_lib_bfloat16"],
        "weight_bytes_per_token": weight_bytes,
        "bandwidth_bytes_per_second": rate,
        "milliseconds_per_token": 1e3 * per_token["blueberry_lib"],
        "milliseconds_to_read_weights": 1e3 * weight_bytes / rate,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--rounds", type=int, default=9, help="generations of each kind")
    parser.add_argument("--note", default="", help="what else to say of the machine, such as who shares it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    import transformers

    small = ModelConfig(**{**pocket().__dict__, "feed_forward": "swiglu"})
    large = ModelConfig(feed_forward="swiglu")
    results = {"pocket": measure(small, 200, arguments.rounds), "22x512": measure(large, 64, arguments.rounds)}
    for name, result in results.items():
        print(name, result)
    record = {
        "what": "greedy decoding of one prompt on a CPU, float32, medians of interleaved runs",
        "note": arguments.note,
        "load_average": os.getloadavg(),
        "hardware": detect("cpu").summary(),
        "threads": arguments.threads,
        "versions": versions() | {"transformers": transformers.__version__},
        "sizes": results,
    }
    write_json(TARGET, record)
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
