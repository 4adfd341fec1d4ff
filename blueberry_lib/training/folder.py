"""A run's folder: fresh, never overwritten, and what says where its numbers come from."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import platform
import shutil
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy
import tokenizers
import torch

import blueberry_lib
from blueberry_lib.config import BlueberryError, from_dict

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
    found = {module.__name__: module.__version__ for module in (blueberry_lib, torch, numpy, tokenizers)}
    return {"python": platform.python_version(), **found}


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all."""
    building = path.with_name(f".{path.name}.building")
    building.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(building, path)


def read_json(path: Path) -> Any:
    """What a file of a run holds. Raises BlueberryError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise BlueberryError(f"{path} is missing or damaged: {error}. Restore it, or start the run anew.") from None


def new_folder(root: Path, name: str | None, default: str) -> Path:
    """A fresh folder under ``root``: ``name``, which must not exist, or the first free of default, default-2, …"""
    root.mkdir(parents=True, exist_ok=True)
    for attempt in itertools.count(1):
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


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep a run's folder from other processes, and remove it if what is done there fails before its first checkpoint.
    Raises BlueberryError where another process is at work."""
    from filelock import FileLock, Timeout  # comes with torch

    lock = FileLock(folder / ".lock")
    with contextlib.suppress(NotImplementedError):  # a file system without locks
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BlueberryError(f"Another process is at work in {folder}: let it end, or stop it.") from None
    try:
        yield
    except BaseException:
        lock.release()
        if not any(folder.glob("checkpoints/step-*")):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    lock.release()


def save_config(folder: Path, config: Any) -> None:
    write_json(folder / "config.json", dataclasses.asdict(config))


def kind(fields: Container[str]) -> str | None:
    """The command whose config has these fields, None for none."""
    return next((KINDS[field] for field in KINDS if field in fields), None)


def load_config(cls: type, folder: Path) -> Any:
    """The config, of type ``cls``, that a run was started with."""
    path = folder / "config.json"
    if not path.is_file():
        raise BlueberryError(f"{folder} is no run: it has no config.json. Runs live under runs/<experiment-name>.")
    values = read_json(path)
    found, wanted = map(kind, (values, cls.__dataclass_fields__))
    if found and found != wanted:
        raise BlueberryError(f"{folder} is a run of `{found}`, and what was asked for needs one of `{wanted}`.")
    try:
        return from_dict(cls, values)
    except (ValueError, KeyError, TypeError) as error:
        raise BlueberryError(f"{path} is damaged: {error}. Restore it, or start the run anew.") from None
