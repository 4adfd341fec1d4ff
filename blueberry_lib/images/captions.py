"""Many captions for each class, some of them held out, and their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from tokenizers import Tokenizer
from torch import Tensor

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.corpora import Document
from blueberry_lib.data.tokens import END_OF_TEXT, train_tokenizer

OPENINGS = (
    *("", "this is", "here is", "there is", "it is", "I see", "we see", "you see", "draw", "paint", "I want"),
    *("a {picture} of", "{picture} of", "the {picture} shows", "this {picture} shows", "one {picture} with"),
    *("this is a {picture} of", "here is a {picture} of", "make a {picture} of", "we look at a {picture} of"),
)
CLOSINGS = ("", "in the {picture}", "on this {picture}", ", please", "for me", "now", "and nothing else")
TEMPLATES = (
    "{name}",
    *(f"{opening} {{a}} {{name}} {closing}".strip() for opening in OPENINGS for closing in CLOSINGS),
    "{a} {name} is in this {picture}",
    "{a} {name} is here",
    "{a} {name} is shown, that is what it is",
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
    return train_tokenizer([Document(str(i), text) for i, text in enumerate(texts)], vocab_size)


def prompt(tokenizer: Tokenizer, text: str, seg_start: int) -> list[int]:
    """``[BOS] text <seg_start>`` as ids; the text may be empty. The token that ends a text also begins it, and a space,
    so that the first word has the same token as elsewhere."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    if end is None:
        raise BlueberryError(f"The tokenizer has no {END_OF_TEXT} token, with which each caption begins.")
    return [end, *tokenizer.encode(f" {text}" if text else "", add_special_tokens=False).ids, seg_start]


@dataclass(frozen=True)
class Prompts:
    """The captions of C classes as ids."""

    ids: Tensor
    """(C, M, L) int64, padded on the right with the first id, which ends a text."""
    lengths: Tensor
    """(C, M) int64."""
    counts: Tensor
    """(C,) int64: captions of each class; the rest of M is padding."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, classes: Sequence[str], templates: Sequence[str], seg_start: int) -> "Prompts":
        rows = [[prompt(tokenizer, text, seg_start) for text in captions(name, templates)] for name in classes]
        shape = (len(rows), max(map(len, rows)), max(len(ids) for row in rows for ids in row))
        all_ids, lengths = torch.full(shape, rows[0][0][0]), torch.zeros(shape[:2], dtype=torch.int64)
        for c, row in enumerate(rows):
            for m, ids in enumerate(row):
                all_ids[c, m, : len(ids)] = torch.tensor(ids)
                lengths[c, m] = len(ids)
        return cls(all_ids, lengths, torch.tensor([len(row) for row in rows]))

    def draw(self, labels: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """A random caption of each label (B,): ids (B, L) and lengths (B,). A share ``dropout`` of them has no text."""
        which = (torch.rand(len(labels)) * self.counts[labels]).long()
        ids, lengths = self.ids[labels, which], self.lengths[labels, which]
        dropped = torch.rand(len(labels)) < dropout
        empty = torch.full_like(ids, ids[0, 0])
        empty[:, 1] = self.ids[0, 0, self.lengths[0, 0] - 1]  # seg_start
        return torch.where(dropped.unsqueeze(1), empty, ids), torch.where(dropped, 2, lengths)

    def fixed(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As ``draw``, but the i-th label has caption i modulo the number of its class's."""
        which = torch.arange(len(labels)) % self.counts[labels]
        return self.ids[labels, which], self.lengths[labels, which]

    def lists(self, labels: Tensor) -> list[list[int]]:
        """The ``fixed`` captions as lists of ids, without padding."""
        return [row[:length].tolist() for row, length in zip(*self.fixed(labels), strict=True)]
