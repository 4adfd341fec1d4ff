"""The split keeps near-duplicates together, tokens round-trip, and every document ends."""

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import corpora, tokens


@pytest.fixture(scope="module")
def stdlib():
    return [document.text for document in corpora.stdlib() if document.text.strip()]


def test_no_validation_document_shares_more_than_half_its_lines_with_training(stdlib):
    train, validation = tokens.split(stdlib)
    assert sorted([*train, *validation]) == list(range(len(stdlib)))
    seen = set().union(*(tokens.telling_lines(stdlib[i]) for i in train))
    for i in validation:
        lines = tokens.telling_lines(stdlib[i])
        assert 2 * len(lines & seen) <= len(lines)
    size = sum(len(stdlib[i]) for i in validation) / sum(map(len, stdlib))
    assert 0.05 < size < 0.3


def test_a_test_split_is_held_out_beside_validation_and_leaves_the_rest_as_it_is(stdlib):
    train, validation, test = tokens.split(stdlib, 0.1, 0.1)
    both = tokens.split(stdlib, 0.2)
    assert np.array_equal(train, both[0]) and {*validation, *test} == set(both[1]) and not {*validation} & {*test}
    assert min(len(validation), len(test)) > 20


def test_near_duplicates_end_on_the_same_side():
    def text(i, changed=0):
        return "\n".join(f"line {j} of document number {i + (1000 if j < changed else 0)}" for j in range(20))

    validation = set(tokens.split([text(i, changed) for i in range(300) for changed in (0, 2)])[1])
    assert all((2 * i in validation) == (2 * i + 1 in validation) for i in range(300))
    # Either copy drawn into training pulls the other after it, so about 0.15² of the pairs stay out.
    assert 2 <= len(validation) <= 40


def test_the_split_does_not_depend_on_the_order_of_the_documents():
    texts = [f"text number {i} of this small corpus" for i in range(100)]
    one, other = tokens.split(texts), tokens.split(texts[::-1])
    assert [[texts[i] for i in side] for side in one] == [[texts[::-1][i] for i in side] for side in other]


def test_lines_that_many_texts_hold_do_not_count_and_a_text_of_nothing_else_trains():
    def texts(header, own):
        return ["\n".join([*header, *(f"own line {j} of text number {i}" for j in range(own))]) for i in range(100)]

    plain, header = texts([], 3), [f"line {j} of a long licence" for j in range(40)]
    with_header = texts(header, 3) + ["\n".join(header[i:]) for i in range(30)]
    assert len(tokens.split(plain)[1]) > 5
    validation = tokens.split(with_header)[1]
    assert len(validation) > 5 and max(validation) < 100


def test_long_words_are_cut_before_training_and_others_left_alone():
    letters = "".join(np.random.default_rng(0).choice(list("abcdefgh"), 60_000))
    plain, cut = tokens.train_tokenizer(["some words"], 300), tokens.train_tokenizer([letters, "b c"], 300)
    assert "Split" not in plain.to_str() and "Split" in cut.to_str()
    assert max(len(word) for word, _ in cut.pre_tokenizer.pre_tokenize_str(letters)) == tokens.LONG_WORD
    assert cut.decode(cut.encode(letters).ids) == letters


def test_text_round_trips_and_bytes_are_counted(stdlib):
    tokenizer = tokens.train_tokenizer(stdlib[:40], 600)
    assert tokenizer.get_vocab_size() == 600 and tokenizer.token_to_id(tokens.END_OF_TEXT) == 0
    text = "def naïve(x):\n\treturn '🫐' * x\r\n" + stdlib[50][:2000]
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    counts = tokens.bytes_per_token(tokenizer)
    assert counts.shape == (600,) and counts[0] == 0
    assert counts[ids].sum() == len(text.encode())


def test_packing_ends_each_document_and_loses_nothing(stdlib):
    tokenizer = tokens.train_tokenizer(stdlib[:40], 600)
    packed = list(tokens.pack(stdlib[:20], tokenizer, batch=7))
    assert all(p.dtype == np.uint16 and p[-1] == 0 and (p[:-1] != 0).all() for p in packed)
    assert [tokenizer.decode(p[:-1].tolist()) for p in packed] == stdlib[:20]


def test_a_tokenizer_without_an_end_is_refused():
    with pytest.raises(BlueberryError, match="endoftext"):
        list(tokens.pack(["text"], Tokenizer(models.BPE())))


def test_what_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"version": 1')
    with pytest.raises(BlueberryError, match="not a tokenizer.json"):
        tokens.load_tokenizer(tmp_path / "tokenizer.json")
