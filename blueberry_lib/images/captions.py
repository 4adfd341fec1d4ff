"""Many captions for each class, some of them held out, and their tokens."""

from collections.abc import Sequence
from itertools import product

import torch
from tokenizers import Tokenizer
from torch import Tensor

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.tokens import END_OF_TEXT, train_tokenizer

OPENINGS = (
    *("", "this is", "here is", "there is", "it is", "I see", "we see", "you see", "draw", "paint", "I want"),
    *("a {picture} of", "{picture} of", "the {picture} shows", "this {picture} shows", "one {picture} with"),
    *("this is a {picture} of", "here is a {picture} of", "make a {picture} of", "we look at a {picture} of"),
)
CLOSINGS = ("", "in the {picture}", "on this {picture}", ", please", "for me", "now", "and nothing else")
LEADS = ("", "here", "now", "look,", "you see that", "I see that")
PREDICATES = (
    *("is in this {picture}", "is on the {picture}", "is drawn in the {picture}", "fills the {picture}", "appears"),
    *("is here", "stands here", "can be seen", "is the thing to draw", "is shown, that is what it is"),
)
TEMPLATES = (
    "{name}",
    *(f"{opening} {{a}} {{name}} {closing}".strip() for opening in OPENINGS for closing in CLOSINGS),
    *(f"{lead} {{a}} {{name}} {predicate}".strip() for lead in LEADS for predicate in PREDICATES),
)
HELD_OUT = (
    "show me {a} {name}",
    "please draw {a} {name}",
    "in this {picture} there is {a} {name}",
    "what we see here is {a} {name}",
    "{a} {name} is what this {picture} shows",
)
PICTURES = ("picture", "photo", "drawing", "sketch", "painting")
SYNONYMS = {
    **{name: (name, str(i)) for i, name in enumerate("zero one two three four five six seven eight nine".split())},
    "airplane": ("airplane", "plane", "aircraft", "jet"),
    "automobile": ("automobile", "car", "motorcar"),
    "bird": ("bird", "songbird"),
    "cat": ("cat", "kitten", "pussycat"),
    "deer": ("deer", "doe", "stag"),
    "dog": ("dog", "puppy", "hound"),
    "frog": ("frog", "toad"),
    "horse": ("horse", "pony", "mare"),
    "ship": ("ship", "boat", "vessel"),
    "truck": ("truck", "lorry"),
}


def captions(name: str, templates: Sequence[str] = TEMPLATES) -> list[str]:
    """Every different caption of a class that the templates, its synonyms and the words for a picture give."""
    found = {}
    for template, word, picture in product(templates, SYNONYMS.get(name, (name,)), PICTURES):
        an = word[0] in "aeiou8" and word != "one"
        text = template.format(a="an" if an else "a", name=word, picture=picture)
        found[text.replace(" ,", ",")] = None
    return list(found)


def caption_tokenizer(classes: Sequence[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE trained on the captions that are not held out."""
    texts = [f" {text}" for name in classes for text in captions(name)]
    return train_tokenizer(texts, vocab_size)


def prompt(tokenizer: Tokenizer, text: str, seg_start: int) -> list[int]:
    """``[BOS] text <seg_start>`` as ids; the text may be empty. The token that ends a text also begins it, and a space,
    so that the first word has the same token as elsewhere."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    if end is None:
        raise BlueberryError(f"The tokenizer has no {END_OF_TEXT} token, with which each caption begins.")
    return [end, *tokenizer.encode(f" {text}" if text else "", add_special_tokens=False).ids, seg_start]


class Prompts:
    """The captions of some classes as ids."""

    def __init__(self, tokenizer: Tokenizer, classes: Sequence[str], templates: Sequence[str], seg_start: int) -> None:
        self.rows = [[prompt(tokenizer, text, seg_start) for text in captions(name, templates)] for name in classes]
        self.longest = max(len(row) for rows in self.rows for row in rows)

    def draw(self, labels: Tensor, dropout: float = 0.0) -> list[list[int]]:
        """A random caption of each label (B,). A share ``dropout`` of them has no text."""
        which, dropped = torch.rand(2, len(labels))
        rows = [self.rows[c][int(u * len(self.rows[c]))] for c, u in zip(labels.tolist(), which.tolist(), strict=True)]
        empty = (dropped < dropout).tolist()
        return [[row[0], row[-1]] if no_text else row for row, no_text in zip(rows, empty, strict=True)]

    def fixed(self, labels: Tensor) -> list[list[int]]:
        """The i-th label of (B,) has caption i modulo the number of its class's."""
        return [self.rows[c][i % len(self.rows[c])] for i, c in enumerate(labels.tolist())]
