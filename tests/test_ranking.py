"""Continuations are scored as the whole forward pass scores them, whatever stands beside them in the batch."""

from dataclasses import replace

import pytest
import torch

from blueberry_lib import ranking
from blueberry_lib.config import BlueberryError
from blueberry_lib.data.tokens import END_OF_TEXT, train_tokenizer
from blueberry_lib.model import Blueberry
from blueberry_lib.ranking import choice_scores, continuations, encode_pair


@pytest.fixture(params=[False, True], ids=["vocabulary alone", "with a copy head"])
def model(tiny, randomized, request):
    return randomized(Blueberry(replace(tiny, copy_head=request.param)))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the cat sat on the mat and the dog sat on the cat " * 20], 280)


def test_each_token_has_its_log_probability(model, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    lengths = [(3, 4), (1, 1), (20, 12), (5, 32), (40, 7), (1, 9)]
    pairs = [tuple(torch.randint(97, (n,), generator=generator).tolist() for n in both) for both in lengths]
    found = continuations(model, pairs)
    for (context, continuation), (log_p, greedy) in zip(pairs, found, strict=True):
        ids = (context + continuation)[-33:]
        with torch.no_grad():
            every = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)[-len(continuation) :]
        expected = every[range(len(continuation)), continuation]
        torch.testing.assert_close(log_p, expected, atol=1e-4, rtol=1e-4)
        assert greedy == (every.argmax(-1).tolist() == continuation)
    monkeypatch.setattr(ranking, "rows_at_once", lambda *_: 1)
    for (one, _), (other, _) in zip(found, continuations(model, pairs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_greedy_continuation_is_called_greedy(model):
    ids = [5, 6]
    for _ in range(4):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    other = [*ids[2:5], (ids[5] + 1) % 97]
    assert [greedy for _, greedy in continuations(model, [(ids[:2], ids[2:]), (ids[:2], other)])] == [True, False]


def test_probabilities_of_all_single_continuations_add_up_to_one(model):
    found = continuations(model, [([4, 8], [i]) for i in range(97)])
    assert sum(log_p.exp().item() for log_p, _ in found) == pytest.approx(1, abs=1e-5)


def test_the_pair_is_encoded_in_one_piece_and_the_space_is_the_continuation_s(tokenizer):
    def words(ids):
        return [tokenizer.decode([i]) for i in ids]

    assert encode_pair(tokenizer, "the cat ", "sat") == encode_pair(tokenizer, "the cat", " sat")
    context, continuation = encode_pair(tokenizer, "the cat", " sat on")
    assert words(context) == ["the", " cat"] and words(continuation) == [" sat", " on"]
    assert encode_pair(tokenizer, "", "the")[0] == [tokenizer.token_to_id(END_OF_TEXT)]


def test_scores_are_sums_divided_by_the_length_that_is_asked_for(tiny, randomized, tokenizer):
    model = randomized(Blueberry(replace(tiny, vocab_size=280)))
    choices = [" cat", " dog sat", " é"]
    sums = choice_scores(model, tokenizer, "the", choices)
    for per, lengths in {"token": [1, 2, 3], "character": [4, 8, 2], "byte": [4, 8, 3]}.items():
        found = choice_scores(model, tokenizer, "the", choices, per)
        assert found == pytest.approx([s / n for s, n in zip(sums, lengths, strict=True)])
    with pytest.raises(BlueberryError, match="per is 'word'"):
        choice_scores(model, tokenizer, "the", choices, "word")


@pytest.mark.parametrize("pair", [([], [1]), ([1], []), ([1], [2] * 33)])
def test_what_cannot_be_scored_is_one_line(model, pair):
    with pytest.raises(BlueberryError, match="at most 32"):
        continuations(model, [pair])
