"""Planted mistakes for the exercises of chapter 01."""

import codecs
from collections import Counter
from itertools import pairwise

from checks.planting import Planted, Wrong

FEW = "There the table sees only a byte or little more at a time. Try a larger vocabulary."
MANY = "The fewest tokens do not make the best model: most pairs are rare now. Compare the bits per byte."

# --- 01.1, from the text alone


def wrong_1_adds_one(words):
    """Ignores how often a word occurs."""
    counts = {}
    for word in words:
        for pair in pairwise(word):
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def wrong_1_once_per_word(words):
    """A pair that stands at two places of one word counts once."""
    counts = {}
    for word, times in words.items():
        for pair in set(pairwise(word)):
            counts[pair] = counts.get(pair, 0) + times
    return counts


def wrong_1_no_overlap(words):
    """Every second place only."""
    counts = {}
    for word, times in words.items():
        for t in range(0, len(word) - 1, 2):
            pair = (word[t], word[t + 1])
            counts[pair] = counts.get(pair, 0) + times
    return counts


def wrong_1_across_words(words):
    """Joins the words to one row first."""
    row = [i for word, times in words.items() for _ in range(times) for i in word]
    return dict(Counter(pairwise(row)))


def wrong_1_overwrites(words):
    """Assigns instead of adding."""
    counts = {}
    for word, times in words.items():
        for pair in pairwise(word):
            counts[pair] = times
    return counts


# --- 01.2, from the text alone


def wrong_2_overlaps(ids, pair, new):
    """A for loop that meets the second half of a pair again."""
    out = []
    for t in range(len(ids)):
        if tuple(ids[t : t + 2]) == pair:
            out.append(new)
        elif t == 0 or tuple(ids[t - 1 : t + 1]) != pair:
            out.append(ids[t])
    return out


def wrong_2_last_place_crashes(ids, pair, new):
    """Looks one place beyond the end."""
    out, t = [], 0
    while t < len(ids):
        if ids[t] == pair[0] and ids[t + 1] == pair[1]:
            out.append(new)
            t += 2
        else:
            out.append(ids[t])
            t += 1
    return out


def wrong_2_last_is_lost(ids, pair, new):
    """Stops before the last id, to be safe."""
    out, t = [], 0
    while t < len(ids) - 1:
        if (ids[t], ids[t + 1]) == pair:
            out.append(new)
            t += 2
        else:
            out.append(ids[t])
            t += 1
    return out


def wrong_2_in_place(ids, pair, new):
    """Changes the list it was given."""
    t = 0
    while t < len(ids) - 1:
        if (ids[t], ids[t + 1]) == pair:
            ids[t : t + 2] = [new]
        t += 1
    return ids


def wrong_2_first_only(ids, pair, new):
    """Merges the first occurrence and stops."""
    for t in range(len(ids) - 1):
        if (ids[t], ids[t + 1]) == pair:
            return [*ids[:t], new, *ids[t + 2 :]]
    return list(ids)


# --- 01.3, from the text alone


def wrong_3_by_place(ids, ranks):
    """The first possible merge from the left."""
    ids, t = list(ids), 0
    while t < len(ids) - 1:
        if (ids[t], ids[t + 1]) in ranks:
            ids[t : t + 2] = [ranks[ids[t], ids[t + 1]]]
            t = max(t - 1, 0)
        else:
            t += 1
    return ids


def wrong_3_latest_first(ids, ranks):
    """The merge that was learned last."""
    ids = list(ids)
    while True:
        possible = [pair for pair in pairwise(ids) if pair in ranks]
        if not possible:
            return ids
        best = max(possible, key=ranks.get)
        t = list(pairwise(ids)).index(best)
        ids[t : t + 2] = [ranks[best]]


def wrong_3_one_pass(ids, ranks):
    """Merges once, and does not look again."""
    ids = list(ids)
    possible = [pair for pair in pairwise(ids) if pair in ranks]
    if possible:
        best = min(possible, key=ranks.get)
        return correct_2_in_a_copy(ids, best, ranks[best])
    return ids


# --- 01.4, from the text alone


def wrong_4_as_it_was(ids, pieces):
    """The broken function."""
    return [pieces[i].decode("utf-8", "replace") for i in ids]


def wrong_4_ignores(ids, pieces):
    """Drops the halves."""
    return [pieces[i].decode("utf-8", "ignore") for i in ids]


def wrong_4_strict(ids, pieces):
    """Decodes strictly."""
    return [pieces[i].decode("utf-8") for i in ids]


def wrong_4_everything_so_far(ids, pieces):
    """Shows the whole text again with each token."""
    return [b"".join(pieces[i] for i in ids[: t + 1]).decode("utf-8", "ignore") for t in range(len(ids))]


def wrong_4_waits_for_the_replacement_character(ids, pieces):
    """Holds back while the text ends in the replacement character."""
    out, waiting = [], b""
    for i in ids:
        waiting += pieces[i]
        text = waiting.decode("utf-8", "replace")
        if text.endswith("\ufffd"):
            out.append("")
        else:
            out.append(text)
            waiting = b""
    return out


# --- written with the checkers at hand


def correct_1_counter(words):
    counts = Counter()
    for word, times in words.items():
        counts.update({pair: n * times for pair, n in Counter(pairwise(word)).items()})
    return counts


def correct_1_by_places(words):
    found = {}
    for word in words:
        for t in range(1, len(word)):
            found.setdefault((word[t - 1], word[t]), []).append(words[word])
    return {pair: sum(times) for pair, times in found.items()}


def correct_2_in_a_copy(ids, pair, new):
    ids, t = list(ids), 0
    while t < len(ids) - 1:
        if (ids[t], ids[t + 1]) == pair:
            ids[t : t + 2] = [new]
        t += 1
    return ids


def correct_2_last_of_the_output(ids, pair, new):
    out = []
    for i in ids:
        if out and (out[-1], i) == pair:
            out[-1] = new
        else:
            out.append(i)
    return tuple(out)


def correct_3_all_merges_in_order(ids, ranks):
    for pair in sorted(ranks, key=ranks.get):
        ids = correct_2_in_a_copy(ids, pair, ranks[pair])
    return list(ids)


def correct_3_one_at_a_time(ids, ranks):
    ids = tuple(ids)
    while True:
        best = min(range(len(ids) - 1), key=lambda t: ranks.get(ids[t : t + 2], 1e9), default=None)
        if best is None or ids[best : best + 2] not in ranks:
            return ids
        ids = ids[:best] + (ranks[ids[best : best + 2]],) + ids[best + 2 :]


def correct_4_what_is_new(ids, pieces):
    out, raw, shown = [], b"", ""
    for i in ids:
        raw += pieces[i]
        text = raw.decode("utf-8", errors="ignore")
        out.append(text[len(shown) :])
        shown = text
    return out


def correct_4_try_shorter_ends(ids, pieces):
    out, waiting = [], b""
    for i in ids:
        waiting += pieces[i]
        for end in range(len(waiting), -1, -1):
            try:
                out.append(waiting[:end].decode("utf-8"))
            except UnicodeDecodeError:
                continue
            waiting = waiting[end:]
            break
    return out


def borrowed_4(ids, pieces):
    reader = codecs.getincrementaldecoder("utf-8")()
    return [reader.decode(pieces[i]) for i in ids]


def whole_at_the_end_4(ids, pieces):
    raw = b"".join(pieces[i] for i in ids)
    return [""] * (len(ids) - 1) + [raw.decode("utf-8", "ignore")] if ids else []


def joined_4(ids, pieces):
    return b"".join(pieces[i] for i in ids).decode("utf-8", "ignore")


def forgets_the_start_4(ids, pieces):
    out, waiting = [], b""
    for i in ids:
        waiting += pieces[i]
        text = waiting.decode("utf-8", "ignore")
        out.append(text)
        if text:
            waiting = b""
    return out


PLANTED = {
    "01.1": Planted(
        correct=[correct_1_counter, correct_1_by_places],
        wrong=[
            Wrong(wrong_1_adds_one, "times ignored", from_text=True),
            Wrong(wrong_1_once_per_word, "once per word", from_text=True),
            Wrong(wrong_1_no_overlap, "every second place", from_text=True),
            Wrong(wrong_1_across_words, "across words", from_text=True),
            Wrong(wrong_1_overwrites, "overwritten", from_text=True),
        ],
    ),
    "01.2": Planted(
        correct=[correct_2_in_a_copy, correct_2_last_of_the_output],
        wrong=[
            Wrong(wrong_2_overlaps, "overlaps", from_text=True),
            Wrong(wrong_2_last_place_crashes, "beyond the end", from_text=True),
            Wrong(wrong_2_last_is_lost, "last lost", from_text=True),
            Wrong(wrong_2_in_place, "mutated", from_text=True),
            Wrong(wrong_2_first_only, "first only", from_text=True),
        ],
    ),
    "01.3": Planted(
        correct=[correct_3_all_merges_in_order, correct_3_one_at_a_time],
        wrong=[
            Wrong(wrong_3_by_place, "by place", from_text=True),
            Wrong(wrong_3_latest_first, "latest first", from_text=True),
            Wrong(wrong_3_one_pass, "one merge", from_text=True),
        ],
    ),
    "01.4": Planted(
        correct=[correct_4_what_is_new, correct_4_try_shorter_ends],
        wrong=[
            Wrong(wrong_4_as_it_was, "as it was", from_text=True),
            Wrong(wrong_4_ignores, "halves dropped", from_text=True),
            Wrong(wrong_4_strict, "strict", from_text=True),
            Wrong(wrong_4_everything_so_far, "everything again", from_text=True),
            Wrong(wrong_4_waits_for_the_replacement_character, "held back", from_text=True),
            Wrong(borrowed_4, "library"),
            Wrong(whole_at_the_end_4, "at the end"),
            Wrong(joined_4, "type"),
            Wrong(forgets_the_start_4, "start forgotten"),
        ],
    ),
    "01.5": Planted(
        correct=["b", "(B)"],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("c", "c", from_text=True),
            Wrong("d", "d", from_text=True),
        ],
    ),
    "01.6": Planted(
        correct=[1024, 1024.0],
        wrong=[
            Wrong(257, FEW),
            Wrong(4096, MANY, from_text=True),
            Wrong(2.5, "That looks like bits per byte. Asked for is the size of the vocabulary that has the fewest."),
            Wrong("large", "type"),
        ],
    ),
}
