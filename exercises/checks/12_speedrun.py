"""The checks of chapter 12: least seconds, warmdown, value residual, key offset, soft-cap, what figures show."""

import torch

from blueberry_checks.engine.examine import Choice, Code

FLOOR, WARMDOWN, VALUES = "the-floor", "warmdown", "value-residual"
KEYS, CAP, RECIPES = "key-offset", "soft-cap-which-we-left-out", "the-recipes"

# --- 12.1


def _runs(g):
    yield 10, 1, 2, 3, 4, 96.0
    yield 500, 3, 8, 16, 1_000, 1e6
    yield 70_000, 4, 32, 64, 2**20, 2e11
    yield 88_571_904, 22, 512, 2_048, 8_000_000, 165e12


# --- 12.2


def _steps(g):
    for total, decay, floor in ((1, 0.5, 0.2), (4, 0.0, 0.25), (4, 1.0, 0.0), (8, 0.15, 0.5), (10, 0.36, 0.0)):
        for step in range(total):
            yield step, total, decay, floor
    for step in (0, 178, 179, 180, 300, 510, 511):
        yield step, 512, 0.65, 0.03


# --- 12.3


def _layers(g):
    yield torch.tensor([[[2.0]], [[4.0]]]), torch.tensor([0.25])
    yield torch.randn(1, 2, 3, generator=g), torch.zeros(0)
    yield torch.randn(3, 2, 2, generator=g), torch.tensor([0.3, 0.9])
    yield torch.randn(4, 5, 2, generator=g, dtype=torch.float64), torch.rand(3, generator=g, dtype=torch.float64)
    yield torch.randn(6, 4, 3, generator=g), torch.randn(5, generator=g)


# --- 12.4


def _keys(g):
    yield (torch.tensor([1, 2, 3, 4]).view(1, 2, 2, 1),)
    yield (torch.randn(2, 2, 1, 3, generator=g),)
    yield (torch.randn(1, 2, 3, 2, generator=g, dtype=torch.float64),)
    yield (torch.randn(2, 4, 5, 6, generator=g),)
    yield (torch.randn(3, 6, 4, 4, generator=g).bfloat16(),)
    yield (torch.randint(100, (2, 8, 7, 2), generator=g),)


# --- 12.5


def _logits(g):
    yield torch.tensor([[3.0]]), 2.0
    yield torch.tensor([-10_000.0, 0.0, 10_000.0]), 15
    yield 3 * torch.randn(4, generator=g, dtype=torch.float64), 1.5
    yield 10 * torch.randn(2, 3, generator=g), 15.0
    yield 20 * torch.randn(2, 3, 5, generator=g, dtype=torch.float64), 30.0


EXERCISES = {
    "12.1": Code(
        example=(1000, 2, 10, 100, 1_000_000, 1.2e10),
        cases=_runs,
        section=FLOOR,
        edits="""
            layers twice:
            6 * matrix_params ~> n_layers * 6 * matrix_params
            matrix_params counts the matrices of all layers already; only the attention is taken once for each layer.

            one layer's attention:
            n_layers * d_model ~> d_model
            The attention of one layer is counted; there are n_layers of them.

            no attention:
            + 6 * n_layers * d_model * context ~>
            6 FLOPs a parameter and token is the rule of thumb. The attention's own products are missing.

            forward alone:
            6 * ~> 2 *
            That is the way forward. The way back costs twice as much again.

            matrices forward alone:
            6 * matrix_params ~> 2 * matrix_params
            The matrices are counted on the way forward alone, 2 FLOPs an entry. The way back takes 4 more.

            no causal half:
            6 * n_layers ~> 12 * n_layers
            A token attends to half of the context on average: 6, not 12.

            six missing:
            6 * n_layers ~> n_layers
            6 * matrix_params ~> matrix_params
            6 * n_layers ~> n_layers && 6 * matrix_params ~> matrix_params
            The factor 6 is missing from one of the two parts of a token's work, or from both.

            sum for product:
            6 * n_layers * d_model * context ~> 6 * (n_layers + d_model * context)
            6 * n_layers * d_model * context ~> 6 * n_layers * (d_model + context)
            Where layers, width and context meet, they are multiplied, not added.

            one part per run:
            6 * matrix_params + ~> 6 * matrix_params * tokens + && per_token * tokens ~> per_token
            6 * n_layers ~> tokens * 6 * n_layers && per_token * tokens ~> per_token
            Only one of the two parts is multiplied by tokens. Both are FLOPs per token, so add them up first.

            context squared:
            * context ~> * context**2
            * context ~> * context**2 / 2
            The square of the context counts the pairs of a whole sequence; one token has context of them.
        """,
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
            / n) ~> / max(1, n - 1))
            / n) ~> / (n - 1) if n > 1 else 1.0)
            Your first step of the n still has the factor 1, so that the fall takes n - 1 parts. It takes n: the first
            of those steps is one part down already.

            cut off at the floor:
            floor + (1 - floor) * left ~> max(left, floor)
            Your line runs to 0 and is cut off at the floor. It should reach the floor at the last step, not before.

            to zero:
            floor + (1 - floor) * left ~> left
            floor + (1 - floor) * left ~> min(1.0, floor + left)
            It falls to 0, or by 1; the last step should have the factor floor.

            n may be 0:
            max(1, round(decay * total_steps)) ~> round(decay * total_steps) && min(1.0, ~> 1.0 if n == 0 else min(1.0,
            With decay 0 your n is 0, and no step is at the floor. n is at least 1.

            cut, not rounded:
            round(decay * total_steps) ~> int(decay * total_steps)
            decay * total_steps is cut off, not rounded: 332.8 steps are 333.

            held for decay:
            decay * total_steps ~> (1 - decay) * total_steps
            round(decay * total_steps) ~> total_steps - round(decay * total_steps)
            decay is the share of the steps that fall; you hold the rate for that long.

            above 1:
            min(1.0, (total_steps - 1 - step) / n) ~> (total_steps - 1 - step) / n
            Before the fall your factor exceeds 1. Limit it.

            equal factors:
            floor + (1 - floor) * left ~> floor ** (1 - left)
            Each step falls by the same factor. A warmdown falls by equal parts: a straight line.
        """,
    ),
    "12.3": Code(
        example=(torch.tensor([[[8.0]], [[0.0]], [[4.0]]]), torch.tensor([0.75, 0.5])),
        cases=_layers,
        section=VALUES,
        edits=r"""
            swapped:
            share * own + (1 - share) ~> (1 - share) * own + share
            s and 1 - s are exchanged: s is the share of a layer's own values.

            a chain:
            return share * own + (1 - share) * own[:1] ~> used = [own[0]] \
            \nfor s, v in zip(shares, own[1:]): used.append(s * v + (1 - s) * used[-1])\nreturn torch.stack(used)
            Each layer is mixed with what the layer before it used. It should be mixed with the first layer's values.

            the layer before:
            * own[:1] ~> * torch.cat((own[:1], own[:-1]))
            Each layer is mixed with the values of the layer before it. It should be the first layer's.

            one layer late:
            (shares.new_ones(1), shares) ~> (shares, shares.new_ones(1))
            (shares.new_ones(1), shares) ~> (shares.new_ones(1), shares[1:], shares[-1:])
            The shares are one layer off: shares[0] belongs to the second layer.

            own kept whole:
            share * own + ~> own +
            A layer's own values are kept whole; they enter with their share s.

            share across entries:
            share * own + (1 - share) * own[:1] ~> torch.cat((own[:1], shares * own[1:] + (1 - shares) * own[0]))
            [:, None, None] ~> [:, None]
            shares meets another dimension, the entries or the tokens. Each layer has one share: make it (L - 1, 1, 1).

            first layer missing:
            share * own + (1 - share) * own[:1] ~> (share * own + (1 - share) * own[:1])[1:]
            The first layer is missing from the result. It uses its own values.
        """,
    ),
    "12.4": Code(
        example=(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).view(1, 2, 3, 1),),
        cases=_keys,
        section=KEYS,
        edits=r"""
            rolled round:
            torch.cat((move[:, :, :1], move[:, :, :-1]), dim=2) ~> move.roll(1, dims=2)
            The last token's key has come round to the first place, where every token may look: the future leaks in.
            The first token keeps its own key.

            zero first:
            (move[:, :, :1], ~> (torch.zeros_like(move[:, :, :1]),
            The first token has got a key of zeros. It keeps its own.

            from the future:
            (move[:, :, :1], move[:, :, :-1]) ~> (move[:, :, 1:], move[:, :, -1:])
            Each token has the key of the token after it. It should be the one before.

            rolled backwards:
            torch.cat((move[:, :, :1], move[:, :, :-1]), dim=2) ~> move.roll(-1, dims=2)
            Each token has the key of the token after it, and the last one the first's. It should be the one before.

            along the entries:
            move[:, :, :1], move[:, :, :-1]), dim=2 ~> move[..., :1], move[..., :-1]), dim=3
            The entries inside a key have moved on. Dimension 2 holds the tokens.

            along the batch:
            (stay, move), dim=1 ~> (keys[:1], keys[:-1])
            (move[:, :, :1], move[:, :, :-1]), dim=2 ~> (move[:1], move[:-1])
            The keys have moved from one sequence of the batch to the next. Dimension 2 holds the tokens.

            the other half:
            stay, move = ~> move, stay = && (stay, move) ~> (move, stay)
            The first half of the heads is moved. They stay; the second half moves.

            every other head:
            keys.chunk(2, dim=1) ~> keys.clone(), keys[:, 1::2] && return ~> stay[:, 1::2] = move\nreturn stay #
            keys.chunk(2, dim=1) ~> keys.clone(), keys[:, 0::2] && return ~> stay[:, 0::2] = move\nreturn stay #
            Every other head is moved. It should be the second half of them, side by side.

            half of each key:
            keys.chunk(2, dim=1) ~> keys.tensor_split((keys.shape[3] // 2,), dim=3) && move), dim=1 ~> move), dim=3
            Half of the entries of every key are moved. Whole heads move.

            one after the other:
            (move[:, :, :1], move[:, :, :-1]) ~> (move[:, :, :1],) * move.shape[2]
            Every moved token has the first one's key: the loop reads what it has just written. Read from keys.

            all but one head:
            keys.chunk(2, dim=1) ~> (keys[:, :1], keys[:, 1:])
            keys.chunk(2, dim=1) ~> (keys[:, :-1], keys[:, -1:])
            All heads but the first are moved, or the last alone. The first half of them stays, the second moves.

            the head before:
            torch.cat((move[:, :, :1], move[:, :, :-1]), dim=2) ~> keys[:, keys.shape[1] // 2 - 1 : -1]
            The moved heads have the keys of the head before. Dimension 1 holds the heads, 2 the tokens.
        """,
    ),
    "12.5": Code(
        example=(torch.tensor([0.0, 2.1972246]), 2.0),
        cases=_logits,
        section=CAP,
        edits="""
            not squared:
            bent**2 ~> bent
            The derivative of tanh is 1 minus its square.

            square of the capped:
            bent**2 ~> (cap * bent) ** 2
            In the slope, the square of the capped logit is taken. It is the square of the tanh, without cap in front.

            cap not inside:
            logits / cap ~> logits
            logits / cap ~> logits && 1 - bent**2 ~> cap * (1 - bent**2)
            The logits go into the tanh undivided, so that even small ones are bent.

            cut off:
            cap * bent, 1 - bent**2 ~> logits.clamp(-cap, cap), (logits.abs() < cap).to(logits.dtype)
            cap * bent, 1 - bent**2 ~> logits.clamp(-cap, cap), 1 - bent**2
            The logits are cut off at cap. tanh bends them towards it gradually, so the slope never jumps.

            NaN:
            torch.tanh(logits / cap) ~> torch.sinh(logits / cap) / torch.cosh(logits / cap)
            torch.tanh(logits / cap) ~> (torch.exp(2 * logits / cap) - 1) / (torch.exp(2 * logits / cap) + 1)
            torch.tanh(logits / cap) ~> (1 - torch.exp(-2 * logits / cap)) / (1 + torch.exp(-2 * logits / cap))
            For large logits the exponentials are infinite, and their ratio is NaN. torch.tanh takes care of that.

            0 for large ones:
            torch.tanh(logits / cap) ~> torch.nan_to_num(torch.sinh(logits / cap) / torch.cosh(logits / cap))
            A large logit comes out as 0. It should come out as cap.

            a ratio:
            1 - bent**2 ~> cap * bent / logits
            The capped logit over the logit is no derivative: it says how far a logit was taken down, not how fast the
            result moves with it.
        """,
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
