"""The bug museum: real faults of training code, each with its mend and a test that tells them apart.

Every exhibit is a class with three functions: ``fault`` and ``mend``, and ``test``, which takes one of them and says
whether it is right. ``python book/museum.py`` walks past all of them; the page ``book/museum.md`` tells their stories.
"""

import math
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class WarmUpDtype:
    """Nothing is compiled once the clock runs."""

    def fault(model, step):
        step(model)  # the warm-up compiles for float32 …
        model.bfloat16()

    def mend(model, step):
        model.bfloat16()
        step(model)

    def test(prepare) -> bool:
        seen = set()
        model = nn.Linear(4, 4)
        prepare(model, lambda m: seen.add(m.weight.dtype))
        return model.weight.dtype in seen


class Unsynchronized:
    """A device that takes 3 seconds for what is queued in no time is measured at 3 seconds."""

    def fault(device, work):
        start = device.time()
        work()  # returns as soon as the kernels are queued
        return device.time() - start

    def mend(device, work):
        device.synchronize()
        start = device.time()
        work()
        device.synchronize()
        return device.time() - start

    def test(measure) -> bool:
        now, queued = [0.0], [0.0]

        def synchronize():
            now[0] += queued[0]
            queued[0] = 0.0

        def work():
            queued[0] += 3.0

        return measure(SimpleNamespace(time=lambda: now[0], synchronize=synchronize), work) == 3.0


class Beta2:
    """After 1,990 gradients of almost nothing, 0.137 of it is left."""

    def fault(steps):
        v = torch.tensor(1.0, dtype=torch.bfloat16)
        for _ in range(steps):
            v = v * 0.999  # half the gap below 1 in bfloat16 is 0.002: rounded back to 1
        return v

    def mend(steps):
        v = torch.tensor(1.0)
        for _ in range(steps):
            v = v * 0.999
        return v

    def test(second_moment) -> bool:
        return math.isclose(second_moment(1990), 0.999**1990, rel_tol=0.01)


class Swallowed:
    """Hardly a weight stays where it was."""

    def fault(weights, update):
        return weights.bfloat16() - update.bfloat16()

    def mend(weights, update):
        return weights - update  # float32 weights; the products may still be in bfloat16

    def test(step) -> bool:
        weights, update = 0.1 * torch.randn(10_000), 2.4e-4 * torch.randn(10_000)
        return (step(weights, update).float() == weights.to(step(weights, update).dtype).float()).float().mean() < 0.01


class ZeroStep:
    """Without a warm-up the first step has the whole rate."""

    def fault(step, total, share):
        warmup = max(1, int(total * share))
        return min(1.0, step / warmup)

    def mend(step, total, share):
        warmup = int(total * share)
        return min(1.0, (step + 1) / (warmup + 1))

    def test(factor) -> bool:
        return factor(0, 489, 0.0) == 1.0


class HalfCosine:
    """The rate ends at zero, however many micro-batches make a step."""

    def fault(steps, accumulation):
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * accumulation)
        for _ in range(steps):
            optimizer.step()
            schedule.step()  # once a step, with a length in micro-batches
        return schedule.get_last_lr()[0]

    def mend(steps, accumulation):
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            optimizer.step()
            schedule.step()
        return schedule.get_last_lr()[0]

    def test(last_rate) -> bool:
        return last_rate(100, 2) < 1e-6


class Prefix:
    """The weights of a compiled model arrive."""

    def fault(model, state):
        model.load_state_dict(state, strict=False)  # not one key fits, and nobody says so

    def mend(model, state):
        model.load_state_dict({name.removeprefix("_orig_mod."): value for name, value in state.items()})

    def test(load) -> bool:
        saved, model = nn.Linear(3, 3), nn.Linear(3, 3)
        load(model, {f"_orig_mod.{name}": value for name, value in saved.state_dict().items()})
        return torch.equal(model.weight, saved.weight)


class MovingValidation:
    """Another batch size is measured on the same tokens."""

    def fault(tokens, batch, context, eval_steps=10):
        return tokens[: eval_steps * batch * context]

    def mend(tokens, batch, context, count=4096):
        return tokens[:count]

    def test(validation) -> bool:
        tokens = np.arange(100_000)
        return np.array_equal(validation(tokens, 8, 64), validation(tokens, 16, 64))


class SplitByChunk:
    """No document stands on both sides."""

    def fault(documents, context=8):
        stream = [(number, place) for number, document in enumerate(documents) for place in range(len(document))]
        chunks = [stream[i : i + context] for i in range(0, len(stream), context)]
        return [t for c in chunks[::2] for t in c], [t for c in chunks[1::2] for t in c]

    def mend(documents, context=8):
        stream = [(number, place) for number, document in enumerate(documents) for place in range(len(document))]
        return [t for t in stream if t[0] % 2 == 0], [t for t in stream if t[0] % 2]

    def test(split) -> bool:
        train, validation = split(["x" * 50] * 6)
        return not {number for number, _ in train} & {number for number, _ in validation}


class NoSeparator:
    """The end of a text can be learned: it occurs."""

    def fault(documents, end):
        return [token for document in documents for token in document]

    def mend(documents, end):
        return [token for document in documents for token in (*document, end)]

    def test(stream) -> bool:
        return stream([[1, 2], [3]], 0).count(0) == 2


def orthogonal(matrix):
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vt


class Merged:
    """Each matrix gets an update of its own full size: all singular values 1, as Muon promises."""

    def fault(q, k, v):
        return orthogonal(torch.cat((q, k, v))).split(len(q))

    def mend(q, k, v):
        return [orthogonal(part) for part in (q, k, v)]

    def test(update) -> bool:
        parts = update(*torch.randn(3, 16, 16, dtype=torch.float64))
        return all(torch.allclose(torch.linalg.svdvals(part), torch.ones(16, dtype=torch.float64)) for part in parts)


class Decay:
    """The matrices shrink, and neither gains nor rare tokens."""

    def fault(model):
        return [p for name, p in model.named_parameters() if "embedding" in name or "norm" in name]

    def mend(model):
        return [p for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name]

    def test(decayed) -> bool:
        model = nn.ModuleDict({"embedding": nn.Embedding(9, 4), "norm": nn.LayerNorm(4), "up": nn.Linear(4, 8)})
        return {id(p) for p in decayed(model)} == {id(model["up"].weight)}


class Clipping:
    """A bound on the step bounds the step."""

    def fault(gradient, most):
        return orthogonal(gradient * min(1.0, most / gradient.norm().item()))

    def mend(gradient, most):
        update = orthogonal(gradient)
        return update * min(1.0, most / update.norm().item())

    def test(update) -> bool:
        return update(torch.randn(8, 8), 1.0).norm() <= 1.0 + 1e-5


class OneRun:
    """Of 400 changes that change nothing, few are called better."""

    def fault(losses_a, losses_b):
        return losses_b[0] < losses_a[0]

    def mend(losses_a, losses_b):
        differences = np.subtract(losses_b, losses_a)
        error = differences.std(ddof=1) / len(differences) ** 0.5
        return differences.mean() / error < -3.143  # Student, one-sided, p < 0.01 for seven pairs

    def test(claims) -> bool:
        rng = np.random.default_rng(0)
        return sum(claims(rng.normal(4, 0.05, 7), rng.normal(4, 0.05, 7)) for _ in range(400)) < 20


class InPlace:
    """With a layer of zeros the block is the identity."""

    def fault(x, layer):
        return x + layer(F.relu(x, inplace=True))  # x itself has lost its negative entries

    def mend(x, layer):
        return x + layer(F.relu(x))

    def test(block) -> bool:
        x = torch.randn(5, 4)
        return torch.equal(block(x.clone(), torch.zeros_like), x)


def sinusoids(t, width=64):
    angles = t[:, None] * 10_000.0 ** (-torch.arange(width // 2) / (width // 2))
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class TimeUnit:
    """Times between 0 and 1 are told apart: their embeddings span more than a few directions."""

    def fault(t):
        return sinusoids(t)

    def mend(t):
        return sinusoids(1000 * t)

    def test(embed) -> bool:
        centred = embed(torch.linspace(0, 1, 500))
        share = torch.linalg.svdvals(centred - centred.mean(0)).square()
        share = share / share.sum()
        return torch.exp(-(share * share.clamp_min(1e-12).log()).sum()) > 5


class NoCheckpoint:
    """A missing checkpoint is an error."""

    def fault(model, path):
        if path.exists():
            model.load_state_dict(torch.load(path))
        return model  # else: random weights, and an evaluation of them

    def mend(model, path):
        if not path.exists():
            raise FileNotFoundError(f"There is no checkpoint {path}; train first, or name another run.")
        model.load_state_dict(torch.load(path))
        return model

    def test(load) -> bool:
        try:
            load(nn.Linear(2, 2), SimpleNamespace(exists=lambda: False))
        except FileNotFoundError:
            return True
        return False


class StaleCache:
    """A new rule gives a new split."""

    def fault(cache, corpus, split):
        return cache.setdefault(corpus, split(corpus))  # the rule of the split is no part of the key

    def mend(cache, corpus, split):
        return cache.setdefault((corpus, split.version), split(corpus))

    def test(prepare) -> bool:
        cache: dict = {}

        def halves(corpus):
            return corpus[: len(corpus) // 2]

        def thirds(corpus):
            return corpus[: len(corpus) // 3]

        halves.version, thirds.version = 1, 2
        return len(prepare(cache, "abcdef", halves)) == 3 and len(prepare(cache, "abcdef", thirds)) == 2


class HalfCharacter:
    """A character that spans two tokens comes out whole."""

    def fault(pieces):
        return "".join(piece.decode("utf-8", errors="replace") for piece in pieces)

    def mend(pieces):
        return b"".join(pieces).decode("utf-8", errors="replace")

    def test(decode) -> bool:
        return decode([b"caf\xc3", b"\xa9"]) == "café"


EXHIBITS = [kind for kind in list(globals().values()) if isinstance(kind, type) and hasattr(kind, "fault")]

if __name__ == "__main__":
    for kind in EXHIBITS:
        told = not kind.test(kind.fault) and kind.test(kind.mend)
        print(f"{kind.__name__:<17} {'told apart' if told else 'NOT told apart'}: {kind.__doc__}")
