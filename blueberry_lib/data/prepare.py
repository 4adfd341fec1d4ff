"""The way of the data: corpus → split → tokenizer → shards → manifest, once."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import corpora, hub, shards, tokens
from blueberry_lib.data.shards import SPLITS, TokenData, cache_folder, load


def prepare(spec: str, vocab_size: int, tokenizer_path: str | None = None, train_tokens: int = 2**20) -> TokenData:
    """Documents → split → tokens → shards, once; later calls open what is there.

    ``spec`` is a corpus (see ``corpora.documents`` and ``hub``) or ``tokens:DIR``; without ``tokenizer_path`` a
    byte-level BPE of at most ``vocab_size`` entries is trained on the training documents, but for ``blueberry`` and
    ``smollm-mix``, whose tokenizer is SmolLM2's. A corpus of the Hub is downloaded as far as ``train_tokens`` need
    (see ``hub.limit``); others are taken whole. Raises BlueberryError for a corpus that is empty, too small to split
    or out of reach, and for damaged shards.
    """
    kind, _, argument = spec.partition(":")
    tokenizer = tokens.load_tokenizer(tokenizer_path) if tokenizer_path else None
    if kind == "tokens":
        if (Path(argument) / "manifest.json").exists():
            return load(Path(argument))
        sources = {split: shards.token_file(Path(argument), split) for split in SPLITS}
        identity = [spec, *(f"{p.resolve()} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in sources.values())]
        streams = {split: shards.raw_tokens(path) for split, path in sources.items()}
    elif kind in hub.CORPORA:
        identity = [str(vocab_size) if kind == "hub" else "", *hub.identity(spec, train_tokens)]
    else:
        identity = [spec, str(vocab_size), _code(), *corpora.identity(spec)]
    identity += [str(shards.FORMAT), tokens.tokenizer_hash(tokenizer) if tokenizer else ""]
    key = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    folder = cache_folder() / f"{kind}-{key}"
    if (folder / "manifest.json").exists():
        return load(folder)

    if kind == "tokens":
        shards.build(folder, spec, streams, tokenizer)
    elif kind not in hub.CORPORA:
        streams, used = _tokenize(spec, corpora.documents(spec), tokenizer, vocab_size)
        shards.build(folder, spec, streams, used, None if tokenizer else vocab_size)
    else:
        download = cache_folder() / f".download-{key}"
        with hub.exclusive(download):
            if not (folder / "manifest.json").exists():  # else another process was first
                origin = {"revisions": hub.fetch(spec, train_tokens, download)}
                if kind != "hub":
                    tokenizer = tokenizer or hub.smollm_tokenizer(spec)
                if kind == "blueberry":
                    streams, used = hub.chunks(spec, download), tokenizer
                    origin["note"] = hub.CHUNKED_NOTE
                else:
                    streams, used = _tokenize(spec, hub.documents(spec, download), tokenizer, vocab_size)
                shards.build(folder, spec, streams, used, None if tokenizer else vocab_size, origin)
            shutil.rmtree(download, ignore_errors=True)
    return load(folder)


def _tokenize(
    spec: str, documents: Sequence[corpora.Document], tokenizer: tokens.Tokenizer | None, vocab_size: int
) -> tuple[dict[str, Iterator[np.ndarray]], tokens.Tokenizer]:
    """Both splits as ids, and the tokenizer, which is trained if there is none."""
    train, validation = tokens.split(documents)
    if not train or not validation:
        raise BlueberryError(
            f"The corpus {spec!r} has {len(documents)} document(s), too few to hold some out for validation. "
            "Give more files; a file over 64 KiB is cut into several documents by itself."
        )
    tokenizer = tokenizer or tokens.train_tokenizer(train, vocab_size)
    return {"train": tokens.pack(train, tokenizer), "val": tokens.pack(validation, tokenizer)}, tokenizer


def _code() -> str:
    """A hash of the code that finds and splits the texts: shards made by other code are not reused."""
    return "".join(shards.sha256_of(Path(module.__file__)) for module in (corpora, tokens))
