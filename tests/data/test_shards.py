"""Shards hold the corpus, say where it comes from, are made once, and damage is seen."""

import json
import lzma

import numpy as np
import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import prepare, shards, tokens


@pytest.fixture
def texts(tmp_path):
    for i in range(60):
        lines = [f"file {i}, line {j}: some words of prose" for j in range(12)]
        (tmp_path / f"{i}.txt").write_text("\n".join(lines))
    return f"text:{tmp_path}/*.txt"


def test_a_corpus_becomes_shards_with_a_manifest(texts):
    data = prepare.prepare(texts, 400)
    manifest = json.loads((data.folder / "manifest.json").read_text())
    assert manifest["source"] == texts and manifest["vocab_size"] == data.vocab_size == 400
    assert manifest["splits"]["train"]["tokens"] == len(data.train)
    assert data.train.dtype == np.uint16 and data.train.max() == manifest["largest_id"] < 400
    tokenizer = data.tokenizer()
    assert tokens.tokenizer_hash(tokenizer) == manifest["tokenizer_sha256"]
    assert tokenizer.get_vocab_size() <= 400  # so little text may not hold 400 pieces
    whole = tokenizer.decode(np.concatenate([data.train, data.val]).tolist(), skip_special_tokens=False)
    assert sorted(whole.split(tokens.END_OF_TEXT)[:-1]) == sorted(
        "\n".join(f"file {i}, line {j}: some words of prose" for j in range(12)) for i in range(60)
    )


def test_preparing_again_reuses_and_a_changed_file_does_not(texts, tmp_path):
    first = prepare.prepare(texts, 400)
    stamp = (first.folder / "manifest.json").stat().st_mtime_ns
    again = prepare.prepare(texts, 400)
    assert again.folder == first.folder and (again.folder / "manifest.json").stat().st_mtime_ns == stamp
    (tmp_path / "0.txt").write_text("something else entirely, twenty letters and more")
    assert prepare.prepare(texts, 400).folder != first.folder


def test_shards_made_by_other_code_are_not_reused(texts, monkeypatch, tmp_path):
    first = prepare.prepare(texts, 400)
    other = tmp_path / "corpora.py"
    other.write_text("# another way to find and split the same texts")
    monkeypatch.setattr(prepare.corpora, "__file__", str(other))
    assert prepare.prepare(texts, 400).folder != first.folder


def test_long_streams_are_cut_into_several_shards(texts, monkeypatch):
    whole = prepare.prepare(texts, 300)
    monkeypatch.setattr(shards, "SHARD_TOKENS", 500)
    monkeypatch.setattr(shards, "FORMAT", -1)
    cut = prepare.prepare(texts, 300)
    assert len(cut.manifest["splits"]["train"]["shards"]) > 3
    assert np.array_equal(cut.train, whole.train) and np.array_equal(cut.val, whole.val)


def test_raw_and_xz_tokens_are_the_same_data(token_folder, tmp_path):
    raw = prepare.prepare(f"tokens:{token_folder}", 97)
    packed = tmp_path / "packed"
    packed.mkdir()
    for split in shards.SPLITS:
        (packed / f"{split}.bin.xz").write_bytes(lzma.compress((token_folder / f"{split}.bin").read_bytes()))
    compressed = prepare.prepare(f"tokens:{packed}", 97)
    assert raw.sha256 == compressed.sha256 and raw.vocab_size == 97
    assert np.array_equal(raw.train, np.fromfile(token_folder / "train.bin", "<u2"))
    assert raw.tokenizer() is None
    assert prepare.prepare(f"tokens:{compressed.folder}", 97).folder == compressed.folder


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_a_damaged_shard_is_refused(texts, damage, monkeypatch):
    monkeypatch.setattr(shards, "FORMAT", damage)
    path = prepare.prepare(texts, 400).folder / "train-00000.bin"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[100] ^= 1
    else:
        del content[-10:]
    path.write_bytes(content)
    with pytest.raises(BlueberryError, match="train-00000.bin is damaged .* prepare the corpus again"):
        prepare.prepare(texts, 400)


def test_damaged_or_missing_token_files_are_refused(token_folder):
    good = lzma.compress((token_folder / "train.bin").read_bytes())
    (token_folder / "train.bin").unlink()
    (token_folder / "train.bin.xz").write_bytes(good[: len(good) // 2])
    with pytest.raises(BlueberryError, match="train.bin.xz is truncated"):
        prepare.prepare(f"tokens:{token_folder}", 97)
    (token_folder / "train.bin.xz").unlink()
    (token_folder / "train.bin").write_bytes(b"\1\0\2")
    with pytest.raises(BlueberryError, match="train.bin is truncated"):
        prepare.prepare(f"tokens:{token_folder}", 97)
    (token_folder / "train.bin").unlink()
    with pytest.raises(BlueberryError, match="has no train.bin"):
        prepare.prepare(f"tokens:{token_folder}", 97)
    assert not list(shards.cache_folder().glob(".building-*"))


def test_tokens_of_another_tokenizer_are_refused(token_folder, texts, tmp_path):
    (tmp_path / "0.txt").write_text("small")
    small = tokens.train_tokenizer([tokens.Document("a", "aa bb")], 257)
    path = tmp_path / "tokenizer.json"
    path.write_text(small.to_str())
    stream = np.full(1000, 300, dtype="<u2")
    stream.tofile(token_folder / "train.bin")
    with pytest.raises(BlueberryError, match="token id 300, but the tokenizer .* 257"):
        prepare.prepare(f"tokens:{token_folder}", 97, str(path))


def test_a_single_short_text_is_too_little(tmp_path):
    (tmp_path / "one.txt").write_text("one document")
    with pytest.raises(BlueberryError, match=r"1 document\(s\), too few"):
        prepare.prepare(f"text:{tmp_path}/one.txt", 300)
