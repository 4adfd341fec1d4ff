"""Bits per byte of gzip and xz on the held-out text of the pocket track; writes book/records/compressors.json.

    python book/tools/measure_compressors.py

They get all documents of the validation split in one piece, so that they may look back as far as they can. The model is
measured on windows of 256 tokens drawn from the same documents; on those windows alone, also in one piece, both
compressors do worse, as the record says.
"""

import gzip
import lzma
from pathlib import Path

import numpy as np
from record_head import measured

from blueberry_lib.data.prepare import prepare
from blueberry_lib.data.tokens import END_OF_TEXT
from blueberry_lib.hardware import detect
from blueberry_lib.speedrun.tracks import get_track
from blueberry_lib.training.evaluation import spread
from blueberry_lib.training.folder import write_json

TRACK = get_track("pocket")


def held_out() -> dict[str, bytes]:
    """The text of all validation documents, and of the windows that the track evaluates on."""
    context = TRACK.model().context_length
    data = prepare(TRACK.data, TRACK.model().vocab_size)
    tokenizer, stream = data.tokenizer(), np.asarray(data.val).astype(np.int64)
    end = stream == tokenizer.token_to_id(END_OF_TEXT)
    windows = spread(np.cumsum(end) - end, TRACK.validation_tokens, context)
    drawn = stream[windows[:, None] * context + np.arange(context) + 1].ravel()
    return {name: tokenizer.decode(ids.tolist()).encode() for name, ids in {"all": stream, "windows": drawn}.items()}


def bits_per_byte(text: bytes) -> dict:
    packed = {"gzip": gzip.compress(text, 9), "xz": lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)}
    return {"bytes": len(text)} | {name: 8 * len(found) / len(text) for name, found in packed.items()}


if __name__ == "__main__":
    found = {name: bits_per_byte(text) for name, text in held_out().items()}
    what = "bits per byte of gzip -9 and xz -9e on the held-out text of the pocket track"
    write_json(Path(__file__).parents[1] / "records" / "compressors.json", {**measured(what, detect()), **found})
    print(found)
