"""Tokens on disk: uint16 shards, memory-mapped, with a manifest that says where they come from."""

import hashlib
import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import corpora, tokens

SHARD_TOKENS = 2**26  # 128 MiB
SPLITS = ("train", "val")
FORMAT = 1  # counted up when the same corpus would give other tokens


@dataclass(frozen=True)
class TokenData:
    """Prepared tokens: a folder, its manifest, and the two streams."""

    folder: Path
    manifest: dict
    train: np.ndarray
    """(N,) uint16."""
    val: np.ndarray
    """(M,) uint16."""

    @property
    def vocab_size(self) -> int:
        return self.manifest["vocab_size"]

    @property
    def sha256(self) -> str:
        """One hash over those of all shards."""
        hashes = [shard["sha256"] for split in SPLITS for shard in self.manifest["splits"][split]["shards"]]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def tokenizer(self):
        """The tokenizer, or None where only tokens were given."""
        path = self.folder / "tokenizer.json"
        return tokens.load_tokenizer(path) if path.exists() else None


def cache_folder() -> Path:
    """~/.cache/blueberry, or BLUEBERRY_CACHE."""
    return Path(os.environ.get("BLUEBERRY_CACHE") or Path.home() / ".cache" / "blueberry")


def build(
    folder: Path,
    spec: str,
    streams: dict[str, Iterable[np.ndarray]],
    tokenizer: tokens.Tokenizer | None,
    entries: int | None = None,
    origin: dict | None = None,
) -> None:
    """Write shards, tokenizer and manifest, which shows up complete or not at all.

    ``entries`` is the size of the vocabulary, where it is not the tokenizer's or, without one, the largest id + 1.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        splits = {split: _write_split(building, split, streams[split]) for split in SPLITS}
        largest = max(splits[split].pop("largest_id") for split in SPLITS)
        entries = entries or (tokenizer.get_vocab_size() if tokenizer else largest + 1)
        manifest = {
            "format": FORMAT,
            "source": spec,
            **(origin or {}),
            "license": corpora.LICENSES[spec.partition(":")[0]],
            "vocab_size": entries,
            "largest_id": largest,
            "tokenizer_sha256": tokens.tokenizer_hash(tokenizer) if tokenizer else None,
            "splits": splits,
        }
        if largest >= entries:
            raise BlueberryError(
                f"{spec} holds token id {largest}, but the tokenizer has only {entries} entries: it is not the one "
                "that made these tokens."
            )
        if tokenizer:
            (building / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        (building / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        try:
            building.rename(folder)
        except OSError:
            if not (folder / "manifest.json").exists():  # else another process was first: the same tokens
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def load(folder: Path) -> TokenData:
    """Memory-map a prepared folder. Raises BlueberryError when a shard is not what the manifest says."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    streams = {}
    for split in SPLITS:
        shards = []
        for shard in manifest["splits"][split]["shards"]:
            path = folder / shard["file"]
            found = path.stat().st_size if path.exists() else 0
            if found != 2 * shard["tokens"] or sha256_of(path) != shard["sha256"]:
                raise BlueberryError(
                    f"The shard {path} is damaged ({found} bytes, {2 * shard['tokens']} expected, or another "
                    f"sha256 than its manifest's). Delete {folder} and prepare the corpus again."
                )
            shards.append(np.memmap(path, dtype="<u2", mode="r"))
        streams[split] = shards[0] if len(shards) == 1 else np.concatenate(shards)
    return TokenData(folder, manifest, streams["train"], streams["val"])


def _write_split(folder: Path, split: str, pieces: Iterable[np.ndarray]) -> dict:
    """Write a stream as shards; returns the manifest's entry, and the largest id."""
    shards, largest = [], 0
    buffer, buffered = [], 0

    def flush() -> None:
        data = np.concatenate(buffer).astype("<u2").tobytes()
        name = f"{split}-{len(shards):05d}.bin"
        (folder / name).write_bytes(data)
        shards.append({"file": name, "tokens": len(data) // 2, "sha256": hashlib.sha256(data).hexdigest()})

    for piece in pieces:
        buffer.append(piece)
        buffered += len(piece)
        largest = max(largest, int(piece.max()))
        if buffered >= SHARD_TOKENS:
            flush()
            buffer, buffered = [], 0
    if buffered:
        flush()
    return {"tokens": sum(s["tokens"] for s in shards), "shards": shards, "largest_id": largest}


def token_file(folder: Path, split: str) -> Path:
    for name in (f"{split}.bin", f"{split}.bin.xz"):
        if (folder / name).is_file():
            return folder / name
    raise BlueberryError(
        f"{folder} has no {split}.bin, {split}.bin.xz or manifest.json; tokens:DIR expects little-endian uint16 "
        "files of those names, or a folder that `prepare` made."
    )


def raw_tokens(path: Path) -> Iterator[np.ndarray]:
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rb") as file:
        try:
            while data := file.read(2 * SHARD_TOKENS):
                yield np.frombuffer(data, dtype="<u2")
        except (lzma.LZMAError, EOFError, ValueError) as error:
            raise BlueberryError(f"{path} is truncated or damaged: {error}. Fetch it again.") from None


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
