"""The checks of chapter 12: least seconds, warmdown, value residual, key offset, soft-cap, what figures show."""

import math

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake

FLOOR, WARMDOWN, VALUES = "the-floor", "warmdown", "value-residual"
KEYS, CAP, RECIPES = "key-offset", "soft-cap-which-we-left-out", "the-recipes"

# --- 12.1


def _least_seconds(matrix_params, n_layers, d_model, context, tokens, peak):
    return 6.0 * tokens / peak * (matrix_params + n_layers * d_model * context)


def _runs(g):
    yield 10, 1, 2, 3, 4, 96.0
    yield 500, 3, 8, 16, 1_000, 1e6
    yield 70_000, 4, 32, 64, 2**20, 2e11
    yield 88_571_904, 22, 512, 2_048, 8_000_000, 165e12


def _counted(matrix=6, attention=6, layers=lambda n: (1, n), square=1):
    def answer(matrix_params, n_layers, d_model, context, tokens, peak):
        once, each = layers(n_layers)
        per_token = matrix * matrix_params * once + attention * each * d_model * context**square
        return per_token * tokens / peak

    return answer


# --- 12.2


def _steps(g):
    for total, decay, floor in ((1, 0.5, 0.2), (4, 0.0, 0.25), (4, 1.0, 0.0), (8, 0.15, 0.5), (10, 0.36, 0.0)):
        for step in range(total):
            yield step, total, decay, floor
    for step in (0, 178, 179, 180, 300, 510, 511):
        yield step, 512, 0.65, 0.03


# --- 12.3


def _values_used(own, shares):
    mixed = [own[0] + s * (v - own[0]) for s, v in zip(shares, own[1:], strict=True)]
    return torch.stack([own[0], *mixed])


def _layers(g):
    yield torch.tensor([[[2.0]], [[4.0]]]), torch.tensor([0.25])
    yield torch.randn(1, 2, 3, generator=g), torch.zeros(0)
    yield torch.randn(3, 2, 2, generator=g), torch.tensor([0.3, 0.9])
    yield torch.randn(4, 5, 2, generator=g, dtype=torch.float64), torch.rand(3, generator=g, dtype=torch.float64)
    yield torch.randn(6, 4, 3, generator=g), torch.randn(5, generator=g)


def _mixed(partner, share=lambda shares: shares, whole=False):
    """Later layers mixed with what ``partner(own, used, layer)`` gives, by other shares."""

    def answer(own, shares):
        used = [own[0]]
        for layer, s in enumerate(share(shares), start=1):
            rest = 1 if whole else 1 - s
            used.append(s * own[layer] + rest * partner(own, used, layer))
        return torch.stack(used)

    return answer


def _first(own, used, layer):
    return own[0]


# --- 12.4


def _offset_keys(keys):
    before = torch.arange(keys.shape[2]).sub(1).clamp(min=0)
    stay, move = keys.split(keys.shape[1] // 2, dim=1)
    return torch.cat((stay, move[:, :, before]), dim=1)


def _keys(g):
    yield (torch.tensor([1, 2, 3, 4]).view(1, 2, 2, 1),)
    yield (torch.randn(2, 2, 1, 3, generator=g),)
    yield (torch.randn(1, 2, 3, 2, generator=g, dtype=torch.float64),)
    yield (torch.randn(2, 4, 5, 6, generator=g),)
    yield (torch.randn(3, 6, 4, 4, generator=g).bfloat16(),)
    yield (torch.randint(100, (2, 8, 7, 2), generator=g),)


def _back(move):
    return torch.cat((move[:, :, :1], move[:, :, :-1]), dim=2)


def _moved(how=_back, halves=lambda keys: keys.chunk(2, dim=1), order=lambda stay, moved: (stay, moved), dim=1):
    def answer(keys):
        stay, move = halves(keys)
        return torch.cat(order(stay, how(move)), dim=dim)

    return answer


def _halves(keys, dim):
    """Two halves along a dimension, the first the smaller one."""
    half = keys.shape[dim] // 2
    return keys.split((half, keys.shape[dim] - half), dim=dim)


def _every_other(keys):
    result = keys.clone()
    result[:, 1::2] = _back(keys[:, 1::2])
    return result


def _zero_first(move):
    return torch.cat((torch.zeros_like(move[:, :, :1]), move[:, :, :-1]), dim=2)


def _two_back(move):
    return _back(_back(move))


# --- 12.5


def _soft_cap(logits, cap):
    bent = torch.tanh(logits / cap)
    return cap * bent, (1 - bent) * (1 + bent)


def _logits(g):
    yield torch.tensor([[3.0]]), 2.0
    yield torch.tensor([-10_000.0, 0.0, 10_000.0]), 15
    yield 3 * torch.randn(4, generator=g, dtype=torch.float64), 1.5
    yield 10 * torch.randn(2, 3, generator=g), 15.0
    yield 20 * torch.randn(2, 3, 5, generator=g, dtype=torch.float64), 30.0


def _sloped(slope):
    """A soft-cap whose slope is what ``slope(tanh, cap)`` gives."""

    def answer(logits, cap):
        bent = torch.tanh(logits / cap)
        return cap * bent, slope(bent, cap)

    return answer


# --- signs of mistakes


def _first_is(f, wrong):
    """Whether the first of a pair is what a wrong answer makes of it."""
    z = torch.tensor([-40.0, -3.0, 0.5, 7.0], dtype=torch.float64)
    return torch.allclose(f(z.clone(), 4.0)[0], wrong(z, 4.0), rtol=1e-6)


def _one_layer_late(f):
    """Whether the second layer gets the third one's share."""
    own = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(4, 1, 1)
    used = f(own, torch.tensor([0.1, 0.2, 0.3]))
    return len(used) == 4 and abs(used[1].item() - 0.8) < 1e-6


EXERCISES = {
    "12.1": Code(
        reference=_least_seconds,
        example=(1000, 2, 10, 100, 1_000_000, 1.2e10),
        cases=_runs,
        mistakes=[
            Mistake(
                "layers twice",
                "matrix_params counts the matrices of all layers already; only the attention is taken once "
                "for each layer.",
                FLOOR,
                wrong=_counted(layers=lambda n: (n, n)),
            ),
            Mistake(
                "one layer's attention",
                "The attention of one layer is counted; there are n_layers of them.",
                FLOOR,
                wrong=_counted(layers=lambda n: (1, 1)),
            ),
            Mistake(
                "no attention",
                "6 FLOPs a parameter and token is the rule of thumb. The attention's own products are missing.",
                FLOOR,
                wrong=_counted(attention=0),
            ),
            Mistake(
                "no matrices",
                "Only the attention is counted.",
                FLOOR,
                wrong=_counted(matrix=0),
            ),
            Mistake(
                "forward alone",
                "That is the way forward. The way back costs twice as much again.",
                FLOOR,
                wrong=_counted(2, 2),
            ),
            Mistake(
                "matrices forward alone",
                "The matrices are counted on the way forward alone, 2 FLOPs an entry. The way back takes 4 more.",
                FLOOR,
                wrong=_counted(2, 6),
            ),
            Mistake(
                "no causal half",
                "A token attends to half of the context on average: 6, not 12.",
                FLOOR,
                wrong=_counted(6, 12),
            ),
            Mistake(
                "context squared",
                "The square of the context counts the pairs of a whole sequence; one token has context of them.",
                FLOOR,
                wrong=_counted(square=2),
            ),
            Mistake(
                "one token",
                "That is the time of one token. The run has tokens of them.",
                FLOOR,
                wrong=lambda m, n, d, c, tokens, peak: _least_seconds(m, n, d, c, 1, peak),
            ),
            Mistake(
                "FLOPs",
                "Those are FLOPs. Divided by FLOPs a second they are seconds.",
                FLOOR,
                wrong=lambda m, n, d, c, tokens, peak: _least_seconds(m, n, d, c, tokens, 1),
            ),
            Mistake(
                "upside down",
                "Seconds are FLOPs over FLOPs a second; yours is the other way up.",
                FLOOR,
                wrong=lambda *run: 1 / _least_seconds(*run),
            ),
            Mistake(
                "whole seconds",
                "// drops what comes after the point.",
                FLOOR,
                wrong=lambda *run: math.floor(_least_seconds(*run) + 1e-9),
            ),
        ],
    ),
    "12.2": Code(
        example=(5, 10, 0.5, 0.1),
        cases=_steps,
        section=WARMDOWN,
        edits="""
            never there:
            total_steps - 1 - step ~> total_steps - step
            The last step of the run is step total_steps - 1, and at it nothing should be left of the fall. Yours is
            one part above the floor there.

            one part too few:
            / n) ~> / (n - 1) if n > 1 else float(step < total_steps - 1))
            Your first step of the n still has the factor 1, so that the fall takes n - 1 parts. It takes n: the first
            of those steps is one part down already.

            by the floor:
            floor + (1 - floor) * left ~> 1 - floor * (1 - left)
            It falls by the floor. It should fall to it.

            cut off at the floor:
            floor + (1 - floor) * left ~> max(left, floor)
            Your line runs to 0 and is cut off at the floor. It should reach the floor at the last step, not before.

            to zero:
            floor + (1 - floor) * left ~> left
            It falls to 0; the last step should have the factor floor.

            n may be 0:
            max(1, round(decay * total_steps)) ~> round(decay * total_steps) && min(1.0, ~> 1.0 if n == 0 else min(1.0,
            With decay 0 your n is 0, and no step is at the floor. n is at least 1.

            no last step:
            max(1, round(decay * total_steps)) ~> round(decay * total_steps)
            With decay * total_steps below a half, n becomes 0, and you divide by it. n is at least 1.

            cut, not rounded:
            round(decay * total_steps) ~> int(decay * total_steps)
            decay * total_steps is cut off, not rounded: 332.8 steps are 333.

            rounded up:
            round(decay * total_steps) ~> math.ceil(decay * total_steps)
            decay * total_steps is rounded up: 3.6 steps are 4, but 4.4 would be 4 too.

            held for decay:
            decay * total_steps ~> (1 - decay) * total_steps
            round(decay * total_steps) ~> total_steps - round(decay * total_steps)
            decay is the share of the steps that fall; you hold the rate for that long.

            falls all the time:
            max(1, round(decay * total_steps)) ~> total_steps
            It falls from the first step on, whatever decay says.

            above 1:
            min(1.0, (total_steps - 1 - step) / n) ~> (total_steps - 1 - step) / n
            Before the fall your factor exceeds 1. Limit it.

            equal factors:
            floor + (1 - floor) * left ~> floor ** (1 - left)
            Each step falls by the same factor. A warmdown falls by equal parts: a straight line.

            a cosine:
            * left ~> * (1 - math.cos(math.pi * left)) / 2
            It falls along a cosine; a warmdown is a straight line, in equal parts.
        """,
    ),
    "12.3": Code(
        reference=_values_used,
        example=(torch.tensor([[[8.0]], [[0.0]], [[4.0]]]), torch.tensor([0.75, 0.5])),
        cases=_layers,
        mistakes=[
            Mistake(
                "swapped",
                "s and 1 - s are exchanged: s is the share of a layer's own values.",
                VALUES,
                wrong=_mixed(_first, share=lambda shares: 1 - shares),
            ),
            Mistake(
                "a chain",
                "Each layer is mixed with what the layer before it used. It should be mixed with the first "
                "layer's values.",
                VALUES,
                wrong=_mixed(lambda own, used, layer: used[-1]),
            ),
            Mistake(
                "the layer before",
                "Each layer is mixed with the values of the layer before it. It should be the first layer's.",
                VALUES,
                wrong=_mixed(lambda own, used, layer: own[layer - 1]),
            ),
            Mistake(
                "not a mixture",
                "The first layer's values are added whole; they enter with 1 - s.",
                VALUES,
                wrong=_mixed(_first, whole=True),
            ),
            Mistake(
                "one layer late",
                "The shares are one layer off: shares[0] belongs to the second layer.",
                VALUES,
                sign=_one_layer_late,
            ),
            Mistake(
                "own kept whole",
                "A layer's own values are kept whole; they enter with their share s.",
                VALUES,
                wrong=lambda own, shares: torch.cat((own[:1], own[1:] + (1 - shares)[:, None, None] * own[0])),
            ),
            Mistake(
                "share across entries",
                "shares meets the last dimension, the entries. Each layer has one share: make it (L - 1, 1, 1).",
                VALUES,
                wrong=lambda own, shares: torch.cat((own[:1], shares * own[1:] + (1 - shares) * own[0])),
            ),
            Mistake(
                "own forgotten",
                "Every layer uses the first layer's values; its own do not enter.",
                VALUES,
                wrong=_mixed(_first, share=torch.zeros_like),
            ),
            Mistake(
                "one share for all",
                "The same share is used for all layers; each has its own.",
                VALUES,
                wrong=_mixed(_first, share=lambda shares: shares[:1].expand(len(shares))),
            ),
            Mistake(
                "first layer missing",
                "The first layer is missing from the result. It uses its own values.",
                VALUES,
                wrong=lambda own, shares: _values_used(own, shares)[1:],
            ),
        ],
    ),
    "12.4": Code(
        reference=_offset_keys,
        example=(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).view(1, 2, 3, 1),),
        cases=_keys,
        mistakes=[
            Mistake(
                "rolled round",
                "The last token's key has come round to the first place, where every token may look: the "
                "future leaks "
                "in. The first token keeps its own key.",
                KEYS,
                wrong=_moved(lambda move: move.roll(1, dims=2)),
            ),
            Mistake(
                "zero first",
                "The first token has got a key of zeros. It keeps its own.",
                KEYS,
                wrong=_moved(_zero_first),
            ),
            Mistake(
                "from the future",
                "Each token has the key of the token after it. It should be the one before.",
                KEYS,
                wrong=_moved(lambda move: torch.cat((move[:, :, 1:], move[:, :, -1:]), dim=2)),
            ),
            Mistake(
                "rolled backwards",
                "Each token has the key of the token after it, and the last one the first's. It should be the "
                "one before.",
                KEYS,
                wrong=_moved(lambda move: move.roll(-1, dims=2)),
            ),
            Mistake(
                "the other half",
                "The first half of the heads is moved. They stay; the second half moves.",
                KEYS,
                wrong=_moved(halves=lambda keys: keys.chunk(2, dim=1)[::-1], order=lambda stay, moved: (moved, stay)),
            ),
            Mistake(
                "halves exchanged",
                "The halves have changed places: those that stay come first.",
                KEYS,
                wrong=_moved(order=lambda stay, moved: (moved, stay)),
            ),
            Mistake("all heads", "All heads are moved. Half of them stay.", KEYS, wrong=_back),
            Mistake(
                "every other head",
                "Every other head is moved. It should be the second half of them, side by side.",
                KEYS,
                wrong=_every_other,
            ),
            Mistake(
                "half of each key",
                "Half of the entries of every key are moved. Whole heads move.",
                KEYS,
                wrong=_moved(halves=lambda keys: _halves(keys, 3), dim=3),
            ),
            Mistake(
                "one after the other",
                "Every moved token has the first one's key: the loop reads what it has just written. Read from keys.",
                KEYS,
                wrong=_moved(lambda move: move[:, :, :1].expand_as(move)),
            ),
            Mistake(
                "all but one head",
                "All heads but the first are moved. The first half of them stays.",
                KEYS,
                wrong=_moved(halves=lambda keys: (keys[:, :1], keys[:, 1:])),
            ),
            Mistake(
                "the head before",
                "The moved heads have the keys of the head before. Dimension 1 holds the heads, 2 the tokens.",
                KEYS,
                wrong=lambda keys: torch.cat((keys.chunk(2, dim=1)[0], keys[:, keys.shape[1] // 2 - 1 : -1]), dim=1),
            ),
            Mistake("two back", "The keys are moved by two places; by one is meant.", KEYS, wrong=_moved(_two_back)),
            Mistake(
                "along the heads",
                "The keys are moved from head to head. Dimension 1 holds the heads, 2 the tokens.",
                KEYS,
                wrong=_moved(lambda move: torch.cat((move[:, :1], move[:, :-1]), dim=1)),
            ),
        ],
    ),
    "12.5": Code(
        reference=_soft_cap,
        example=(torch.tensor([0.0, 2.1972246]), 2.0),
        cases=_logits,
        mistakes=[
            Mistake(
                "divided by the cap",
                "The slope is divided by cap. By the chain rule there is a cap in front as well, and the two "
                "cancel: at 0 it is 1.",
                CAP,
                wrong=_sloped(lambda bent, cap: (1 - bent**2) / cap),
            ),
            Mistake(
                "times the cap",
                "The slope is multiplied by cap: the 1 / cap inside the tanh is missing from it. At 0 the slope is 1.",
                CAP,
                wrong=_sloped(lambda bent, cap: cap * (1 - bent**2)),
            ),
            Mistake(
                "not squared",
                "The derivative of tanh is 1 minus its square.",
                CAP,
                wrong=_sloped(lambda bent, cap: 1 - bent),
            ),
            Mistake(
                "square of the capped",
                "In the slope, the square of the capped logit is taken. It is the square of the tanh, without "
                "cap in front.",
                CAP,
                wrong=_sloped(lambda bent, cap: 1 - (cap * bent) ** 2),
            ),
            Mistake(
                "cap not inside",
                "The logits go into the tanh undivided, so that even small ones are bent.",
                CAP,
                sign=lambda f: _first_is(f, lambda z, cap: cap * torch.tanh(z)),
            ),
            Mistake(
                "cap not in front",
                "Your capped logits lie within 1, not within cap: it stands in front of the tanh too.",
                CAP,
                sign=lambda f: _first_is(f, lambda z, cap: torch.tanh(z / cap)),
            ),
            Mistake(
                "cut off",
                "The logits are cut off at cap. tanh bends them towards it gradually, so the slope never jumps.",
                CAP,
                sign=lambda f: _first_is(f, lambda z, cap: z.clamp(-cap, cap)),
            ),
            Mistake(
                "NaN",
                "For large logits the exponentials are infinite, and their ratio is NaN. torch.tanh takes "
                "care of that.",
                CAP,
                sign=lambda f: bool(f(torch.tensor([10_000.0, -10_000.0]), 2.0)[0].isnan().any()),
            ),
            Mistake(
                "0 for large ones",
                "A large logit comes out as 0. It should come out as cap.",
                CAP,
                sign=lambda f: f(torch.tensor([0.5, 10_000.0]), 2.0)[0].mul(10).int().tolist() == [4, 0],
            ),
            Mistake(
                "a ratio",
                "The capped logit over the logit is no derivative: it says how far a logit was taken down, not how "
                "fast the result moves with it.",
                CAP,
                wrong=lambda logits, cap: (cap * torch.tanh(logits / cap), cap * torch.tanh(logits / cap) / logits),
            ),
            Mistake(
                "pair reversed",
                "The pair is the wrong way round: the capped logits first, then the slope.",
                CAP,
                wrong=lambda logits, cap: _soft_cap(logits, cap)[::-1],
            ),
            Mistake(
                "slope forgotten",
                "The second part should be the slope; yours is 1 everywhere.",
                CAP,
                wrong=_sloped(lambda bent, cap: torch.ones_like(bent)),
            ),
        ],
    ),
    "12.6": Choice(
        right="b",
        wrong={
            "a": "It lies above all five, but it is one run. Of six runs of one and the same recipe, the "
            "sixth lies above "
            "the other five in one case of six. It is a good reason to repeat r2, and no more.",
            "c": "One run again. If r5 and r3 were the same, a sixth run would lie above the five in one case "
            "of six; "
            "and r4 is a single run, too.",
            "d": "No difference seen is not no difference. One run cannot rule out that r4 is worse by as "
            "much as the "
            "seeds differ.",
        },
        section=RECIPES,
    ),
}
