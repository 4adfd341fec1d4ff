"""The checks of chapter 02: counts, probabilities, surprise, gradients, draws."""

import math

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake, Property

LOSSES = (
    "cross_entropy", "cross_entropy_loss", "nll_loss", "log_softmax", "logsumexp", "logaddexp",
    "CrossEntropyLoss", "NLLLoss", "LogSoftmax",
)  # fmt: skip
DERIVATIVES = (
    "backward", "grad", "requires_grad_", "jacrev", "jacfwd", "jacobian", "vjp", "cross_entropy", "cross_entropy_loss",
)  # fmt: skip
OVERFLOW = "exp(1000) is inf in float32. Subtract something from each row first; the probabilities stay the same."
ONE_MAXIMUM = (
    "One maximum for the whole batch: in a row of much smaller logits every exponential becomes 0. Each row needs its "
    "own."
)
CAPPED = (
    "Surprises stop growing at some point: a small number inside the logarithm, or a clamp, hides the underflow. A "
    "surprise of 1,000 nats must come out as 1,000."
)
IMPOSSIBLE_FIRST = (
    "With logits = [−inf, 0, 0] and u = 0 it draws token 0, which is impossible: the running sum must be greater than "
    "u, not equal."
)
IMPOSSIBLE_LAST = (
    "With −inf as the last logit it can draw that token: rounding may leave the running sum below u to the end. Then "
    "take the last token that is possible, which need not be V − 1."
)
EVERY_TARGET = "1 is taken away in every row at the targets of all rows; each row has only its own."
MEAN_OF_RATIOS = "A mean of each token's bits per byte: a short token weighs as much as a long one. Divide the sums."


def _pair_counts(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for before, after in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        counts[before, after] += 1
    return counts


def _smoothed_rows(counts, alpha):
    return (counts + alpha) / (counts.sum(dim=1, keepdim=True) + alpha * counts.shape[1])


def _bits_per_byte(nats, ids, token_bytes):
    return math.fsum(nats.tolist()) / math.log(2) / sum(token_bytes[i].item() for i in ids)


def _mean_surprise(logits, targets):
    return (logits.logsumexp(dim=1) - logits[torch.arange(len(targets)), targets]).mean()


def _logit_gradient(logits, targets):
    return (logits.softmax(dim=1) - torch.eye(logits.shape[1])[targets]) / len(targets)


def _draw(logits, temperature, u):
    possible = logits.isfinite().nonzero()[:, 0]
    scores = logits[possible].double()
    if temperature == 0:
        return possible[scores.argmax()].repeat(len(u))
    ends = (scores / temperature).softmax(dim=0).cumsum(dim=0)[:-1]  # the last end is 1, beyond every u
    return possible[(ends <= u[:, None]).sum(dim=1)]


# --- 02.1


def _texts(g):
    yield torch.tensor([2]), 3
    yield torch.tensor([1, 0]), 3
    yield torch.tensor([1, 1, 1, 1]), 2
    yield torch.randint(4, (12,), generator=g), 6
    yield torch.randint(20, (500,), generator=g), 20


def _neighbours(ids, vocab_size, first=slice(None, -1), second=slice(1, None)):
    """A table of the pairs of two parts of a text."""
    pairs = ids[first] * vocab_size + ids[second]
    return torch.bincount(pairs, minlength=vocab_size**2).view(vocab_size, vocab_size)


def _each_once(ids, vocab_size):
    return _pair_counts(ids, vocab_size).clamp(max=1)


def _in_a_ring(ids, vocab_size):
    return _pair_counts(torch.cat([ids, ids[:1]]), vocab_size)


def _side_by_side(ids, vocab_size):
    ids = ids[: len(ids) // 2 * 2]
    return _neighbours(ids, vocab_size, slice(0, None, 2), slice(1, None, 2))


def _two_apart(ids, vocab_size):
    return _neighbours(ids, vocab_size, slice(None, -2), slice(2, None))


def _both_ways(ids, vocab_size):
    return _pair_counts(ids, vocab_size) + _pair_counts(ids, vocab_size).T


def _fails_on_one_token(answer):
    if answer(torch.tensor([0, 1, 0, 1]), 2).tolist() != [[0, 2], [1, 0]]:
        return False
    try:
        return answer(torch.tensor([0]), 2).tolist() != [[0, 0], [0, 0]]
    except Exception:
        return True


# --- 02.2


def _tables(g):
    yield torch.zeros(1, 4, dtype=torch.int64), 1.0
    yield torch.tensor([[4, 0, 0], [1, 2, 3]]), 1.0
    yield torch.randint(9, (4, 4), generator=g), 0.25
    yield torch.randint(9, (2, 7), generator=g), 0.5
    yield torch.randint(9, (30, 5), generator=g), 1 / 64


def _rows_with(total):
    """The smoothing whose divisor is ``total(counts, alpha)``."""
    return lambda counts, alpha: (counts + alpha) / total(counts, alpha)


def _alpha_to_whole(counts, alpha):
    more = counts + int(alpha)
    return more / more.sum(dim=1, keepdim=True)


def _alpha_where_zero(counts, alpha):
    more = torch.where(counts == 0, alpha, counts.float())
    return more / more.sum(dim=1, keepdim=True)


def _divided_first(least, again):
    """Shares of the bare counts, alpha added to those."""

    def wrong(counts, alpha):
        more = counts / counts.sum(dim=1, keepdim=True).clamp(min=least) + alpha
        return more / more.sum(dim=1, keepdim=True) if again else more

    return wrong


def _only_the_zeros_get_a_share(counts, alpha):
    return counts / counts.sum(dim=1, keepdim=True)


# --- 02.3


def _measured_texts(g):
    for count, vocab in ((1, 3), (5, 4), (60, 10), (400, 30)):
        sizes = torch.randint(1, 9, (vocab,), generator=g)
        ids = torch.randint(1, vocab, (count,), generator=g)
        yield 4 * torch.rand(count, generator=g), ids, sizes
    sizes = torch.tensor([0, 1, 2, 9])
    yield 4 * torch.rand(40, generator=g), torch.arange(40) % 4, sizes


BITS = 1 / math.log(2)  # in a nat


def _per_byte(nats=lambda x: x.sum(), sizes=lambda token_bytes, ids: token_bytes[ids].sum(), factor=BITS):
    """Bits per byte with one of its three parts replaced."""
    return lambda x, ids, token_bytes: float(nats(x) * factor / sizes(token_bytes, ids))


def _mean_of_ratios(nats, ids, token_bytes):
    return (nats / math.log(2) / token_bytes[ids]).mean().item()


def _mean_of_ratios_guarded(nats, ids, token_bytes):
    return (nats / math.log(2) / token_bytes[ids].clamp(min=1)).mean().item()


def _end_left_out(nats, ids, token_bytes):
    kept = token_bytes[ids] > 0
    return _bits_per_byte(nats[kept], ids[kept], token_bytes)


# --- 02.4 and 02.5


def _scores(g):
    """Logits and targets: small; rows and columns of unlike number; then large, and rows of unlike size."""
    yield torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([1])
    yield torch.randn(2, 3, generator=g), torch.tensor([2, 0])
    yield torch.randn(7, 4, generator=g), torch.randint(4, (7,), generator=g)
    yield 2 * torch.randn(33, 50, generator=g), torch.randint(50, (33,), generator=g)
    yield torch.tensor([[1000.0, 0.0]]), torch.tensor([1])
    yield torch.tensor([[1000.0, -1000.0, 999.0], [0.0, 1.0, 2.0]]), torch.tensor([0, 1])
    yield torch.tensor([[-1000.0, -1001.0], [-500.0, 3.0]]), torch.tensor([1, 0])


def _naive(logits, targets):
    e = logits.exp()
    return -(e / e.sum(dim=1, keepdim=True))[torch.arange(len(targets)), targets].log().mean()


def _log_of_sum(logits, targets):
    return (logits.exp().sum(dim=1).log() - logits[torch.arange(len(targets)), targets]).mean()


def _log_of_softmax(logits, targets):
    return -logits.softmax(dim=1)[torch.arange(len(targets)), targets].log().mean()


def _one_maximum(logits, targets):
    shifted = logits - logits.max()
    return (shifted.exp().sum(dim=1).log() - shifted[torch.arange(len(targets)), targets]).mean()


def _guarded_surprise(logits, targets):
    """Stops growing near 20 nats: an epsilon inside the logarithm."""
    return -(logits.softmax(dim=1)[torch.arange(len(targets)), targets] + 1e-9).log().mean()


def _is_capped(answer):
    surprises = [float(answer(torch.tensor([[x, 0.0]]), torch.tensor([1]))) for x in (200.0, 400.0)]
    return all(map(math.isfinite, surprises)) and max(surprises) < 150 and surprises[0] > 5


def _every_target(logits, targets):
    return -logits.log_softmax(dim=1)[:, targets].mean()


def _down_the_columns(logits, targets):
    return -logits.log_softmax(dim=0)[torch.arange(len(targets)), targets].mean()


def _shift_changes(answer):
    logits, targets = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, 0.5]]), torch.tensor([0, 2])
    before, after = answer(logits, targets), answer(logits + torch.tensor([[7.0], [-3.0]]), targets)
    if not torch.allclose(before, after, atol=1e-4):
        return "Adding a number to all logits of a row changes the result; the probabilities stay the same."
    return None


def _hot(logits, targets):
    return torch.eye(logits.shape[1])[targets]


def _gradient(p=lambda z: z.softmax(dim=1), divide=lambda z: len(z), sign=1.0):
    """The gradient with one of its parts replaced."""
    return lambda z, y: sign * (p(z) - _hot(z, y)) / divide(z)


def _naive_softmax(logits):
    e = logits.exp()
    return e / e.sum(dim=1, keepdim=True)


def _one_at_every_target(logits, targets):
    p = logits.softmax(dim=1)
    p[:, targets] -= 1
    return p / len(targets)


def _one_at_every_target_repeatedly(logits, targets):
    return (logits.softmax(dim=1) - _hot(logits, targets).sum(dim=0)) / len(targets)


def _only_the_target(logits, targets):
    return (logits.softmax(dim=1) - 1) * _hot(logits, targets) / len(targets)


def _of_the_probability(logits, targets):
    """The derivative of p(target) itself."""
    p = logits.softmax(dim=1)
    own = p[torch.arange(len(p)), targets][:, None]
    return own * (_hot(logits, targets) - p) / len(targets)


def _rows_balance(answer):
    g = torch.Generator().manual_seed(1)
    sums = answer(torch.randn(6, 9, generator=g), torch.randint(9, (6,), generator=g)).sum(dim=1)
    if sums.abs().max() > 1e-5:
        return "A row of the gradient does not add up to 0, as if shifting all logits of a row changed the loss."
    return None


# --- 02.6


def _draws(g):
    """Logits, temperatures, and u that keep clear of the edges, so that rounding decides nothing."""
    edges = torch.tensor([0.0, 0.3, 0.999])
    yield torch.tensor([-math.inf, 1.0, 0.0]), 1.0, edges
    yield torch.tensor([0.0, 2.0, 2.0, 1.0]), 0.0, edges
    yield torch.tensor([1.0, -1.0, 3.0]), 2.0, edges
    yield torch.tensor([0.2, 0.9, 0.4]), 0.5, torch.rand(5, generator=g)
    yield torch.tensor([60.0, 100.0, 99.0]), 0.25, torch.tensor([0.2, 0.3, 0.999])
    yield torch.tensor([-300.0, 0.0, -300.5]), 1.0, torch.tensor([0.1, 0.999])
    for vocab, temperature in ((12, 1.0), (12, 0.7), (40, 1.6), (300, 1.0)):
        logits = 2 * torch.randn(vocab, generator=g)
        u = torch.rand(60, generator=g)
        ends = (logits.double() / temperature).softmax(dim=0).cumsum(dim=0)
        yield logits, temperature, u[((ends - u[:, None]).abs() > 1e-5).all(dim=1)]


def _sorted_first(logits, temperature, u):
    order = logits.argsort(descending=True, stable=True)
    return order[_draw(logits[order], temperature, u)]


def _one_before(logits, temperature, u):
    return (_draw(logits, temperature, u) - (1 if temperature else 0)).clamp(min=0)


def _one_after(logits, temperature, u):
    return _draw(logits, temperature, u) + (1 if temperature else 0)


def _always_the_largest(logits, temperature, u):
    return _draw(logits, 0, u)


def _many():
    """A thousand equal tokens whose float32 probabilities add up to less than the largest u below 1, or to more."""
    return torch.nextafter(torch.ones(1), torch.zeros(1)), [torch.zeros(n) for n in (49, 97, 700, 998, 1003, 3000)]


def _leaves_the_vocabulary(answer):
    u, equal = _many()
    return any(int(answer(logits, 1.0, u)[0]) >= len(logits) for logits in equal)


def _draws_the_impossible_first(answer):
    drawn = answer(torch.tensor([-math.inf, 0.0, 0.0]), 1.0, torch.tensor([0.0, 0.9])).tolist()
    return drawn == [0, 2]


def _draws_the_impossible_last(answer):
    u, equal = _many()
    inf = torch.tensor([-math.inf])
    return any(int(answer(torch.cat([logits, inf]), 1.0, u)[0]) == len(logits) for logits in equal)


def _one_for_all(answer):
    """At temperature 0 a single id, however many u there are."""
    drawn = answer(torch.tensor([0.0, 1.0]), 0.0, torch.tensor([0.1, 0.5, 0.9]))
    return torch.as_tensor(drawn).numel() == 1 and int(drawn) == 1


def _tiny_for_zero(answer):
    """Equal largest logits at temperature 0 are drawn by u."""
    drawn = answer(torch.tensor([0.0, 1.0, 1.0]), 0, torch.tensor([0.1, 0.9])).tolist()
    return drawn == [1, 2]


def _zero_fails(answer):
    if answer(torch.tensor([0.0, 9.0]), 1.0, torch.tensor([0.5])).tolist() != [1]:
        return False
    try:
        return any(
            answer(torch.tensor(logits), 0.0, torch.tensor([0.1, 0.99])).tolist() != [best, best]
            for logits, best in (([0.0, 1.0], 1), ([1.0, 0.0], 0))
        )
    except Exception:
        return True


EXERCISES = {
    "02.1": Code(
        reference=_pair_counts,
        example=(torch.tensor([0, 1, 1, 2, 0, 1]), 4),
        cases=_texts,
        mistakes=[
            Mistake(
                "reversed",
                "Rows are the token that came before, columns the one that followed; yours are the other way round.",
                "counting-pairs",
                wrong=lambda ids, vocab_size: _pair_counts(ids, vocab_size).T,
            ),
            Mistake(
                "repeats",
                "A pair that occurs several times counts only once. Assigning to many cells at a time, as in "
                "counts[before, after] += 1, writes each cell once, however often it is named.",
                "counting-pairs",
                wrong=_each_once,
            ),
            Mistake(
                "ring",
                "One pair too many: the last token is followed by nothing, not by the first (torch.roll goes round).",
                "counting-pairs",
                wrong=_in_a_ring,
            ),
            Mistake(
                "side by side",
                "Pairs overlap: the second token of one pair is the first of the next.",
                "counting-pairs",
                wrong=_side_by_side,
            ),
            Mistake(
                "last pair",
                "The last pair of the text is missing. N tokens make N − 1 pairs.",
                "counting-pairs",
                wrong=lambda ids, vocab_size: _pair_counts(ids[:-1], vocab_size),
            ),
            Mistake(
                "first pair",
                "The first pair of the text is missing. N tokens make N − 1 pairs.",
                "counting-pairs",
                wrong=lambda ids, vocab_size: _pair_counts(ids[1:], vocab_size),
            ),
            Mistake(
                "two apart",
                "These are tokens two places apart; a pair is a token and the one right after it.",
                "counting-pairs",
                wrong=_two_apart,
            ),
            Mistake(
                "both ways",
                "Each pair is counted in both directions. After 'n' comes '=' does not say that after '=' comes 'n'.",
                "counting-pairs",
                wrong=_both_ways,
            ),
            Mistake(
                "one token",
                "It works, but for a text of a single token: no pairs, so every count is 0.",
                "counting-pairs",
                sign=_fails_on_one_token,
            ),
        ],
    ),
    "02.2": Code(
        reference=_smoothed_rows,
        example=(torch.tensor([[2, 0, 1], [0, 0, 0]]), 0.5),
        cases=_tables,
        mistakes=[
            Mistake(
                "columns",
                "Your columns add up to 1. A row is the prediction after one token; the rows must.",
                "from-counts-to-probabilities",
                wrong=_rows_with(lambda counts, alpha: (counts + alpha).sum(dim=0, keepdim=True)),
            ),
            Mistake(
                "whole table",
                "The whole table adds up to 1. Each row by itself must.",
                "from-counts-to-probabilities",
                wrong=_rows_with(lambda counts, alpha: (counts + alpha).sum()),
            ),
            Mistake(
                "alpha not in the sum",
                "The rows add up to more than 1: alpha went into the counts, but not into what you divide by.",
                "from-counts-to-probabilities",
                wrong=_rows_with(lambda counts, alpha: counts.sum(dim=1, keepdim=True)),
            ),
            Mistake(
                "alpha once in the sum",
                "The rows add up to more than 1: each of the V counts got its alpha, so the sum grew by V of them.",
                "from-counts-to-probabilities",
                wrong=_rows_with(lambda counts, alpha: counts.sum(dim=1, keepdim=True) + alpha),
            ),
            Mistake(
                "rows for columns",
                "It is right for square tables only: V is the number of columns, here you took the number of rows.",
                "from-counts-to-probabilities",
                wrong=_rows_with(lambda counts, alpha: counts.sum(dim=1, keepdim=True) + alpha * len(counts)),
            ),
            Mistake(
                "keepdim",
                "Column j is divided by the sum of row j, or the shapes do not fit at all. Sums of shape (R, 1) divide "
                "row by row; sums of shape (R,) lie along the columns.",
                "from-counts-to-probabilities",
                wrong=_rows_with(lambda counts, alpha: (counts + alpha).sum(dim=1)),
            ),
            Mistake(
                "alpha cut off",
                "alpha loses its fraction: a tensor of whole numbers can't hold 0.5.",
                "from-counts-to-probabilities",
                wrong=_alpha_to_whole,
            ),
            Mistake(
                "alpha for zeros only",
                "Only the zeros were raised; alpha is added to every count.",
                "from-counts-to-probabilities",
                wrong=_alpha_where_zero,
            ),
            Mistake(
                "no alpha",
                "alpha has no effect: what never occurred is still impossible, and an empty row is 0/0.",
                "from-counts-to-probabilities",
                wrong=_only_the_zeros_get_a_share,
            ),
            *(
                Mistake(
                    "divided first",
                    "It divides before alpha is added. alpha belongs to the counts: add first, then divide by the new "
                    "sum; so a row without counts is no 0/0 either.",
                    "from-counts-to-probabilities",
                    wrong=_divided_first(least, again),
                )
                for least in (0, 1)
                for again in (False, True)
            ),
            Mistake(
                "softmax",
                "Softmax takes exponentials of the counts; here they are to be shared out as they are.",
                "from-counts-to-probabilities",
                wrong=lambda counts, alpha: (counts + alpha).softmax(dim=1),
            ),
        ],
        not_allowed=("softmax", "normalize"),
    ),
    "02.3": Code(
        reference=_bits_per_byte,
        example=(torch.tensor([2.0, 1.0, 2.0, 1.0]), torch.tensor([2, 1, 2, 0]), torch.tensor([0, 1, 4])),
        cases=_measured_texts,
        mistakes=[
            Mistake(
                "nats",
                "That is in nats per byte. One bit is ln 2 = 0.693 nats.",
                "surprise-in-bits",
                wrong=_per_byte(factor=1.0),
            ),
            Mistake(
                "wrong way",
                "The conversion goes the wrong way: a nat is more than a bit, so the number must grow.",
                "surprise-in-bits",
                wrong=_per_byte(factor=math.log(2)),
            ),
            Mistake(
                "twice",
                "The conversion to bits is done twice, or nats was taken for a probability.",
                "surprise-in-bits",
                wrong=_per_byte(factor=BITS**2),
            ),
            Mistake(
                "mean of ratios",
                MEAN_OF_RATIOS,
                "bits-per-byte",
                wrong=_mean_of_ratios,
            ),
            Mistake(
                "mean of ratios",
                MEAN_OF_RATIOS,
                "bits-per-byte",
                wrong=_mean_of_ratios_guarded,
            ),
            Mistake(
                "per token",
                "That is bits per token; it changes with the tokenizer. Divide by the bytes of the text.",
                "bits-per-byte",
                wrong=_per_byte(sizes=lambda token_bytes, ids: len(ids)),
            ),
            Mistake(
                "whole vocabulary",
                "These are the bytes of the whole vocabulary. Look up those of the tokens that stand in the text.",
                "bits-per-byte",
                wrong=_per_byte(sizes=lambda token_bytes, ids: token_bytes.sum()),
            ),
            Mistake(
                "mean size",
                "An average entry of the vocabulary stands for the tokens of the text; frequent tokens are shorter.",
                "bits-per-byte",
                wrong=_per_byte(sizes=lambda token_bytes, ids: token_bytes.float().mean() * len(ids)),
            ),
            Mistake(
                "mean over sum",
                "The mean surprise is divided by all bytes. Sum over sum, or mean over mean.",
                "bits-per-byte",
                wrong=_per_byte(nats=lambda x: x.mean()),
            ),
            Mistake(
                "sum over mean",
                "All the surprise is divided by the bytes of one token. Sum over sum, or mean over mean.",
                "bits-per-byte",
                wrong=_per_byte(sizes=lambda token_bytes, ids: token_bytes[ids].float().mean()),
            ),
            Mistake(
                "end left out",
                "The surprise at the end-of-text token counts as well: the file has to say where a text ends.",
                "bits-per-byte",
                wrong=_end_left_out,
            ),
            Mistake(
                "end as a byte",
                "The end-of-text token was given a byte; it stands for none.",
                "bits-per-byte",
                wrong=_per_byte(sizes=lambda token_bytes, ids: token_bytes[ids].clamp(min=1).sum()),
            ),
            Mistake(
                "upside down",
                "That is bytes per bit.",
                "bits-per-byte",
                wrong=lambda nats, ids, token_bytes: 1 / _bits_per_byte(nats, ids, token_bytes),
            ),
        ],
        tolerance=1e-4,
    ),
    "02.4": Code(
        reference=_mean_surprise,
        example=(torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([0])),
        cases=_scores,
        mistakes=[
            Mistake(
                "overflow",
                OVERFLOW,
                "the-same-table-learned",
                wrong=_naive,
            ),
            Mistake(
                "overflow",
                OVERFLOW,
                "the-same-table-learned",
                wrong=_log_of_sum,
            ),
            Mistake(
                "underflow",
                "The probability of the target became 0, and its logarithm −inf. Take the logarithm on paper, before "
                "the target is exponentiated.",
                "the-same-table-learned",
                wrong=_log_of_softmax,
            ),
            Mistake(
                "one maximum",
                ONE_MAXIMUM,
                "the-same-table-learned",
                wrong=_one_maximum,
            ),
            Mistake(
                "capped",
                CAPPED,
                "the-same-table-learned",
                sign=_is_capped,
            ),
            Mistake(
                "capped",
                CAPPED,
                "the-same-table-learned",
                wrong=_guarded_surprise,
            ),
            Mistake(
                "sum",
                "That is the sum over the rows; the loss is their mean.",
                "surprise-in-bits",
                wrong=lambda logits, targets: _mean_surprise(logits, targets) * len(targets),
            ),
            Mistake(
                "bits",
                "That is in bits, a factor 1/ln 2 more; the loss is in nats here.",
                "surprise-in-bits",
                wrong=lambda logits, targets: _mean_surprise(logits, targets) / math.log(2),
            ),
            Mistake(
                "sign",
                "The sign is wrong: surprise is never negative.",
                "surprise-in-bits",
                wrong=lambda logits, targets: -_mean_surprise(logits, targets),
            ),
            Mistake(
                "every target",
                "Each row is read at the targets of all rows: [:, targets] makes an (N, N) table.",
                "the-same-table-learned",
                wrong=_every_target,
            ),
            Mistake(
                "columns",
                "The softmax runs down the columns; a prediction is a row.",
                "the-same-table-learned",
                wrong=_down_the_columns,
            ),
            Mistake(
                "no normalizer",
                "These are the logits themselves; softmax divides by the sum of all exponentials.",
                "the-same-table-learned",
                wrong=lambda logits, targets: -logits[torch.arange(len(targets)), targets].mean(),
            ),
            Mistake(
                "shift left out",
                "The maximum is subtracted in one of the two terms only; then it does not cancel.",
                "the-same-table-learned",
                wrong=lambda logits, targets: _mean_surprise(logits, targets) - logits.max(dim=1).values.mean(),
            ),
            Mistake(
                "each row",
                "That is the surprise of each row; the loss is their mean, a tensor without dimensions.",
                "surprise-in-bits",
                wrong=lambda logits, targets: logits.logsumexp(dim=1) - logits[torch.arange(len(targets)), targets],
            ),
        ],
        properties=[Property("shift", _shift_changes, "the-same-table-learned")],
        not_allowed=LOSSES,
    ),
    "02.5": Code(
        reference=_logit_gradient,
        example=(torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([0])),
        cases=_scores,
        mistakes=[
            Mistake(
                "no mean",
                "It is right for one row, and N times too large for N: the loss is a mean over the rows.",
                "which-way-is-down",
                wrong=_gradient(divide=lambda z: 1),
            ),
            Mistake(
                "all entries",
                "V times too small: the mean goes over the N rows, not over all N × V entries.",
                "which-way-is-down",
                wrong=_gradient(divide=lambda z: z.numel()),
            ),
            Mistake(
                "divided by V",
                "Divided by the size of the vocabulary; the mean goes over the N rows.",
                "which-way-is-down",
                wrong=_gradient(divide=lambda z: z.shape[1]),
            ),
            Mistake(
                "sign",
                "The sign is wrong: this is the direction to go, the gradient points uphill.",
                "which-way-is-down",
                wrong=_gradient(sign=-1.0),
            ),
            Mistake(
                "no target",
                "These are the probabilities alone. The right token's logit should be pulled up: something is missing.",
                "which-way-is-down",
                wrong=lambda logits, targets: logits.softmax(dim=1) / len(targets),
            ),
            Mistake(
                "only the target",
                "Only the right token's entry is filled; the others' logits change the sum in the softmax too.",
                "which-way-is-down",
                wrong=_only_the_target,
            ),
            Mistake(
                "every target",
                EVERY_TARGET,
                "which-way-is-down",
                wrong=_one_at_every_target,
            ),
            Mistake(
                "every target",
                EVERY_TARGET,
                "which-way-is-down",
                wrong=_one_at_every_target_repeatedly,
            ),
            Mistake(
                "columns",
                "The softmax runs down the columns; a prediction is a row.",
                "the-same-table-learned",
                wrong=_gradient(p=lambda z: z.softmax(dim=0)),
            ),
            Mistake(
                "overflow",
                OVERFLOW,
                "the-same-table-learned",
                wrong=_gradient(p=_naive_softmax),
            ),
            Mistake(
                "of the probability",
                "That is the gradient of the probability, not of the surprise: the logarithm is missing.",
                "which-way-is-down",
                wrong=_of_the_probability,
            ),
            Mistake(
                "one maximum",
                ONE_MAXIMUM,
                "the-same-table-learned",
                wrong=_gradient(p=lambda z: _naive_softmax(z - z.max())),
            ),
            Mistake(
                "logits for probabilities",
                "1 is taken from the logits; take it from the probabilities.",
                "which-way-is-down",
                wrong=_gradient(p=lambda z: z),
            ),
        ],
        properties=[Property("rows add up to 0", _rows_balance, "which-way-is-down")],
        not_allowed=DERIVATIVES,
    ),
    "02.6": Code(
        reference=_draw,
        example=(torch.tensor([2.0, 1.0, 1.0]).log(), 0.5, torch.tensor([0.1, 0.6, 0.9])),
        cases=_draws,
        mistakes=[
            Mistake(
                "one for all",
                "At temperature 0 it returns a single id. One for each u is expected: N times the same.",
                "drawing-from-it",
                sign=_one_for_all,
            ),
            Mistake(
                "zero",
                "It fails at temperature 0, where there is nothing to divide by: take the largest logit.",
                "drawing-from-it",
                sign=_zero_fails,
            ),
            Mistake(
                "times",
                "The temperature acts the wrong way round: divide the logits by it, so that a low one sharpens.",
                "drawing-from-it",
                wrong=lambda z, t, u: _draw(z * t if t else z, 1.0 if t else 0, u),
            ),
            Mistake(
                "no effect",
                "The temperature has no effect. Dividing probabilities changes nothing once they add up to 1 again; "
                "it must divide the logits, before softmax.",
                "drawing-from-it",
                wrong=lambda z, t, u: _draw(z, 1.0 if t else 0, u),
            ),
            Mistake(
                "sorted",
                "The likeliest token was laid out first. The order is that of the ids.",
                "drawing-from-it",
                wrong=_sorted_first,
            ),
            Mistake(
                "one before",
                "One token too early: the token that is drawn is the one whose end lies beyond u, not the one before.",
                "drawing-from-it",
                wrong=_one_before,
            ),
            Mistake(
                "one after",
                "One token too late: the token that is drawn is the first whose end lies beyond u.",
                "drawing-from-it",
                wrong=_one_after,
            ),
            Mistake(
                "largest",
                "It takes the likeliest token whatever u is; that is right at temperature 0 only.",
                "drawing-from-it",
                wrong=_always_the_largest,
            ),
            Mistake(
                "impossible first",
                IMPOSSIBLE_FIRST,
                "drawing-from-it",
                sign=_draws_the_impossible_first,
            ),
            Mistake(
                "beyond the vocabulary",
                "It returned V, which is no id: rounding can leave the last running sum a little below u.",
                "drawing-from-it",
                sign=_leaves_the_vocabulary,
            ),
            Mistake(
                "impossible last",
                IMPOSSIBLE_LAST,
                "drawing-from-it",
                sign=_draws_the_impossible_last,
            ),
            Mistake(
                "tiny temperature",
                "At temperature 0 equal logits are drawn by u; the first should always win. A tiny number is not 0.",
                "drawing-from-it",
                sign=_tiny_for_zero,
            ),
        ],
        not_allowed=("multinomial",),
    ),
    "02.7": Choice(
        right="c",
        wrong={
            "a": "It would be true if the batches had different lengths. Here each has batch_size × context targets, "
            "so the mean of the means is the mean.",
            "b": "Noise would change when the measurement is repeated, and nothing here is random. The two numbers are "
            "exact answers, but are they answers to the same question?",
            "d": "The extra token is the last target of one piece and the first input of the next: as a target each "
            "token is counted once.",
        },
        section="when-it-goes-wrong",
    ),
}
