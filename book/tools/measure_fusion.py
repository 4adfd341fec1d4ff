"""An RMSNorm followed by a squared ReLU, operation by operation and compiled into one loop, on a CPU.

    python book/tools/measure_fusion.py

Writes blueberry_lib/recorded/fusion.json: the seconds that the first compiled call took, and milliseconds of a call
before and after, in turn, with the median of their ratios. Needs a C++ compiler, as torch.compile does on a CPU.
"""

import os
import statistics
import time
from pathlib import Path

import torch
from record_head import measured

from blueberry_lib.hardware import detect, keep_freed_memory
from blueberry_lib.training.folder import write_json

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "fusion.json"
ROWS, WIDTH, PAIRS = 4096, 512, 41


def chain(x, gain):
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * gain
    return x.relu().square()


def seconds(call, *arguments) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


@torch.no_grad()
def main() -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    x, gain = torch.randn(ROWS, WIDTH), torch.randn(WIDTH)
    compiled = torch.compile(chain)
    first = seconds(compiled, x, gain)
    torch.testing.assert_close(compiled(x, gain), chain(x, gain))
    chain(x, gain)
    pairs = [(seconds(chain, x, gain), seconds(compiled, x, gain)) for _ in range(PAIRS)]
    apart, fused = zip(*pairs, strict=True)
    record = {
        **measured(f"RMSNorm and squared ReLU of {ROWS} x {WIDTH} float32 numbers, in turn, medians", detect("cpu")),
        "note": "Other programs ran on the machine.",
        "load_average": os.getloadavg(),
        "threads": torch.get_num_threads(),
        "first_call_seconds": first,
        "apart_milliseconds": 1e3 * statistics.median(apart),
        "fused_milliseconds": 1e3 * statistics.median(fused),
        "median_ratio": statistics.median(a / f for a, f in pairs),
    }
    write_json(TARGET, record)
    print(record["first_call_seconds"], record["median_ratio"], f"wrote {TARGET}")


if __name__ == "__main__":
    main()
