"""What attention costs as the context grows: one layer's parts, forward, on a CPU.

    python book/tools/measure_attention_cost.py

Writes blueberry_lib/recorded/attention_cost.json: for each context, the median seconds of the plain form (which builds
the T × T weights), of torch's fused one and of the four projections around them, with the slopes on logarithmic axes.
"""

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from record_head import measured

from blueberry_lib.hardware import detect, keep_freed_memory
from blueberry_lib.training.folder import write_json

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "attention_cost.json"
HEADS, HEAD_DIM = 8, 64
CONTEXTS = (128, 256, 512, 1024, 2048, 4096, 8192)


def median_seconds(call: Callable, *arguments, budget: float = 4.0) -> float:
    call(*arguments)
    times, end = [], time.perf_counter() + budget
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 30):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def plain(q, k, v):
    T = q.shape[2]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1) @ v


def fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def project(projections, x):
    return [projection(x) for projection in projections]


def slope(points: list[dict], name: str) -> float:
    """Least squares on logarithmic axes over the four longest contexts."""
    x = torch.tensor([p["context"] for p in points[-4:]], dtype=torch.float64).log()
    y = torch.tensor([p[name] for p in points[-4:]], dtype=torch.float64).log()
    x, y = x - x.mean(), y - y.mean()
    return ((x * y).sum() / (x * x).sum()).item()


@torch.no_grad()
def main() -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    width = HEADS * HEAD_DIM
    projections = torch.nn.ModuleList(torch.nn.Linear(width, width, bias=False) for _ in range(4))
    points = []
    for T in CONTEXTS:
        q, k, v = torch.randn(3, 1, HEADS, T, HEAD_DIM)
        x = torch.randn(1, T, width)
        point = {
            "context": T,
            "plain": median_seconds(plain, q, k, v),
            "fused": median_seconds(fused, q, k, v),
            "projections": median_seconds(project, projections, x),
            "weight_mebibytes": HEADS * T * T * 4 / 2**20,
        }
        points.append(point)
        print(point, flush=True)
    longest = points[-1]
    record = {
        **measured(
            "seconds of one layer's attention, forward, one sequence, 8 heads of 64, float32, medians", detect("cpu")
        ),
        "threads": torch.get_num_threads(),
        "points": points,
        "slope": {name: slope(points, name) for name in ("plain", "fused", "projections")},
        "longest": longest
        | {
            "plain_over_fused": longest["plain"] / longest["fused"],
            "fused_over_projections": longest["fused"] / longest["projections"],
        },
    }
    write_json(TARGET, record)
    print(record["slope"], f"wrote {TARGET}")


if __name__ == "__main__":
    main()
