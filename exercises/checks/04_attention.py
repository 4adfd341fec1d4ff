"""Checks of chapter 04: averaging the past, masks, attention, heads, grouped queries, the lookup head."""

import math

import torch
from torch import Tensor

from blueberry_checks import rules
from blueberry_checks.engine.examine import Choice, Code, Mistake, Property

NOT_ALLOWED = ("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention")

MASK = r"""
    no mask [the-mask]:
    .masked_fill(future, -torch.inf) ~>
    The future has weight too: no score was masked.

    mask after softmax [the-mask]:
    .masked_fill(future, -torch.inf).softmax(dim=-1) ~> .softmax(dim=-1).masked_fill(future, 0)
    The past's weights do not add up to 1: the softmax had shared some out to the future before the mask came.

    upside down [the-mask]:
    triu(diagonal=1) ~> tril(diagonal=-1)
    triu(diagonal=1) ~> tril()
    triu(diagonal=1) ~> tril() && softmax(dim=-1) ~> softmax(dim=-1).nan_to_num()
    The past is masked and the later tokens are not: it is the past that should stay.

    diagonal masked [the-mask]:
    diagonal=1 ~> diagonal=0
    diagonal=1 ~> diagonal=0 && softmax(dim=-1) ~> softmax(dim=-1).nan_to_num()
    The token itself is masked too, so the first row has nothing left and is 0/0. It may see itself.

    one token ahead [the-mask]:
    diagonal=1 ~> diagonal=2
    Each query also sees the key right after it. Which diagonal is the first forbidden one?

    over the queries [query-key-value]:
    dim=-1 ~> dim=-2
    The softmax ran over the queries, down the columns. Each query's weights, a row, should add up to 1.

    score 0 [the-mask]:
    -torch.inf ~> 0
    A score of 0 is no mask: its exponential is 1. What score has the exponential 0?

    mask added as numbers [the-mask]:
    scores.masked_fill(future, -torch.inf) ~> (scores + ~future)
    A mask of 1 and 0, added to the scores, only raises the allowed ones by 1.

    0 times infinity [the-mask]:
    scores.masked_fill(future, -torch.inf) ~> (scores + future * -torch.inf)
    Where the mask is 0, 0 times −∞ is not a number. masked_fill and where choose; they do not multiply.
"""

ATTEND = r"""
    no scale [why-divide-by-the-root-of-d]:
    / math.sqrt(D) ~>
    The scores are not divided by √D.

    divided by D [why-divide-by-the-root-of-d]:
    math.sqrt(D) ~> D
    The scores are divided by D; it should be its root.

    multiplied by the root [why-divide-by-the-root-of-d]:
    / math.sqrt(D) ~> * math.sqrt(D)
    The scores are multiplied by √D; they should be divided by it.

    root of T [why-divide-by-the-root-of-d]:
    math.sqrt(D) ~> math.sqrt(T)
    math.sqrt(D) ~> math.sqrt(len(q))
    The root is taken of the number of tokens, or of sequences; D is the width of queries and keys.

    scaled after softmax [why-divide-by-the-root-of-d]:
    / math.sqrt(D) ~> && @ v ~> / math.sqrt(D) @ v
    The weights are divided by √D, after the softmax; it is the scores that should be.

    queries and keys swapped:
    q @ k.mT ~> k @ q.mT
    Your scores are K Qᵀ: row t holds what others ask of token t. It should hold what t asks of others.

    no softmax [the-mask]:
    .masked_fill(future, -torch.inf).softmax(dim=-1) ~> .masked_fill(future, 0)
    The scores themselves are used as weights: they can be negative, and they do not add up to 1.

    k.mT ~> k
    The product q @ k pairs features with tokens: the last two dimensions of k should change places first.

    k.mT ~> v.mT
    @ v ~> @ k
    Keys and values are mixed up: queries are compared with the keys, and the values are averaged.

    softmax(dim=-1) ~> softmax(dim=-1).mT
    The weights are turned round before the average: row t should hold what token t takes from each.
"""


def _draw(g: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=g).to(dtype)


def _average_cases(g: torch.Generator):
    yield (_draw(g, 1, 1, 2),)
    yield (_draw(g, 1, 4, 2),)
    yield (_draw(g, 3, 7, 5),)
    yield (_draw(g, 5, 5, 5),)
    yield (_draw(g, 2, 6, 3, dtype=torch.float64),)


def _weights_cases(g: torch.Generator):
    yield (torch.zeros(4, 4),)
    yield (torch.tensor([[1.0, 3.0], [2.0, -1.0]]),)
    yield (_draw(g, 5, 5),)
    yield (_draw(g, 2, 3, 6, 6),)
    yield (_draw(g, 3, 4, 4, dtype=torch.float64),)
    yield (1000 * _draw(g, 2, 5, 5).clamp(-1, 1),)
    yield (torch.tensor([[-1000.0, 1000.0, 1000.0], [-1000.0, -999.0, 1000.0], [5.0, 4.0, 3.0]]),)


def _attention_example() -> tuple:
    q, k, v = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), torch.tensor([[[8.0], [4.0]]])
    q[0, :, 0], k[0, 1, 0] = torch.tensor([1.0, 2 * math.log(3)]), 1.0
    return q, k, v


def _attention_cases(g: torch.Generator):
    yield _draw(g, 1, 1, 2), _draw(g, 1, 1, 2), _draw(g, 1, 1, 3)
    yield _draw(g, 1, 3, 2), _draw(g, 1, 3, 2), _draw(g, 1, 3, 2)
    yield _draw(g, 3, 6, 8), _draw(g, 3, 6, 8), _draw(g, 3, 6, 5)
    yield _draw(g, 2, 5, 5), _draw(g, 2, 5, 5), _draw(g, 2, 5, 5)
    yield tuple(_draw(g, 2, 4, 9, dtype=torch.float64) for _ in range(3))
    yield _draw(g, 1, 5, 4), 10 * _draw(g, 1, 5, 4), _draw(g, 1, 5, 4)
    yield tuple(_draw(g, 3, 3, 3) for _ in range(3))  # here even k.T fits


def _learns(answer, shape: tuple[int, ...] = (1, 4, 4)) -> str | None:
    g = torch.Generator().manual_seed(2)
    inputs = [_draw(g, *shape).requires_grad_() for _ in range(3)]
    result = answer(*inputs)
    if not result.requires_grad:
        return "No gradient comes back through it: the result was detached, or written into a tensor made elsewhere."
    gradients = torch.autograd.grad(result.square().sum(), inputs, allow_unused=True)
    for name, gradient in zip("qkv", gradients, strict=True):
        if gradient is None or not gradient.any():
            return f"No gradient reaches {name}; a layer with this in it could not learn that part."
    return None


def _split_cases(g: torch.Generator):
    yield torch.randint(100, (1, 3, 4), generator=g), 2
    yield _draw(g, 2, 5, 12), 3
    yield _draw(g, 2, 4, 12), 4
    yield _draw(g, 3, 2, 8, dtype=torch.float64), 1
    yield _draw(g, 2, 6, 4).transpose(1, 2), 3
    yield _draw(g, 2, 3, 6), 6


def _grouped_example() -> tuple:
    q, k, v = _attention_example()
    values = torch.stack((v[0], 10 * v[0])).expand(2, 2, 4)
    return q.repeat(6, 1, 1)[None], k.repeat(2, 1, 1)[None], values[None].clone()


def _grouped_cases(g: torch.Generator):
    for B, H, K, T, D, dtype in (
        (1, 2, 1, 2, 2, torch.float32),
        (1, 4, 2, 3, 2, torch.float32),
        (2, 6, 3, 5, 4, torch.float32),
        (2, 4, 4, 4, 4, torch.float32),
        (2, 6, 2, 6, 3, torch.float64),
    ):
        yield tuple(_draw(g, B, heads, T, D, dtype=dtype) for heads in (H, K, K))
    yield _draw(g, 1, 2, 5, 4), 10 * _draw(g, 1, 1, 5, 4), _draw(g, 1, 1, 5, 4)


def _lookup_cases(g: torch.Generator):
    yield (torch.tensor([4]),)
    yield (torch.tensor([5, 1, 5, 2, 5]),)
    yield (torch.tensor([2, 2, 2]),)
    yield (torch.tensor([0, 1, 2, 3]),)
    for length, kinds in ((6, 2), (9, 3), (12, 5)):
        yield (torch.randint(kinds, (length,), generator=g),)


EXERCISES = {
    "04.1": Code(
        example=(torch.tensor([[[2.0], [4.0], [9.0]]]),),
        cases=_average_cases,
        section="averaging-the-past",
        not_allowed=("cumsum", "cumulative_trapezoid", "cummean", "logcumsumexp"),
        no_loops=True,
        edits=r"""
            running sum:
            / weights.sum(dim=1, keepdim=True) ~>
            These are sums, not means: each row of the weights should add up to 1.

            divided by T:
            weights.sum(dim=1, keepdim=True) ~> T
            Every row is divided by the number of all tokens. Row t has only t + 1 of them to average.

            future:
            tril() ~> triu()
            tril() ~> triu(1)
            Your rows average over later tokens. Is the triangle the right way up?

            itself left out:
            tril() ~> tril(-1)
            tril() ~> tril(-1) && keepdim=True) ~> keepdim=True).clamp_min(1)
            tril() ~> tril(-1) && weights.sum(dim=1, keepdim=True) ~> torch.arange(1, T + 1)[:, None]
            tril() ~> tril(-1) && weights = weights / ~> weights[0, 0] = 1\nweights = weights /
            Row t averages the rows before it and leaves out its own; it should be counted.

            return weights @ x ~> return x.mean(dim=2, keepdim=True).expand_as(x)
            The features of a token are averaged. The mean goes over tokens, each feature by itself.

            tril() ~> tril().triu(-1)
            Only a token and the one before it are averaged. Row t averages all rows up to t.

            divided along the columns:
            , keepdim=True ~>
            Column j of your weights is divided by j + 1. To divide rows, the sums have to stand as a column: keepdim.

            mean of all:
            .tril() ~>
            Every row is the mean of the whole sequence, the future included.

            columns add up:
            dim=1 ~> dim=0
            The columns of your weights add up to 1. Each row is one average, so it is the rows that should.

            off by one:
            weights.sum(dim=1, keepdim=True) ~> torch.arange(T)[:, None]
            weights.sum(dim=1, keepdim=True) ~> torch.arange(T).clamp_min(1)[:, None]
            weights.sum(dim=1, keepdim=True) ~> torch.arange(2, T + 2)[:, None]
            Row t adds up t + 1 rows, and is divided by one more or one less than that.

            weights / weights.sum(dim=1, keepdim=True) ~> weights.softmax(dim=1)
            A softmax of ones and zeros gives the zeros weight too: e⁰ is 1. Divide each row by its sum.
        """,
    ),
    "04.2": Code(
        example=(torch.tensor([[0.0, 5.0], [0.0, math.log(3)]]),),
        cases=_weights_cases,
        section="the-mask",
        edits=MASK
        + r"""
            renormalised:
            future = ~> w = scores.softmax(dim=-1).tril()\nreturn w / w.sum(dim=-1, keepdim=True)\nfuture =
            Where a forbidden score is far larger than the allowed ones, the softmax leaves those nothing, and dividing
            again is 0/0. Mask before the softmax.

            over dimension 1:
            dim=-1 ~> dim=1
            Dimension 1 is the keys only where there are two dimensions. Count from the end: keys come last.

            over dimension 0:
            dim=-1 ~> dim=0
            The softmax ran over dimension 0: the queries, or the batch if there is one. Keys come last: -1.

            .softmax(dim=-1) ~> .flatten(-2).softmax(dim=-1).view_as(scores)
            All weights of a matrix add up to 1 together. Each row should, by itself.

            mask too weak:
            -torch.inf ~> -10.0
            -torch.inf ~> -100.0
            -torch.inf ~> -1000.0
            scores.masked_fill(future, -torch.inf) ~> (scores - 100.0 * future)
            scores.masked_fill(future, -torch.inf) ~> (scores - 1000.0 * future)
            The forbidden scores became a finite number, and where real ones are lower still, the future wins.
        """,
        mistakes=[
            Mistake(
                "overflow",
                "It fails only on scores near 1,000. There e^1000 is infinite, e^-1000 is 0, and a mask of -500 too "
                "weak. Mask with infinity, and subtract each row's largest allowed score, or let softmax do it.",
                "the-mask",
                only=lambda scores: scores.abs().max() > 100,
            ),
        ],
    ),
    "04.3": Choice(
        right="b",
        wrong={
            "a": "Masked after the softmax, every entry of the triangle would be 0.25: four equal scores, four equal "
            "weights, and the last row would be the only one that adds up to 1. Add up rows and columns.",
            "c": "The upper right is empty, so it is the future that was hidden. Add up rows and columns.",
            "d": "An added 0 hides nothing: the upper right would not be 0. Add up rows and columns.",
            "e": "Each token's weights are a row, and rows should add up to 1. The first row adds up to 0.25.",
        },
        section="the-mask",
    ),
    "04.4": Code(
        example=_attention_example(),
        cases=_attention_cases,
        section="query-key-value",
        not_allowed=NOT_ALLOWED,
        properties=[Property("gradient", _learns, "query-key-value")],
        edits=MASK
        + ATTEND
        + r"""
            wrong width [why-divide-by-the-root-of-d]:
            math.sqrt(D) ~> math.sqrt(v.shape[-1])
            The root is taken of the values' width E; D is the width of queries and keys.

            dim=-1 ~> dim=0
            The softmax ran over the batch: dimension 0. Keys come last.

            all dimensions turned round:
            k.mT ~> k.permute(2, 1, 0)
            `.T` turns all dimensions round, the batch too; you want only the last two swapped.
        """,
        mistakes=[
            Mistake(
                "one long sequence",
                "The sequences of the batch are run together: tokens see those of the sequences before theirs.",
                "query-key-value",
                wrong=lambda *qkv: rules("04.4").reference(*(x.flatten(0, 1)[None] for x in qkv)).view_as(qkv[2]),
            ),
        ],
    ),
    "04.5": Code(
        example=(torch.arange(1, 13).view(1, 2, 6), 3),
        cases=_split_cases,
        section="several-heads",
        edits="""
            only viewed:
            (B, T, n_heads, width // n_heads).transpose(1, 2) ~> (B, n_heads, T, width // n_heads)
            reshape(B, T, n_heads, width // n_heads).transpose(1, 2) ~> view(B, n_heads, T, width // n_heads)
            The shape is right, not the numbers: your first head holds all of the first tokens. Cut the features first;
            then let heads and tokens change places.

            x.reshape(B, T, n_heads, width // n_heads).transpose(1, 2) ~> x.mT.reshape(B, n_heads, T, width // n_heads)
            Tokens and features change places, and then you cut what lies in memory: a mixture. Cut the features first.

            interleaved:
            n_heads, width // n_heads).transpose(1, 2) ~> width // n_heads, n_heads).permute(0, 3, 1, 2)
            Your heads take every H-th feature. Head 0 should have the first D of them, side by side.

            not moved:
            .transpose(1, 2) ~>
            The features are cut, but the heads still stand behind the tokens: (B, T, H, D).

            features before tokens:
            transpose(1, 2) ~> permute(0, 2, 3, 1)
            Each head is (D, T); it should be (T, D), a row a token.

            transpose(1, 2) ~> transpose(1, 3)
            transpose(1, 2) ~> transpose(2, 3)
            transpose(1, 2) ~> permute(2, 0, 1, 3)
            The features are cut, and then other dimensions change places than heads and tokens.

            heads and width confused:
            n_heads, width // n_heads ~> width // n_heads, n_heads
            You made heads as wide as there should be many: n_heads is their number, not their width.
        """,
    ),
    "04.6": Code(
        example=_grouped_example(),
        cases=_grouped_cases,
        section="sharing-keys",
        not_allowed=NOT_ALLOWED,
        properties=[Property("gradient", lambda f: _learns(f, (1, 2, 4, 4)), "query-key-value")],
        edits=r"""
            keys in turn:
            repeat_interleave(group, dim=1) ~> repeat(1, group, 1, 1)
            Your query heads take the key heads in turn, 0 1 0 1. Neighbours should share: 0 0 1 1.

            one head for all:
            .repeat_interleave(group, dim=1) ~> [:, :1]
            .repeat_interleave(group, dim=1) ~> .mean(dim=1, keepdim=True)
            All query heads use one and the same key and value head.

            .repeat_interleave(group, dim=1) ~>
            K key heads do not fit H query heads: each key head has to serve H/K of them.

            queries averaged:
            .repeat_interleave(group, dim=1) ~> && q @ ~> q.unflatten(1, (-1, group)).mean(dim=2) @
            q @ ~> q.unflatten(1, (-1, group)).mean(dim=2).repeat_interleave(group, dim=1) @
            The queries of a group were averaged. Queries stay apart; only keys and values are shared.

            repeated K times:
            H // k.shape[1] ~> k.shape[1]
            Each key head is repeated K times; to serve H query heads it takes H/K copies of each.

            keys and values apart:
            k.repeat_interleave(group, dim=1) ~> k.repeat(1, group, 1, 1)
            v.repeat_interleave(group, dim=1) ~> v.repeat(1, group, 1, 1)
            Keys and values are spread over the query heads in two different orders.

            wrong width [why-divide-by-the-root-of-d]:
            math.sqrt(D) ~> math.sqrt(H * D)
            The root is that of all heads' widths together; each head compares vectors of D numbers.

            dim=-1 ~> dim=1
            The softmax ran over dimension 1, the heads. Keys come last.
        """
        + MASK
        + ATTEND,
    ),
    "04.7": Code(
        example=(torch.tensor([3, 7, 3, 7]),),
        cases=_lookup_cases,
        section="what-text-needs",
        edits="""
            looks at the match:
            range(1, t + 1) if ids[j - 1] ~> range(t) if ids[j]
            range(1, t + 1) if ids[j - 1] ~> range(t + 1) if ids[j]
            Your weight lies on equal tokens. What it should find is the token that followed the earlier ones.

            looks in front of it:
            [j for j in range(1, t + 1) if ids[j - 1] ~> [j - 1 for j in range(1, t) if ids[j]
            Your weight lies on the token before the earlier occurrence; it should lie on the one after.

            sees the future [the-mask]:
            range(1, t + 1) ~> range(1, T)
            range(1, t + 1) ~> range(1, min(t + 2, T))
            Row t has weight beyond t, where nothing is known yet: j goes up to t, and t - 1 is the last earlier token.

            wraps round:
            range(1, t + 1) ~> range(t + 1)
            Column 0 has weight, as if the last token came before the first. Position 0 follows nothing.

            j stops too early:
            range(1, t + 1) ~> range(1, t)
            Position t itself counts where the token before it equals the present one, as in 2, 2.

            only the latest:
            places or ~> places[-1:] or
            All the weight is on the latest place; it should be shared evenly among all of them.

            only the first:
            places or ~> places[:1] or
            All the weight is on the first place; it should be shared evenly among all of them.

            not shared:
            1 / len(places) ~> 1
            Rows with several places add up to more than 1.

            empty rows:
            places or [t] ~> places && len(places) ~> max(1, len(places))
            Rows without a match are all 0; they should put their weight on the token itself.

            nothing divided by nothing:
            places or [t] ~> places
            places or [t] ~> places && 1 / len(places) ~> 1.0 && return weights ~> return weights / weights.sum(1, True)
            Rows without a match are divided by 0, their number of places; their weight belongs on the token itself.

            1 / len(places) ~> 1.0 && return weights ~> return weights.softmax(dim=1)
            places or [t] ~> places && 1 / len(places) ~> 1.0 && return weights ~> return weights.softmax(dim=1)
            A softmax of ones and zeros gives the zeros weight too: e⁰ is 1. Share the weight by division.

            always itself:
            places or [t] ~> [*{*places, t}]
            places or [t] ~> [*places, t]
            The token itself has weight even where there is something to look up.

            range(T): ~> range(1, T):
            The first row is left empty. It has no earlier token to look up, and so its weight on itself.

            falls back on the first:
            or [t] ~> or [0]
            Rows without a match put their weight on the first token; it should be the token itself.

            falls back on everything:
            or [t] ~> or [*range(t + 1)]
            or [t] ~> or [*range(T)]
            Rows without a match spread evenly over all tokens; they should put their weight on the token itself.
        """,
    ),
}
