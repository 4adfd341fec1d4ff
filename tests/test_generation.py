"""Sampling with the cache equals sampling without, filters keep what they should, seeds repeat."""

import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.tokens import train_tokenizer
from blueberry_lib.generation import generate, sample, stream, text_pieces
from blueberry_lib.model import Blueberry


@pytest.fixture
def model(tiny, randomized):
    return randomized(Blueberry(tiny))


def greedy_without_cache(model, prompt, count):
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            tokens.append(model(torch.tensor([tokens]))[0, -1].argmax().item())
    return tokens[len(prompt) :]


def test_greedy_decoding_equals_full_forward_passes(model):
    prompt = [5, 3, 80]
    assert generate(model, [prompt], 25, temperature=0) == [greedy_without_cache(model, prompt, 25)]


def test_prompts_of_different_lengths_in_a_batch_go_as_each_alone(variants, randomized):
    for config in variants.values():
        check_batch(randomized(Blueberry(config)))


def check_batch(model):
    prompts = [[5], [7, 8, 9, 10, 11], [1, 2, 3]]
    together = generate(model, prompts, 12, temperature=0)
    assert together == [greedy_without_cache(model, prompt, 12) for prompt in prompts]


def test_stop_tokens_end_a_row_and_the_last_one_all(model):
    free = generate(model, [[5], [7]], 20, temperature=0)
    stop = free[0][4]
    stopped = generate(model, [[5], [7]], 20, temperature=0, stop_tokens={stop})
    assert stopped[0] == free[0][: free[0].index(stop) + 1]
    both = {free[0][3], free[1][3]}
    assert len(list(stream(model, [[5], [7]], 20, temperature=0, stop_tokens=both))) <= 4


def test_a_seed_repeats_and_streaming_is_the_same(model):
    settings = {"temperature": 1.0, "top_p": 0.9}
    a = generate(model, [[1], [2]], 15, seed=3, **settings)
    assert a == generate(model, [[1], [2]], 15, seed=3, **settings)
    assert a != generate(model, [[1], [2]], 15, seed=4, **settings)
    streamed = list(zip(*stream(model, [[1], [2]], 15, seed=3, **settings), strict=True))
    assert [list(column) for column in streamed] == a


def draw(logits, count=20_000, **settings):
    drawn = sample(logits.expand(count, -1), generator=torch.Generator().manual_seed(0), **settings)
    return drawn.bincount(minlength=logits.shape[-1]) / count


def test_frequencies_follow_the_softmax_at_each_temperature():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    for temperature in (0.5, 1.0, 2.0):
        expected = (logits[0] / temperature).softmax(-1)
        torch.testing.assert_close(draw(logits, temperature=temperature), expected, atol=0.015, rtol=0)
    assert draw(logits, count=10, temperature=0).tolist() == [1, 0, 0, 0]


def test_top_k_and_top_p_keep_the_right_entries_in_proportion():
    logits = torch.tensor([0.4, 0.1, 0.3, 0.2]).log()[None]
    torch.testing.assert_close(draw(logits, top_k=2), torch.tensor([4 / 7, 0, 3 / 7, 0]), atol=0.015, rtol=0)
    torch.testing.assert_close(draw(logits, top_k=9), logits.exp()[0], atol=0.015, rtol=0)
    for top_p, kept in ((0.39, [0]), (0.41, [0, 2]), (0.71, [0, 2, 3]), (1.0, [0, 1, 2, 3])):
        assert draw(logits, top_p=top_p).nonzero()[:, 0].tolist() == kept
    assert draw(logits, top_k=3, top_p=0.5).nonzero()[:, 0].tolist() == [0, 2]


@pytest.mark.parametrize("few", [1, 2, 100])
def test_top_p_finds_its_set_whether_or_not_it_lies_among_the_few(monkeypatch, few):
    monkeypatch.setattr("blueberry_lib.generation.FEW", few)
    logits = torch.tensor([[0.4, 0.1, 0.3, 0.2], [0.02, 0.9, 0.05, 0.03]]).log()
    drawn = sample(logits.repeat(4000, 1), top_p=0.85, generator=torch.Generator().manual_seed(0)).view(-1, 2)
    first, second = (column.bincount(minlength=4) / 4000 for column in drawn.T)
    torch.testing.assert_close(first, torch.tensor([4 / 9, 0, 3 / 9, 2 / 9]), atol=0.03, rtol=0)
    assert second.tolist() == [0, 1, 0, 0]


def test_streamed_text_holds_back_half_characters():
    tokenizer = train_tokenizer(["plain text"], 257)
    text = "blau 🫐 und naïve"
    pieces = list(text_pieces(tokenizer, tokenizer.encode(text).ids))
    assert "".join(pieces) == text and "🫐" in pieces and len(pieces) == len(text)


@pytest.mark.parametrize(
    ("prompts", "settings", "word"),
    [
        ([[]], {}, "empty"),
        ([], {}, "empty"),
        ([[97]], {}, "vocabulary of 97"),
        ([[1] * 30], {}, "context of 32"),
        ([[1]], {"temperature": -1}, "temperature"),
        ([[1]], {"top_k": 0}, "top_k"),
        ([[1]], {"top_p": 0.0}, "top_p"),
    ],
)
def test_bad_settings_are_refused(model, prompts, settings, word):
    with pytest.raises(BlueberryError, match=word):
        generate(model, prompts, 5, **settings)
