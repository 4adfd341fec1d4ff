"""A trained model as one JavaScript file, for ``book/_static/model.js`` to run in a browser.

A page opened from a disk may not fetch files, but it may load scripts, so the file is one: it assigns an object to
``blueberryModels[NAME]``. Matrices are int8 with one scale per row, a quarter of their float32 size; vectors stay
float32.
"""

import base64
import dataclasses
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from blueberry_lib.config import BlueberryError
from blueberry_lib.images.diffusion_transformer import DiT2D
from blueberry_lib.images.flow_training import load_flow
from blueberry_lib.model import Blueberry
from blueberry_lib.speedrun.run import load_run, run_tokenizer
from blueberry_lib.training.folder import kind, read_json

LARGEST = 127


def quantize(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(R, C) → int8 (R, C) and float32 scales (R,): each row's largest entry becomes ± 127."""
    matrix = matrix.detach().float().cpu()
    scales = matrix.abs().amax(dim=1) / LARGEST
    return (matrix / scales.clamp(min=1e-30)[:, None]).round().to(torch.int8), scales


@torch.no_grad()
def dequantized(model: nn.Module) -> nn.Module:
    """The model itself, each matrix replaced by what its int8 form stands for."""
    for p in model.parameters():
        if p.ndim == 2:
            numbers, scales = quantize(p)
            p.copy_(numbers * scales[:, None])
    return model


def byte_letters() -> dict[str, int]:
    """Byte-level BPE writes each byte as one visible character (Radford et al., 2019): character → byte."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + i): byte for i, byte in enumerate(others)}


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Each id's bytes as a string whose character codes they are; "" for special tokens.

    The ids of a trained byte-level BPE are in the order of its merges, so this list is all that encoding needs.
    """
    letters = byte_letters()
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    entries = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size(with_added_tokens=True))]
    if any(set(entry) - letters.keys() for i, entry in enumerate(entries) if i not in special):
        raise BlueberryError("The tokenizer is not a byte-level BPE, the only kind that model.js can read.")
    return ["" if i in special else "".join(chr(letters[c]) for c in entry) for i, entry in enumerate(entries)]


def _packed(tensors: list[Tensor], dtype: torch.dtype) -> str:
    """Base64 of the numbers of all tensors, one after another."""
    numbers = torch.cat([tensor.detach().cpu().to(dtype).flatten() for tensor in tensors])
    return base64.b64encode(numbers.numpy().tobytes()).decode()


def export_web(model: Blueberry | DiT2D, path: Path, name: str, tokenizer: Tokenizer | None = None, **facts) -> None:
    """Write a model to ``path`` as ``blueberryModels[name]``, with its config, its vocabulary and other ``facts``.

    Raises BlueberryError for a mixture of experts, which model.js cannot run.
    """
    if getattr(model.config, "n_experts", 0):
        raise BlueberryError("model.js runs no mixture of experts; export a run whose n_experts is 0.")
    tensors, floats, integers = [], [], []
    for key, value in model.state_dict().items():
        tensors.append([key, list(value.shape)])
        if value.ndim == 2:
            numbers, scales = quantize(value)
            integers.append(numbers)
        floats.append(scales if value.ndim == 2 else value)
    content = {
        **facts,
        "config": dataclasses.asdict(model.config),
        "vocabulary": vocabulary(tokenizer) if tokenizer else None,
        "tensors": tensors,
        "floats": _packed(floats, torch.float32),
        "integers": _packed(integers, torch.int8),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, separators=(",", ":"))
    path.write_text(f"(globalThis.blueberryModels ??= {{}})[{json.dumps(name)}] = {text};\n", encoding="utf-8")


def export_run_web(folder: Path, path: Path) -> None:
    """``export_web`` of a run's model, under the folder's name: a run of ``train`` or of ``flow train``."""
    if (folder / "config.json").is_file() and kind(read_json(folder / "config.json")) == "flow train":
        export_web(load_flow(folder)[0], path, folder.name)
    else:
        model, _ = load_run(folder)
        export_web(model, path, folder.name, run_tokenizer(folder, None, model.config.vocab_size))
