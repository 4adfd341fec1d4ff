"""From documents to token ids: the split, the tokenizer, the packing."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.corpora import Document

END_OF_TEXT = "<|endoftext|>"
VALIDATION_SHARE = 0.15
TELLING_LINE = 20  # shorter lines ("else:", "return None") say nothing about where a document comes from


def split(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """(train, validation), each in the order of a hash of its documents' text.

    The hash sends a share of VALIDATION_SHARE to validation. Then the near-duplicates are brought together: as
    long as a validation document shares more than half of its distinct telling lines with training, it joins
    training.
    """
    digests = {d: hashlib.blake2b(d.text.encode(), digest_size=16).digest() for d in documents}
    ordered = sorted(documents, key=lambda d: (digests[d][:8], d.name))
    held_out = [d for d in ordered if int.from_bytes(digests[d][8:], "big") < VALIDATION_SHARE * 2**64]
    validation = dict.fromkeys(held_out)
    lines = {d: telling_lines(d.text) for d in ordered}
    seen = set().union(*(lines[d] for d in ordered if d not in validation))
    moved = True
    while moved:
        moved = [d for d in validation if len(lines[d] & seen) * 2 > len(lines[d])]
        for d in moved:
            del validation[d]
            seen |= lines[d]
    return [d for d in ordered if d not in validation], list(validation)


def telling_lines(text: str) -> set[str]:
    """The distinct lines of a text that are long enough to recognise it by, without their indentation."""
    return {line for raw in text.splitlines() if len(line := raw.strip()) >= TELLING_LINE}


def train_tokenizer(documents: Sequence[Document], vocab_size: int) -> Tokenizer:
    """A byte-level BPE (Sennrich et al., 2016; Radford et al., 2019): every text can be encoded, id 0
    ends a document."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((d.text for d in documents), trainer, length=len(documents))
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer.json."""
    try:
        return Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))
    except OSError:
        raise
    except Exception as error:
        raise BlueberryError(f"{path} is not a tokenizer.json: {error}. Expected a file of `tokenizers`.") from None


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """sha256 of a tokenizer's JSON form."""
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def bytes_per_token(tokenizer: Tokenizer) -> np.ndarray:
    """UTF-8 bytes each id stands for, (V,) int64; 0 for special tokens.

    A byte-level vocabulary writes each byte as one character, so an entry's length is its count of bytes.
    """
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    lengths = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64)
    for token, i in vocabulary.items():
        lengths[i] = 0 if i in special else len(token)
    return lengths


def pack(documents: Sequence[Document], tokenizer: Tokenizer, batch: int = 256) -> Iterator[np.ndarray]:
    """One uint16 array a document, closed by the end-of-text token."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    if end is None:
        raise BlueberryError(f"The tokenizer has no {END_OF_TEXT} token, which closes each document.")
    if tokenizer.get_vocab_size() > 2**16:
        raise BlueberryError(
            f"The tokenizer has {tokenizer.get_vocab_size()} entries; shards hold 16-bit ids, so at most 65,536."
        )
    for start in range(0, len(documents), batch):
        chunk = [d.text for d in documents[start : start + batch]]
        for encoding in tokenizer.encode_batch_fast(chunk, add_special_tokens=False):
            yield np.array([*encoding.ids, end], dtype=np.uint16)
