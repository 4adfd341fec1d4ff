"""What the heads of a trained pocket model attend to: train `best` once, then look.

    python book/tools/measure_heads.py

Writes blueberry_lib/recorded/heads.json: the attention weights of every head on a few lines of code, and, over
validation text, each head's mean weight on the token itself, the one before, the first one and what followed earlier
occurrences of the present token, with the number of tokens its weight spreads over, beside a head that
spreads evenly.
"""

from dataclasses import asdict
from pathlib import Path

import torch
from record_head import measured

from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.data.prepare import prepare
from blueberry_lib.hardware import detect, keep_freed_memory
from blueberry_lib.model import Blueberry, attention
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.run import evaluator
from blueberry_lib.training import LoopConfig, fit
from blueberry_lib.training.clock import Clock
from blueberry_lib.training.folder import write_json

TARGET = Path(__file__).parents[2] / "blueberry_lib" / "recorded" / "heads.json"
TEXT = "def add(self, item):\n    self.items.append(item)\n    self.count += 1\n    self."
SEQUENCES, LENGTH = 64, 256


def patterns(model: Blueberry, ids: torch.Tensor) -> torch.Tensor:
    """The attention weights of every layer and head: (B, T) → (L, B, H, T, T)."""
    seen, attend = [], attention.attend

    def watched(q, k, v, mask=None, causal=False):
        k_all = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1).float()
        scores = q.float() @ k_all.mT / q.shape[-1] ** 0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        seen.append(scores.masked_fill(future, -torch.inf).softmax(-1))
        return attend(q, k, v, mask, causal=causal)

    attention.attend = watched
    try:
        with torch.no_grad():
            model.eval()(ids)
    finally:
        attention.attend = attend
    return torch.stack(seen)


def packed(weights: torch.Tensor) -> list[str]:
    """Rows of the triangle, in thousandths, as text: a line of JSON a row."""
    return [" ".join(str(round(1000 * x)) for x in row[: t + 1]) for t, row in enumerate(weights.tolist())]


def habits(weights: torch.Tensor, ids: torch.Tensor) -> list[dict]:
    """Each head's mean weight on some positions, over the second half of the context."""
    T = ids.shape[1]
    position = torch.arange(T)
    same = ids[:, :, None] == ids[:, None, :]  # (B, T, T)
    followed = torch.zeros_like(same)
    followed[:, :, 1:] = same[:, :, :-1]  # the token before key j is the present one
    followed &= position[None, :, None] >= position
    kinds = {
        "itself": torch.eye(T, dtype=torch.bool).expand_as(same),
        "one_back": (position[:, None] - 1 == position).expand_as(same),
        "first": (position == 0).expand_as(same),
        "same_token_before": same & (position[None, :, None] > position),
        "what_followed": followed,
    }
    late = slice(T // 2, T)
    has = followed.any(-1)[:, late]  # (B, T/2): tokens that occurred before
    rows = []
    for layer in range(weights.shape[0]):
        for head in range(weights.shape[2]):
            w = weights[layer, :, head, late]
            entropy = -(w * w.clamp_min(1e-12).log()).sum(-1)
            row = {"layer": layer, "head": head}
            for name, where in kinds.items():
                on = (w * where[:, late]).sum(-1)
                row[name] = (on[has] if name in ("same_token_before", "what_followed") else on).mean().item()
            rows.append(row | {"effective_tokens": entropy.exp().mean().item()})
    return rows


def main() -> None:
    keep_freed_memory()
    hardware = detect("cpu")
    device, dtype = hardware.device, hardware.compute_dtype
    recipe = get_recipe("best", "pocket")
    data = prepare("stdlib", vocab_size=4096)
    torch.manual_seed(0)
    model = Blueberry(recipe.model)
    steps = recipe.total_steps
    clock = Clock(device)
    fit(
        model,
        TokenBatches(data.train, recipe.batch_size, LENGTH, seed=0, device=device),
        loss_fn=lambda model, batch: model(*batch),
        optimizers=build_optimizers(model, recipe.optimizer, dtype),
        schedule=lambda step: learning_rate_factor(recipe.schedule, step, steps),
        config=LoopConfig(steps, clip_norm=1.0),
        hardware=hardware,
        clock=clock,
        quiet=True,
    )
    loss = evaluator(recipe, data, device, dtype)(model)["loss"]
    print(f"validation loss {loss:.3f} after {clock.seconds['active']:.0f} s")
    tokenizer = data.tokenizer()
    ids = tokenizer.encode(TEXT).ids
    shown = patterns(model, torch.tensor([ids]))[:, 0]  # (L, H, T, T)
    text = torch.from_numpy(data.val[: SEQUENCES * LENGTH].astype("int64")).view(SEQUENCES, LENGTH)
    rows = habits(patterns(model, text), text)
    even = torch.ones(LENGTH, LENGTH).tril()
    evenly = habits((even / even.sum(1, keepdim=True)).expand(1, SEQUENCES, 1, LENGTH, LENGTH), text)[0]
    for row in rows:
        print({key: round(value, 3) for key, value in row.items()})
    record = {
        **measured(
            "attention weights of the pocket model trained by the recipe best on 2**20 tokens of stdlib", hardware
        ),
        "seed": 0,
        "data_sha256": data.sha256,
        "model": asdict(recipe.model),
        "val_loss": loss,
        "text": TEXT,
        "tokens": [tokenizer.decode([i]) for i in ids],
        "ids": ids,
        "weights_in_thousandths": {
            f"{i}_{j}": packed(head) for i, layer in enumerate(shown) for j, head in enumerate(layer)
        },
        "evenly": evenly,
        "habits": {f"{row['layer']}_{row['head']}": row for row in rows},
    }
    write_json(TARGET, record)
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
