"""The checks of chapter 03: cross-entropy, its gradient, accumulation, a run that diverged, a rate."""

import math

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake, Number

CRAWLS = "Too small: after 50 steps the run is still on its way down."
TOO_LARGE = "Too large: it learns fast at first, and the held-out loss ends higher."
LOSSES = (
    "cross_entropy", "cross_entropy_loss", "nll_loss", "log_softmax", "logsumexp", "logaddexp",
    "CrossEntropyLoss", "NLLLoss", "LogSoftmax",
)  # fmt: skip
DERIVATIVES = (
    "backward", "grad", "requires_grad_", "jacrev", "jacfwd", "jacobian", "vjp", "cross_entropy", "cross_entropy_loss",
)  # fmt: skip


def _scores(g):
    """Logits and targets: small; rows and columns of unlike number; then large, and rows of unlike size."""
    yield torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([1])
    yield torch.randn(2, 3, generator=g), torch.tensor([2, 0])
    yield torch.randn(7, 4, generator=g), torch.randint(4, (7,), generator=g)
    yield 2 * torch.randn(33, 50, generator=g), torch.randint(50, (33,), generator=g)
    yield torch.tensor([[1000.0, 0.0]]), torch.tensor([1])
    yield torch.tensor([[1000.0, -1000.0, 999.0], [0.0, 1.0, 2.0]]), torch.tensor([0, 1])
    yield torch.tensor([[-1000.0, -1001.0], [-500.0, 3.0]]), torch.tensor([1, 0])


def _is_capped(answer):
    surprises = [float(answer(torch.tensor([[x, 0.0]]), torch.tensor([1]))) for x in (200.0, 400.0)]
    return all(map(math.isfinite, surprises)) and max(surprises) < 150 and surprises[0] > 5


def _batch(inputs, targets):
    return torch.tensor(inputs), torch.tensor(targets)


def _cut_texts(g):
    """Tables, and batches of them: one; two of unlike size; many, with tokens that come again and again."""
    for vocab, sizes in ((2, [3]), (3, [1, 4]), (5, [2, 9, 1, 6]), (12, [40, 3, 17])):
        texts = [torch.randint(vocab, (2, n), generator=g) for n in sizes]
        yield torch.randn(vocab, vocab, generator=g), [(text[0], text[1]) for text in texts]


EXERCISES = {
    "03.1": Code(
        example=(torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([0])),
        cases=_scores,
        section="the-same-table-learned",
        not_allowed=LOSSES,
        edits=r"""
            overflow:
            - logits.max(dim=1, keepdim=True).values ~>
            - logits.max(dim=1, keepdim=True).values ~> && log_total - chosen ~> -(chosen.exp() / log_total.exp()).log()
            exp(1000) is inf in float32. Subtract something from each row first; the probabilities stay the same.

            underflow:
            shifted = ~> return -logits.softmax(dim=1)[range(len(logits)), targets].log().mean()\nshifted =
            logits.max(dim=1, keepdim=True).values ~> logits.gather(1, targets[:, None])
            Where the target's logit is far below the largest of its row, it comes out as inf: the target's probability
            became 0, or (shifted by the target) another exponential inf. Take the logarithm on paper, and shift by the
            largest.

            one maximum:
            logits.max(dim=1, keepdim=True).values ~> logits.max()
            One maximum for the whole batch: in a row of much smaller logits all exponentials are 0. A row has its own.

            sum:
            .mean() ~> .sum()
            That is the sum over the rows; the loss is their mean.

            bits:
            .mean() ~> .mean() / math.log(2)
            sum(dim=1).log() ~> sum(dim=1).log2()
            That is in bits, wholly or in one term: log2, or a factor 1/ln 2 more. The loss is in nats here.

            every target:
            .gather(1, targets[:, None])[:, 0] ~> [:, targets] && log_total - ~> log_total[:, None] -
            Each row is read at the targets of all rows: [:, targets] makes an (N, N) table.

            max(dim=1, ~> max(dim=0, && sum(dim=1) ~> sum(dim=0) && log_total - ~> log_total[targets] -
            The softmax runs down the columns; a prediction is a row.

            log_total - chosen ~> -logits.gather(1, targets[:, None])
            log_total - chosen ~> -chosen
            These are the logits themselves; softmax divides by the sum of all exponentials.

            - chosen ~> - logits.gather(1, targets[:, None])[:, 0]
            log_total - ~> log_total + logits.max(dim=1).values -
            The maximum is subtracted in one of the two terms only; then it does not cancel.

            .mean() ~>
            That is the surprise of each row; the loss is their mean, a tensor without dimensions.

            (log_total - chosen).mean() ~> -(chosen - log_total).exp().mean().log()
            The logarithm of the mean probability is not the mean of the logarithms: each row has its own surprise.

            (log_total - chosen).mean() ~> -(chosen - log_total).exp().mean()
            (log_total - chosen).mean() ~> (chosen - log_total).exp().mean()
            That is the probability of the targets. Their surprise is minus its logarithm.

            shifted = ~> return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()\nshifted =
            That is the entropy: how surprised the model expects to be. Asked for is its surprise at the targets.
        """,
        mistakes=[
            Mistake(
                "capped",
                "Surprises stop growing at some point: a small number inside the logarithm, or a clamp, hides the "
                "underflow. A surprise of 1,000 nats must come out as 1,000.",
                "the-same-table-learned",
                sign=_is_capped,
            ),
        ],
    ),
    "03.2": Code(
        example=(torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([0])),
        cases=_scores,
        section="which-way-is-down",
        not_allowed=DERIVATIVES,
        edits=r"""
            no mean:
            / len(targets) ~>
            It is right for one row, and N times too large for N: the loss is a mean over the rows.

            all entries:
            / len(targets) ~> / logits.numel()
            V times too small: the mean goes over the N rows, not over all N × V entries.

            / len(targets) ~> / logits.shape[1]
            Divided by the size of the vocabulary; the mean goes over the N rows.

            sign:
            return gradient ~> return -gradient
            The sign is wrong: this is the direction to go, the gradient points uphill.

            -= 1 ~> -= 0
            These are the probabilities alone. The right token's logit should be pulled up: something is missing.

            -= 1 ~> += 1
            1 is added at the target. With a larger logit there the loss falls: the gradient is negative.

            -= 1 ~> = -1
            -= 1 ~> = 1
            The target's entry is set to a number of its own; its probability counts there too.

            return gradient ~> return gradient * F.one_hot(targets, logits.shape[1])
            Only the right token's entry is filled; the others' logits change the sum in the softmax too.

            every target:
            torch.arange(len(targets)), targets ~> :, targets
            [torch.arange(len(targets)), targets] -= 1 ~> -= F.one_hot(targets, logits.shape[1]).sum(dim=0)
            1 is taken away in every row at the targets of all rows; each row has only its own.

            dim=1 ~> dim=0
            The softmax runs down the columns; a prediction is a row.

            overflow [the-same-table-learned]:
            logits.softmax(dim=1) ~> logits.exp() / logits.exp().sum(dim=1, keepdim=True)
            exp(1000) is inf in float32. Subtract something from each row first; the probabilities stay the same.

            return gradient ~> return logits.softmax(dim=1).gather(1, targets[:, None]) * -gradient
            return gradient ~> return logits.softmax(dim=1).gather(1, targets[:, None]) * gradient
            That is the gradient of the probability, not of the surprise: the logarithm is missing.

            logits.softmax(dim=1) ~> (logits - logits.max()).exp()\ngradient /= gradient.sum(dim=1, keepdim=True)
            One maximum for the whole batch: in a row of much smaller logits every exponential becomes 0.

            logits.softmax(dim=1) ~> logits.clone()
            logits.softmax(dim=1) ~> logits.log_softmax(dim=1)
            1 is taken from the logits, or from logarithms; take it from the probabilities.

            / len(targets) ~> && -= 1 ~> -= 1 / len(targets)
            return gradient / len(targets) ~> return gradient && dim=1) ~> dim=1) / len(targets)
            Only one of the two terms is divided by N. The mean goes over both.

            return gradient ~> return -F.one_hot(targets, logits.shape[1]) / logits.softmax(dim=1)
            That is the derivative by the target's probability. Asked for is the one by the logits: the chain goes on.

            logits.softmax(dim=1) ~> logits.softmax(dim=1) * (1 - logits.softmax(dim=1))
            p(1 − p) is how a probability changes with its own logit. The logarithm in the loss makes p − 1 of it.
        """,
    ),
    "03.3": Code(
        example=(torch.zeros(2, 2), [_batch([0], [1]), _batch([0, 1, 1], [0, 0, 1])]),
        cases=_cut_texts,
        section="clipping-and-accumulating",
        edits="""
            mean of means:
            / total ~> / len(targets) / len(batches)
            A mean of the batches' means: a token of a short batch counts more than one of a long batch. Add up over
            all tokens, and divide once.

            sum of means:
            / total ~> / len(targets)
            Each batch's own mean, added up: with more batches the gradient grows.

            no division:
            / total ~>
            That is the gradient of the sum over all tokens; asked for is the one of their mean.

            / total ~> / len(batches)
            Divided by the number of batches. The mean is over tokens.

            / total ~> / total / len(batches)
            Divided once too often: by all tokens, and by the number of batches as well.

            last batch:
            gradient.index_add_(0, inputs, error / total) ~> gradient = torch.zeros_like(W).index_add_(0, inputs, error / total)
            Only the last batch is left: the gradient begins anew inside the loop.

            repeats:
            gradient.index_add_(0, inputs, error / total) ~> gradient[inputs] += error / total
            A token that comes several times in a batch counts once: += with an index tensor writes each row once.

            -= 1 ~> -= 0
            These are the probabilities alone. 1 is taken away at each target.

            gradient.index_add_(0, inputs, ~> gradient.index_add_(0, targets, 
            The rows are those of the targets. W[x] looks up the row of the input, so the gradient belongs there.

            return gradient ~> return -gradient
            The sign is wrong: this is the direction to go, the gradient points uphill.

            sum(len(targets) for _, targets in batches) ~> len(batches[-1][1])
            Divided by the size of one batch; the mean is over the tokens of all.
        """,
    ),
    "03.4": Choice(
        right="c",
        wrong={
            "a": "The column shows the training loss. Overfitting makes that one smaller, and the held-out loss larger.",
            "b": "The gradient is taken over all points, so there is no unlucky batch; and the growth is steady.",
            "d": "float32 ends near 1e38, far above anything here. An overflow would be the end of such a run, not its "
            "cause.",
        },
        section="a-parabola-first",
    ),
    "03.5": Number(
        value=23.0,
        within=7.0,
        wrong=[
            (2.8, 3.0, "That is a loss, or a very small rate: asked for is the learning rate itself."),
            (0.0, 16.0, CRAWLS),
            (30.0, 1e9, TOO_LARGE),
        ],
        section="a-parabola-first",
    ),
}
