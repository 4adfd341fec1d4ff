"""The split keeps near-duplicates together, tokens round-trip, and every document ends."""

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import corpora, tokens
from blueberry_lib.data.corpora import Document


@pytest.fixture(scope="module")
def stdlib():
    return corpora.documents("stdlib")


def test_no_validation_document_shares_more_than_half_its_lines_with_training(stdlib):
    train, validation = tokens.split(stdlib)
    assert sorted(d.name for d in train + validation) == sorted(d.name for d in stdlib)
    seen = set().union(*(tokens.telling_lines(d.text) for d in train))
    for document in validation:
        lines = tokens.telling_lines(document.text)
        assert 2 * len(lines & seen) <= len(lines), document.name
    size = sum(len(d.text) for d in validation) / sum(len(d.text) for d in stdlib)
    assert 0.05 < size < 0.3


def test_near_duplicates_end_on_the_same_side():
    def text(i, changed=0):
        return "\n".join(f"line {j} of document number {i + (1000 if j < changed else 0)}" for j in range(20))

    documents = [Document(f"{i}{kind}", text(i, 2 * (kind == "b"))) for i in range(300) for kind in "ab"]
    train, validation = tokens.split(documents)
    sides = {d.name: side for side, part in enumerate((train, validation)) for d in part}
    assert all(sides[f"{i}a"] == sides[f"{i}b"] for i in range(300))
    # Either copy drawn into training pulls the other after it, so about 0.15² of the pairs stay out.
    assert 1 <= sum(sides[f"{i}a"] for i in range(300)) <= 20


def test_the_split_does_not_depend_on_the_order_of_the_documents():
    documents = [Document(str(i), f"text number {i} of this small corpus") for i in range(100)]
    assert tokens.split(documents) == tokens.split(documents[::-1])


def test_text_round_trips_and_bytes_are_counted(stdlib):
    tokenizer = tokens.train_tokenizer(stdlib[:40], 600)
    assert tokenizer.get_vocab_size() == 600 and tokenizer.token_to_id(tokens.END_OF_TEXT) == 0
    text = "def naïve(x):\n\treturn '🫐' * x\r\n" + stdlib[50].text[:2000]
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    counts = tokens.bytes_per_token(tokenizer)
    assert counts.shape == (600,) and counts[0] == 0
    assert counts[ids].sum() == len(text.encode())


def test_packing_ends_each_document_and_loses_nothing(stdlib):
    tokenizer = tokens.train_tokenizer(stdlib[:40], 600)
    packed = list(tokens.pack(stdlib[:20], tokenizer, batch=7))
    assert all(p.dtype == np.uint16 and p[-1] == 0 and (p[:-1] != 0).all() for p in packed)
    assert [tokenizer.decode(p[:-1].tolist()) for p in packed] == [d.text for d in stdlib[:20]]


def test_a_tokenizer_without_an_end_is_refused():
    with pytest.raises(BlueberryError, match="endoftext"):
        list(tokens.pack([Document("a", "text")], Tokenizer(models.BPE())))


def test_what_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"version": 1')
    with pytest.raises(BlueberryError, match="not a tokenizer.json"):
        tokens.load_tokenizer(tmp_path / "tokenizer.json")
