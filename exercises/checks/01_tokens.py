"""The checks of chapter 01: pairs, merges, encoding by rank, half a character, the best vocabulary."""

from blueberry_checks import pair_model
from blueberry_checks.engine.examine import Choice, Code, Mistake, Number

BY_HAND, RANK, HALF, SIZE = (
    "merging-by-hand", "encoding-by-rank", "from-the-museum-half-a-character", "how-large-a-vocabulary",
)  # fmt: skip


def _drawn(g, below, *size):
    import torch

    return torch.randint(below, size, generator=g).tolist()


def _words(g):
    yield ({(1, 2): 1},)
    yield ({(3,): 4},)
    yield ({(0, 0, 0): 1, (0,): 2},)
    yield ({(1, 2): 3, (2, 1): 2, (1, 2, 1, 2): 1},)
    yield ({},)
    for count, kinds, longest in ((5, 3, 6), (30, 6, 9), (60, 20, 5)):
        lengths, times = ([1 + n for n in _drawn(g, below, count)] for below in (longest, 9))
        yield ({tuple(_drawn(g, kinds, n)): t for n, t in zip(lengths, times, strict=True)},)


def _merges(g):
    yield [1, 2], (1, 2), 256
    yield [], (1, 2), 256
    yield [1], (1, 2), 256
    yield [1, 1], (1, 2), 256
    yield [2, 1], (1, 2), 256
    yield [0, 1, 2, 1, 2, 1], (1, 2), 300
    yield [4, 4, 4, 4, 4], (4, 4), 256
    for count in (12, 40, 90):
        ids = _drawn(g, 3, count)
        yield ids, tuple(_drawn(g, 3, 2)), 256
        yield [*ids, 0], (0, 0), 258


def _encodings(g):
    yield [5], {(1, 2): 256}
    yield [1, 2], {(1, 2): 256}
    yield [0, 1, 1, 2], {(1, 2): 256, (0, 1): 257, (257, 2): 258}
    yield [3, 1, 2], {(1, 2): 257, (0, 1): 256, (3, 257): 258}
    yield [1, 1, 1, 1, 1], {(1, 1): 256, (256, 256): 257}
    yield [0, 1, 2, 3], {(2, 3): 256, (1, 2): 257, (0, 1): 258}
    yield [1, 2, 3], {(2, 3): 257, (1, 2): 256}
    for kinds, count, merges in ((3, 12, 5), (4, 25, 12), (6, 40, 25), (3, 60, 30)):
        ranks = {}
        for new in range(256, 256 + merges):
            known = [*range(kinds), *ranks.values()]
            pair = tuple(known[i] for i in _drawn(g, len(known), 2))
            ranks.setdefault(pair, new)
        yield _drawn(g, kinds, count), ranks


def _streams(g):
    yield [0], [b"a"]
    yield [], [b"a"]
    yield [0, 1, 2], [b"a\xc3", b"\xaf\xc3", b"\xa9"]
    yield [0, 1, 0], [b"\xef\xbf\xbd", b"!"]
    yield [0, 1], [b"ok ", b"\xe4\xb8"]
    yield [1, 0, 0, 2], [b"ab", b"\xe4\xb8\xad", b"c"]
    text = "naïve 中文 ripe 🫐 \ufffd é👩\u200d🚀!".encode()
    for longest in (1, 2, 3, 5):
        ends, pieces = 0, []
        while ends < len(text):
            size = 1 + _drawn(g, longest, 1)[0]
            pieces.append(text[ends : ends + size])
            ends += size
        yield [*range(len(pieces))], pieces


SIZES = (257, 512, 1024, 2048, 4096)

EXERCISES = {
    "01.1": Code(
        example=({(5, 6, 6, 6): 2, (6, 5): 3, (5,): 9},),
        cases=_words,
        section=BY_HAND,
        edits=r"""
            times ignored:
            + times ~> + 1
            It counts in how many places of different words the pair stands. A word that occurs `times` times counts that often.

            once per word:
            zip(word[:-1], word[1:]) ~> set(zip(word[:-1], word[1:]))
            A pair that stands at two places of a word counts once there. Each place counts.

            every second place:
            zip(word[:-1], word[1:]) ~> zip(word[:-1:2], word[1::2])
            Pairs overlap: the second id of one is the first of the next.

            across words:
            for word, times in words.items(): ~> word, times = [i for w, n in words.items() for _ in range(n) for i in w], 1\nif True:
            for word, times in words.items(): ~> word, times = [i for w in words for i in w], 1\nif True:
            It joins the words first, and finds pairs that run from one word into the next. A merge never crosses that border.

            overwritten:
            counts.get(pair, 0) + times ~> times
            The count of a pair is replaced when it occurs again. Add to it.

            word[:-1], word[1:] ~> word[1:], word[:-1]
            The pairs are the wrong way round: left first, then right.

            word[:-1], word[1:] ~> word[:-2], word[1:-1]
            The last pair of each word is missing.

            word[:-1], word[1:] ~> word[1:-1], word[2:]
            The first pair of each word is missing.

            zip(word[:-1], word[1:]) ~> zip(word, word[1:] + word[:1])
            It goes round: the last id of a word is followed by nothing, not by the first.
        """,
        mistakes=[
            Mistake(
                "zeros",
                "There are entries with a count of 0; only pairs that occur have one.",
                BY_HAND,
                sign=lambda f: 0 in f({(1, 2): 1, (3,): 2}).values(),
            ),
        ],
    ),
    "01.2": Code(
        example=([7, 8, 7, 8, 9, 7], (7, 8), 300),
        cases=_merges,
        section=BY_HAND,
        edits=r"""
            overlaps:
            out, t = [], 0 ~> out, t = [], 0\nreturn [new if tuple(ids[t : t + 2]) == pair else i for t, i in enumerate(ids) if t == 0 or tuple(ids[t : t + 2]) == pair or tuple(ids[t - 1 : t + 1]) != pair]
            t += 2 ~> t += 1 && out.append(ids[t]) ~> t == 0 or tuple(ids[t - 1 : t + 1]) == pair or out.append(ids[t])
            Where places overlap, both were merged: 4 4 4 is one pair and one id that is left. After a merge go on by two.

            t += 2 ~> t += 1
            The second half of each pair is still there. After a merge go on by two.

            beyond the end:
            if tuple(ids[t : t + 2]) == pair: ~> if ids[t] == pair[0] and ids[t + 1] == pair[1]:
            if tuple(ids[t : t + 2]) == pair: ~> if (ids[t], ids[t + 1]) == pair:
            It looks one place beyond the end, where there is nothing. The last id has no right neighbour.

            last lost:
            t < len(ids) ~> t < len(ids) - 1
            The last id is lost where it belongs to no pair.

            first only:
            if tuple(ids[t : t + 2]) == pair: ~> if tuple(ids[t : t + 2]) == pair and new not in out:
            Only the first occurrence was merged. All of them are.

            out, t = [], 0 ~> out, t = [], 0\nids, pair = ids[::-1], pair[::-1] && return out ~> return out[::-1]
            It goes from right to left. Where places overlap the left one should win.

            tuple(ids[t : t + 2]) == pair ~> tuple(sorted(ids[t : t + 2])) == tuple(sorted(pair))
            The pair was merged the other way round too; left and right matter.

            out.append(new) ~> out.extend(pair)
            out.append(new) ~> out.append(ids[t])
            out.append(new) ~> pass
            In place of the pair there should be the one id `new`.
        """,
    ),
    "01.3": Code(
        example=([0, 1, 2], {(1, 2): 256, (0, 1): 257, (257, 2): 258}),
        cases=_encodings,
        section=RANK,
        edits=r"""
            by place:
            best = min(possible, key=ranks.get) ~> best = possible[0]
            ids = list(ids) ~> ids, t = list(ids), 0\nwhile t < len(ids) - 1:\n    if (ids[t], ids[t + 1]) in ranks:\n        ids[t : t + 2] = [ranks[ids[t], ids[t + 1]]]\n        t = max(t - 1, 0)\n    else:\n        t += 1
            It merges the first possible pair from the left. Among the possible pairs, take the one that was learned first.

            latest first:
            min(possible ~> max(possible
            It takes the merge that was learned last. Smaller new ids were learned earlier.

            ranks.get ~> None
            key=ranks.get ~> key=sum
            It takes the pair of the smallest ids. What counts is the id that the pair becomes: ranks[pair].

            one merge:
            return ids ~> return ids && t += 1 ~> t += 1\n    return ids
            It stops after one merge. The new piece may be part of another one: look again until nothing can be merged.

            ids = list(ids) ~> ids = list(ids)\nfor best in ranks:\n    t = 0\n    while t < len(ids) - 1:\n        if (ids[t], ids[t + 1]) == best:\n            ids[t : t + 2] = [ranks[best]]\n        t += 1\nreturn ids
            It goes through the merges in the order of the dict. The order in which they were learned is that of the new ids.
        """,
    ),
    "01.4": Code(
        example=([0, 1, 2, 3], [b"r", b"\xf0\x9f", b"\xab\x90", b"!"]),
        cases=_streams,
        section=HALF,
        not_allowed=("getincrementaldecoder", "IncrementalDecoder", "iterdecode"),
        edits=r"""
            as it was:
            waiting += ~> waiting = && "ignore" ~> "replace"
            Each token is still decoded by itself. Half a character has to wait for the rest of its bytes.

            halves dropped:
            waiting += ~> waiting =
            The � is gone, and so is the character: its halves were dropped. Keep them until they are complete.

            strict:
            waiting += ~> waiting = && "ignore" ~> "strict"
            waiting.decode("utf-8", "ignore") ~> waiting.decode("utf-8")
            It stops at the first half of a character. An unfinished end is nothing to stop at; it waits.

            everything again:
            waiting = waiting[len(text.encode("utf-8")) :] ~>
            What was shown before is shown again. Take its bytes away from those that wait.

            start forgotten:
            waiting = waiting[len(text.encode("utf-8")) :] ~> waiting = b"" if text else waiting
            A token can end one character and begin the next. The beginning was thrown away with what was shown.

            waiting[len(text.encode("utf-8")) :] ~> waiting[len(text) :]
            As many bytes were taken away as there are characters. A character can be up to four bytes.

            held back:
            text = waiting.decode("utf-8", "ignore") ~> text = waiting.decode("utf-8", "replace")\n    text = "" if text.endswith("\ufffd") else text
            It holds back whatever ends in �. A text may end in a real one, and a token may end one character and begin the next.

            at the end:
            return out ~> return [""] * (len(ids) - 1) + ["".join(out)] if ids else []
            Everything is shown with the last token. Show each character as soon as it is complete.
        """,
    ),
    "01.5": Choice(
        right="b",
        wrong={
            "a": "It is called with one word at a time, so it cannot merge across a border.",
            "c": "Follow it by hand on 0 1 2: no id is used twice. If one were, decoding would not give the text back.",
            "d": "Then bytes would be lost, and decoding would not give the text back.",
        },
        section=RANK,
    ),
    "01.6": Number(
        value=lambda: min(SIZES, key=pair_model.pair_bits),
        within=0.5,
        wrong=[
            (0, 200, "That looks like bits per byte. Asked for is the size of the vocabulary that has the fewest."),
            (201, 511, "There the table sees only a byte or little more at a time. Try a larger vocabulary."),
            (
                4000,
                1e12,
                "The fewest tokens do not make the best model: most pairs are rare now. Compare the bits per byte.",
            ),
        ],
        section=SIZE,
    ),
}
