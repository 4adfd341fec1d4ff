"""The way of the data: a corpus, being a row of CORPORA → split → tokenizer → shards → manifest, once."""

import contextlib
import hashlib
import json
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import corpora, hub, shards, tokens
from blueberry_lib.data.corpora import Document
from blueberry_lib.data.shards import TokenData, cache_folder

FORMAT = 3  # counted up when the same corpus would give other tokens
BAR = {"unit": " texts", "unit_scale": True, "delay": 5, "leave": False, "disable": None}  # where it takes longer


@dataclass(frozen=True)
class Corpus:
    """What there is to know of a kind of corpus."""

    license: str
    identity: Callable[[str, int], Iterable[str]]
    """(spec, training tokens wanted): what its text depends on."""
    documents: Callable[[str, Path], Iterator[Document]] | None = None
    """(spec, folder of the download): texts in a fixed order, which are split by document."""
    streams: Callable[[str, Path], dict[str, Iterable[np.ndarray]]] | None = None
    """Instead of documents, from the same: the ids of each side of a split."""
    on_hub: bool = False
    smollm: bool = False
    """Whether SmolLM2's tokenizer is used unless another is named; else one is trained."""
    held_out: tuple[float, float] = (0.15, 0.0)
    """Shares of the documents for validation and for a test split."""


SMOLLM_LICENSES = "ODC-By-1.0 (FineWeb-Edu), Apache-2.0 (Cosmopedia)"
CORPORA = {
    "stdlib": Corpus(
        "PSF-2.0",
        lambda *_: corpora.stamps(corpora.stdlib_files()),
        lambda *_: corpora.stdlib(),
        held_out=(0.18, 0.18),
    ),
    "docs": Corpus(
        "BSD-3-Clause (torch, numpy, scikit-learn), PSF-based (matplotlib)",
        lambda *_: corpora.docs_versions(),
        lambda *_: corpora.docs(),
    ),
    "text": Corpus(
        "the user's own files",
        lambda spec, _: [spec, *corpora.stamps(corpora.text_files(spec)[0])],
        lambda spec, _: corpora.text(spec),
    ),
    "tokens": Corpus(
        "see the source",
        lambda spec, _: corpora.stamps(shards.token_files(spec).values()),
        streams=lambda spec, _: {split: shards.ids(path) for split, path in shards.token_files(spec).items()},
    ),
    "blueberry": Corpus(SMOLLM_LICENSES, hub.identity, streams=hub.chunks, on_hub=True, smollm=True),
    "smollm-mix": Corpus(SMOLLM_LICENSES, hub.identity, hub.documents, on_hub=True, smollm=True),
    "hub": Corpus("see the dataset's page", hub.identity, hub.documents, on_hub=True),
}


def prepare(
    spec: str, vocab_size: int, tokenizer_path: str | None = None, train_tokens: int = 2**20, verify: bool = False
) -> TokenData:
    """Documents → split → tokens → shards, once; later calls open what is there.

    ``spec`` is ``stdlib``, ``docs``, ``text:GLOB`` (see ``corpora.text``), ``tokens:DIR`` or a corpus of the Hub (see
    ``hub``); without ``tokenizer_path`` a byte-level BPE of at most ``vocab_size`` entries is trained on the training
    documents, but for ``blueberry`` and ``smollm-mix``, whose tokenizer is SmolLM2's. A corpus of the Hub is downloaded
    as far as ``train_tokens`` need (see ``hub.limit``); others are taken whole. Files or a tokenizer that changed make
    another corpus. ``verify`` hashes all shards again. Raises BlueberryError for a corpus that is empty, too small to
    split or out of reach, and for damaged shards.
    """
    kind, _, argument = spec.partition(":")
    corpus = CORPORA.get(kind)
    if corpus is None or (kind not in hub.BUILT_IN and bool(argument) != (kind in ("text", "tokens", "hub"))):
        raise BlueberryError(
            f"Unknown corpus {spec!r}; expected {corpora.OFFLINE}, or from the Hub blueberry, smollm-mix or hub:NAME."
        )
    if kind == "tokens" and (given := shards.expanded(argument) / "manifest.json").exists():
        return shards.load(given.parent, verify)
    tokenizer = tokens.load_tokenizer(tokenizer_path) if tokenizer_path else None
    identity = [str(FORMAT), *corpus.identity(spec, train_tokens)]
    if corpus.documents and not corpus.on_hub:  # texts found or split by other code make other shards
        identity += [Path(module.__file__).read_text(encoding="utf-8") for module in (corpora, tokens)]
    if tokenizer:
        identity.append(tokens.tokenizer_hash(tokenizer))
    elif corpus.documents and not corpus.smollm:
        identity.append(str(vocab_size))
    key = hashlib.sha256("\0".join(identity).encode(errors="surrogateescape")).hexdigest()[:16]
    folder, download = cache_folder() / f"{kind}-{key}", cache_folder() / f".download-{key}"
    if not (folder / "manifest.json").exists():
        with hub.exclusive(download) if corpus.on_hub else contextlib.nullcontext():
            if not (folder / "manifest.json").exists():  # else another process was first
                origin = hub.fetch(spec, train_tokens, download) if corpus.on_hub else {}
                tokenizer = tokenizer or (hub.smollm_tokenizer(spec) if corpus.smollm else None)
                _build(folder, spec, corpus, tokenizer, vocab_size, download, origin)
        shutil.rmtree(download, ignore_errors=True)
    return shards.load(folder, verify)


def _build(
    folder: Path, spec: str, corpus: Corpus, tokenizer: Tokenizer | None, vocab_size: int, download: Path, origin: dict
) -> None:
    """Write shards, tokenizer and manifest, which show up complete or not at all."""
    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".building-", dir=cache, ignore_cleanup_errors=True) as building,
        tempfile.TemporaryFile(dir=cache) as store,
    ):
        if corpus.streams:
            streams = corpus.streams(spec, download)
        else:
            sides = _split(spec, corpus, download, store)
            tokenizer = tokenizer or tokens.train_tokenizer(sides[0], vocab_size)
            packed = (tokens.pack(side, tokenizer) for side in sides)
            streams = dict(zip(shards.SPLITS, packed, strict=False))
        splits = {split: shards.write_split(Path(building), split, ids) for split, ids in streams.items()}
        largest = max(entry.pop("largest_id") for entry in splits.values())
        entries = tokenizer.get_vocab_size() if tokenizer else largest + 1
        if largest >= entries:
            raise BlueberryError(
                f"{spec} holds token id {largest}, but the tokenizer has only {entries} entries: it is not the one "
                "that made these tokens."
            )
        manifest = {
            "format": FORMAT,
            "source": spec,
            **origin,
            "license": corpus.license,
            "vocab_size": entries,
            "vocab_size_asked": vocab_size,
            "largest_id": largest,
            "tokenizer_sha256": tokens.tokenizer_hash(tokenizer) if tokenizer else None,
            "splits": splits,
        }
        if tokenizer:
            Path(building, "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        Path(building, "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        try:
            Path(building).rename(folder)
        except OSError:
            if not (folder / "manifest.json").exists():  # else another process was first: the same tokens
                raise


@dataclass(frozen=True)
class Texts:
    """The texts in a file that have these numbers, read one at a time."""

    file: BinaryIO
    ends: Sequence[int]
    numbers: Sequence[int]
    words: str  # beside the progress bar

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[str]:
        for number in tqdm(self.numbers, self.words, **BAR):
            self.file.seek(self.ends[number])
            yield self.file.read(self.ends[number + 1] - self.ends[number]).decode()


def _split(spec: str, corpus: Corpus, download: Path, file: BinaryIO) -> list[Texts]:
    """The sides of the split; ``file`` keeps the texts, as many in turn as hold more than white space."""
    ends = array("q", [0])

    def kept() -> Iterator[str]:
        for document in corpus.documents(spec, download):
            if document.text.strip():
                try:
                    file.write(document.text.encode())
                except UnicodeEncodeError:
                    raise BlueberryError(f"{document.name} holds half of a surrogate pair: mend or omit it.") from None
                ends.append(file.tell())
                yield document.text

    sides = tokens.split(tqdm(kept(), f"reading {spec}", **BAR), *corpus.held_out)
    return [Texts(file, ends, side, "tokenizing") for side in sides]
