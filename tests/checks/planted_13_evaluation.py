"""Wrong and right answers to the exercises of chapter 13.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import itertools
import math

import torch
from checks.planting import Planted, Wrong

FEW = "Too few: the best of twenty still reaches 30 % in more than 5 % of the contests."
MANY = "It holds there, but fewer questions are enough."
ONE = "That is about enough for one guesser. Twenty attempts find a lucky one far more often."

# --- 13.1, from the text alone


def wrong_1_same_row(logits, ids, start):
    """Row t for token t."""
    log_p = logits[start:].log_softmax(dim=-1)
    return log_p.gather(1, ids[start:, None]).sum()


def wrong_1_mean(logits, ids, start):
    """Per token."""
    log_p = logits[start - 1 : -1].log_softmax(dim=-1)
    return log_p.gather(1, ids[start:, None]).mean()


def wrong_1_context_too(logits, ids, start):
    """The whole text."""
    log_p = logits[:-1].log_softmax(dim=-1)
    return log_p.gather(1, ids[1:, None]).sum()


def wrong_1_first_token_left_out(logits, ids, start):
    """Begins one token late."""
    log_p = logits[start:-1].log_softmax(dim=-1)
    return log_p.gather(1, ids[start + 1 :, None]).sum()


def wrong_1_surprise(logits, ids, start):
    """The sign of a loss."""
    log_p = logits[start - 1 : -1].log_softmax(dim=-1)
    return -log_p.gather(1, ids[start:, None]).sum()


def wrong_1_probability(logits, ids, start):
    """The product itself."""
    p = logits[start - 1 : -1].softmax(dim=-1)
    return p.gather(1, ids[start:, None]).prod()


def wrong_1_raw_logits(logits, ids, start):
    """Forgets the softmax."""
    return logits[start - 1 : -1].gather(1, ids[start:, None]).sum()


def correct_1_loop(logits, ids, start):
    """Token by token in double."""
    total = 0.0
    for t in range(start, len(ids)):
        row = logits[t - 1].double()
        total += float(row[ids[t]] - row.logsumexp(0))
    return torch.tensor(total, dtype=torch.float32)


def correct_1_whole_then_cut(logits, ids, start):
    each = torch.take_along_dim(logits[:-1].log_softmax(-1), ids[1:, None], 1)[:, 0]
    return each[start - 1 :].sum()


# --- 13.2, from the text alone


def wrong_2_one_sided(first, second):
    a, b = int((first & ~second).sum()), int((second & ~first).sum())
    return sum(math.comb(a + b, i) for i in range(min(a, b) + 1)) / 2 ** (a + b)


def wrong_2_all_questions(first, second):
    """Tosses for all questions, those with equal answers too."""
    n, k = len(first), min(int((first & ~second).sum()), int((second & ~first).sum()))
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def wrong_2_not_capped(first, second):
    a, b = int((first & ~second).sum()), int((second & ~first).sum())
    return 2 * sum(math.comb(a + b, i) for i in range(min(a, b) + 1)) / 2 ** (a + b)


def wrong_2_point_probability(first, second):
    """Exactly k, without the tail."""
    a, b = int((first & ~second).sum()), int((second & ~first).sum())
    return min(1.0, 2 * math.comb(a + b, min(a, b)) / 2 ** (a + b))


def wrong_2_fewer_than(first, second):
    """Fewer than k heads."""
    a, b = int((first & ~second).sum()), int((second & ~first).sum())
    return min(1.0, 2 * sum(math.comb(a + b, i) for i in range(min(a, b))) / 2 ** (a + b))


def correct_2_by_tosses(first, second):
    """The distribution built toss by toss."""
    differ = first != second
    p = [1.0]
    for _ in range(int(differ.sum())):
        p = [(x + y) / 2 for x, y in zip([*p, 0.0], [0.0, *p], strict=True)]
    wins = int((first & differ).sum())
    k = min(wins, int(differ.sum()) - wins)
    return min(1.0, 2 * math.fsum(p[: k + 1]))


def correct_2_lists(first, second):
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    a, b = pairs.count((True, False)), pairs.count((False, True))
    tail = math.fsum(math.comb(a + b, i) * 0.5 ** (a + b) for i in range(max(a, b), a + b + 1))
    return min(1.0, tail + tail)


# --- 13.4, from the text alone


def wrong_4_joined(questions, documents, n):
    """All documents as one text."""
    words = " ".join(documents).split()
    read = {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
    return [any(tuple(q[i : i + n]) in read for i in range(len(q) - n + 1)) for q in (one.split() for one in questions)]


def wrong_4_whole_question(questions, documents, n):
    return [any(question in document for document in documents) for question in questions]


def wrong_4_last_run_missed(questions, documents, n):
    """range without the + 1."""

    def runs(text):
        words = text.split()
        return {tuple(words[i : i + n]) for i in range(len(words) - n)}

    read = set().union(*map(runs, documents))
    return [bool(runs(question) & read) for question in questions]


def wrong_4_words_in_any_order(questions, documents, n):
    """n common words, wherever they stand."""
    return [any(len(set(q.split()) & set(d.split())) >= n for d in documents) for q in questions]


def wrong_4_one_answer(questions, documents, n):
    def runs(text):
        words = text.split()
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    read = set().union(*map(runs, documents))
    return any(runs(question) & read for question in questions)


def correct_4_strings(questions, documents, n):
    """Runs as joined strings."""
    read = set()
    for document in documents:
        words = document.split()
        for end in range(n, len(words) + 1):
            read.add(" ".join(words[end - n : end]))
    answers = []
    for question in questions:
        words = question.split()
        answers.append(any(" ".join(words[end - n : end]) in read for end in range(n, len(words) + 1)))
    return answers


def correct_4_zip(questions, documents, n):
    def runs(text):
        return set(zip(*(itertools.islice(text.split(), i, None) for i in range(n)), strict=False))

    wanted = [runs(question) for question in questions]
    hit = [False] * len(wanted)
    for document in documents:
        here = runs(document)
        hit = [h or bool(w & here) for h, w in zip(hit, wanted, strict=True)]
    return hit


# --- written with the checkers at hand


def score_bits(logits, ids, start):
    log_p = logits[start - 1 : -1].log_softmax(dim=-1) / math.log(2)
    return log_p.gather(1, ids[start:, None]).sum()


def score_borrowed(logits, ids, start):
    return -torch.nn.functional.cross_entropy(logits[start - 1 : -1], ids[start:], reduction="sum")


def paired_wrong_side(first, second):
    a, b = int((first & ~second).sum()), int((second & ~first).sum())
    return min(1.0, 2 * sum(math.comb(a + b, i) for i in range(a + 1)) / 2 ** (a + b))


def runs_as_sets(questions, documents, n):
    def runs(text):
        words = text.split()
        return {frozenset(words[i : i + n]) for i in range(len(words) - n + 1)}

    read = set().union(*map(runs, documents))
    return [bool(runs(question) & read) for question in questions]


PLANTED = {
    "13.1": Planted(
        correct=[correct_1_loop, correct_1_whole_then_cut],
        wrong=[
            Wrong(wrong_1_same_row, "same row", from_text=True),
            Wrong(wrong_1_mean, "mean", from_text=True),
            Wrong(wrong_1_context_too, "context", from_text=True),
            Wrong(wrong_1_first_token_left_out, "late", from_text=True),
            Wrong(wrong_1_surprise, "sign", from_text=True),
            Wrong(wrong_1_probability, "probability", from_text=True),
            Wrong(wrong_1_raw_logits, "no softmax", from_text=True),
            Wrong(score_bits, "bits"),
            Wrong(score_borrowed, "library"),
        ],
    ),
    "13.2": Planted(
        correct=[correct_2_by_tosses, correct_2_lists],
        wrong=[
            Wrong(wrong_2_one_sided, "one-sided", from_text=True),
            Wrong(wrong_2_all_questions, "all questions", from_text=True),
            Wrong(wrong_2_not_capped, "not capped", from_text=True),
            Wrong(wrong_2_point_probability, "no tail", from_text=True),
            Wrong(wrong_2_fewer_than, "fewer", from_text=True),
            Wrong(paired_wrong_side, "side"),
        ],
    ),
    "13.3": Planted(
        correct=["B", " b) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("c", "c", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("acc", "type", from_text=True),
        ],
    ),
    "13.4": Planted(
        correct=[correct_4_strings, correct_4_zip],
        wrong=[
            Wrong(wrong_4_joined, "joined", from_text=True),
            Wrong(wrong_4_whole_question, "whole question", from_text=True),
            Wrong(wrong_4_last_run_missed, "last run", from_text=True),
            Wrong(wrong_4_words_in_any_order, "any order", from_text=True),
            Wrong(wrong_4_one_answer, "type", from_text=True),
            Wrong(runs_as_sets, "order in a run"),
        ],
    ),
    "13.5": Planted(
        correct=[650, 640.0, 625],
        wrong=[
            Wrong(240, ONE, from_text=True),
            Wrong(500, FEW, from_text=True),
            Wrong(600, FEW, from_text=True),
            Wrong(800, MANY, from_text=True),
            Wrong("650", "type", from_text=True),
            Wrong(-5, "value"),
        ],
    ),
}
