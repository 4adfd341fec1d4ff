"""Captions: many, different, some held out; their ids; caption dropout at its rate."""

import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.tokens import train_tokenizer
from blueberry_lib.images.captions import HELD_OUT, TEMPLATES, Prompts, caption_tokenizer, captions, prompt

CLASSES = ("zero", "eight", "automobile", "blueberry")
SEG_START = 999


@pytest.fixture(scope="module")
def tokenizer():
    return caption_tokenizer(CLASSES, 512)


def test_there_are_many_captions_of_each_class_and_the_held_out_ones_are_others():
    for name in CLASSES:
        known, held_out = captions(name), captions(name, HELD_OUT)
        assert len(known) >= 50 and len(held_out) >= 10
        assert len({*known, *held_out}) == len(known) + len(held_out)
        assert all(any(word in text for word in (name, "0", "8", "car")) for text in known + held_out)
    assert not {*TEMPLATES} & {*HELD_OUT}
    everything = [text for name in CLASSES for text in captions(name) + captions(name, HELD_OUT)]
    assert len({*everything}) == len(everything)  # a caption belongs to one class


def test_articles_fit_their_words():
    assert "a picture of an eight" in captions("eight") and "a picture of an 8" in captions("eight")
    assert "a picture of a one" in captions("one") and "an image of a ship" not in captions("ship")
    assert "a picture of an automobile" in captions("automobile") and "a photo of a car" in captions("automobile")


def test_a_prompt_is_begin_text_seg_start(tokenizer):
    ids = prompt(tokenizer, "a picture of an eight", SEG_START)
    assert ids[0] == 0 and ids[-1] == SEG_START
    assert tokenizer.decode(ids[1:-1]) == " a picture of an eight"
    assert prompt(tokenizer, "eight", SEG_START)[1] == ids[-2]
    assert prompt(tokenizer, "", SEG_START) == [0, SEG_START]
    other = train_tokenizer(["text"], 300)
    other = type(other).from_str(other.to_str().replace("<|endoftext|>", "<other>"))
    with pytest.raises(BlueberryError, match="no <|endoftext|> token"):
        prompt(other, "eight", SEG_START)


def test_held_out_captions_can_be_encoded_though_no_token_was_made_for_them(tokenizer):
    for text in captions("blueberry", HELD_OUT):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_prompts_hold_every_caption(tokenizer):
    prompts = Prompts(tokenizer, CLASSES, TEMPLATES, SEG_START)
    for rows, name in zip(prompts.rows, CLASSES, strict=True):
        assert rows == [prompt(tokenizer, text, SEG_START) for text in captions(name)]
    assert prompts.longest == max(len(row) for rows in prompts.rows for row in rows)


def test_drawn_captions_are_of_the_label_all_of_them_and_dropped_at_the_rate(tokenizer):
    prompts = Prompts(tokenizer, CLASSES, TEMPLATES, SEG_START)
    labels = torch.arange(4).repeat(10_000)
    rows = prompts.draw(labels, dropout=0.1)
    empty = torch.tensor([row == [0, SEG_START] for row in rows])
    assert empty.double().mean().item() == pytest.approx(0.1, abs=0.01)
    for label in range(4):  # each sample on its own, not whole batches or classes
        assert empty[labels == label].double().mean().item() == pytest.approx(0.1, abs=0.02)
        seen = {tuple(row) for row, c, no_text in zip(rows, labels, empty, strict=True) if c == label and not no_text}
        known = {*map(tuple, prompts.rows[label])}
        assert seen <= known and len(seen) > 0.95 * len(known)
    assert all(len(row) > 2 for row in prompts.draw(labels))


def test_fixed_captions_are_the_same_each_time_and_go_through_all(tokenizer):
    prompts = Prompts(tokenizer, CLASSES, HELD_OUT, SEG_START)
    labels = torch.full((40,), 1)
    rows = prompts.fixed(labels)
    assert rows == prompts.fixed(labels) and all(row[-1] == SEG_START for row in rows)
    assert len({*map(tuple, rows)}) == len(prompts.rows[1])
