"""Checks of chapter 10: the roof's bend, rounding to bfloat16, attention in blocks, an impossible timing, a slow step."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from blueberry_checks.engine.examine import Choice, Code, Mistake, Property

ROOF, FORMATS, BLOCKS, FEWER = (
    "two-speeds-of-a-machine",
    "fewer-bits-number-formats",
    "a-softmax-that-has-not-seen-everything",
    "fewer-operations-compile-and-batch",
)


class Seen(TorchDispatchMode):
    """The names of the operations that torch does inside the block, views left out, and the tensors that they make."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.made = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.names += [] if function.is_view else [function.overloadpacket.__name__]
        self.made += [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        return result


# --- 10.1


def _layers(g: torch.Generator):
    yield 4, 4, 4, 4.0, 4.0
    yield 1, 1, 4, 1.0, 1.0
    yield 8, 2, 2, 2.0, 4.0
    yield 1, 1000, 4, 1e9, 4e9
    yield 1000, 1, 4, 1e9, 4e9
    yield 48, 80, 2, 50e9, 7e9
    yield 512, 2048, 2, 989e12, 3.35e12
    yield 4096, 4096, 2, 165e12, 1.008e12
    yield 128, 512, 4, 60e9, 9e9


# --- 10.2


def _floats(g: torch.Generator):
    step = 2.0**-7
    yield (torch.tensor([1 + step / 4]),)
    yield (torch.tensor([1 + 3 * step / 4]),)
    yield (torch.tensor([1 + step / 2]),)
    yield (torch.tensor([1 + 3 * step / 2]),)
    yield (torch.tensor([-1 - step / 2, -1 - 3 * step / 2, -1 - 2 * step, 257.0, 258.0, 0.1]),)
    yield (torch.tensor([2 - step / 8, -0.0, 0.0, 1e-30]),)
    yield (torch.tensor([torch.inf, -torch.inf]),)
    yield (torch.tensor([3.4e38, -3.4028234e38]),)
    yield (torch.tensor([torch.nan, 1.0]),)
    yield (torch.tensor([0x7FFFFFFF, 0x3F800000], dtype=torch.int32).view(torch.float32),)
    yield (torch.randn(4, 50, generator=g),)
    yield (torch.randn((), generator=g),)


def _by_hand(f):
    with Seen() as seen:
        f(torch.randn(3))
    if any(t.dtype == torch.bfloat16 for t in seen.made):
        return "It works, but a tensor of dtype bfloat16 does the rounding. Do it with the bits."


# --- 10.3


def _heads(g: torch.Generator):
    def draw(T, S, D, E, scale=1.0):
        q, k, v = (torch.randn(shape, generator=g) for shape in ((T, D), (S, D), (S, E)))
        return scale * q, k, v

    yield *draw(1, 1, 1, 1), 1
    yield *draw(1, 3, 4, 2), 1
    yield *draw(2, 3, 4, 2), 5
    yield *draw(2, 4, 4, 3), 2
    yield *draw(3, 7, 2, 5), 3
    yield *draw(4, 9, 9, 4), 4
    yield torch.tensor([[30.0], [-30.0]]), torch.tensor([[40.0], [10.0], [-40.0], [-39.9]]), draw(1, 4, 1, 2)[2], 2
    yield torch.tensor([[30.0], [-30.0]]), torch.tensor([[-40.0], [-39.9], [10.0], [40.0]]), draw(1, 4, 1, 2)[2], 2
    yield torch.tensor([[-50.0], [-40.0]]), torch.tensor([[10.0], [10.01], [10.02]]), draw(1, 3, 1, 2)[2], 2
    yield torch.tensor([[1.0], [900.0]]), torch.tensor([[1.0], [1.001], [1.002]]), draw(1, 3, 1, 2)[2], 2
    yield *draw(5, 11, 6, 3, 5.0), 4


def _two_keys(*scores: float) -> tuple:
    """One query, a key with score 0 and value 0, and one with value 1 for each score."""
    keys = torch.tensor([[0.0], *([score] for score in scores)])
    return torch.ones(1, 1), keys, (keys > 0).float()


def _no_large_tensor(f):
    q, k, v = torch.randn(48, 2), torch.randn(64, 2), torch.randn(64, 2)
    with Seen() as seen:
        f(q, k, v, 8)
    largest = max(t.numel() for t in seen.made)
    if largest >= len(q) * len(k):
        return (
            f"With T = 48, S = 64 and block = 8 it makes a tensor of {largest:,} numbers. That is as large as the matrix "
            "of all scores; with 8 keys at a time none of them needs more than 384."
        )


# --- 10.5


def _steps(g: torch.Generator):
    def draw(N, r, c, scale=1.0):
        return ([scale * torch.randn(r, c, generator=g) for _ in range(N)] for scale in (1.0, scale))

    yield *draw(1, 1, 2, 0.01), 0.5, 1.0
    yield *draw(2, 1, 1, 3.0), 0.1, 0.5
    yield [torch.ones(1, 2)], [torch.zeros(1, 2)], 0.5, 1.0
    yield *draw(3, 2, 4, 0.05), 0.3, 2.0
    yield *draw(3, 4, 2, 2.0), 0.2, 1.5
    yield *draw(2, 3, 3, 0.3), 2.0, 1.0
    yield *draw(5, 3, 3), 1.0, 0.1


def _watched(f) -> list[str]:
    generator = torch.Generator().manual_seed(1)
    weights, gradients = ([torch.randn(8, 4, generator=generator) for _ in range(32)] for _ in range(2))
    with Seen() as seen:
        f(weights, gradients, 0.1, 1.0)
    return seen.names


def _few_operations(f):
    starts = len(_watched(f))
    if starts > 100:
        return f"The result is right, but for 32 matrices of 8 rows it starts {starts:,} operations; at most 100 are allowed."


def _no_waiting(f):
    if "_local_scalar_dense" in _watched(f):
        return "It turns a tensor into a Python number: item, float, bool or an if. On a GPU that waits for all work before it."


EXERCISES = {
    "10.1": Code(
        example=(4, 4, 4, 4.0, 8.0),
        cases=_layers,
        section=ROOF,
        edits="""
            weights only:
            - size * (k + n) / bandwidth ~>
            Only the bytes of the weights are counted. Each row brings k numbers and takes n away.

            one operation:
            2 * k * n / rate ~> k * n / rate
            A weight and a row make two operations: a multiplication and an addition.

            rows counted once:
            size * (k + n) ~> size * k
            size * (k + n) ~> size * n
            A row has k numbers that are read and n that are written. One of the two is missing.

            rounded down:
            math.ceil(weights / gained) ~> int(weights / gained)
            math.ceil(weights / gained) ~> round(weights / gained)
            The result is too small: at that number of rows memory still takes longer. Round up.

            one too many:
            math.ceil(weights / gained) ~> int(weights / gained) + 1
            Where the two times are exactly equal, it gives one row more. "At least as long" includes equal.

            never None:
            math.ceil(weights / gained) if gained > 0 else None ~> \
            None if gained == 0 else max(1, math.ceil(weights / gained))
            math.ceil(weights / gained) if gained > 0 else None ~> None if gained == 0 else math.ceil(weights / gained)
            math.ceil(weights / gained) if gained > 0 else None ~> None if gained == 0 else abs(math.ceil(weights / gained))
            If each row brings more seconds of memory than of arithmetic, no number of rows is enough.

            no gain at all:
            if gained > 0 ~> if gained >= 0
            If a row brings exactly as much memory as arithmetic, the weights are never made up for.

            None by another name:
            else None ~> else 0
            else None ~> else math.inf
            else None ~> else -1
            Where no number of rows is enough, return None.

            numbers for bytes:
            size * k * n / bandwidth ~> k * n / bandwidth && size * (k + n) ~> (k + n)
            size * k * n / bandwidth ~> k * n / bandwidth
            size * (k + n) ~> (k + n)
            Numbers are counted where bytes should be: each has `size` bytes.

            exchanged:
            2 * k * n / rate - size * (k + n) / bandwidth ~> 2 * k * n / bandwidth - size * (k + n) / rate && \
            size * k * n / bandwidth ~> size * k * n / rate
            rate and bandwidth are exchanged.
        """,
    ),
    "10.2": Code(
        example=(torch.tensor([1 + 1 / 512, 1 + 3 / 512, 1 + 1 / 256, 1 + 3 / 256]),),
        cases=_floats,
        section=FORMATS,
        tolerance=0.0,
        not_allowed=("bfloat16",),
        properties=[Property("by hand", _by_hand)],
        edits="""
            cut:
            (bits + 0x7FFF + last) ~> bits
            The lower bits are only cut off, so every number moves towards zero. Go to the nearest.

            ties away:
            0x7FFF + last ~> 0x8000
            Exact ties always go away from zero. They should go to the neighbour whose last kept bit is 0.

            ties down:
            0x7FFF + last ~> 0x7FFF
            Exact ties always go towards zero. They should go to the neighbour whose last kept bit is 0.

            ties to odd:
            0x7FFF + last ~> 0x8000 - last
            Exact ties go to the neighbour whose last kept bit is 1.

            always up:
            0x7FFF + last ~> 0xFFFF
            Every number moves away from zero, however near the lower neighbour is.

            NaN lost:
            torch.where(x.isnan(), x, rounded.view(torch.float32)) ~> rounded.view(torch.float32)
            A NaN with all bits of the fraction set runs over into the sign. NaN needs a case of its own.

            infinity lost:
            rounded.view(torch.float32)) ~> rounded.view(torch.float32).clamp(-3.3895314e38, 3.3895314e38))
            An infinity, or a number that rounds to one, is held at the largest number.

            x.isnan(), x, ~> x.isfinite().logical_not(), torch.nan,
            An infinity becomes NaN. Its fraction is zero, so nothing carries: it needs no case of its own.

            not cut:
            (bits + 0x7FFF + last) & ~0xFFFF ~> bits + 0x7FFF + last
            The lower sixteen bits are still there.

            integers for bits:
            rounded.view(torch.float32) ~> rounded.float()
            The integers are converted to floats as numbers. Use view: the same bits, seen as floats.

            float16:
            return torch.where(x.isnan(), x, rounded.view(torch.float32)) ~> return x.half().float()
            That is float16: ten bits of fraction, and nothing above 65,504.
        """,
    ),
    "10.3": Code(
        example=(
            torch.tensor([[1.0]]),
            torch.tensor([[0.0], [1.0986123]]),
            torch.tensor([[4.0], [8.0]]),
            1,
        ),
        cases=_heads,
        section=BLOCKS,
        not_allowed=("softmax", "log_softmax", "logsumexp", "scaled_dot_product_attention"),
        properties=[Property("no large tensor", _no_large_tensor)],
        edits="""
            not converted:
            shrink * total ~> total && shrink * weighted ~> weighted
            The sums of earlier blocks stay as they were when a larger score comes. Convert them.

            shrink * total ~> total
            The sum of exponentials is not converted to the new largest score; the weighted sum is.

            shrink * weighted ~> weighted
            The weighted sum is not converted to the new largest score; the sum of exponentials is.

            no largest:
            (scores - new).exp(), (largest - new).exp() ~> scores.exp(), torch.ones(1)
            It works on small scores. The exponential of a large one is infinite: subtract the largest.

            only this block's largest:
            torch.maximum(largest, scores.amax(dim=1, keepdim=True)) ~> scores.amax(dim=1, keepdim=True)
            The largest score may fall from one block to the next, and then the correction can be infinite. Keep the larger.

            one largest for all:
            scores.amax(dim=1, keepdim=True) ~> scores.amax()
            One largest score is used for all queries. Where they differ much, all exponentials of a query are 0.

            last block only:
            largest = new ~> pass
            The largest score is not kept, so each block begins anew and only the last one counts.

            no root:
            / math.sqrt(q.shape[1]) ~>
            The scores are not divided by √D.

            wrong root:
            math.sqrt(q.shape[1]) ~> q.shape[1]
            math.sqrt(q.shape[1]) ~> math.sqrt(v.shape[1])
            math.sqrt(q.shape[1]) ~> math.sqrt(len(k))
            math.sqrt(q.shape[1]) ~> math.sqrt(block)
            The scores are not divided by the root of D, the width of queries and keys, but by another number.

            not divided:
            weighted / total ~> weighted
            The weighted sum is not divided by the sum of exponentials: the weights do not add up to 1.

            upside down:
            (largest - new).exp() ~> (new - largest).exp()
            The old sums grow where they should shrink: the factor is exp(old largest − new largest).
        """,
        mistakes=[
            Mistake(
                "blocks averaged",
                "Each block gets the same weight, whatever its scores are. Do not divide before the end.",
                sign=lambda f: abs(f(*_two_keys(3.0), 1).item() - 0.5) < 1e-4,
            ),
            Mistake(
                "last block lost",
                "Keys that do not fill a block are left out.",
                sign=lambda f: abs(f(*_two_keys(1.0, 2.0), 2).item() - 0.7311) < 1e-3,
            ),
            Mistake(
                "block beyond S",
                "It works, except where one block holds all keys.",
                only=lambda q, k, v, block: block > len(k),
            ),
        ],
    ),
    "10.4": Choice(
        right="c",
        wrong={
            "a": "A is 2 · 8,192³ FLOPs. Divide by 989 · 10¹²: is that more than 1.6 ms?",
            "b": "B moves three numbers for each addition. Count the bytes, and divide by 3.35 TB/s. A slow timing is possible; "
            "a timing below the bound is not.",
            "d": "D reads as many weights as A and does far less with them. Which of the two bounds is the larger one for D?",
            "e": "The line is right, but not the reason: two operations per weight are 16 GFLOP, which the card does in 0.016 ms.",
        },
        section=ROOF,
    ),
    "10.5": Code(
        example=([torch.tensor([[1.0, 1.0]])], [torch.tensor([[3.0, 4.0]])], 0.5, 2.5),
        cases=_steps,
        section=FEWER,
        not_allowed=("clip_grad_norm_", "clip_grads_with_norm_", "get_total_norm"),
        properties=[Property("few operations", _few_operations), Property("no waiting", _no_waiting)],
        edits="""
            always clipped:
            .clamp(max=1) ~>
            Gradients whose norm is below max_norm are stretched to it. The factor is never above 1.

            stretched only:
            clamp(max=1) ~> clamp(min=1)
            Large gradients are left alone and small ones are stretched. It is the other way round.

            not clipped:
            (max_norm / together.norm()).clamp(max=1) ~> 1
            The gradients are not clipped.

            each by itself:
            together.norm() ~> together.norm(dim=(1, 2), keepdim=True)
            Each matrix is clipped by its own norm. It is the norm of all gradients together that counts.

            together.norm() ~> together.norm(dim=2, keepdim=True)
            Each row is clipped by its own norm. It is the norm of all gradients together that counts.

            squared norm:
            together.norm() ~> together.square().sum()
            That is the square of the norm. A root is missing.

            mean for sum:
            together.norm() ~> together.square().mean().sqrt()
            That is the root of the mean square. The norm is the root of the sum.

            the step clipped:
            (torch.stack(weights) - lr * factor * together) ~> \
            (torch.stack(weights) - (max_norm / (lr * together).norm()).clamp(max=1) * lr * together)
            The step, lr times gradient, is clipped. It is the gradient that should be.

            uphill:
            - lr * factor ~> + lr * factor
            The weights move along the gradient. Descent goes against it.

            no rate:
            lr * factor ~> factor
            lr has no effect.

            the change alone:
            torch.stack(weights) - lr * factor * together ~> -lr * factor * together
            Those are the changes; the new weights are asked for.
        """,
    ),
}
