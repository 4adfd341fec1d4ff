"""Corpora of the Hugging Face Hub: streamed to the disk up to a limit, and taken up where a download was cut.

``blueberry``, or ``blueberry:40M``
    ``vukrosic/blueberry-1B-pretrain``: chunks of 2,048 ids of the SmolLM2 tokenizer, with nothing between
    documents. So it cannot be split by document; it is the one corpus split by chunk: the first 1,050,624 tokens
    validate, the rest trains, and a document may lie on both sides. ``blueberry`` is as much of it as a run needs;
    ``blueberry:40M`` always its first 20,000 chunks, the subset that the original records were made on.
``smollm-mix``
    70 % FineWeb-Edu and 30 % Cosmopedia by bytes of text, the first documents of each, in the SmolLM2 tokenizer.
``hub:NAME[@REVISION][:CONFIG[:SPLIT[:COLUMN]]]``
    Any dataset with a column of text, or a local folder of files that ``datasets`` reads.

Text is split by document, near-duplicates and all, by ``tokens.split``, which holds hashes of lines; hence MAX_BLOCKS.

A revision is resolved to a commit at the first contact, then kept for the whole download and in the manifest. A
prepared corpus stays at its commit: to move to a newer one, delete its folder.
"""

import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import tokens
from blueberry_lib.data.corpora import OFFLINE, Document, stamps

CHUNK = 2_048  # ids in an example of the blueberry dataset
BLOCK = 20_000 * CHUNK  # tokens; corpora are downloaded by 1, 4, 16 … blocks, so that like runs share one
HELD_OUT = 513 * CHUNK  # for validation, and for the test: the least whole chunks that hold the tracks' 1,048,576 + 1
TEXT_BYTES = 6  # of text for a training token: about 5 with SmolLM2's tokenizer, and 15 % of it are held out
MAX_BLOCKS = 16  # of text: 3.9 GB, whose lines take about 64 bytes of memory each
CHECKPOINT = 2**22  # bytes between two records of how far a download is
WAITS = (1, 2, 4, 8, 16, 32, 64)  # seconds before each new attempt, counted anew after progress

SMOLLM_TOKENIZER = "HuggingFaceTB/SmolLM2-135M"
SMOLLM_ENTRIES = 49_152
CHUNKED_NOTE = "split by chunk, as there are no separators between documents; one may lie on both sides of the split"


class HubUnreachable(BlueberryError):
    """No answer from the Hub; a later attempt may get one."""

    def __init__(self, spec: str, reason: str) -> None:
        self.reason = f"The Hugging Face Hub does not answer ({reason})."
        super().__init__(f"{spec} comes from a network. {self.reason} Corpora that need none: {OFFLINE}.")


@dataclass(frozen=True)
class Source:
    """A dataset, and where its examples stand."""

    name: str
    config: str | None = None
    split: str = "train"
    column: str = "text"
    share: float = 1.0
    revision: str = "main"


BUILT_IN = {
    "blueberry": (Source("vukrosic/blueberry-1B-pretrain", column="input_ids"),),
    "smollm-mix": (
        Source("HuggingFaceTB/smollm-corpus", "fineweb-edu-dedup", share=0.7),
        Source("HuggingFaceTB/smollm-corpus", "cosmopedia-v2", share=0.3),
    ),
}


def sources(spec: str) -> tuple[Source, ...]:
    """The datasets a corpus is made of."""
    kind, _, argument = spec.partition(":")
    if kind in BUILT_IN:
        if argument and spec != "blueberry:40M":
            raise BlueberryError(f"Unknown corpus {spec!r}; expected blueberry, blueberry:40M or smollm-mix.")
        return BUILT_IN[kind]
    name, config, split, column, *rest = [*argument.split(":"), "", "", ""]
    if not name or any(rest):
        raise BlueberryError(f"{spec!r} names no dataset; expected hub:NAME[@REVISION][:CONFIG[:SPLIT[:COLUMN]]].")
    name, _, revision = name.partition("@")
    return (Source(name, config or None, split or "train", column or "text", revision=revision or "main"),)


def limit(spec: str, train_tokens: int) -> int:
    """Bytes to download so that a corpus holds about ``train_tokens`` for training (more, as it goes by blocks)."""
    chunked = spec.startswith("blueberry")
    held = BLOCK - 2 * HELD_OUT if chunked else BLOCK
    blocks = 1
    while spec != "blueberry:40M" and held + (blocks - 1) * BLOCK < train_tokens:
        blocks *= 4
    if not chunked and blocks > MAX_BLOCKS:
        raise BlueberryError(
            f"{spec} is split by document, in memory, which holds for {MAX_BLOCKS * BLOCK:,} training tokens at most, "
            f"not {train_tokens:,}. Ask for fewer, or use blueberry, which has 1 billion."
        )
    return blocks * BLOCK * (2 if chunked else TEXT_BYTES)


def identity(spec: str, train_tokens: int) -> list[str]:
    """What the text of a corpus depends on; for a local folder its files too."""
    found = sources(spec)
    files = [path for source in found for path in sorted(Path(source.name).rglob("*")) if path.is_file()]
    return [repr(found), str(limit(spec, train_tokens)), *stamps(files)]


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time download into ``folder``; also where a missing `datasets` is noticed."""
    try:
        import datasets  # noqa: F401
        from filelock import FileLock  # comes with huggingface_hub
    except ImportError as error:
        raise BlueberryError(
            f"Corpora of the Hub need {error.name}, which is not installed: pip install 'blueberry-lib[hub]', "
            f"or use {OFFLINE}."
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        yield


def smollm_tokenizer(spec: str) -> Tokenizer:
    """The tokenizer of SmolLM2, 49,152 entries."""
    from huggingface_hub import hf_hub_download

    with _plain_errors(spec, SMOLLM_TOKENIZER):
        return tokens.load_tokenizer(hf_hub_download(SMOLLM_TOKENIZER, "tokenizer.json"))


def fetch(spec: str, train_tokens: int, folder: Path) -> dict:
    """Stream a corpus into ``folder``; returns what its manifest says of it, the commit of each dataset.

    ``examples`` grows there: ids as uint16, or a JSON string a line. ``state.json`` says how many of its bytes count
    and where each dataset stands then; what was written later is written anew. Datasets are read in turns, the one
    furthest behind its share first, until the limit is reached or one of them ends.
    """
    found, total = sources(spec), limit(spec, train_tokens)
    path = folder / "state.json"
    if path.exists():
        state = json.loads(path.read_text(encoding="utf-8"))
    else:
        state = {"size": 0, "complete": False, "revisions": {s.name: _resolve(spec, s) for s in found}}
        state |= {"bytes": [0] * len(found), "positions": [None] * len(found)}
    failures = 0
    bar = tqdm(total=total, unit="B", unit_scale=True, desc=spec, initial=state["size"])
    with bar, open(folder / "examples", "ab") as file:
        while not state["complete"]:
            file.truncate(state["size"])
            try:
                for ahead in _advance(spec, found, state, total, file):
                    bar.update(ahead["size"] - state["size"])
                    state, failures = ahead, 0
                    part = path.with_suffix(".part")
                    part.write_text(json.dumps(state), encoding="utf-8")
                    part.replace(path)
            except HubUnreachable as error:
                if failures == len(WAITS):
                    kept = f"{state['size'] / 1e6:.0f} MB are kept: the same command goes on from there."
                    raise BlueberryError(f"{error} {kept}") from None
                bar.write(f"{error.reason} Trying again in {WAITS[failures]} s.", file=sys.stderr)
                time.sleep(WAITS[failures])
                failures += 1
    return {"revisions": state["revisions"]} | ({"note": CHUNKED_NOTE} if spec.startswith("blueberry") else {})


def documents(spec: str, folder: Path) -> Iterator[Document]:
    """The text that ``fetch`` wrote."""
    with open(folder / "examples", encoding="utf-8", newline="\n") as file:
        for i, line in enumerate(file):
            yield Document(f"{spec}#{i}", json.loads(line))


def chunks(spec: str, folder: Path) -> dict[str, Iterable[np.ndarray]]:
    """The ids that ``fetch`` wrote, the first HELD_OUT of them for validation and as many more for the test."""
    if (folder / "examples").stat().st_size <= 4 * HELD_OUT:
        raise BlueberryError(f"{spec} has no more than {2 * HELD_OUT:,} tokens, which are held out.")
    ids = np.memmap(folder / "examples", "<u2", "r")
    val, test = ids[:HELD_OUT], ids[HELD_OUT : 2 * HELD_OUT]
    train = (ids[i : i + BLOCK] for i in range(2 * HELD_OUT, len(ids), BLOCK))
    return {"train": train, "val": [val], "test": [test]}


def _resolve(spec: str, source: Source) -> str | None:
    """The commit that a dataset's revision stands for; None for a local folder."""
    if Path(source.name).is_dir():
        return None
    from huggingface_hub import HfApi

    with _plain_errors(spec, source.name):
        return HfApi().dataset_info(source.name, revision=source.revision).sha


def _advance(spec: str, found: tuple[Source, ...], state: dict, total: int, file) -> Iterator[dict]:
    """Append examples to ``file``; yields the state every CHECKPOINT bytes, when the file is safe on the disk."""
    from datasets import load_dataset

    streams, iterators = [], []
    try:
        for source, position in zip(found, state["positions"], strict=True):
            with _plain_errors(spec, source.name):
                revision = state["revisions"][source.name]
                stream = load_dataset(source.name, source.config, split=source.split, revision=revision, streaming=True)
                if position:
                    stream.load_state_dict(position)
                streams.append(stream)
                iterators.append(iter(stream))
        size, written, complete = state["size"], list(state["bytes"]), False
        while not complete:
            behind = min(range(len(found)), key=lambda i: written[i] / found[i].share)
            with _plain_errors(spec, found[behind].name):
                example = next(iterators[behind], None)
            data = b"" if example is None else _encode(spec, found[behind], example)
            file.write(data)
            size += len(data)
            written[behind] += len(data)
            complete = example is None or size >= total
            if complete or size - state["size"] >= CHECKPOINT:
                file.flush()
                os.fsync(file.fileno())
                positions = [stream.state_dict() for stream in streams]
                state = {**state, "size": size, "complete": complete, "bytes": list(written), "positions": positions}
                yield state
    finally:  # else Arrow's threads may abort the process when it ends (apache/arrow#45214)
        for iterator in iterators:
            iterator.close()
        gc.collect()


def _encode(spec: str, source: Source, example: dict) -> bytes:
    """An example as ``fetch`` stores it; empty text leaves nothing."""
    if source.column not in example:
        raise BlueberryError(
            f"The dataset {source.name} has no column {source.column!r}; it has {', '.join(example)}. "
            "Name one of text: hub:NAME[:CONFIG[:SPLIT[:COLUMN]]]."
        )
    value = example[source.column]
    if spec.startswith("blueberry"):
        if not 0 <= min(value) <= max(value) < SMOLLM_ENTRIES:
            raise BlueberryError(f"{source.name} holds ids {min(value)} to {max(value)}; SmolLM2's are 0 to 49151.")
        return np.array(value, dtype="<u2").tobytes()
    if not isinstance(value, str | None):
        raise BlueberryError(
            f"The column {source.column!r} of {source.name} holds {type(value).__name__}, not text; the columns are "
            f"{', '.join(example)}."
        )
    return (json.dumps(value, ensure_ascii=False) + "\n").encode() if value and value.strip() else b""


@contextlib.contextmanager
def _plain_errors(spec: str, name: str) -> Iterator[None]:
    """Turn what the Hub's libraries raise for ``name`` into one line, HubUnreachable if it may pass."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub import errors

    try:
        yield
    except (DatasetNotFoundError, errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        page = f"https://huggingface.co/datasets/{name}"
        if isinstance(error, errors.GatedRepoError) or "is a gated dataset" in str(error):
            message = f"The dataset {name} is gated: accept its terms at {page}, then run: hf auth login"
        else:
            message = f"The Hub has no {name!r}, or it is private: check the name at {page}, or run: hf auth login"
        raise BlueberryError(message) from None
    except (OSError, errors.HfHubHTTPError.__bases__[0]) as error:  # HTTPError: of httpx, or of an older requests
        reason = f"{type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}"
        status = getattr(getattr(error, "response", None), "status_code", 500)
        missing = isinstance(error, FileNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError)
        if missing or (400 <= status < 500 and status not in (408, 429)):
            raise BlueberryError(f"{name} cannot be read from the Hub ({reason}).") from None
        raise HubUnreachable(spec, reason) from None
    except (DatasetsError, ValueError, RuntimeError) as error:  # another config, split or format than there is
        raise BlueberryError(f"The dataset {name} cannot be read: {str(error).splitlines()[0]}") from None
