"""A run's folder: fresh, never overwritten, and what says where its numbers come from."""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy
import tokenizers
import torch

import blueberry_lib
from blueberry_lib.config import BlueberryError, from_dict

try:
    import fcntl
except ImportError:
    import msvcrt  # on Windows

KINDS = {"vqvae": "multimodal train", "label_dropout": "flow train", "training": "vqvae train", "optimizer": "train"}
"""A field of a config by which to know the command whose run it is; the first that is there counts."""


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


def read_json(path: Path) -> Any:
    """Raises BlueberryError for a damaged file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BlueberryError(f"{path} is damaged: {error}. Restore it, or start the run anew.") from None


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
                begun = any(folder.glob("checkpoints/step-*"))
                raise BlueberryError(
                    f"{folder} already exists, and runs are never overwritten: choose another --experiment-name, or "
                    + (f"continue that run with --resume {folder}" if begun else "remove it: it holds no checkpoint.")
                ) from None
            attempt += 1


def _lock(file: IO) -> None:
    if os.name == "nt":
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep a run's folder from other processes; if what is done there fails before the first checkpoint, remove it.

    Raises BlueberryError where another process is at work. A file system without locks is taken as it is.
    """
    failed = False
    try:
        with open(folder / ".lock", "w") as file:
            try:
                _lock(file)
            except (BlockingIOError, PermissionError):
                raise BlueberryError(f"Another process is at work in {folder}: let it end, or stop it.") from None
            except OSError:
                pass
            failed = True
            yield
            failed = False
    finally:
        if failed and not any(folder.glob("checkpoints/step-*")):
            shutil.rmtree(folder, ignore_errors=True)


def save_config(folder: Path, config: Any) -> None:
    write_json(folder / "config.json", dataclasses.asdict(config))


def load_config(cls: type, folder: Path) -> Any:
    """The config, of type ``cls``, that a run was started with."""
    path = folder / "config.json"
    if not path.is_file():
        raise BlueberryError(f"{folder} is no run: it has no config.json. Runs live under runs/<experiment-name>.")
    values = read_json(path)
    found, wanted = (
        next((kind for field, kind in KINDS.items() if field in names), None)
        for names in (values, cls.__dataclass_fields__)
    )
    if found and found != wanted:
        raise BlueberryError(f"{folder} is a run of `{found}`, and what was asked for needs one of `{wanted}`.")
    try:
        return from_dict(cls, values)
    except (ValueError, KeyError, TypeError) as error:
        raise BlueberryError(f"{path} is damaged: {error}. Restore it, or start the run anew.") from None
