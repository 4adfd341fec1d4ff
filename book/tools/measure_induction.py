"""One layer, two layers, and one with the key offset learn to continue what repeats: chapter 05, rates and seeds.

    python book/tools/measure_induction.py [--seeds N]

Writes blueberry_lib/recorded/induction.json. The model and the task are the chapter's, written once more here.
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
from blueberry_lib.model.attention import previous_keys
from blueberry_lib.model.position import apply_rope, rope_tables
from blueberry_lib.training.folder import write_json

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "induction.json"
VOCABULARY, LENGTH, WIDTH, HEADS, BATCH, STEPS = 32, 48, 64, 2, 64, 300
RATES = (0.003, 0.01, 0.03, 0.1)
ARMS = {
    "one_layer": {"layers": 1},
    "two_layers": {"layers": 2},
    "one_layer_with_offset": {"layers": 1, "offset": True},
    "two_layers_without_positions": {"layers": 2, "positions": False},
}


def repeats(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """ids (B, T): 10 to 19 different random tokens, over and over; and where a token has been seen before."""
    period = torch.randint(10, 20, (count, 1), generator=generator)
    order = torch.rand(count, VOCABULARY, generator=generator).argsort(1)
    at = torch.arange(LENGTH)
    return order.gather(1, at % period), at >= period


def norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


class Layer(nn.Module):
    def __init__(self, offset: bool, positions: bool) -> None:
        super().__init__()
        self.offset = offset
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)
        cos, sin = rope_tables(WIDTH // HEADS, LENGTH)
        self.rope = (cos, sin) if positions else (torch.ones_like(cos), torch.zeros_like(sin))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, H, T, D)."""
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in self.qkv(norm(x)).chunk(3, dim=2))
        rope = [table[: x.shape[1]] for table in self.rope]
        q, k = apply_rope(norm(q), *rope), apply_rope(norm(k), *rope)
        return q, previous_keys(k) if self.offset else k, v

    def weights(self, x: Tensor) -> Tensor:
        q, k, _ = self.parts(x)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        return scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.scaled_dot_product_attention(*self.parts(x), is_causal=True)
        return x + self.output(y.transpose(1, 2).flatten(2))


class Reader(nn.Module):
    """Embedding, layers of attention around a residual stream, norm, head."""

    def __init__(self, layers: int, offset: bool = False, positions: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer(offset, positions) for _ in range(layers))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(norm(x))


def losses(model: Reader, ids: Tensor) -> Tensor:
    """Cross-entropy of every next token, (B, T - 1)."""
    return F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none")


@torch.no_grad()
def grade(model: Reader) -> dict:
    """The loss at repeated and at new tokens, and where each head looks, on 500 fresh sequences."""
    ids, seen = repeats(500, torch.Generator().manual_seed(999))
    loss, known = losses(model, ids), seen[:, :-1] & seen[:, 1:]
    same = ids[:, :, None] == ids[:, None, :]  # (B, T, T)
    followed = F.pad(same[:, :, :-1], (1, 0)).tril()  # keys that come after an earlier token like the query
    x, heads = model.embed(ids), {}
    for i, layer in enumerate(model.layers):
        weights = layer.weights(x)  # (B, H, T, T)
        before = F.pad(weights.diagonal(-1, 2, 3), (1, 0))  # (B, H, T)
        after = (weights * followed[:, None]).sum(-1)
        for h in range(HEADS):
            heads[f"{i}_{h}"] = {
                "one_back": before[:, h][seen].mean().item(),
                "what_followed": after[:, h][seen].mean().item(),
            }
        x = layer(x)
    return {"repeated": loss[known].mean().item(), "new": loss[~seen[:, 1:]].mean().item(), "heads": heads}


def train(seed: int, rate: float, **arm) -> dict:
    torch.manual_seed(seed)
    model = Reader(**arm)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    for _ in range(STEPS):
        loss = losses(model, repeats(BATCH, generator)[0]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    return {"seed": seed, "rate": rate, "seconds": seconds} | grade(model)


def spread(values: list[float]) -> dict:
    return {"mean": statistics.mean(values), "low": min(values), "high": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    runs = {name: [] for name in ARMS}
    for seed in range(seeds):  # interleaved
        for rate in RATES:
            for name, arm in ARMS.items():
                runs[name].append(train(seed, rate, **arm))
                print(name, runs[name][-1], flush=True)
    arms = {}
    for name, rows in runs.items():
        by_rate = {f"{r:g}".replace(".", "_"): spread([x["repeated"] for x in rows if x["rate"] == r]) for r in RATES}
        best = min(RATES, key=lambda r: by_rate[f"{r:g}".replace(".", "_")]["mean"])
        chosen = [row for row in rows if row["rate"] == best]
        heads = {}
        for i in range(ARMS[name]["layers"]):  # the head of each layer that does it most, as heads have no order
            heads[f"layer_{i}"] = {
                what: spread([max(row["heads"][f"{i}_{h}"][what] for h in range(HEADS)) for row in chosen])
                for what in ("one_back", "what_followed")
            }
        arms[name] = {"rates": by_rate, "best_rate": best, "repeated": spread([r["repeated"] for r in chosen])}
        arms[name] |= {"new": spread([r["new"] for r in chosen]), "heads": heads}
    record = {
        **measured(
            "attention-only models on sequences that repeat; loss at repeated tokens, nats, 500 fresh sequences",
            detect("cpu"),
        ),
        "threads": torch.get_num_threads(),
        "settings": {"width": WIDTH, "heads": HEADS, "batch": BATCH, "steps": STEPS, "rates": RATES, "seeds": seeds},
        "arms": arms,
        "runs": runs,
    }
    write_json(TARGET, record)
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
