"""Wrong and right answers to the exercises of chapter 19.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import torch
from checks.planting import Planted, Wrong

# --- 19.1, from the text alone


def wrong_1_padded_before_the_picture(prompts, images, first_image, seg_end):
    """Captions are filled up first, so that all pictures begin in the same column."""
    longest = max(map(len, prompts))
    rows = []
    for prompt, image in zip(prompts, images, strict=True):
        filled = list(prompt) + [prompt[0]] * (longest - len(prompt))
        rows.append(filled + [first_image + c for c in image.flatten().tolist()] + [seg_end, prompt[0]])
    return torch.tensor(rows)


def wrong_1_left(prompts, images, first_image, seg_end):
    """Padding on the left, as for generation."""
    rows = [
        list(p) + [first_image + c for c in i.flatten().tolist()] + [seg_end, p[0]]
        for p, i in zip(prompts, images, strict=True)
    ]
    width = max(map(len, rows))
    return torch.tensor([[row[-1]] * (width - len(row)) + row for row in rows])


def wrong_1_codes_not_raised(prompts, images, first_image, seg_end):
    """Codes keep their own numbers, which are those of words."""
    rows = [list(p) + i.flatten().tolist() + [seg_end, p[0]] for p, i in zip(prompts, images, strict=True)]
    width = max(map(len, rows))
    return torch.tensor([row + [row[-1]] * (width - len(row)) for row in rows])


def wrong_1_by_columns(prompts, images, first_image, seg_end):
    """Column by column; passes for a picture of one line."""
    rows = [
        list(p) + [first_image + c for c in i.T.flatten().tolist()] + [seg_end, p[0]]
        for p, i in zip(prompts, images, strict=True)
    ]
    width = max(map(len, rows))
    return torch.tensor([row + [row[-1]] * (width - len(row)) for row in rows])


def wrong_1_filled_with_zeros(prompts, images, first_image, seg_end):
    """The shorter rows end in zeros."""
    rows = [
        list(p) + [first_image + c for c in i.flatten().tolist()] + [seg_end, p[0]]
        for p, i in zip(prompts, images, strict=True)
    ]
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def wrong_1_changes_the_prompts(prompts, images, first_image, seg_end):
    """Right, but appends to the caller's lists."""
    for p, i in zip(prompts, images, strict=True):
        end = p[0]
        p += [first_image + c for c in i.flatten().tolist()]
        p += [seg_end, end]
    width = max(map(len, prompts))
    return torch.tensor([p + [p[0]] * (width - len(p)) for p in prompts])


def correct_1_written_into_a_tensor(prompts, images, first_image, seg_end):
    """Right: a tensor full of ends, into which the parts are written."""
    places = images[0].numel()
    width = max(len(p) for p in prompts) + places + 2
    ids = torch.empty((len(prompts), width), dtype=torch.int64)
    for row, prompt, image in zip(ids, prompts, images, strict=True):
        row.fill_(prompt[0])
        row[: len(prompt)] = torch.tensor(prompt)
        row[len(prompt) : len(prompt) + places] = image.reshape(-1) + first_image
        row[len(prompt) + places] = seg_end
    return ids


def correct_1_pad_sequence(prompts, images, first_image, seg_end):
    """Right: torch's own padding, with marks in between."""
    rows = [
        torch.cat((torch.tensor(p), first_image + i.flatten(), torch.tensor([seg_end, p[0]])))
        for p, i in zip(prompts, images, strict=True)
    ]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=prompts[0][0])


# --- 19.2, from the text alone


def wrong_2_padding_counts(ids, first_image, seg_start, text_weight):
    """All that is no picture is text."""
    targets = ids[:, 1:]
    image = (targets >= first_image) & (targets < seg_start)
    return image / image.sum() + text_weight * ~image / (~image).sum()


def wrong_2_not_shifted(ids, first_image, seg_start, text_weight):
    """Weighs what is read instead of what is predicted."""
    read = ids[:, :-1]
    image = (read >= first_image) & (read < seg_start)
    after = (read == seg_start + 1).cumsum(dim=1).cumsum(dim=1)
    text = ~image & (after <= 2)
    return image / image.sum() + text_weight * text / text.sum()


def wrong_2_end_forgotten(ids, first_image, seg_start, text_weight):
    """The token that ends the text counts as padding."""
    targets = ids[:, 1:]
    image = (targets >= first_image) & (targets < seg_start)
    after = (targets == seg_start + 1).cumsum(dim=1).cumsum(dim=1)
    text = ~image & (after <= 1)
    return image / image.sum() + text_weight * text / text.sum()


def wrong_2_row_by_row(ids, first_image, seg_start, text_weight):
    """Each row is averaged alone; the same for one row."""
    targets = ids[:, 1:]
    image = (targets >= first_image) & (targets < seg_start)
    after = (targets == seg_start + 1).cumsum(dim=1).cumsum(dim=1)
    text = ~image & (after <= 2)
    return image / image.sum(dim=1, keepdim=True) + text_weight * text / text.sum(dim=1, keepdim=True)


def wrong_2_end_token_is_padding(ids, first_image, seg_start, text_weight):
    """Every token that ends a text is left out, by its id."""
    targets = ids[:, 1:]
    image = (targets >= first_image) & (targets < seg_start)
    text = ~image & (targets != ids[:, :1])
    return image / image.sum() + text_weight * text / text.sum()


def wrong_2_not_averaged(ids, first_image, seg_start, text_weight):
    """1 for each code and text_weight for each word."""
    targets = ids[:, 1:]
    image = (targets >= first_image) & (targets < seg_start)
    after = (targets == seg_start + 1).cumsum(dim=1).cumsum(dim=1)
    text = ~image & (after <= 2)
    return image * 1.0 + text_weight * text


def correct_2_row_by_row_with_loops(ids, first_image, seg_start, text_weight):
    """Right: Python, token by token."""
    kinds = []
    for row in ids[:, 1:].tolist():
        stop = row.index(seg_start + 1) + 1
        kinds.append(
            ["code" if first_image <= t < seg_start else "text" if i <= stop else "none" for i, t in enumerate(row)]
        )
    flat = [kind for row in kinds for kind in row]
    worth = {"code": 1 / flat.count("code"), "text": text_weight / flat.count("text"), "none": 0.0}
    return torch.tensor([[worth[kind] for kind in row] for row in kinds])


def correct_2_by_place(ids, first_image, seg_start, text_weight):
    """Right: the place of <seg_end> in each row."""
    targets = ids[:, 1:]
    stop = (targets == seg_start + 1).int().argmax(dim=1, keepdim=True) + 1
    image = ((targets >= first_image) & (targets < seg_start)).float()
    text = (torch.arange(targets.shape[1]) <= stop).float() - image
    return image / image.sum() + text * text_weight / text.sum()


# --- 19.3, from the text alone


def wrong_3_top_k_first(logits, first_image, seg_start, k):
    """The k largest of all, then the mask."""
    least = logits.topk(k, dim=-1).values[:, -1:]
    kept = logits.masked_fill(logits < least, -torch.inf).clone()
    kept[:, :first_image] = -torch.inf
    kept[:, seg_start:] = -torch.inf
    return kept.softmax(dim=-1)


def wrong_3_softmax_first(logits, first_image, seg_start, k):
    """Probabilities over everything, of which the forbidden are set to 0."""
    p = logits.softmax(dim=-1)
    masked = torch.zeros_like(p)
    masked[:, first_image:seg_start] = p[:, first_image:seg_start]
    least = masked.topk(k, dim=-1).values[:, -1:]
    return masked * (masked >= least)


def wrong_3_masked_with_zero(logits, first_image, seg_start, k):
    """A logit of 0 for what is forbidden."""
    masked = torch.zeros_like(logits)
    masked[:, first_image:seg_start] = logits[:, first_image:seg_start]
    least = masked.topk(k, dim=-1).values[:, -1:]
    return masked.masked_fill(masked < least, -torch.inf).softmax(dim=-1)


def wrong_3_marks_allowed(logits, first_image, seg_start, k):
    """Only words are forbidden."""
    masked = logits.clone()
    masked[:, :first_image] = -torch.inf
    least = masked.topk(k, dim=-1).values[:, -1:]
    return masked.masked_fill(masked < least, -torch.inf).softmax(dim=-1)


def wrong_3_in_place(logits, first_image, seg_start, k):
    """Right, but it writes into the logits."""
    logits[:, :first_image] = -torch.inf
    logits[:, seg_start:] = -torch.inf
    least = logits.topk(k, dim=-1).values[:, -1:]
    return logits.masked_fill(logits < least, -torch.inf).softmax(dim=-1)


def wrong_3_no_top_k(logits, first_image, seg_start, k):
    """Forgets k."""
    masked = torch.full_like(logits, -torch.inf)
    masked[:, first_image:seg_start] = logits[:, first_image:seg_start]
    return masked.softmax(dim=-1)


def correct_3_part_and_put_back(logits, first_image, seg_start, k):
    """Right: the codes alone, put back into zeros."""
    values, places = logits[:, first_image:seg_start].topk(k, dim=-1)
    return torch.zeros_like(logits).scatter(1, first_image + places, values.softmax(dim=-1))


def correct_3_by_sorting(logits, first_image, seg_start, k):
    """Right: exponentials of the k best of each row, one after the other."""
    result = torch.zeros_like(logits)
    for row, found in zip(logits, result, strict=True):
        best = sorted(range(first_image, seg_start), key=lambda i: -row[i].item())[:k]
        shares = (row[best] - row[best].max()).exp()
        found[best] = shares / shares.sum()
    return result


# --- written with the checkers at hand


def joined_with_map(prompts, images, first_image, seg_end):
    rows = [
        [*p, *map(first_image.__add__, i.flatten().tolist()), seg_end] for p, i in zip(prompts, images, strict=True)
    ]
    width = max(map(len, rows)) + 1
    return torch.tensor([row + [p[0]] * (width - len(row)) for row, p in zip(rows, prompts, strict=True)])


def joined_without_end(prompts, images, first_image, seg_end):
    rows = [[*p, *(first_image + i.flatten()).tolist(), seg_end] for p, i in zip(prompts, images, strict=True)]
    width = max(map(len, rows))
    return torch.tensor([row + [p[0]] * (width - len(row)) for row, p in zip(rows, prompts, strict=True)])


def weighed_by_one_count(ids, first_image, seg_start, text_weight):
    targets = ids[:, 1:]
    image = (targets >= first_image) & (targets < seg_start)
    after = (targets == seg_start + 1).cumsum(dim=1).cumsum(dim=1)
    text = ~image & (after <= 2)
    return (image + text_weight * text) / (image | text).sum()


def weighed_with_where(ids, first_image, seg_start, text_weight):
    targets = ids[:, 1:]
    image = (targets >= first_image) & (targets < seg_start)
    before = (targets == seg_start + 1).cumsum(dim=1) - (targets == seg_start + 1).int()
    text = ~image & (before.cumsum(dim=1) <= 1)
    zero = torch.zeros(())
    return torch.where(image, 1 / image.sum(), torch.where(text, text_weight / text.sum(), zero))


def only_the_codes(logits, first_image, seg_start, k):
    values, places = logits[:, first_image:seg_start].topk(k, dim=-1)
    part = torch.zeros(len(logits), seg_start - first_image)
    return part.scatter(1, places, values.softmax(dim=-1))


def one_code_too_few(logits, first_image, seg_start, k):
    masked = torch.full_like(logits, -torch.inf)
    masked[:, first_image + 1 : seg_start] = logits[:, first_image + 1 : seg_start]
    least = masked.topk(k, dim=-1).values[:, -1:]
    return masked.masked_fill(masked < least, -torch.inf).softmax(dim=-1)


def filled_and_sorted(logits, first_image, seg_start, k):
    allowed = torch.arange(logits.shape[1])
    allowed = (allowed >= first_image) & (allowed < seg_start)
    masked = logits.where(allowed, torch.tensor(-torch.inf))
    least = masked.sort(dim=-1, descending=True).values[:, k - 1, None]
    p = torch.exp(masked - masked.max(dim=-1, keepdim=True).values) * (masked >= least)
    return p / p.sum(dim=-1, keepdim=True)


PLANTED = {
    "19.1": Planted(
        correct=[correct_1_written_into_a_tensor, correct_1_pad_sequence, joined_with_map],
        wrong=[
            Wrong(wrong_1_padded_before_the_picture, "padding in the middle", from_text=True),
            Wrong(wrong_1_left, "left", from_text=True),
            Wrong(wrong_1_codes_not_raised, "not raised", from_text=True),
            Wrong(wrong_1_by_columns, "by columns", from_text=True),
            Wrong(wrong_1_filled_with_zeros, "zeros", from_text=True),
            Wrong(wrong_1_changes_the_prompts, "mutated", from_text=True),
            Wrong(joined_without_end, "no end"),
        ],
        equivalent={
            "call dropped: (first_image + images.flatten(1)).tolist() (line 3)": "numbers in tensors will do",
            "flag flipped: True (line 4)": "there are as many captions as pictures",
            "one less: 1 (line 6)": "a row begins with what it ends with",
        },
    ),
    "19.2": Planted(
        correct=[correct_2_row_by_row_with_loops, correct_2_by_place, weighed_with_where],
        wrong=[
            Wrong(wrong_2_padding_counts, "padding counts", from_text=True),
            Wrong(wrong_2_not_shifted, "not shifted", from_text=True),
            Wrong(wrong_2_end_forgotten, "end forgotten", from_text=True),
            Wrong(wrong_2_row_by_row, "row by row", from_text=True),
            Wrong(wrong_2_end_token_is_padding, "end forgotten", from_text=True),
            Wrong(wrong_2_not_averaged, "not averaged", from_text=True),
            Wrong(weighed_by_one_count, "one count"),
        ],
    ),
    "19.3": Planted(
        correct=[correct_3_part_and_put_back, correct_3_by_sorting, filled_and_sorted],
        wrong=[
            Wrong(wrong_3_top_k_first, "top-k first", from_text=True),
            Wrong(wrong_3_softmax_first, "softmax first", from_text=True),
            Wrong(wrong_3_masked_with_zero, "zero", from_text=True),
            Wrong(wrong_3_marks_allowed, "marks", from_text=True),
            Wrong(wrong_3_in_place, "mutated", from_text=True),
            Wrong(wrong_3_no_top_k, "no top-k", from_text=True),
            Wrong(only_the_codes, "shape"),
            Wrong(one_code_too_few, "first code"),
        ],
        equivalent={
            "sign dropped: -1 (line 5)": "of two dimensions the last is the second",
            "sign dropped: -1 (line 6)": "of two dimensions the last is the second",
        },
    ),
    "19.4": Planted(
        correct=[2.02, 2.0200037, torch.tensor(2.02)],
        wrong=[
            Wrong(2.55, "That is the table without the class: all digits share it.", from_text=True),
            Wrong(1.85, "That is measured on the training pictures, which were counted.", from_text=True),
            Wrong(2.91, "Those are bits. Use the natural logarithm.", from_text=True),
            Wrong(4.16, "That is ln 64: what knowing nothing costs.", from_text=True),
            Wrong("2.02 nats", "type", from_text=True),
            Wrong(3.27, "That is the table without the place: a corner and the middle share it."),
        ],
    ),
    "19.5": Planted(
        correct=["B", " b) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("c", "c", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("captions", "type", from_text=True),
        ],
    ),
}
