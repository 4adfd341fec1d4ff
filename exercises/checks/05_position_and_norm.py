"""Checks of chapter 05: turning pairs, wavelengths, RMSNorm and its gradient, beyond the trained length."""

import math

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake, Number

PAIRS, BEYOND, NORM = "turning-pairs", "beyond-the-trained-length", "the-norm"
NINE = "That comes of nine distances with the score 1, or of seven. The wanted score is 1 at d = 0, …, 7: at eight."


def _tokens(g: torch.Generator):
    yield torch.randn(1, 2, generator=g), torch.tensor([1.0]), 100.0
    yield torch.randn(3, 4, generator=g), torch.tensor([0.0, 1.0, 2.0]), 10_000.0
    yield torch.randn(2, 6, generator=g), torch.tensor([7.0, 8.0]), 50.0
    yield torch.randn(2, 4, 8, generator=g), torch.tensor([5.0, 0.5, 60.0, -3.0]), 100.0
    yield torch.randn(2, 3, 5, 10, generator=g), torch.arange(5) + 40.0, 10_000.0


def _never_round() -> int:
    return sum(2 * math.pi * 10_000 ** (2 * i / 64) > 2048 for i in range(32))


def _rows(g: torch.Generator):
    yield torch.tensor([3.0, -4.0]), torch.tensor([1.0, 2.0]), 1e-6
    yield torch.randn(3, 3, generator=g), torch.randn(3, generator=g), 1e-6
    yield 1e-3 * torch.randn(2, 4, generator=g), torch.rand(4, generator=g), 1e-6
    yield torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([0.5, 2.0]), 1e-5
    yield torch.randn(2, 5, 3, generator=g), torch.randn(3, generator=g), 0.0
    yield torch.randn(2, 4, generator=g).half(), torch.randn(4, generator=g), 1e-6
    yield (1.0 + torch.randn(3, 2, 8, generator=g)).mul(300).half(), torch.rand(8, generator=g), 1e-6


def _slopes(g: torch.Generator):
    for *shape, eps, dtype in (
        (2, 0.1, torch.float32),
        (3, 4, 1e-6, torch.float32),
        (4, 4, 0.5, torch.float64),
        (2, 3, 5, 1.0, torch.float32),
        (3, 2, 7, 0.0, torch.float64),
    ):
        yield *(torch.randn(*shape, generator=g, dtype=dtype) for _ in range(2)), eps


def _highest_beyond() -> float:
    def features(distances):
        angles = distances[:, None] * 10_000.0 ** (-torch.arange(32).double() / 32)
        return torch.cat((angles.cos(), angles.sin()), dim=1)

    seen, wanted = features(torch.arange(512).double()), (torch.arange(512) < 8).double()
    weights = torch.linalg.solve(seen.mT @ seen + 0.01 * torch.eye(64, dtype=torch.float64), seen.mT @ wanted)
    return (features(torch.arange(512, 1024).double()) @ weights).max().item()


EXERCISES = {
    "05.1": Code(
        example=(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([math.pi]), 4.0),
        cases=_tokens,
        section=PAIRS,
        edits=r"""
            neighbours:
            x[..., :half], x[..., half:] ~> x[..., ::2], x[..., 1::2] && torch.cat ~> torch.stack \
                && dim=-1) ~> dim=-1).flatten(-2)
            x[..., :half], x[..., half:] ~> x[..., ::2], x[..., 1::2]
            Your pairs are the neighbours (0, 1), (2, 3) and so on. That is RoPE too, in the other convention. Here number i
            belongs to number i + D/2.

            x[..., :half], x[..., half:] ~> x[..., :half], x[..., half:] && torch.cat ~> torch.stack \
                && dim=-1) ~> dim=-1).flatten(-2)
            The pairs are right, but the two numbers of a pair come out as neighbours. Put the two halves side by side.

            the other way:
            positions[:, None] ~> -positions[:, None]
            Your pairs turn by −φ. Which of the four products has the minus sign?

            a mirror:
            b * angles.cos() + a ~> b * angles.cos() - a
            a * angles.cos() - b ~> a * angles.cos() + b
            Of the two products with a sine, one is subtracted and one added; otherwise the length of a pair changes.

            cosine and sine exchanged:
            .cos() ~> .x && .sin() ~> .cos() && .x ~> .sin()
            Cosine and sine have changed places: at position 0 a pair should stay as it is.

            halves exchanged:
            a, b = ~> b, a =
            a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin() ~> \
                b * angles.cos() + a * angles.sin(), a * angles.cos() - b * angles.sin()
            The halves have changed places: at position 0 a token should come out as it went in.

            a used after it was turned:
            turned = a * angles.cos() - b * angles.sin(), ~> a = a * angles.cos() - b * angles.sin()\nturned = a,
            b is turned with the new a. Both need the old ones.

            tokens counted:
            positions[:, None] ~> torch.arange(len(positions))[:, None]
            positions[:, None] ~> torch.arange(1, len(positions) + 1)[:, None]
            You count the tokens yourself. They are where `positions` says, which need not begin at 0.

            half the exponent:
            / half) ~> / x.shape[-1])
            Your frequencies are base^(−i/D). The exponent is −2i/D.

            rising:
            (-torch ~> (torch
            Your frequencies rise with i. The exponent is negative: pair 0 is the fastest.

            from 1:
            torch.arange(half) ~> torch.arange(1, half + 1)
            Your i runs from 1 to D/2. It runs from 0 to D/2 − 1, so pair 0 turns by 1 radian per token.

            one frequency:
            * frequencies ~> * torch.ones(half)
            Every pair turns by the position itself. Each has a frequency of its own.

            no column:
            positions[:, None] ~> positions
            The positions are multiplied entry by entry. A column times a row is the whole (T, D/2) table.
        """,
    ),
    "05.2": Number(
        value=_never_round,
        within=0.0,
        wrong=[
            (5, 5, "Those turn by less than one radian. A full circle has 2π of them."),
            (21, 21, "Those do complete a turn. The others are asked for."),
            (12, 12, "One too many. Does your i run from 0 to 31, and not from 1?"),
            (10, 10, "One too few. Is pair 31 among them?"),
            (22, 22, "A pair is two of the 64 numbers: count the pairs, not the numbers."),
            (9, 9, "Those turn by less than half a circle. A full one is 2π."),
            (25, 25, "Your angles are in radians and your full circle has 360 of them. It has 2π."),
            (16, 16, "Half of the pairs turn less than once over 512 tokens. Here are 2,048."),
            (0.3, 0.4, "Asked for is the number of pairs, not their share."),
            (0, 0, "The slowest pairs do not get round. Is your exponent 2i/64, with 64 numbers in 32 pairs?"),
        ],
        section="wavelengths",
    ),
    "05.3": Code(
        example=(torch.tensor([[1.0, 7.0]]), torch.tensor([6.0, 12.0]), 11.0),
        cases=_rows,
        section=NORM,
        not_allowed=("rms_norm", "RMSNorm"),
        edits="""
            eps after the root:
            + eps).sqrt() ~> ).sqrt() + eps
            You add eps to the root; it belongs to the mean square, before the root is taken.

            no eps:
            + eps ~>
            eps is not used, or too early or too late to matter. It is added to the mean square.

            a sum:
            .mean(dim=-1 ~> .sum(dim=-1
            You divide by the length of the token. The root of the *mean* square is √D times smaller.

            layer norm:
            x.float() ~> x.float() - x.float().mean(dim=-1, keepdim=True)
            You subtract the mean, as LayerNorm does. RMSNorm leaves it.

            a variance:
            wide.square().mean(dim=-1, keepdim=True) ~> wide.var(dim=-1, keepdim=True, correction=0)
            wide.square().mean(dim=-1, keepdim=True) ~> wide.var(dim=-1, keepdim=True)
            You divide by the standard deviation, which is taken around the mean. The mean square is taken around 0.

            no root:
            .sqrt() ~>
            You divide by the mean square. Its root is missing.

            over the tokens:
            dim=-1 ~> dim=0
            mean(dim=-1, keepdim=True) ~> mean()
            The mean runs over tokens. Each token is divided by its own root: the last dimension.

            gain too early:
            wide = x.float() ~> wide = x.float() * gain && / root * gain ~> / root
            You multiply by the gain before the root is taken, so the gain changes the root. It comes last.

            no gain:
            * gain ~>
            The gain is not used.

            no keepdim:
            , keepdim=True ~>
            Without keepdim the roots have lost their last dimension: they do not stand as a column, one for each token.

            float16:
            x.float() ~> x
            The squares are taken in float16, where 300² is infinite. Go to float32 first.

            float32 returned:
            .to(x.dtype) ~>
            You compute in float32, and return float32 for float16 too. The result has the dtype of x.
        """,
        mistakes=[
            Mistake(
                "only float16",
                "It fails on float16 alone. Compute in float32 from the first step on, and return float16 at the end.",
                NORM,
                only=lambda x, gain, eps: x.dtype == torch.float16,
            ),
        ],
    ),
    "05.4": Code(
        example=(torch.tensor([[1.0, 7.0]]), torch.tensor([[1.0, 0.0]]), 0.0),
        cases=_slopes,
        section=NORM,
        not_allowed=("backward", "grad", "requires_grad_", "vjp", "jacobian", "jacrev", "jacfwd", "rms_norm"),
        edits="""
            root as a constant:
            - x * shared / r**3 ~>
            That is the direct way alone, as if the root were a constant. But x changes the root, too.

            sum for mean:
            (grad_y * x).mean ~> (grad_y * x).sum
            The second term is D times too large: the mean in the root has a 1/D that its derivative keeps.

            sign:
            - x * ~> + x *
            The two terms are added. When the root grows, y shrinks: what is the sign of the second?

            power of r:
            r**3 ~> r**2
            r**3 ~> r
            The second term is divided by another power of r than the third: r² from 1/r, one more from the root.

            own number alone:
            (grad_y * x).mean(dim=-1, keepdim=True) ~> grad_y * x / x.shape[-1]
            (grad_y * x).mean(dim=-1, keepdim=True) ~> grad_y * x
            x[j] changes every y[i] by way of the root, not only y[j]: a sum over i is missing.

            no eps:
            + eps ~>
            eps is missing from the root.

            direct way:
            grad_y / r - ~> grad_y -
            The direct way lacks its divisor: y[j] is x[j] / r, so its slope is 1 / r.

            sum of squares:
            x.square().mean ~> x.square().sum
            x.square().mean ~> x.square().sum && (grad_y * x).mean ~> (grad_y * x).sum
            Your root is that of the sum of the squares: y is x over the root of the *mean* square.

            shared without x:
            (grad_y * x) ~> grad_y
            In the mean, grad_y[i] goes with x[i]: y[i] shrinks in proportion to x[i] when the root grows.

            shared without grad_y:
            (grad_y * x) ~> x
            (grad_y * x) ~> x.square()
            In the mean, each y[i] counts as much as the loss minds it: grad_y[i].

            over everything:
            (grad_y * x).mean(dim=-1, keepdim=True) ~> (grad_y * x).mean()
            (grad_y * x).mean(dim=-1, keepdim=True) ~> (grad_y * x).mean(dim=0)
            The mean runs over other tokens as well. Each token has its own root, and nothing to do with the others.

            projection:
            shared = (grad_y * x).mean(dim=-1, keepdim=True) ~> \
                shared = (grad_y * x).mean(dim=-1, keepdim=True) * r**2 / x.square().mean(dim=-1, keepdim=True)
            You take away all of the part along x. That is right where eps is 0; with eps, r² is larger than the mean square.

            no keepdim:
            , keepdim=True ~>
            Without keepdim the means have lost their last dimension: they do not stand as a column, one for each token.
        """,
    ),
    "05.5": Number(
        value=_highest_beyond,
        within=0.03,
        wrong=[
            (0.93, 0.95, "That is the highest score at the trained distances. Look at 512 to 1,023."),
            (0.05, 0.08, "That is with the distances divided. First leave them as they are."),
            (-1.3, -1.2, "That is the lowest score beyond. The highest is asked for."),
            (9.2, 9.245, NINE),
            (9.14, 9.18, NINE),
            (1.8, 1.95, "That comes of a penalty of 0.1. It is 0.01."),
            (8.9, 9.02, "That comes of a penalty of 0.001. It is 0.01."),
            (3.08, 3.16, "That comes of frequencies with the exponent −i/64. It is −2i/64."),
            (12.0, 1e9, "That is higher than with the penalty: is the 0.01 on the diagonal?"),
        ],
        section=BEYOND,
    ),
    "05.6": Choice(
        right="c",
        wrong={
            "a": "With unturned keys the score would depend on the query's position alone, and each row would hold one "
            "number. Row 2 has three.",
            "b": "The angle between query t and key j would be t + j, and row 1 would end in cos 2 = -0.42.",
            "d": "Key 0 would not change, since it stands at position 0, and token 3's score with it would be cos 3 = -0.99.",
            "e": "A turn takes 2π tokens, about 6.3. And token 2 and token 3 are neighbours, as 0 and 1 are: 0.54.",
        },
        section=PAIRS,
    ),
}
