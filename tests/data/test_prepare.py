"""A corpus becomes shards that say where they come from, once; what changed or is damaged is seen."""

import json
import lzma
import os

import numpy as np
import pytest

from blueberry_lib.cli import main
from blueberry_lib.config import BlueberryError
from blueberry_lib.data import corpora, shards, tokens
from blueberry_lib.data import prepare as way
from blueberry_lib.data.prepare import prepare


@pytest.fixture
def texts(tmp_path):
    for i in range(60):
        lines = [f"file {i}, line {j}: some words of prose" for j in range(12)]
        (tmp_path / f"{i}.txt").write_text("\n".join(lines))
    return f"text:{tmp_path}/*.txt"


def test_a_corpus_becomes_shards_with_a_manifest(texts):
    data = prepare(texts, 400)
    manifest = json.loads((data.folder / "manifest.json").read_text())
    assert manifest["source"] == texts and manifest["vocab_size_asked"] == 400
    assert manifest["splits"]["train"]["tokens"] == len(data.train)
    assert data.train.dtype == np.uint16 and data.train.max() == manifest["largest_id"] < 400
    tokenizer = data.tokenizer()
    assert tokens.tokenizer_hash(tokenizer) == manifest["tokenizer_sha256"]
    assert data.vocab_size == tokenizer.get_vocab_size() < 400  # so little text does not hold 400 pieces
    whole = tokenizer.decode(np.concatenate([data.train, data.val]).tolist(), skip_special_tokens=False)
    assert sorted(whole.split(tokens.END_OF_TEXT)[:-1]) == sorted(
        "\n".join(f"file {i}, line {j}: some words of prose" for j in range(12)) for i in range(60)
    )


def test_preparing_again_reuses_and_a_changed_file_does_not(texts, tmp_path):
    first = prepare(texts, 400)
    stamp = (first.folder / "manifest.json").stat().st_mtime_ns
    again = prepare(texts, 400)
    assert again.folder == first.folder and (again.folder / "manifest.json").stat().st_mtime_ns == stamp
    (tmp_path / "0.txt").write_text("something else entirely, twenty letters and more")
    assert prepare(texts, 400).folder != first.folder


def test_shards_made_by_other_code_are_not_reused(texts, monkeypatch, tmp_path):
    first = prepare(texts, 400)
    other = tmp_path / "corpora.py"
    other.write_text("# another way to find and split the same texts")
    monkeypatch.setattr(corpora, "__file__", str(other))
    assert prepare(texts, 400).folder != first.folder


def test_long_streams_are_cut_into_several_shards(texts, monkeypatch):
    whole = prepare(texts, 300)
    monkeypatch.setattr(shards, "SHARD_TOKENS", 500)
    monkeypatch.setattr(way, "FORMAT", -1)
    cut = prepare(texts, 300)
    assert len(cut.manifest["splits"]["train"]["shards"]) > 3
    assert np.array_equal(cut.train, whole.train) and np.array_equal(cut.val, whole.val)


def test_raw_and_xz_tokens_are_the_same_data(token_folder, tmp_path):
    raw = prepare(f"tokens:{token_folder}", 97)
    packed = tmp_path / "packed"
    packed.mkdir()
    (token_folder / "test.bin").write_bytes((token_folder / "val.bin").read_bytes()[:-200])
    for split in shards.SPLITS:
        (packed / f"{split}.bin.xz").write_bytes(lzma.compress((token_folder / f"{split}.bin").read_bytes()))
    compressed = prepare(f"tokens:{packed}", 97)
    with_test = prepare(f"tokens:{token_folder}", 97)
    assert raw.test is None and with_test.sha256 == compressed.sha256 != raw.sha256 and raw.vocab_size == 97
    assert np.array_equal(with_test.test, raw.val[:-100]) and np.array_equal(with_test.val, raw.val)
    assert np.array_equal(raw.train, np.fromfile(token_folder / "train.bin", "<u2"))
    assert raw.tokenizer() is None
    assert prepare(f"tokens:{compressed.folder}", 97).folder == compressed.folder


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_a_damaged_shard_is_refused(texts, damage, monkeypatch):
    monkeypatch.setattr(way, "FORMAT", damage)
    path = prepare(texts, 400).folder / "train-00000.bin"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[100] ^= 1
    else:
        del content[-10:]
    path.write_bytes(content)
    with pytest.raises(BlueberryError, match="train-00000.bin is damaged .* prepare the corpus again"):
        prepare(texts, 400)


def test_shards_are_hashed_again_only_when_touched_or_asked_for(texts, monkeypatch):
    monkeypatch.setattr(way, "FORMAT", "hashing")
    hashed, whole = [], shards._sha256
    monkeypatch.setattr(shards, "_sha256", lambda path: hashed.append(path.name) or whole(path))
    path = prepare(texts, 400).folder / "train-00000.bin"
    assert sorted(hashed) == ["train-00000.bin", "val-00000.bin"]
    prepare(texts, 400)
    assert len(hashed) == 2
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a failing disk changes it
    prepare(texts, 400)
    assert main(["prepare", texts, "--vocab-size", "400"]) == 0
    with pytest.raises(BlueberryError, match="train-00000.bin is damaged"):
        prepare(texts, 400, verify=True)
    assert main(["prepare", texts, "--vocab-size", "400", "--verify"]) == 2
    content[100] ^= 1
    path.write_bytes(content)
    prepare(texts, 400)
    assert len(hashed) == 6


def test_changed_token_files_and_tokenizers_are_another_corpus(token_folder, tmp_path):
    spec, path = f"tokens:{token_folder}", tmp_path / "tokenizer.json"
    first = prepare(spec, 97)
    with open(token_folder / "train.bin", "r+b") as file:
        file.write(b"\5\0")
    second = prepare(spec, 97)
    assert second.sha256 != first.sha256 and second.train[0] == 5
    named = []
    for text in ("aa bb", "ab ab ab"):
        path.write_text(tokens.train_tokenizer([text], 260).to_str())
        named.append(prepare(spec, 97, str(path)))
    assert named[0].folder != named[1].folder
    assert [d.manifest["tokenizer_sha256"] for d in named] == [tokens.tokenizer_hash(d.tokenizer()) for d in named]
    assert named[0].manifest["tokenizer_sha256"] != named[1].manifest["tokenizer_sha256"]


def test_texts_that_share_a_licence_are_not_taken_for_duplicates(tmp_path):
    licence = [f"# line {j} of a licence that each file begins with" for j in range(20)]
    for i in range(60):
        own = [f"words of file {i} and no other, line {j}" for j in range(5)]
        (tmp_path / f"{i}.txt").write_text("\n".join([*licence, *own]))
    assert len(prepare(f"text:{tmp_path}/*.txt", 300).val) > 0
    for i in range(60):
        (tmp_path / f"{i}.txt").write_text("\n".join([*licence, f"{i}"]))
    with pytest.raises(BlueberryError, match=r"60 document\(s\) that .* share most of their lines, too few"):
        prepare(f"text:{tmp_path}/*.txt", 300)


@pytest.mark.parametrize("spec", ["novels", "stdlib:3", "docs:x", "text:", "tokens:", ""])
def test_an_unknown_corpus_is_refused(spec):
    with pytest.raises(BlueberryError, match="expected stdlib, docs, text:GLOB or tokens:DIR, or from the Hub"):
        prepare(spec, 300)


def test_empty_text_and_halves_of_characters_are_named(tmp_path):
    (tmp_path / "blank.md").write_text(" \n")
    with pytest.raises(BlueberryError, match="empty"):
        prepare(f"text:{tmp_path}/*.md", 300)
    (tmp_path / "half.jsonl").write_text('{"text": "\\ud83d"}')
    with pytest.raises(BlueberryError, match="half.jsonl#0 holds half of a surrogate pair"):
        prepare(f"text:{tmp_path}/*.jsonl", 300)


def test_an_empty_side_and_a_broken_manifest_are_refused(token_folder):
    (token_folder / "val.bin").write_bytes(b"")
    with pytest.raises(BlueberryError, match="no tokens in 'val'"):
        prepare(f"tokens:{token_folder}", 97)
    (token_folder / "manifest.json").write_text("{}")
    with pytest.raises(BlueberryError, match="manifest.json is damaged"):
        prepare(f"tokens:{token_folder}", 97)


def test_a_file_in_another_encoding_of_names_and_a_cache_under_the_home_folder(texts, tmp_path, monkeypatch):
    try:
        os.rename(os.fsencode(tmp_path / "0.txt"), os.fsencode(tmp_path) + b"/caf\xe9.txt")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BLUEBERRY_CACHE", "~/prepared")
    assert prepare(texts, 400).folder.parent == tmp_path / "prepared"


def test_without_a_home_folder_the_cache_asks_for_a_place(monkeypatch):
    monkeypatch.delenv("BLUEBERRY_CACHE")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where HOME is not set, nor in the password file
    with pytest.raises(BlueberryError, match="No home folder .* BLUEBERRY_CACHE"):
        shards.cache_folder()


def test_damaged_or_missing_token_files_are_refused(token_folder):
    good = lzma.compress((token_folder / "train.bin").read_bytes())
    (token_folder / "train.bin").unlink()
    (token_folder / "train.bin.xz").write_bytes(good[: len(good) // 2])
    with pytest.raises(BlueberryError, match="train.bin.xz is truncated"):
        prepare(f"tokens:{token_folder}", 97)
    (token_folder / "train.bin.xz").unlink()
    (token_folder / "train.bin").write_bytes(b"\1\0\2")
    with pytest.raises(BlueberryError, match="train.bin is truncated"):
        prepare(f"tokens:{token_folder}", 97)
    (token_folder / "train.bin").unlink()
    with pytest.raises(BlueberryError, match="has no train.bin"):
        prepare(f"tokens:{token_folder}", 97)
    assert not list(shards.cache_folder().glob(".building-*"))


def test_tokens_of_another_tokenizer_are_refused(token_folder, texts, tmp_path):
    (tmp_path / "0.txt").write_text("small")
    small = tokens.train_tokenizer(["aa bb"], 257)
    path = tmp_path / "tokenizer.json"
    path.write_text(small.to_str())
    stream = np.full(1000, 300, dtype="<u2")
    stream.tofile(token_folder / "train.bin")
    with pytest.raises(BlueberryError, match="token id 300, but the tokenizer .* 257"):
        prepare(f"tokens:{token_folder}", 97, str(path))


def test_a_single_short_text_is_too_little(tmp_path):
    (tmp_path / "one.txt").write_text("one document")
    with pytest.raises(BlueberryError, match=r"1 document\(s\), too few"):
        prepare(f"text:{tmp_path}/one.txt", 300)
