"""The checks of chapter 13: the score of an answer, a paired test, a suspicious table, contamination, attempts."""

import math

import torch

from blueberry_checks.engine.examine import Choice, Code, Number

FEW = "Too few: the best of twenty still reaches 30 % in more than 5 % of the contests."
MANY = "It holds there, but fewer questions are enough."
ONE = "That is about enough for one guesser. Twenty attempts find a lucky one far more often."


def _texts(g):
    """Logits, ids and where the answer begins: at once, in the middle, at the last token."""
    for T, V, start in ((2, 3, 1), (6, 4, 1), (9, 7, 4), (5, 11, 4), (30, 5, 12)):
        yield 2 * torch.randn(T, V, generator=g), torch.randint(V, (T,), generator=g), start


def _answers(g):
    """Two models: alike, one far better, the other far better, as many wins each, the same answers."""
    for n, p, q in ((12, 0.5, 0.5), (20, 0.9, 0.3), (25, 0.2, 0.8), (60, 0.6, 0.5), (40, 0.5, 0.65)):
        yield torch.rand(n, generator=g) < p, torch.rand(n, generator=g) < q
    yield torch.tensor([True, False, True, False]), torch.tensor([False, True, True, False])
    yield torch.tensor([True, False, True]), torch.tensor([True, False, True])


def _library(g):
    """Texts of words from a small vocabulary, so that runs are shared, across borders and in other orders too."""
    words = [f"w{i}" for i in range(12)]

    def text(length):
        return " ".join(words[i] for i in torch.randint(12, (length,), generator=g).tolist())

    yield ["a b c", "c d", "a"], ["a b", "c d e", "b c"], 2
    yield ["x y", "p q r s", "s r q p"], ["x", "y", "o p q r s", "s q r p"], 3
    yield ["one two three", "five"], ["zero one two three"], 3
    yield ["a  b\n c", "c b a"], ["z a b c"], 3
    for n, count in ((1, 2), (2, 6), (3, 40), (4, 80)):
        yield [text(7) for _ in range(8)] + [text(n), ""], [text(10) for _ in range(count)], n


EXERCISES = {
    "13.1": Code(
        example=(torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)], [5.0, 5.0]]), torch.tensor([0, 1, 1]), 1),
        cases=_texts,
        section="which-answer-is-more-probable",
        not_allowed=("cross_entropy", "cross_entropy_loss", "nll_loss", "CrossEntropyLoss", "NLLLoss"),
        edits="""
            same row:
            logits[start - 1 : -1] ~> logits[start:]
            Row t is used for the token at t. It is made after that token was read, and speaks about the next one.

            mean:
            .sum() ~> .mean()
            That is the mean per token. Asked for is the sum, the logarithm of the whole answer's probability.

            context:
            logits[start - 1 : -1] ~> logits[:-1] && ids[start:] ~> ids[1:]
            The context's tokens are counted too. They are read, and only the answer is scored.

            late:
            logits[start - 1 : -1] ~> logits[start:-1] && ids[start:] ~> ids[start + 1:]
            The answer's first token is left out. It is predicted by the context's last row, start - 1.

            sign:
            return log_p ~> return -log_p
            That is the surprise, a loss. A log-probability is never above 0.

            probability:
            .sum() ~> .exp().prod()
            That is the probability itself; asked for is its logarithm, which does not underflow for long answers.

            no softmax:
            .log_softmax(dim=1) ~>
            These are sums of logits. Logarithms of probabilities are what log_softmax makes of each row.

            .log_softmax(dim=1) ~> .softmax(dim=1)
            Probabilities are added up. Of independent steps the logarithms add.

            bits:
            .sum() ~> .sum() / math.log(2)
            That is in bits; the score is in nats, the natural logarithm.

            columns:
            dim=1 ~> dim=0
            The softmax runs over the positions. Each row is a prediction of its own.
        """,
    ),
    "13.2": Code(
        example=(torch.tensor([True] * 6 + [False] * 2), torch.tensor([True] + [False] * 7)),
        cases=_answers,
        section="in-pairs-again",
        not_allowed=("binomtest", "binom", "mcnemar", "binom_test"),
        edits="""
            one-sided:
            2 * tail ~> tail
            Only one tail is counted. Either model could have been the better one, so the probability is doubled.

            all questions:
            n = a + b ~> n = len(first)
            The tosses are those questions on which exactly one model is right, not all of them.

            not capped:
            min(1.0, 2 * tail / 2**n) ~> 2 * tail / 2**n
            Where both win equally many, the two tails overlap and the sum exceeds 1. A probability does not.

            no tail:
            sum(math.comb(n, i) for i in range(min(a, b) + 1)) ~> math.comb(n, min(a, b))
            That is the probability of exactly k heads. The p-value asks for k *or fewer*.

            fewer:
            range(min(a, b) + 1) ~> range(min(a, b))
            The case that was observed is missing: k or fewer heads includes k.

            side:
            min(a, b) + 1 ~> a + 1
            min(a, b) + 1 ~> b + 1
            The tail is that of one fixed model. It should be that of whichever won fewer.

            min(a, b) + 1 ~> max(a, b) + 1
            The tail is taken up to the larger count; it goes up to the smaller one.
        """,
    ),
    "13.3": Choice(
        right="b",
        wrong={
            "a": "The two numbers are equal within the noise, but compare them with 41 %, what the shortest answer scores.",
            "c": "A lower loss and a higher normalised score fit together without that. Nothing here speaks of the text.",
            "d": "The two scores answer different questions, and either may be larger. Look at the fourth row.",
        },
        section="longer-answers-are-less-probable",
    ),
    "13.4": Code(
        example=(["the cat sat on the mat", "a dog ran"], ["we saw the cat sat on", "on the mat a dog"], 4),
        cases=_library,
        section="has-it-seen-the-questions",
        edits="""
            joined:
            for document in documents: ~> for document in [' '.join(documents)]:
            Runs across the border of two documents are counted: nobody wrote those.

            whole question:
            not read.isdisjoint(runs(question)) ~> any(question in document for document in documents)
            That finds a question only where all of it was copied; n words in a row are enough.

            last run:
            len(words) - n + 1 ~> len(words) - n
            The last run of each text is missing: w words have w - n + 1 runs.

            any order:
            not read.isdisjoint(runs(question)) ~> any(len(set(question.split()) & set(d.split())) >= n for d in documents)
            n common words, wherever they stand, are counted. They must stand in a row, in the same order.

            order in a run:
            tuple(words[i : i + n]) ~> frozenset(words[i : i + n])
            tuple(words[i : i + n]) ~> tuple(sorted(words[i : i + n]))
            Runs with the same words in another order are taken as equal.

            inverted:
            not read.isdisjoint ~> read.isdisjoint
            True and False are exchanged.

            all runs:
            not read.isdisjoint(runs(question)) ~> runs(question) <= read
            All runs of the question must be found there; one is enough.

            last document:
            read |= runs(document) ~> read = runs(document)
            Only the last document is left: the set begins anew each time.

            characters:
            text.split() ~> text
            The runs are of characters. A word is what text.split() gives.

            single spaces:
            text.split() ~> text.split(" ")
            Split at single spaces, a line break or two spaces make other words. split() takes any white space.
        """,
    ),
    "13.5": Number(
        value=637.0,
        within=17.0,
        wrong=[
            (0.0, 5.0, "That is a share. Asked for is the number of questions."),
            (180.0, 320.0, ONE),
            (5.0, 180.0, FEW),
            (320.0, 619.9, FEW),
            (654.1, 1e9, MANY),
        ],
        section="the-best-of-twenty",
    ),
}
