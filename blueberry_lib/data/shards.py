"""Tokens on disk: uint16 shards, memory-mapped, with a manifest that says where they come from."""

import contextlib
import hashlib
import json
import lzma
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import tokens

SHARD_TOKENS = 2**26  # 128 MiB
SPLITS = ("train", "val", "test")  # the last where a corpus has one


class Tokens:
    """Shards as one stream of ids, memory-mapped still: ``len``, slices without a step, and np.asarray for all."""

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts, self.starts = parts, np.cumsum([0, *map(len, parts)]).tolist()

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, window: slice) -> np.ndarray:
        start, stop, step = window.indices(len(self))
        if step != 1:
            raise ValueError("Tokens in several shards have slices without a step only; np.asarray gives them whole.")
        pieces = [p[max(start - at, 0) : max(stop - at, 0)] for p, at in zip(self.parts, self.starts, strict=False)]
        pieces = [piece for piece in pieces if len(piece)] or [self.parts[0][:0]]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)


@dataclass(frozen=True)
class TokenData:
    """Prepared tokens: a folder, its manifest, and the streams."""

    folder: Path
    manifest: dict
    train: np.ndarray | Tokens
    """(N,) uint16."""
    val: np.ndarray | Tokens
    """(M,) uint16."""
    test: np.ndarray | Tokens | None = None
    """(L,) uint16: for the last word on a record, and for nothing before it."""

    @property
    def vocab_size(self) -> int:
        """Entries that a model of these tokens must have; it may have more."""
        return self.manifest["vocab_size"]

    @property
    def sha256(self) -> str:
        """One hash over those of all shards."""
        hashes = [shard["sha256"] for split in self.manifest["splits"].values() for shard in split["shards"]]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def tokenizer(self):
        """The tokenizer, or None where only tokens were given."""
        path = self.folder / "tokenizer.json"
        return tokens.load_tokenizer(path) if path.exists() else None


def expanded(folder: str) -> Path:
    """A folder whose ``~`` stands for the home folder."""
    path = Path(os.path.expanduser(folder))
    if path.parts[:1] == ("~",):
        raise BlueberryError(f"No home folder is known here, for {folder}: give whole paths, BLUEBERRY_CACHE too.")
    return path


def cache_folder() -> Path:
    """BLUEBERRY_CACHE, or ~/.cache/blueberry."""
    return expanded(os.environ.get("BLUEBERRY_CACHE") or "~/.cache/blueberry")


def load(folder: Path, verify: bool = False) -> TokenData:
    """Memory-map a prepared folder. Shards are hashed at first and when their size or time of change is another than
    then, which verified.json keeps, or with ``verify``. Raises BlueberryError for damage."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        splits = [manifest["splits"][split]["shards"] for split in SPLITS[: max(2, len(manifest["splits"]))]]
        listed = {shard["file"]: shard for parts in splits for shard in parts}
    except (ValueError, LookupError, TypeError):
        raise BlueberryError(
            f"{folder}/manifest.json is damaged. Delete {folder} and prepare the corpus again."
        ) from None
    paths = [folder / name for name in listed]
    found = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in paths if p.exists()]
    try:
        known = json.loads((folder / "verified.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if verify or found != known or len(found) < len(paths):
        for path, shard in zip(paths, listed.values(), strict=True):
            size = path.stat().st_size if path.exists() else 0
            if size != 2 * shard["tokens"] or _sha256(path) != shard["sha256"]:
                raise BlueberryError(
                    f"The shard {path} is damaged ({size} bytes, {2 * shard['tokens']} expected, or another "
                    f"sha256 than its manifest's). Delete {folder} and prepare the corpus again."
                )
        with contextlib.suppress(OSError):  # a folder that cannot be written to is verified each time
            (folder / "verified.json").write_text(json.dumps(found), encoding="utf-8")
    streams = []
    for shards in splits:
        parts = [np.memmap(folder / s["file"], "<u2", "r") for s in shards]
        streams.append(parts[0] if len(parts) == 1 else Tokens(parts))
    return TokenData(folder, manifest, *streams)


def write_split(folder: Path, split: str, pieces: Iterable[np.ndarray]) -> dict:
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
    if not shards:
        raise BlueberryError(f"The corpus has no tokens in {split!r}.")
    return {"tokens": sum(s["tokens"] for s in shards), "shards": shards, "largest_id": largest}


def token_files(spec: str) -> dict[str, Path]:
    """The files of ``tokens:DIR``, train, val and, where there is one, test."""
    folder, names = expanded(spec.partition(":")[2]), ("{}.bin.xz", "{}.bin")
    found = {s: path for s in SPLITS for name in names if (path := folder / name.format(s)).is_file()}
    if not {"train", "val"} <= found.keys():
        raise BlueberryError(
            f"{folder} has no train.bin and val.bin (or .bin.xz) or manifest.json; tokens:DIR expects little-endian "
            "uint16 files of those names, or a folder that `prepare` made."
        )
    return found


def ids(path: Path) -> Iterator[np.ndarray]:
    """The ids in one of them."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rb") as file:
        try:
            while data := file.read(2 * SHARD_TOKENS):
                yield np.frombuffer(data, dtype="<u2")
        except (lzma.LZMAError, EOFError, ValueError) as error:
            raise BlueberryError(f"{path} is truncated or damaged: {error}. Fetch it again.") from None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
