"""A run's folder: fresh, never overwritten, and what says where its numbers come from."""

import dataclasses
import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy
import tokenizers
import torch

import blueberry_lib
from blueberry_lib.config import BlueberryError, from_dict


def source_sha256() -> str:
    """One hash over the library's Python files."""
    root = Path(blueberry_lib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda p: p.relative_to(root).as_posix()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def versions() -> dict[str, str]:
    return {
        "blueberry_lib": blueberry_lib.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "tokenizers": tokenizers.__version__,
    }


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all."""
    building = path.with_name(f".{path.name}.building")
    building.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(building, path)


def new_folder(root: Path, name: str | None, default: str) -> Path:
    """A fresh folder under ``root``: ``name``, which must not exist, or the first free of default, default-2, …"""
    root.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        folder = root / (name or (default if attempt == 1 else f"{default}-{attempt}"))
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if name:
                raise BlueberryError(
                    f"{folder} already exists, and runs are never overwritten: choose another --experiment-name, "
                    f"or continue that run with --resume {folder}"
                ) from None
            attempt += 1


def save_config(folder: Path, config: Any) -> None:
    write_json(folder / "config.json", dataclasses.asdict(config))


def load_config(cls: type, folder: Path) -> Any:
    """The config, of type ``cls``, that a run was started with."""
    path = folder / "config.json"
    if not path.is_file():
        raise BlueberryError(f"{folder} is no run: it has no config.json. Runs live under runs/<experiment-name>.")
    try:
        return from_dict(cls, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise BlueberryError(f"{path} is damaged: {error}. Restore it, or start the run anew.") from None
