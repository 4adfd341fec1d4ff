"""From documents to token ids: the split, the tokenizer, the packing."""

import hashlib
import itertools
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from blueberry_lib.config import BlueberryError

END_OF_TEXT = "<|endoftext|>"
TELLING_LINE = 20  # shorter lines ("else:", "return None") say nothing about where a document comes from
LONG_WORD = 1_024  # characters; where one is longer, words are cut: byte-pair encoding takes too long over them


def split(texts: Iterable[str], validation: float = 0.15, test: float = 0.0) -> tuple[np.ndarray, ...]:
    """The numbers of the texts that train, of those that validate and, with a share of ``test``, of those that test,
    each in the order of a hash of the text.

    The hash holds out these shares. Then the near-duplicates are brought together: as long as a text that is held out
    shares more than half of its distinct telling lines with training, it joins training. Lines that many texts hold,
    as of a licence or a template, do not count; a text of nothing else trains. Of each text only hashes of it and of
    its lines are kept. Raises BlueberryError if no text is left on a side.
    """
    digests, lines = [], []
    for text in texts:
        digests.append(hashlib.blake2b(text.encode(), digest_size=16).digest())
        hashed = (hashlib.blake2b(line.encode(), digest_size=8).digest() for line in telling_lines(text))
        lines.append(np.frombuffer(b"".join(hashed), np.uint64))
    count = len(digests)
    if not count:
        raise BlueberryError("The corpus is empty: nothing but white space in it.")
    place, draw = np.frombuffer(b"".join(digests), ">u8").reshape(count, 2).T
    drawn = draw < np.uint64((validation + test) * 2**64)
    owner = np.repeat(np.arange(count), [len(of_one) for of_one in lines])
    _, line, held = np.unique(np.concatenate(lines), return_inverse=True, return_counts=True)
    own = held[line] <= min(64, max(10, count // 10), count // 2)
    total = np.bincount(owner[own], minlength=count)
    joins = ~drawn | (total == 0) & (np.bincount(owner, minlength=count) > 0)
    owner, line, seen = owner[own], line[own], np.zeros(len(held), bool)
    held_out = np.ones(count, bool)
    while joins.any():
        held_out &= ~joins
        seen[line[joins[owner]]] = True
        joins = held_out & (np.bincount(owner, seen[line], count) * 2 > total)
    order = np.argsort(place, kind="stable")
    tests = held_out & (draw < np.uint64(test * 2**64))
    sides = [order[side[order]] for side in (~held_out, held_out & ~tests, tests)][: 3 if test else 2]
    if not all(map(len, sides)):
        alike = " that do not share most of their lines" if drawn.any() and not held_out.any() else ""
        raise BlueberryError(
            f"The corpus has {count} document(s){alike}, too few to hold some out. "
            "Give more files; a file over 64 KiB is cut into several documents by itself."
        )
    return tuple(sides)


def telling_lines(text: str) -> set[str]:
    """The distinct lines of a text that are long enough to recognise it by, without their indentation."""
    return {line for raw in text.splitlines() if len(line := raw.strip()) >= TELLING_LINE}


def train_tokenizer(texts: Collection[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE (Sennrich et al., 2016; Radford et al., 2019): every text can be encoded, id 0
    ends a document."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if any(len(word) > LONG_WORD for text in texts for word in text.split()):
        cut = pre_tokenizers.Split(Regex(rf"\S{{{LONG_WORD}}}"), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, tokenizer.pre_tokenizer])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(iter(texts), trainer, length=len(texts))
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer.json."""
    try:
        return Tokenizer.from_str(Path(os.path.expanduser(path)).read_text(encoding="utf-8"))
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


def pack(texts: Iterable[str], tokenizer: Tokenizer, batch: int = 256) -> Iterator[np.ndarray]:
    """One uint16 array a text, closed by the end-of-text token."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    if end is None:
        raise BlueberryError(f"The tokenizer has no {END_OF_TEXT} token, which closes each document.")
    if tokenizer.get_vocab_size() > 2**16:
        raise BlueberryError(
            f"The tokenizer has {tokenizer.get_vocab_size()} entries; shards hold 16-bit ids, so at most 65,536."
        )
    remaining = iter(texts)
    while chunk := list(itertools.islice(remaining, batch)):
        for encoding in tokenizer.encode_batch_fast(chunk, add_special_tokens=False):
            yield np.array([*encoding.ids, end], dtype=np.uint16)
