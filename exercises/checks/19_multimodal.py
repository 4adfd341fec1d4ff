"""The checks of chapter 19: one stream, what counts in it, only codes, counting as a baseline, a lost caption."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake, Number

VOCABULARY, LOSS, DRAWING = "one-vocabulary", "it-overfits-in-seconds", "drawing-and-what-may-not-be-drawn"


def _rows(g):
    yield [[7, 98]], torch.tensor([[[3]]]), 50, 99
    for lengths, (h, w) in (((4, 2, 3), (2, 2)), ((1, 5), (2, 3)), ((3, 3, 2, 6), (3, 3))):
        prompts = [[61, *torch.randint(1, 60, (n - 1,), generator=g).tolist(), 98] for n in lengths]
        yield prompts, torch.randint(0, 20, (len(lengths), h, w), generator=g), 70, 99


def _padded_in_the_middle(prompts, images, first_image, seg_end):
    """Captions filled up before their pictures."""
    longest = max(map(len, prompts))
    codes = (first_image + images.flatten(1)).tolist()
    filled = [[*p, *[p[0]] * (longest - len(p))] for p in prompts]
    return torch.tensor([[*p, *c, seg_end, p[0]] for p, c in zip(filled, codes, strict=True)])


def _streams(g):
    """Rows with words below 20, codes from 20 to 29, marks 30 and 31, and 7 as the end."""
    for lengths, codes in (((1, 3), 2), ((4, 0, 2), 4), ((2, 2), 6), ((0, 5, 1, 3), 3)):
        rows = []
        for n in lengths:
            words = torch.randint(8, 20, (n,), generator=g).tolist()
            rows.append([7, *words, 30, *torch.randint(20, 30, (codes,), generator=g).tolist(), 31, 7])
        width = max(map(len, rows)) + len(lengths) % 2
        yield torch.tensor([row + [7] * (width - len(row)) for row in rows]), 20, 30, 0.25


def _logits(g):
    yield torch.tensor([[3.0, -1.0, -2.0, -4.0, 0.0, 2.0]]), 1, 4, 2  # two words above all codes
    for B, V, first, start, k in ((3, 12, 4, 9, 2), (4, 20, 6, 17, 5), (2, 9, 0, 9, 3), (2, 8, 3, 7, 4)):
        yield torch.randn(B, V, generator=g) * 2 - 1, first, start, k


EXERCISES = {
    "19.1": Code(
        example=([[7, 3, 98], [7, 98]], torch.tensor([[[4, 0]], [[1, 2]]]), 50, 99),
        cases=_rows,
        section=VOCABULARY,
        mistakes=[
            Mistake(
                "padding in the middle",
                "The captions are filled up before the pictures, so every token of a picture sees the padding. All "
                "padding belongs at the end of the row.",
                wrong=_padded_in_the_middle,
            ),
        ],
        edits="""
            by columns:
            images.flatten(1) ~> images.mT.flatten(1)
            The codes come column by column. Read a picture line by line.

            not raised:
            first_image + images ~> images
            The codes keep their own numbers, which belong to words. Raise them by first_image.

            left:
            row + [row[-1]] * (width - len(row)) ~> [row[-1]] * (width - len(row)) + row
            The rows are filled up at the left. Padding at the right is hidden by the causal mask, padding at the left is not.

            zeros:
            [row[-1]] * ~> [0] *
            The rows are filled up with 0. Use the token that ends a text, whichever it is.

            no end:
            seg_end, p[0]] ~> seg_end] && row + [row[-1]] ~> row + [prompts[0][0]]
            seg_end, p[0]] ~> seg_end]
            The longest row has to end with the token that ends a text, too: T counts it.

            no seg_end:
            *c, seg_end, p[0]] ~> *c, p[0]]
            The mark seg_end, which says that the picture is over, is missing.

            picture first:
            [*p, *c, ~> [*c, *p,
            The picture stands before its caption here, so it cannot depend on it.
        """,
    ),
    "19.2": Code(
        example=(torch.tensor([[7, 3, 98, 54, 50, 99, 7, 7]]), 50, 98, 0.2),
        cases=_streams,
        section=LOSS,
        edits="""
            padding counts:
            ~image & (after <= 2) ~> ~image
            ~image & (after <= 2) ~> ~image & (after <= 3)
            Padding counts as text here. After the first token behind seg_end, everything has weight 0.

            not shifted:
            ids[:, 1:] ~> ids[:, :-1]
            These are the weights of the tokens that are read. Asked for are those of the targets, which begin with the second column.

            end forgotten:
            after <= 2 ~> after <= 1
            ~image & (after <= 2) ~> ~image & (targets != ids[:, :1])
            The token after seg_end, which ends the text, has weight 0 here. It has the id of the padding, but it counts.

            seg_end forgotten:
            after <= 2 ~> after < 1
            The mark seg_end counts as text, and so does the token after it.

            row by row:
            image.sum() ~> image.sum(dim=1, keepdim=True) && text.sum() ~> text.sum(dim=1, keepdim=True)
            text.sum() ~> text.sum(dim=1, keepdim=True)
            Each row is averaged alone. Count the tokens of the whole batch.

            one count:
            image / image.sum() + text_weight * text / text.sum() ~> (image + text_weight * text) / (image | text).sum()
            Picture and text are divided by one common count. Average them apart.

            not averaged:
            image / image.sum() + text_weight * text / text.sum() ~> image * 1.0 + text_weight * text
            Every code counts 1 and every text token text_weight. Together they should: divide by how many there are.

            exchanged:
            image / image.sum() + text_weight * text / text.sum() ~> text_weight * image / image.sum() + text / text.sum()
            The weight of the text is on the picture.

            marks are codes:
            targets < seg_start ~> targets <= seg_start
            (targets >= first_image) & (targets < seg_start) ~> targets >= first_image
            A mark counts as a code here. Codes go up to seg_start - 1.
        """,
    ),
    "19.3": Code(
        example=(torch.tensor([[5.0, 1.0, 2.0, 1.0, 9.0]]), 1, 4, 1),
        cases=_logits,
        section=DRAWING,
        edits="""
            top-k first:
            masked.topk(k, dim=-1) ~> logits.topk(k, dim=-1)
            The k largest are taken over all entries, so words and marks take places that belong to codes. Mask first.

            softmax first:
            masked.masked_fill(masked < least, -torch.inf).softmax(dim=-1) ~> \\
            logits.softmax(dim=-1).masked_fill(masked < least, 0.0)
            The softmax was taken over the whole vocabulary: the rows do not add up to 1. It comes last.

            zero:
            torch.full_like(logits, -torch.inf) ~> torch.zeros_like(logits)
            What is not allowed has a logit of 0, which is larger than some others. It has to be minus infinity.

            marks:
            first_image:seg_start ~> first_image:
            The marks can be drawn here: codes end at seg_start - 1.

            words:
            first_image:seg_start ~> :seg_start
            Words can be drawn here: codes begin at first_image.

            no top-k:
            masked.masked_fill(masked < least, -torch.inf).softmax(dim=-1) ~> masked.softmax(dim=-1)
            All codes are kept. Of the codes, only the k likeliest may be drawn.

            one too few:
            masked < least ~> masked <= least
            The k-th largest code is missing: it belongs to the k largest.

            first code:
            first_image:seg_start ~> first_image + 1:seg_start
            The first code, whose id is first_image, is missing.

            last code:
            first_image:seg_start ~> first_image:seg_start - 1
            The last code, whose id is seg_start - 1, is missing.

            one k for all:
            masked.topk(k, dim=-1).values[:, -1:] ~> masked.topk(k, dim=-1).values[:, -1].min()
            masked.topk(k, dim=-1).values[:, -1:] ~> masked.topk(k, dim=-1).values[:, -1].max()
            The rows share one threshold. Each row has its own k largest codes.
        """,
    ),
    "19.4": Number(
        value=2.02,
        within=0.012,
        wrong=[
            (2.53, 2.57, "That is the table without the class: all digits share it."),
            (3.25, 3.29, "That is the table without the place: a corner and the middle share it."),
            (3.36, 3.40, "That is one table for all classes and places."),
            (1.83, 1.87, "That is measured on the training pictures, which were counted."),
            (2.89, 2.94, "Those are bits. Use the natural logarithm."),
            (4.15, 4.17, "That is ln 64: what knowing nothing costs."),
            (2.22, 2.25, "It looks as if 1 was added to each count instead of 0.1."),
            (2.05, 2.07, "It looks as if 0.01 was added to each count instead of 0.1."),
            (7.45, 7.6, "That is e to the power of the answer, a perplexity."),
            (31.9, 32.7, "Those are the nats of a whole picture. Divide by its 16 tokens."),
        ],
        section=LOSS,
    ),
    "19.5": Choice(
        right="b",
        wrong={
            "a": "Then some rows would not be well formed, or the torn pictures would not be good digits. Look at the "
            "first row.",
            "c": "With codes that mean something else the pictures would be rubbish. Your colleague's are good digits.",
            "d": "At temperature 0 each caption gives one picture only, so most real digits would have none near by. Look "
            "at the last row.",
        },
        section=DRAWING,
    ),
}
