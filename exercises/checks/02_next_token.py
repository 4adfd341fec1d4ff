"""The checks of chapter 02: counts, probabilities, surprise, draws."""

import math

import torch

from blueberry_checks import rules
from blueberry_checks.engine.examine import Choice, Code, Mistake


def _texts(g):
    yield torch.tensor([2]), 3
    yield torch.tensor([1, 0]), 3
    yield torch.tensor([1, 1, 1, 1]), 2
    yield torch.randint(4, (12,), generator=g), 6
    yield torch.randint(20, (500,), generator=g), 20


def _tables(g):
    yield torch.zeros(1, 4, dtype=torch.int64), 1.0
    yield torch.tensor([[4, 0, 0], [1, 2, 3]]), 1.0
    yield torch.tensor([[0, 0, 0], [0, 0, 2]]), 0.125
    yield torch.randint(9, (4, 4), generator=g), 0.25
    yield torch.randint(9, (2, 7), generator=g), 0.5
    yield torch.randint(9, (30, 5), generator=g), 1 / 64


def _measured_texts(g):
    for count, vocab in ((1, 3), (5, 4), (60, 10), (400, 30)):
        sizes = torch.randint(1, 9, (vocab,), generator=g)
        ids = torch.randint(1, vocab, (count,), generator=g)
        yield 4 * torch.rand(count, generator=g), ids, sizes
    sizes = torch.tensor([0, 1, 2, 9])
    yield 4 * torch.rand(40, generator=g), torch.arange(40) % 4, sizes


def _draws(g):
    """Logits, temperatures, u clear of the edges; then equal tokens whose float32 sums may end below the largest u."""
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
    for vocab in (49, 97, 700, 998, 1003):
        for impossible in (0, 1):
            logits = torch.zeros(vocab + impossible)
            logits[vocab:] = -math.inf
            yield logits, 1.0, torch.nextafter(torch.ones(1), torch.zeros(1))


def _sorted_first(logits, temperature, u):
    order = logits.argsort(descending=True, stable=True)
    return order[rules("02.4").reference(logits[order], temperature, u)]


EXERCISES = {
    "02.1": Code(
        example=(torch.tensor([0, 1, 1, 2, 0, 1]), 4),
        cases=_texts,
        section="counting-pairs",
        edits=r"""
            reversed:
            ids[:-1] * vocab_size + ids[1:] ~> ids[1:] * vocab_size + ids[:-1]
            Rows are the token that came before, columns the one that followed; yours are the other way round.

            repeats:
            return counts ~> return counts.clamp(max=1)
            A pair that occurs several times counts only once. Assigning to many cells at a time, as in
            counts[before, after] += 1, writes each cell once, however often it is named.

            ring:
            ids[:-1] * vocab_size + ids[1:] ~> ids * vocab_size + ids.roll(-1)
            One pair too many: the last token is followed by nothing, not by the first (torch.roll goes round).

            ids[:-1] ~> ids[:-1:2] && ids[1:] ~> ids[1::2]
            Pairs overlap: the second token of one pair is the first of the next.

            ids[:-1] ~> ids[:-2] && ids[1:] ~> ids[1:-1]
            The last pair of the text is missing. N tokens make N − 1 pairs.

            ids[:-1] ~> ids[1:-1] && ids[1:] ~> ids[2:]
            The first pair of the text is missing. N tokens make N − 1 pairs.

            ids[:-1] ~> ids[:-2] && ids[1:] ~> ids[2:]
            These are tokens two places apart; a pair is a token and the one right after it.

            one row:
            counts.view(vocab_size, vocab_size) ~> counts.view(vocab_size, -1).sum(dim=0).repeat(vocab_size, 1)
            All rows are the same: [[0] * V] * V, or expand, is one row that is named V times.

            return counts.view(vocab_size, vocab_size) ~> counts = counts.view(vocab_size, -1)\nreturn counts + counts.T
            Each pair is counted in both directions. After 'n' comes '=' does not say that after '=' comes 'n'.
        """,
        mistakes=[
            Mistake(
                "one token",
                "It works, but for a text of a single token: no pairs, so every count is 0.",
                "counting-pairs",
                only=lambda ids, vocab_size: len(ids) == 1,
            ),
        ],
    ),
    "02.2": Code(
        example=(torch.tensor([[2, 0, 1], [0, 0, 0]]), 0.5),
        cases=_tables,
        section="from-counts-to-probabilities",
        not_allowed=("softmax", "normalize"),
        edits="""
            columns:
            dim=1 ~> dim=0
            Your columns add up to 1. A row is the prediction after one token; the rows must.

            more.sum(dim=1, keepdim=True) ~> more.sum()
            The whole table adds up to 1. Each row by itself must.

            more.sum ~> counts.sum
            The rows add up to more than 1: alpha went into the counts, but not into what you divide by.

            alpha once in the sum:
            more.sum(dim=1, keepdim=True) ~> (counts.sum(dim=1, keepdim=True) + alpha)
            The rows add up to more than 1: each of the V counts got its alpha, so the sum grew by V of them.

            rows for columns:
            more.sum(dim=1, keepdim=True) ~> (counts.sum(dim=1, keepdim=True) + alpha * len(counts))
            It is right for square tables only: V is the number of columns, here you took the number of rows.

            , keepdim=True ~>
            Column j is divided by the sum of row j, or the shapes do not fit at all. Sums of shape (R, 1) divide row by
            row; sums of shape (R,) lie along the columns.

            alpha cut off:
            counts + alpha ~> counts + int(alpha)
            return more ~> return (counts + int(alpha))
            alpha loses its fraction: a tensor of whole numbers can't hold 0.5.

            counts + alpha ~> torch.where(counts == 0, alpha, counts.float())
            Only the zeros were raised; alpha is added to every count.

            counts + alpha ~> counts
            counts + alpha ~> counts && return more ~> return (more && =True) ~> =True)).nan_to_num(1 / counts.shape[1])
            alpha has no effect: what never occurred in a row with counts is still impossible.

            counts + alpha ~> counts + alpha / counts.shape[1]
            alpha is shared out among the V counts of a row. Each count gets all of it.

            divided first:
            counts + alpha ~> counts / counts.sum(dim=1, keepdim=True) + alpha
            counts + alpha ~> counts / counts.sum(dim=1, keepdim=True).clamp(min=1) + alpha
            / more.sum(dim=1, keepdim=True) ~> && counts + alpha ~> counts / counts.sum(dim=1, keepdim=True) + alpha
            / more.sum(dim=1, keepdim=True) ~> && counts + ~> counts / counts.sum(dim=1, keepdim=True).clamp(min=1) +
            It divides before alpha is added. alpha belongs to the counts: add first, then divide by the new sum; a row
            without counts is no 0/0 then either.

            more / more.sum(dim=1, keepdim=True) ~> more.softmax(dim=1)
            Softmax takes exponentials of the counts; here they are to be shared out as they are.

            / more.sum(dim=1, keepdim=True) ~>
            more.sum(dim=1, keepdim=True) ~> counts.shape[1]
            more.sum(dim=1, keepdim=True) ~> counts.sum()
            more.sum(dim=1, keepdim=True) ~> (counts.sum(dim=1, keepdim=True) + alpha * counts.numel())
            more.sum(dim=1, keepdim=True) ~> more.sum(dim=1, keepdim=True).clamp(min=1)
            more.sum(dim=1, keepdim=True) ~> more.max(dim=1, keepdim=True).values
            The rows do not add up to 1: each has to be divided by its own sum.
        """,
    ),
    "02.3": Code(
        example=(torch.tensor([2.0, 1.0, 2.0, 1.0]), torch.tensor([2, 1, 2, 0]), torch.tensor([0, 1, 4])),
        cases=_measured_texts,
        section="bits-per-byte",
        tolerance=1e-4,
        edits="""
            / math.log(2) ~>
            That is in nats per byte. One bit is ln 2 = 0.693 nats.

            wrong way [surprise-in-bits]:
            / math.log(2) ~> * math.log(2)
            The conversion goes the wrong way: a nat is more than a bit, so the number must grow.

            nats.sum() / math.log(2) ~> nats.log2().sum()
            nats.sum() / math.log(2) ~> -nats.log2().sum()
            nats.sum() / math.log(2) ~> nats.sum().log2()
            nats.sum() ~> nats.exp().sum()
            The surprise is a logarithm already. From nats to bits is a division, no other logarithm, no exponential.

            .item() ~> .double().round(decimals=2).item()
            .item() ~> .double().round(decimals=4).item()
            It is rounded. Return what comes out, and round where you print.

            mean of ratios:
            bits / token_bytes[ids].sum() ~> (nats / math.log(2) / token_bytes[ids]).mean()
            bits / token_bytes[ids].sum() ~> (nats / math.log(2) / token_bytes[ids].clamp(min=1)).mean()
            bits / token_bytes[ids].sum() ~> (nats / math.log(2) / token_bytes[ids])[token_bytes[ids] > 0].mean()
            A mean of each token's bits per byte: a short token weighs as much as a long one. Divide the sums.

            bits / token_bytes[ids].sum() ~> (nats / math.log(2) / token_bytes[ids].clamp(min=1)).sum()
            bits / token_bytes[ids].sum() ~> (nats / math.log(2) / token_bytes[ids]).sum()
            A sum of each token's bits per byte, which grows with the text. Divide the sums.

            token_bytes[ids].sum() ~> len(ids)
            That is bits per token; it changes with the tokenizer. Divide by the bytes of the text.

            whole vocabulary:
            token_bytes[ids].sum() ~> token_bytes.sum()
            These are the bytes of the whole vocabulary. Look up those of the tokens that stand in the text.

            token_bytes[ids] ~> token_bytes[ids.unique()]
            Each entry's bytes count once, however often it stands in the text.

            nats.sum() ~> nats.mean()
            token_bytes[ids].sum() ~> token_bytes[ids].float().mean()
            A mean is divided by a sum, or a sum by a mean. Sum over sum, or mean over mean.

            end left out:
            nats.sum() ~> nats[token_bytes[ids] > 0].sum()
            The surprise at the end-of-text token counts as well: the file has to say where a text ends.

            end as a byte:
            token_bytes[ids].sum() ~> token_bytes[ids].clamp(min=1).sum()
            The end-of-text token was given a byte; it stands for none.
        """,
    ),
    "02.4": Code(
        example=(torch.tensor([2.0, 1.0, 1.0]).log(), 0.5, torch.tensor([0.1, 0.6, 0.9])),
        cases=_draws,
        section="drawing-from-it",
        not_allowed=("multinomial",),
        edits=r"""
            .expand(len(u)) ~>
            At temperature 0 it returns a single id. One for each u is expected: N times the same.

            tiny temperature:
            if temperature == 0: ~> temperature = max(temperature, 1e-6)\nif False:
            At temperature 0 equal logits are drawn by u; the first should always win. A tiny number is not 0.

            times:
            logits / temperature ~> logits * temperature
            logits / temperature ~> logits * temperature && temperature == 0 ~> False
            The temperature acts the wrong way round: divide the logits by it, so that a low one sharpens.

            no effect:
            logits / temperature ~> logits
            logits / temperature ~> logits && temperature == 0 ~> False
            The temperature has no effect. Dividing probabilities changes nothing once they add up to 1 again; it must
            divide the logits, before softmax.

            (logits / temperature).softmax(dim=0) ~> (logits.softmax(dim=0) / temperature)
            (logits / temperature).softmax(dim=0) ~> (logits.softmax(dim=0) ** (1 / temperature))
            The temperature acts on the probabilities, which no longer add up to 1. It must divide the logits.

            return drawn.clamp(max=last) ~> return (drawn - 1).clamp(min=0)
            return drawn.clamp(max=last) ~> return drawn - 1
            One token too early: the token that is drawn is the one whose end lies beyond u, not the one before.

            return drawn.clamp(max=last) ~> return drawn + 1
            return drawn.clamp(max=last) ~> return (drawn + 1).clamp(max=last)
            One token too late: the token that is drawn is the first whose end lies beyond u.

            temperature == 0 ~> True
            It takes the likeliest token whatever u is; that is right at temperature 0 only.

            impossible first:
            ends <= u ~> ends < u
            With logits = [−inf, 0, 0] and u = 0 it draws token 0, which is impossible: the running sum must be greater,
            not equal.

            beyond the vocabulary:
            .clamp(max=last) ~>
            It returned V, which is no id: rounding can leave the last running sum a little below u.

            impossible last:
            last = logits.isfinite().nonzero().max() ~> last = len(logits) - 1
            With −inf as the last logit it can draw that token: rounding may leave the running sum below u to the end.
            Then take the last token that is possible, which need not be V − 1.

            nothing beyond u:
            return drawn.clamp(max=last) ~> return (ends > u[:, None]).int().argmax(dim=1)
            Where rounding leaves all running sums below u, none is greater, and the argmax of zeros is 0. Take the last
            possible token then.

            .cumsum(dim=0) ~>
            Each u is compared with the probabilities themselves. Lay them end to end: running sums.
        """,
        mistakes=[
            Mistake(
                "sorted",
                "The likeliest token was laid out first. The order is that of the ids.",
                "drawing-from-it",
                wrong=_sorted_first,
            ),
            Mistake(
                "zero",
                "It fails at temperature 0: take the largest logit there, the first of equals, once for each u.",
                "drawing-from-it",
                only=lambda logits, temperature, u: temperature == 0,
            ),
            Mistake(
                "overflow",
                "Where a logit over the temperature exceeds 88, its exponential is inf. Subtract the largest.",
                "drawing-from-it",
                only=lambda logits, temperature, u: temperature > 0 and logits.max() / temperature > 88,
            ),
        ],
    ),
    "02.5": Choice(
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
