"""One layer of attention learns to look things up, and the ablations that break it: chapter 04, over several seeds.

    python book/tools/measure_lookup.py [--seeds N]

Writes blueberry_lib/recorded/lookup.json. The model and the task are the chapter's, written once more here.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from record_head import measured
from torch import Tensor, nn

from blueberry_lib.hardware import detect
from blueberry_lib.training.folder import write_json

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "lookup.json"
PAIRS, KEYS, VALUES, WIDTH, BATCH, STEPS, RATE = 8, 16, 16, 128, 128, 200, 3e-3
ARMS = {
    "full": {},
    "no_mask": {"masked": False},
    "no_offset": {"offset": False},
    "no_mask_no_offset": {"masked": False, "offset": False},
    "no_scale": {"scaled": False},
    "no_scale_4_heads": {"scaled": False, "heads": 4},
    "4_heads": {"heads": 4},
    "no_offset_longer": {"offset": False, "steps": 2000},
}


def examples(count: int, generator: torch.Generator) -> Tensor:
    """(B, 2 * PAIRS + 2): pairs of a key and its value, then one of the keys again, then its value."""
    keys = torch.rand(count, KEYS, generator=generator).argsort(dim=1)[:, :PAIRS]
    values = torch.rand(count, VALUES, generator=generator).argsort(dim=1)[:, :PAIRS] + KEYS
    asked = torch.randint(PAIRS, (count, 1), generator=generator)
    pairs = torch.stack((keys, values), dim=2).flatten(1)
    return torch.cat((pairs, keys.gather(1, asked), values.gather(1, asked)), dim=1)


class Lookup(nn.Module):
    """Embedding, one layer of attention, head."""

    def __init__(self, heads: int = 1, masked: bool = True, offset: bool = True, scaled: bool = True) -> None:
        super().__init__()
        self.heads, self.masked, self.offset = heads, masked, offset
        self.scale = (WIDTH // heads) ** -0.5 if scaled else 1.0
        self.embed = nn.Embedding(KEYS + VALUES, WIDTH)
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.head = nn.Linear(WIDTH, KEYS + VALUES, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)  # (B, T, WIDTH)
        q, k, v = (f(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        if self.offset:
            k = torch.cat((k[:, :, :1], k[:, :, :-1]), dim=2)
        scores = q @ k.mT * self.scale
        if self.masked:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
        y = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        return self.head(x + self.output(y))


@torch.no_grad()
def grade(model: Lookup) -> tuple[float, float, float]:
    """Loss, accuracy, and accuracy where the answer does not stand behind the question."""
    test = examples(2000, torch.Generator().manual_seed(999))
    hidden = test.clone()
    hidden[:, -1] = 0
    seen, unseen, answer = model(test)[:, -2], model(hidden)[:, -2], test[:, -1]
    right = [(logits.argmax(dim=-1) == answer).float().mean().item() for logits in (seen, unseen)]
    return F.cross_entropy(seen, answer).item(), right[0], right[1]


def train(seed: int, steps: int = STEPS, **arm) -> dict:
    torch.manual_seed(seed)
    model = Lookup(**arm)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    for _ in range(steps):
        ids = examples(BATCH, generator)
        loss = F.cross_entropy(model(ids)[:, -2], ids[:, -1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    loss, accuracy, hidden = grade(model)
    return {"seed": seed, "loss": loss, "accuracy": accuracy, "answer_hidden": hidden, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    runs = {name: [] for name in ARMS}
    for seed in range(seeds):  # interleaved
        for name, arm in ARMS.items():
            runs[name].append(train(seed, **arm))
            print(name, runs[name][-1], flush=True)
    summary = {
        name: {
            what: {
                "mean": statistics.mean(r[what] for r in rows),
                "low": min(r[what] for r in rows),
                "high": max(r[what] for r in rows),
            }
            for what in ("loss", "accuracy", "answer_hidden")
        }
        | {"percent": round(100 * statistics.mean(r["answer_hidden"] for r in rows))}
        for name, rows in runs.items()
    }
    record = {
        **measured(
            "one layer of attention on a lookup task, with parts left out; accuracy on 2,000 fresh sequences",
            detect("cpu"),
        ),
        "threads": torch.get_num_threads(),
        "settings": {"pairs": PAIRS, "width": WIDTH, "batch": BATCH, "steps": STEPS, "rate": RATE, "seeds": seeds},
        "arms": summary,
        "runs": runs,
    }
    write_json(TARGET, record)
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
