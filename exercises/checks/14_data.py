"""The exercises of chapter 14: smallest hash values, bands, families that stay together, and two faults."""

import random
from itertools import pairwise

import torch

from blueberry_checks.engine.rules import Choice, Code, Mistake, Number

PRIME = 2**31 - 1


def _sets(g):
    """Pairs of sets of several sizes and overlaps, with K functions; some elements are listed twice."""
    for n, m, common, count in ((1, 1, 1, 4), (5, 3, 2, 40), (30, 40, 20, 64), (200, 60, 50, 100), (9, 9, 9, 20)):
        items = torch.randint(0, PRIME, (n + m,), generator=g)
        first, second = items[:n], torch.cat([items[:common], items[n : n + m - common]])
        second = torch.cat([second, second[:1]])[torch.randperm(m + 1, generator=g)]
        a, b = (torch.randint(1, PRIME, (count,), generator=g) for _ in range(2))
        yield first, second, a, b


def _signatures(g):
    for count, columns, bands, values in (
        (1, 4, 2, 3),
        (5, 6, 2, 2),
        (6, 6, 3, 2),
        (8, 12, 3, 2),
        (9, 8, 8, 4),
        (7, 8, 1, 2),
    ):
        yield torch.randint(0, values, (count, columns), generator=g), bands
    signatures = torch.randint(0, 50, (12, 20), generator=g)
    signatures[1, 5:10], signatures[2, 3:8], signatures[4, ::4] = (
        signatures[0, 5:10],
        signatures[0, 3:8],
        signatures[3, ::4],
    )
    yield signatures, 4


def _families(g):
    """Chains in unlucky orders, stars, families that join late, none at all."""
    yield torch.empty(0, 2, dtype=torch.int64), torch.tensor([0.1, 0.9, 0.3]), 0.3
    for count in (5, 8, 12):  # a chain, from its end: each pass moves a label one step
        chain = torch.stack([torch.arange(count - 1), torch.arange(1, count)], dim=1).flip(0)
        draws = 0.3 + 0.7 * torch.rand(count, generator=g)
        draws[0] = 0.1
        yield chain, draws, 0.25
    for count, links, share in ((6, 3, 0.5), (12, 7, 0.3), (30, 20, 0.4), (30, 12, 0.15), (20, 30, 0.6)):
        yield torch.randint(0, count, (links, 2), generator=g), torch.rand(count, generator=g), share


def _seen(train, val):
    """The share of neighbouring pairs in val that are inside a piece of train."""
    known = {pair for piece in train for pair in pairwise(piece)}
    pairs = [pair for piece in val for pair in pairwise(piece)]
    return sum(pair in known for pair in pairs) / len(pairs)


def _shares():
    """By document, by chunk."""
    rng, documents = random.Random(0), []
    for _ in range(200):
        own = rng.choices(range(2000), k=25)
        documents.append(rng.choices(own, k=400))
    words = [word for document in documents for word in document]
    chunks = [words[i : i + 50] for i in range(0, len(words), 50)]
    others = [chunk for i, chunk in enumerate(chunks) if i % 5]
    return _seen(documents[:160], documents[160:]), _seen(others, chunks[::5])


EXERCISES = {
    "14.1": Code(
        example=(torch.tensor([1, 2, 3]), torch.tensor([2, 3, 4]), torch.tensor([1, 2**30]), torch.tensor([0, 0])),
        cases=_sets,
        section="one-number-for-a-set",
        edits=r"""
            no remainder:
            % (2**31 - 1) ~>
            The remainder is missing. Without it every function keeps the order of the elements, so that the same one is always
            the smallest.

            b without effect:
            (a[:, None] * items + b[:, None]) % (2**31 - 1) ~> a[:, None] * items % (2**31 - 1) + b[:, None]
            b has no effect: it is missing, or added after the remainder, where it moves all values alike. Take the remainder
            last.

            other modulus:
            % (2**31 - 1) ~> % 2**31
            % (2**31 - 1) ~> % 2**32
            The remainder is of another number than P = 2³¹ − 1.

            largest:
            .min(dim=1) ~> .max(dim=1)
            These are the largest values; the smallest ones are asked for.

            across functions:
            .min(dim=1) ~> .min(dim=0)
            The minimum runs over the functions. It should run over the elements of the set, one for each function.

            hashed.min(dim=1).values ~> (a * 0 + hashed.min())
            One minimum is taken over all functions together, so the result is 0 or 1. Each function has its own.

            all hash values:
            return (minima[0] == minima[1]).double().mean().item() ~> \
            x, y = set(first.tolist()), set(second.tolist())\nreturn len(x & y) / len(x | y)
            That is the exact similarity, from all elements. Only the smallest value under each function may be kept.

            across:
            (minima[0] == minima[1]).double().mean().item() ~> \
            torch.isin(minima[0], minima[1]).double().mean().item()
            The minimum under one function is looked for among those of all functions. Compare function by function.

            count:
            .double().mean().item() ~> .sum().item()
            That is how many functions agree; divide by K.

            elements:
            .double().mean().item() ~> .double().sum().item() / len(first)
            .double().mean().item() ~> .double().sum().item() / len(second)
            You divide by the size of a set. The share is of the K functions.

            differ:
            minima[0] == minima[1] ~> minima[0] != minima[1]
            That is the share of functions that disagree.

            return (minima[0] == minima[1]).double().mean().item() ~> return float(bool((minima[0] == minima[1]).all()))
            return (minima[0] == minima[1]).double().mean().item() ~> return float(bool((minima[0] == minima[1]).any()))
            The result is 0 or 1: you ask whether all or any of the minima agree. What share of them does?
        """,
    ),
    "14.2": Code(
        example=(torch.tensor([[1, 2, 3, 4], [1, 2, 9, 9], [9, 2, 3, 9]]), 2),
        cases=_signatures,
        section="bands",
        edits=r"""
            any column:
            .all(dim=-1).any(dim=-1) ~> .any(dim=-1).any(dim=-1)
            One column that agrees is enough for you. Inside a band all columns have to agree.

            every band:
            .all(dim=-1).any(dim=-1) ~> .all(dim=-1).all(dim=-1)
            You ask that every band agrees, which compares whole signatures. One band is enough.

            exchanged:
            .all(dim=-1).any(dim=-1) ~> .any(dim=-1).all(dim=-1)
            "All" and "any" are exchanged: all columns inside a band, and any of the bands.

            columns for bands:
            (bands, -1) ~> (-1, bands)
            bands is taken for the number of columns in a band. It is the number of bands.

            strided:
            .unflatten(-1, (bands, -1)).all(dim=-1).any(dim=-1) ~> .unflatten(-1, (-1, bands)).all(dim=-2).any(dim=-1)
            .all(dim=-1).any(dim=-1) ~> .all(dim=-2).any(dim=-1)
            A band is made of columns that are far apart. Its columns are neighbours.

            diagonal:
            return same.unflatten(-1, (bands, -1)).all(dim=-1).any(dim=-1) ~> \
            return same.unflatten(-1, (bands, -1)).all(dim=-1).any(dim=-1) & ~torch.eye(len(same), dtype=torch.bool)
            The diagonal is False; a document agrees with itself.

            half:
            .all(dim=-1).any(dim=-1) ~> .all(dim=-1).any(dim=-1).triu()
            .all(dim=-1).any(dim=-1) ~> .all(dim=-1).any(dim=-1).tril()
            Half of the table is missing. Both [i, j] and [j, i] should be filled.

            enough anywhere:
            same.unflatten(-1, (bands, -1)).all(dim=-1).any(dim=-1) ~> same.double().mean(dim=-1) >= 1 / bands
            It is asked whether enough columns agree, wherever they are. They have to fill a band.

            first band:
            .all(dim=-1).any(dim=-1) ~> .all(dim=-1)[..., 0]
            .all(dim=-1).any(dim=-1) ~> .all(dim=-1)[..., -1]
            Only one of the bands is looked at.
        """,
    ),
    "14.3": Code(
        example=(torch.tensor([[4, 2], [1, 2]]), torch.tensor([0.9, 0.1, 0.5, 0.05, 0.6]), 0.2),
        cases=_families,
        section="families",
        edits=r"""
            one pass:
            while changed: ~> for _ in range(1):
            while changed: ~> for _ in range(2):
            while changed: ~> for _ in range(3):
            A chain of several links is not followed to its end. Repeat the passes until one changes nothing.

            neighbours only:
            label[i] = label[j] = min(label[i], label[j]) ~> label[i], label[j] = min(label[i], j), min(label[j], i) && \
            while changed: ~> for _ in range(1):
            Each document looks at those it is linked to, and no further. A family reaches over several links.

            no families:
            return draws[label] < share ~> return draws < share
            Every document goes by its own draw, so families are cut apart.

            any member:
            return draws[label] < share ~> \
            return torch.tensor([any(draws[k] < share for k in range(len(draws)) if label[k] == own) for own in label])
            A family is held out as soon as any member's draw is low: large families then are held out too often. The
            lowest-numbered member decides.

            all members:
            return draws[label] < share ~> \
            return torch.tensor([all(draws[k] < share for k in range(len(draws)) if label[k] == own) for own in label])
            A family is held out only if all its draws are low: large families then nearly always train. The lowest-numbered
            member decides.

            highest number:
            min(label[i], label[j]) ~> max(label[i], label[j])
            The highest-numbered member decides; it should be the lowest-numbered one.

            one way:
            label[i] = label[j] = min(label[i], label[j]) ~> label[j] = min(label[i], label[j]) && while changed: ~> \
            for _ in range(50):
            label[i] = label[j] = min(label[i], label[j]) ~> label[i] = min(label[i], label[j]) && while changed: ~> \
            for _ in range(50):
            A link works in one direction only. Both ends take the smaller label.

            the other side:
            draws[label] < share ~> draws[label] >= share
            It is True for what trains. True should mean held out.

            below or equal:
            draws[label] < share ~> draws[label] <= share
            A draw that equals share is not below it.

            label for draw:
            return draws[label] < share ~> return torch.tensor(label) < share * len(draws)
            return draws[label] < share ~> return torch.tensor(label) < share
            The label itself is compared. It only says whose draw decides.
        """,
        mistakes=[
            Mistake(
                "no links",
                "It works, but where there are no links. Then every document is a family by itself.",
                only=lambda links, draws, share: not len(links),
            ),
            Mistake(
                "loners train",
                "Documents without links always train. Each is a family by itself, and its own draw decides.",
                wrong=lambda links, draws, share: _loners_train(links, draws, share),
            ),
        ],
    ),
    "14.4": Choice(
        right="b",
        wrong={
            "a": "More hash functions find more pairs among the files of one call. No call sees a training file and a "
            "validation file together.",
            "c": "A tokenizer that has not read the validation text is as it should be, and it puts no runs of 13 words of the "
            "one side into the other.",
            "d": "Tuning on a fixed split flatters a little, and repeating an experiment needs a fixed split. But it copies nothing "
            "into the training files.",
        },
        section="families",
    ),
    "14.5": Number(
        value=lambda: _shares()[1] - _shares()[0],
        within=0.0008,
        wrong=[
            (0.415, 0.4185, "That is the share by chunk; the share by document is still to be taken away."),
            (0.0325, 0.0335, "That is the share by document. How much larger is it by chunk?"),
            (12, 13.5, "That is the ratio of the two shares; their difference is asked for."),
            (38, 39, "That is in percent; a number from 0 to 1 is asked for."),
            (-0.3846, -0.383, "The sign is wrong: by chunk minus by document."),
            (0.352, 0.355, "Here the first fifth of the chunks validates. It is every fifth one."),
        ],
        section="the-split-that-leaks",
    ),
}


def _loners_train(links, draws, share):
    """The third exercise with documents that are in no link kept for training."""
    from blueberry_checks import exercise

    linked = torch.zeros(len(draws), dtype=torch.bool)
    linked[links.flatten()] = True
    return exercise("14.3").rules.reference(links, draws, share) & linked
