"""Checks of chapter 04: averaging the past, masks, attention, heads, grouped queries, the lookup head."""

import math

import torch
from torch import Tensor

from blueberry_checks.engine.examine import Choice, Code, Mistake, Property

NOT_ALLOWED = ("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention")


def _triangle(T: int) -> Tensor:
    return torch.ones(T, T, dtype=torch.bool).tril()


def _draw(g: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=g).to(dtype)


# 04.1


def _causal_average(x: Tensor) -> Tensor:
    """The mean of rows 0…t, one row after the other."""
    return torch.stack([x[:, : t + 1].mean(dim=1) for t in range(x.shape[1])], dim=1)


def _average_cases(g: torch.Generator):
    yield (_draw(g, 1, 1, 2),)
    yield (_draw(g, 1, 4, 2),)
    yield (_draw(g, 3, 7, 5),)
    yield (_draw(g, 5, 5, 5),)
    yield (_draw(g, 2, 6, 3, dtype=torch.float64),)


def _without_itself(x: Tensor) -> Tensor:
    weights = torch.ones(x.shape[1], x.shape[1], dtype=x.dtype).tril(-1)
    return weights @ x / weights.sum(dim=1, keepdim=True)


def _without_itself_safe(x: Tensor) -> Tensor:
    weights = torch.ones(x.shape[1], x.shape[1], dtype=x.dtype).tril(-1)
    return weights @ x / weights.sum(dim=1, keepdim=True).clamp_min(1)


def _future_average(x: Tensor) -> Tensor:
    return _causal_average(x.flip(1)).flip(1)


def _running_sum(x: Tensor) -> Tensor:
    return torch.ones(x.shape[1], x.shape[1], dtype=x.dtype).tril() @ x


def _first_left_alone(x: Tensor) -> Tensor:
    return torch.cat((x[:, :1], _without_itself_safe(x)[:, 1:]), dim=1)


def _average_without_keepdim(x: Tensor) -> Tensor:
    weights = torch.ones(x.shape[1], x.shape[1], dtype=x.dtype).tril()
    return weights / weights.sum(dim=1) @ x


def _average_by_columns(x: Tensor) -> Tensor:
    weights = torch.ones(x.shape[1], x.shape[1], dtype=x.dtype).tril()
    return weights / weights.sum(dim=0, keepdim=True) @ x


# 04.2


def _causal_weights(scores: Tensor) -> Tensor:
    """Softmax over keys 0…i, one query after the other."""
    weights = torch.zeros_like(scores)
    for i in range(scores.shape[-1]):
        weights[..., i, : i + 1] = scores[..., i, : i + 1].softmax(dim=-1)
    return weights


def _weights_cases(g: torch.Generator):
    yield (torch.zeros(4, 4),)
    yield (torch.tensor([[1.0, 3.0], [2.0, -1.0]]),)
    yield (_draw(g, 5, 5),)
    yield (_draw(g, 2, 3, 6, 6),)
    yield (_draw(g, 3, 4, 4, dtype=torch.float64),)
    yield (1000 * _draw(g, 2, 5, 5).clamp(-1, 1),)
    yield (torch.tensor([[-1000.0, 1000.0, 1000.0], [-1000.0, -999.0, 1000.0], [5.0, 4.0, 3.0]]),)


def _filled(scores: Tensor, allowed: Tensor, dim: int = -1, value: float = -torch.inf) -> Tensor:
    return scores.masked_fill(~allowed, value).softmax(dim=dim)


def _mask_after(scores: Tensor) -> Tensor:
    return scores.softmax(dim=-1) * _triangle(scores.shape[-1])


def _renormalised(scores: Tensor) -> Tensor:
    weights = _mask_after(scores)
    return weights / weights.sum(dim=-1, keepdim=True)


def _over_dimension_1(scores: Tensor) -> Tensor:
    return _filled(scores, _triangle(scores.shape[-1]), dim=1)


def _over_dimension_0(scores: Tensor) -> Tensor:
    return _filled(scores, _triangle(scores.shape[-1]), dim=0)


def _added_mask(scores: Tensor) -> Tensor:
    return (scores + _triangle(scores.shape[-1])).softmax(dim=-1)


def _zero_mask(scores: Tensor) -> Tensor:
    return (scores * _triangle(scores.shape[-1])).softmax(dim=-1)


def _overflows(answer) -> bool:
    small = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    return torch.allclose(answer(small), _causal_weights(small)) and bool(answer(torch.full((2, 2), 1e3)).isnan().any())


def _small_number(size: float):
    return lambda scores: _filled(scores, _triangle(scores.shape[-1]), value=-size)


# 04.4


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """For each token, in turn: scores with the keys so far, weights, average of the values so far."""
    rows = []
    for t in range(q.shape[1]):
        scores = (k[:, : t + 1] * q[:, t : t + 1]).sum(dim=-1) / math.sqrt(q.shape[-1])  # (B, t + 1)
        rows.append((scores.softmax(dim=-1)[..., None] * v[:, : t + 1]).sum(dim=1))
    return torch.stack(rows, dim=1)


def _attend(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, weigh=_causal_weights) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return weigh(q @ k.mT * scale) @ v


def _turned_all_round(answer) -> bool:
    """Whether it stops on q @ k.T, with the very words torch has for it."""
    q, k, v = _attention_example()
    try:
        q @ k.permute(2, 1, 0)
    except RuntimeError as error:
        expected = str(error)
    try:
        answer(q, k, v)
    except RuntimeError as error:
        return str(error) == expected
    return False


def _one_long_sequence(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _attend(*(x.flatten(0, 1)[None] for x in (q, k, v))).view_as(v)


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


def _no_peeking(answer, shape: tuple[int, ...] = (1, 5, 4)) -> str | None:
    g = torch.Generator().manual_seed(1)
    q, k, v = (_draw(g, *shape) for _ in range(3))
    before = answer(q.clone(), k.clone(), v.clone())
    k[..., 3:, :], v[..., 3:, :] = 50.0, -50.0
    after = answer(q.clone(), k, v)
    if torch.allclose(before[..., :3, :], after[..., :3, :], atol=1e-5):
        return None
    return "Keys and values of tokens 3 and 4 were changed, and the output of a token before them changed too."


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


# 04.5


def _split_heads(x: Tensor, n_heads: int) -> Tensor:
    """One slice of the features a head."""
    D = x.shape[2] // n_heads
    return torch.stack([x[:, :, h * D : (h + 1) * D] for h in range(n_heads)], dim=1)


def _split_cases(g: torch.Generator):
    yield torch.randint(100, (1, 3, 4), generator=g), 2
    yield _draw(g, 2, 5, 12), 3
    yield _draw(g, 2, 4, 12), 4
    yield _draw(g, 3, 2, 8, dtype=torch.float64), 1
    yield _draw(g, 2, 6, 4).transpose(1, 2), 3
    yield _draw(g, 2, 3, 6), 6


def _split_only_viewed(x: Tensor, n_heads: int) -> Tensor:
    return x.reshape(x.shape[0], n_heads, x.shape[1], -1)


def _split_interleaved(x: Tensor, n_heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], -1, n_heads).permute(0, 3, 1, 2)


def _split_not_moved(x: Tensor, n_heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], n_heads, -1)


def _split_features_first(x: Tensor, n_heads: int) -> Tensor:
    return _split_heads(x, n_heads).mT


# 04.6


def _grouped_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head after the other, with its group's key and value head."""
    group = q.shape[1] // k.shape[1]
    return torch.stack([_attention(q[:, h], k[:, h // group], v[:, h // group]) for h in range(q.shape[1])], dim=1)


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


def _grouped(q: Tensor, k: Tensor, v: Tensor, spread, **how) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    return _attend(q, spread(k, groups), spread(v, groups), **how)


def _interleave(x: Tensor, groups: int) -> Tensor:
    return x.repeat_interleave(groups, dim=1)


def _tile(x: Tensor, groups: int) -> Tensor:
    return x.repeat(1, groups, 1, 1)


def _first_head(x: Tensor, groups: int) -> Tensor:
    return x[:, :1].repeat_interleave(groups * x.shape[1], dim=1)


def _mean_of_groups(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = q.unflatten(1, (k.shape[1], -1)).mean(dim=2)
    return _attend(q, k, v)


def _mean_copied(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _mean_of_groups(q, k, v).repeat_interleave(q.shape[1] // k.shape[1], dim=1)


def _repeated_k_times(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _attend(q, _interleave(k, k.shape[1]), _interleave(v, v.shape[1]))


def _all_see_all(scores: Tensor) -> Tensor:
    return scores.softmax(dim=-1)


def _down_the_columns(scores: Tensor) -> Tensor:
    return _filled(scores, _triangle(scores.shape[-1]), dim=-2)


# 04.7


def _lookup_weights(ids: Tensor) -> Tensor:
    """The rule of the exercise, word for word."""
    T = len(ids)
    weights = torch.zeros(T, T)
    for t in range(T):
        places = [j for j in range(1, t + 1) if ids[j - 1] == ids[t]] or [t]
        weights[t, places] = 1 / len(places)
    return weights


def _lookup_cases(g: torch.Generator):
    yield (torch.tensor([4]),)
    yield (torch.tensor([5, 1, 5, 2, 5]),)
    yield (torch.tensor([2, 2, 2]),)
    yield (torch.tensor([0, 1, 2, 3]),)
    for length, kinds in ((6, 2), (9, 3), (12, 5)):
        yield (torch.randint(kinds, (length,), generator=g),)


def _lookup(ids: Tensor, places, *, none=lambda t: [t], share: bool = True) -> Tensor:
    T = len(ids)
    weights = torch.zeros(T, T)
    for t in range(T):
        found = [j for j in places(ids, t) if 0 <= j < T] or none(t)
        for j in found:
            weights[t, j] = 1 / len(found) if share else 1.0
    return weights


def _followers(ids: Tensor, t: int) -> list[int]:
    return [j for j in range(1, t + 1) if ids[j - 1] == ids[t]]


def _same_tokens(ids: Tensor, t: int) -> list[int]:
    return [j for j in range(t) if ids[j] == ids[t]]


def _same_and_itself(ids: Tensor, t: int) -> list[int]:
    return [j for j in range(t + 1) if ids[j] == ids[t]]


def _before_them(ids: Tensor, t: int) -> list[int]:
    return [j - 1 for j in range(1, t) if ids[j] == ids[t]]


def _followers_with_future(ids: Tensor, t: int) -> list[int]:
    return [j for j in range(1, len(ids)) if ids[j - 1] == ids[t]]


def _earlier_followers(ids: Tensor, t: int) -> list[int]:
    return [j for j in range(1, t) if ids[j - 1] == ids[t]]


def _latest_only(ids: Tensor, t: int) -> list[int]:
    return _followers(ids, t)[-1:]


def _first_only(ids: Tensor, t: int) -> list[int]:
    return _followers(ids, t)[:1]


def _wrapped_round(ids: Tensor, t: int) -> list[int]:
    return [j for j in range(t + 1) if ids[j - 1] == ids[t]]


def _by_any_spread(ids: Tensor) -> Tensor:
    weights = _lookup(ids, _followers, none=lambda t: [])
    return torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, math.nan)


EXERCISES = {
    "04.1": Code(
        reference=_causal_average,
        example=(torch.tensor([[[2.0], [4.0], [9.0]]]),),
        cases=_average_cases,
        mistakes=[
            Mistake(
                "running sum",
                "These are sums, not means: each row of the weights should add up to 1.",
                section="averaging-the-past",
                wrong=_running_sum,
            ),
            Mistake(
                "divided by T",
                "Every row is divided by the number of all tokens. Row t has only t + 1 of them to average.",
                section="averaging-the-past",
                wrong=lambda x: _running_sum(x) / x.shape[1],
            ),
            Mistake(
                "future",
                "Your rows average over the tokens from t on. Is the triangle the right way up?",
                section="averaging-the-past",
                wrong=_future_average,
            ),
            Mistake(
                "itself left out",
                "Row t averages the rows before it and leaves out its own; it should be counted.",
                section="averaging-the-past",
                wrong=_without_itself,
            ),
            Mistake(
                "itself left out",
                "Row t averages the rows before it and leaves out its own; it should be counted.",
                section="averaging-the-past",
                wrong=_without_itself_safe,
            ),
            Mistake(
                "itself left out",
                "Row t averages the rows before it and leaves out its own; it should be counted.",
                section="averaging-the-past",
                wrong=_first_left_alone,
            ),
            Mistake(
                "divided along the columns",
                "Column j of your weights is divided by j + 1. The row sums have to stand as a column, with keepdim, "
                "to divide the rows.",
                section="averaging-the-past",
                wrong=_average_without_keepdim,
            ),
            Mistake(
                "mean of all",
                "Every row is the mean of the whole sequence, the future included.",
                section="averaging-the-past",
                wrong=lambda x: x.mean(dim=1, keepdim=True).expand_as(x),
            ),
            Mistake(
                "columns add up",
                "The columns of your weights add up to 1. Each row is one average, so it is the rows that should.",
                section="averaging-the-past",
                wrong=_average_by_columns,
            ),
            Mistake(
                "off by one",
                "Row t is divided by t, not by the t + 1 rows that it adds up; the first one is 0/0 or divided by 1.",
                section="averaging-the-past",
                wrong=lambda x: _running_sum(x) / torch.arange(x.shape[1]).clamp_min(1)[:, None].to(x.dtype),
            ),
        ],
        not_allowed=("cumsum", "cumulative_trapezoid", "cummean", "logcumsumexp"),
    ),
    "04.2": Code(
        reference=_causal_weights,
        example=(torch.tensor([[0.0, 5.0], [0.0, math.log(3)]]),),
        cases=_weights_cases,
        mistakes=[
            Mistake(
                "no mask",
                "The future has weights too: this is the plain softmax.",
                section="the-mask",
                wrong=_all_see_all,
            ),
            Mistake(
                "mask after softmax",
                "The future is 0, but your rows do not add up to 1: the softmax had already shared out some of it. "
                "What score makes its exponential 0?",
                section="the-mask",
                wrong=_mask_after,
            ),
            Mistake(
                "renormalised",
                "Where a forbidden score is far larger than the allowed ones, the softmax leaves nothing for them, and "
                "dividing again is 0/0. Mask before the softmax.",
                section="the-mask",
                wrong=_renormalised,
            ),
            Mistake(
                "over dimension 1",
                "Dimension 1 is the keys only where there are two dimensions. Count from the end: keys come last.",
                section="the-mask",
                wrong=_over_dimension_1,
            ),
            Mistake(
                "over dimension 0",
                "The softmax ran over dimension 0: down the columns where there are two dimensions, over the batch "
                "where there are more. Count from the end: keys come last.",
                section="the-mask",
                wrong=_over_dimension_0,
            ),
            Mistake(
                "upside down",
                "Your weights lie on the token itself and those after it; the past is what should stay.",
                section="the-mask",
                wrong=lambda scores: _filled(scores, ~_triangle(scores.shape[-1]) | torch.eye(scores.shape[-1]).bool()),
            ),
            Mistake(
                "upside down",
                "Your mask forbids the past and the token itself, and allows the future.",
                section="the-mask",
                wrong=lambda scores: _filled(scores, ~_triangle(scores.shape[-1])),
            ),
            Mistake(
                "diagonal masked",
                "The token itself is masked too, so the first row has nothing left and is 0/0. It may see itself.",
                section="the-mask",
                wrong=lambda scores: _filled(scores, _triangle(scores.shape[-1]).tril(-1)),
            ),
            Mistake(
                "one token ahead",
                "Each query also sees the key right after it. Which diagonal is the first forbidden one?",
                section="the-mask",
                wrong=lambda scores: _filled(scores, torch.ones_like(_triangle(scores.shape[-1])).tril(1)),
            ),
            Mistake(
                "over the queries",
                "Your columns add up to 1, not your rows: the softmax ran over the queries.",
                section="the-mask",
                wrong=_down_the_columns,
            ),
            Mistake(
                "score 0",
                "A score of 0 is no mask: its exponential is 1. What score has the exponential 0?",
                section="the-mask",
                wrong=_zero_mask,
            ),
            Mistake(
                "mask added as numbers",
                "A mask of 1 and 0, added to the scores, only raises the allowed ones by 1.",
                section="the-mask",
                wrong=_added_mask,
            ),
            Mistake(
                "overflow",
                "Scores near 1,000 overflow: exp(1000) is infinite. Subtract the row's largest score first, "
                "or let softmax do it.",
                section="the-mask",
                sign=_overflows,
            ),
            *[
                Mistake(
                    "mask too weak",
                    f"The forbidden scores became −{size:g}, and where real ones are lower still, the future wins.",
                    section="the-mask",
                    wrong=_small_number(size),
                )
                for size in (10.0, 100.0, 1000.0)
            ],
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
        reference=_attention,
        example=_attention_example(),
        cases=_attention_cases,
        mistakes=[
            Mistake(
                "all dimensions turned round",
                "`.T` turns all dimensions round, the batch too; you want only the last two swapped.",
                section="query-key-value",
                sign=_turned_all_round,
            ),
            Mistake(
                "no scale",
                "The scores are not divided by √D.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _attend(q, k, v, scale=1.0),
            ),
            Mistake(
                "divided by D",
                "The scores are divided by D; it should be its root.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _attend(q, k, v, scale=1 / q.shape[-1]),
            ),
            Mistake(
                "multiplied by the root",
                "The scores are multiplied by √D; they should be divided by it.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _attend(q, k, v, scale=q.shape[-1] ** 0.5),
            ),
            Mistake(
                "wrong width",
                "The root is taken of the values' width E; D is the width of queries and keys.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _attend(q, k, v, scale=v.shape[-1] ** -0.5),
            ),
            Mistake(
                "root of T",
                "The root is taken of the number of tokens; D is the width of queries and keys.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _attend(q, k, v, scale=q.shape[1] ** -0.5),
            ),
            Mistake(
                "no mask",
                "Every token sees the later ones too.",
                section="the-mask",
                wrong=lambda q, k, v: _attend(q, k, v, weigh=_all_see_all),
            ),
            Mistake(
                "mask after softmax",
                "The weights of the earlier tokens do not add up to 1: the mask came after the softmax.",
                section="the-mask",
                wrong=lambda q, k, v: _attend(q, k, v, weigh=_mask_after),
            ),
            Mistake(
                "upside down",
                "Each token sees itself and the later ones, not the earlier ones.",
                section="the-mask",
                wrong=lambda q, k, v: _attend(q.flip(1), k.flip(1), v.flip(1)).flip(1),
            ),
            Mistake(
                "over the queries",
                "The softmax ran over the queries; each query's weights should add up to 1.",
                section="query-key-value",
                wrong=lambda q, k, v: _attend(q, k, v, weigh=_down_the_columns),
            ),
            Mistake(
                "one long sequence",
                "The sequences of the batch are run together: tokens see those of the sequences before theirs.",
                section="query-key-value",
                wrong=_one_long_sequence,
            ),
            Mistake(
                "queries and keys swapped",
                "Your scores are K Qᵀ: row t holds what others ask of token t. It should hold what t asks of others.",
                section="query-key-value",
                wrong=lambda q, k, v: _attend(k, q, v),
            ),
            Mistake(
                "scaled after softmax",
                "The weights are divided by √D, after the softmax; it is the scores that should be.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _attend(q, k, v, scale=1.0) / math.sqrt(q.shape[-1]),
            ),
            Mistake(
                "no softmax",
                "The scores themselves are used as weights: they can be negative, and they do not add up to 1.",
                section="the-mask",
                wrong=lambda q, k, v: _attend(q, k, v, weigh=lambda s: s * _triangle(s.shape[-1])),
            ),
            Mistake(
                "score 0",
                "Forbidden scores are 0, and the exponential of 0 is 1: the future still has weight.",
                section="the-mask",
                wrong=lambda q, k, v: _attend(q, k, v, weigh=_zero_mask),
            ),
            Mistake(
                "diagonal masked",
                "A token does not see itself, so the first has nothing left and is 0/0.",
                section="the-mask",
                wrong=lambda q, k, v: _attend(q, k, v, weigh=lambda s: _filled(s, _triangle(s.shape[-1]).tril(-1))),
            ),
        ],
        properties=[
            Property("causal", _no_peeking, section="two-questions-to-ask-of-any-attention"),
            Property("gradient", _learns, section="query-key-value"),
        ],
        not_allowed=NOT_ALLOWED,
    ),
    "04.5": Code(
        reference=_split_heads,
        example=(torch.arange(1, 13).view(1, 2, 6), 3),
        cases=_split_cases,
        mistakes=[
            Mistake(
                "only viewed",
                "The shape is right and the numbers are not: your first head holds all of the first tokens. Features "
                "have to be cut before heads and tokens change places.",
                section="several-heads",
                wrong=_split_only_viewed,
            ),
            Mistake(
                "interleaved",
                "Your heads take every H-th feature. Head 0 should have the first D of them, side by side.",
                section="several-heads",
                wrong=_split_interleaved,
            ),
            Mistake(
                "not moved",
                "The features are cut, but the heads still stand behind the tokens: (B, T, H, D).",
                section="several-heads",
                wrong=_split_not_moved,
            ),
            Mistake(
                "features before tokens",
                "Each head is (D, T); it should be (T, D), a row a token.",
                section="several-heads",
                wrong=_split_features_first,
            ),
            Mistake(
                "heads and width confused",
                "You made heads as wide as there should be many: n_heads is their number, not their width.",
                section="several-heads",
                wrong=lambda x, n_heads: _split_heads(x, x.shape[2] // n_heads),
            ),
        ],
    ),
    "04.6": Code(
        reference=_grouped_attention,
        example=_grouped_example(),
        cases=_grouped_cases,
        mistakes=[
            Mistake(
                "keys in turn",
                "Your query heads take the key heads in turn, 0 1 0 1. Neighbours should share: 0 0 1 1.",
                section="sharing-keys",
                wrong=lambda q, k, v: _grouped(q, k, v, _tile),
            ),
            Mistake(
                "one head for all",
                "All query heads use key and value head 0.",
                section="sharing-keys",
                wrong=lambda q, k, v: _grouped(q, k, v, _first_head),
            ),
            Mistake(
                "queries averaged",
                "The query heads of a group were averaged, so that K heads come out. All H queries stay.",
                section="sharing-keys",
                wrong=_mean_of_groups,
            ),
            Mistake(
                "queries averaged",
                "All heads of a group give the same output: their queries were averaged. Queries stay apart; only keys "
                "and values are shared.",
                section="sharing-keys",
                wrong=_mean_copied,
            ),
            Mistake(
                "repeated K times",
                "Each key head is repeated K times; to serve H query heads it takes H/K copies of each.",
                section="sharing-keys",
                wrong=_repeated_k_times,
            ),
            Mistake(
                "keys and values apart",
                "Keys and values are spread over the query heads in two different orders.",
                section="sharing-keys",
                wrong=lambda q, k, v: _attend(
                    q, _interleave(k, q.shape[1] // k.shape[1]), _tile(v, q.shape[1] // v.shape[1])
                ),
            ),
            Mistake(
                "keys and values apart",
                "Keys and values are spread over the query heads in two different orders.",
                section="sharing-keys",
                wrong=lambda q, k, v: _attend(
                    q, _tile(k, q.shape[1] // k.shape[1]), _interleave(v, q.shape[1] // v.shape[1])
                ),
            ),
            Mistake(
                "no scale",
                "The scores are not divided by √D.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _grouped(q, k, v, _interleave, scale=1.0),
            ),
            Mistake(
                "divided by D",
                "The scores are divided by D; it should be its root.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _grouped(q, k, v, _interleave, scale=1 / q.shape[-1]),
            ),
            Mistake(
                "wrong width",
                "The root is that of all heads' widths together; each head compares vectors of D numbers.",
                section="why-divide-by-the-root-of-d",
                wrong=lambda q, k, v: _grouped(q, k, v, _interleave, scale=(q.shape[1] * q.shape[-1]) ** -0.5),
            ),
            Mistake(
                "no mask",
                "Every token sees the later ones too.",
                section="the-mask",
                wrong=lambda q, k, v: _grouped(q, k, v, _interleave, weigh=_all_see_all),
            ),
            Mistake(
                "mask after softmax",
                "The weights of the earlier tokens do not add up to 1: the mask came after the softmax.",
                section="the-mask",
                wrong=lambda q, k, v: _grouped(q, k, v, _interleave, weigh=_mask_after),
            ),
            Mistake(
                "upside down",
                "Each token sees itself and the later ones, not the earlier ones.",
                section="the-mask",
                wrong=lambda q, k, v: _grouped(q.flip(2), k.flip(2), v.flip(2), _interleave).flip(2),
            ),
            Mistake(
                "over the queries",
                "The softmax ran over the queries; each query's weights should add up to 1.",
                section="query-key-value",
                wrong=lambda q, k, v: _grouped(q, k, v, _interleave, weigh=_down_the_columns),
            ),
        ],
        properties=[
            Property(
                "causal",
                lambda f: _no_peeking(f, (1, 2, 5, 4)),
                section="two-questions-to-ask-of-any-attention",
            ),
            Property("gradient", lambda f: _learns(f, (1, 2, 4, 4)), section="query-key-value"),
        ],
        not_allowed=NOT_ALLOWED,
    ),
    "04.7": Code(
        reference=_lookup_weights,
        example=(torch.tensor([3, 7, 3, 7]),),
        cases=_lookup_cases,
        mistakes=[
            Mistake(
                "looks at the match",
                "Your weight lies on the earlier occurrence itself. What it should find is the token that followed it.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _same_tokens),
            ),
            Mistake(
                "looks at the match",
                "Your weight lies on equal tokens, the present one included, not on what followed the earlier ones.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _same_and_itself),
            ),
            Mistake(
                "looks in front of it",
                "Your weight lies on the token before the earlier occurrence; it should lie on the one after.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _before_them),
            ),
            Mistake(
                "sees the future",
                "Row t has weight beyond t: what follows a later occurrence is not known yet.",
                section="the-mask",
                wrong=lambda ids: _lookup(ids, _followers_with_future),
            ),
            Mistake(
                "wraps round",
                "Column 0 has weight, as if the last token came before the first. Position 0 follows nothing.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _wrapped_round),
            ),
            Mistake(
                "j stops too early",
                "Position t itself counts where the token before it equals the present one, as in 2, 2.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _earlier_followers),
            ),
            Mistake(
                "only the latest",
                "All the weight is on the latest place; it should be shared evenly among all of them.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _latest_only),
            ),
            Mistake(
                "only the first",
                "All the weight is on the first place; it should be shared evenly among all of them.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _first_only),
            ),
            Mistake(
                "not shared",
                "Rows with several places add up to more than 1.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _followers, share=False),
            ),
            Mistake(
                "empty rows",
                "Rows without a match are all 0; they should put their weight on the token itself.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _followers, none=lambda t: []),
            ),
            Mistake(
                "nothing divided by nothing",
                "Rows without a match are 0/0. They should put their weight on the token itself.",
                section="can-it-learn-the-game",
                wrong=_by_any_spread,
            ),
            Mistake(
                "always itself",
                "The token itself has weight even where there is something to look up.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, lambda ids, t: [*dict.fromkeys([*_followers(ids, t), t])]),
            ),
            Mistake(
                "falls back on the first",
                "Rows without a match put their weight on the first token; it should be the token itself.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _followers, none=lambda t: [0]),
            ),
            Mistake(
                "falls back on everything",
                "Rows without a match spread evenly over the past; they should put their weight on the token itself.",
                section="can-it-learn-the-game",
                wrong=lambda ids: _lookup(ids, _followers, none=lambda t: list(range(t + 1))),
            ),
        ],
    ),
}
