"""Where text comes from. A corpus is an iterator over documents, in a fixed order. (Those of the Hub: hub.py.)"""

import ast
import bz2
import codecs
import contextlib
import glob
import gzip
import importlib
import importlib.metadata
import importlib.util
import io
import json
import lzma
import os
import re
import sysconfig
import tokenize
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from blueberry_lib.config import BlueberryError

# Folders of the standard library that hold no source one would read: tests, generated tables, bundled wheels.
STDLIB_SKIPPED = {
    "test", "tests", "idle_test", "encodings", "pydoc_data", "_bundled", "site-packages", "dist-packages",
}  # fmt: skip
DOCUMENTED_PACKAGES = {"torch": "torch", "numpy": "numpy", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
PIECE = 16_384  # characters: a text file of more than four times as many is cut into documents of at least so many

OFFLINE = "stdlib, docs, text:GLOB or tokens:DIR"  # the corpora that need no network
COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}  # by their first bytes; zstd below
ZSTD = b"\x28\xb5\x2f\xfd"
BINARY = re.compile(rb"[\0-\x08\x0e-\x1a]")  # bytes that no text in an encoding of 8 bits holds


@dataclass(frozen=True)
class Document:
    """A name to find it by, and its text."""

    name: str
    text: str


def stamps(paths: Iterable[Path]) -> list[str]:
    """What tells a file that was changed: its place, size and time of change."""
    return [f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths]


def stdlib_files() -> list[Path]:
    """The source of this Python's standard library, without its tests and generated tables."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = ((path, path.relative_to(root).parts) for path in sorted(root.rglob("*.py")))
    kept = ((path, names) for path, names in found if STDLIB_SKIPPED.isdisjoint(names))
    return [path for path, names in kept if not names[0].startswith(("config-", "_sysconfigdata"))]


def stdlib() -> Iterator[Document]:
    """The standard library's source: a file a document."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in stdlib_files():
        with tokenize.open(path) as source:  # honours a file's declared encoding
            yield Document(path.relative_to(root).as_posix(), source.read())


def docs_versions() -> list[str]:
    """The packages that ``docs`` reads, with their versions."""
    for package, distribution in DOCUMENTED_PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            raise BlueberryError(
                f"The docs corpus reads the docstrings of {distribution}, which is not installed: "
                f"pip install {distribution}, or use --data stdlib."
            )
    return [f"{d} {importlib.metadata.version(d)}" for _, d in sorted(DOCUMENTED_PACKAGES.items())]


def docs() -> Iterator[Document]:
    """The docstrings of the installed torch, numpy, scikit-learn and matplotlib: a module a document."""
    docs_versions()
    for package in sorted(DOCUMENTED_PACKAGES):
        root = Path(importlib.util.find_spec(package).submodule_search_locations[0])
        for path in sorted(root.rglob("*.py")):
            if {"tests", "testing"}.isdisjoint(path.parts):
                with tokenize.open(path) as source:
                    text = "\n\n".join(_docstrings(ast.parse(source.read())))
                yield Document("/".join((package, *path.relative_to(root).parts)), text)


def _docstrings(tree: ast.AST) -> Iterator[str]:
    """Docstrings, and the strings that C functions get theirs from (``add_docstr``, ``add_newdoc``)."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented):
            text = ast.get_docstring(node)
            if text:
                yield text
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith(("add_docstr", "add_newdoc")):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and "\n" in part.value:
                    yield part.value.strip()


def text(spec: str) -> Iterator[Document]:
    """The texts of ``text:GLOB`` or ``text:GLOB#FIELD`` (see ``text_files``): in a .jsonl file each line's field,
    ``text`` if none is named; else whole files, or documents cut from long ones. Files are UTF-8, or UTF-16 with a
    byte-order mark, and may be compressed (gzip, bzip2, xz, zstd)."""
    paths, field = text_files(spec)
    for path in paths:
        opener = _opener(path)
        try:
            with opener(path, "rb") as data:
                wide = data.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            with opener(path, "rt", encoding="utf-16" if wide else "utf-8-sig") as file, _decoding(path, file, wide):
                rows = {".jsonl", ".ndjson"} & {suffix.lower() for suffix in path.suffixes}
                for i, piece in enumerate(_fields(path, file, field) if rows else _pieces(file)):
                    if "\0" in piece:
                        raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "no text")
                    yield Document(f"{path}#{i}", piece)
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
            raise BlueberryError(f"{path} is truncated or damaged: {error}. Fetch it again.") from None


@contextlib.contextmanager
def _decoding(path: Path, file: TextIO, wide: bool) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        if wide or BINARY.search(error.object):
            raise BlueberryError(
                f"{path} is not text in UTF-8: choose a pattern that leaves it out, as 'text:books/**/*.txt', or, if "
                "it is UTF-16 or UTF-32, save it as UTF-8."
            ) from None
        raise BlueberryError(
            f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at offset "
            f"{file.buffer.tell() - len(error.object) + error.start}. Convert it first, for example: "
            f"{'' if isinstance(file.buffer, io.BufferedReader) else 'unpack it, then '}iconv -f latin1 -t utf-8 FILE"
        ) from None


def text_files(spec: str) -> tuple[list[Path], str]:
    """The files of ``text:GLOB`` or ``text:GLOB#FIELD``, each once, and the field. GLOB is a file, a folder (all files
    in it) or a pattern, in which ``**`` goes into folders; hidden ones and links to folders are left out there."""
    argument = spec.partition(":")[2]
    pattern, _, field = argument.rpartition("#")
    for chosen, name in ((argument, "text"), (pattern, field)):
        found = sorted(path for p in _find(os.path.expanduser(chosen)) if (path := Path(p)).is_file()) if chosen else []
        if found:
            return list({path.resolve(): path for path in reversed(found)}.values())[::-1], name
    raise BlueberryError(
        f"No file matches {argument!r}; quote the pattern, as in --data 'text:books/**/*.txt'. "
        "A [ in a file's name is written [[] in a pattern."
    )


def _find(pattern: str) -> Iterator[str]:
    if os.path.exists(pattern):
        yield from _find(os.path.join(glob.escape(pattern), "**", "*")) if os.path.isdir(pattern) else (pattern,)
        return
    pattern = re.sub(r"(?<![^/])\*\*$", "**/*", pattern.replace(os.sep, "/"))
    before, *after = re.split(r"(?<![^/])\*\*/", pattern, maxsplit=1)
    if not after:
        yield from glob.iglob(pattern)
        return
    for top in glob.iglob(before or "."):
        for folder, below, _ in os.walk(top):
            below[:] = [name for name in below if not name.startswith(".")]
            yield from _find(os.path.join(glob.escape(folder), *after))


def _opener(path: Path) -> Callable:
    with open(path, "rb") as file:
        head = file.read(6)
    if head.startswith(ZSTD):
        for module in ("compression.zstd", "backports.zstd"):
            with contextlib.suppress(ImportError):
                return importlib.import_module(module).open
        raise BlueberryError(f"{path} is compressed with zstd: unpack it, or pip install backports.zstd.")
    return next((opener for magic, opener in COMPRESSED.items() if head.startswith(magic)), open)


def _fields(path: Path, file: TextIO, field: str) -> Iterator[str]:
    """The texts of a file of JSON objects, one a line."""
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                value = json.loads(line)[field]
            except (ValueError, LookupError, TypeError):
                value = 0
            if not isinstance(value, str | None):
                raise BlueberryError(
                    f"{path}, line {number}: expected a JSON object with text in {field!r}, and found {line[:60]!r}. "
                    "Another field is named by text:GLOB#FIELD."
                )
            yield value or ""


def _pieces(file: TextIO) -> Iterator[str]:
    """A file whole, or cut after blank lines, without them near after line ends, else anywhere; nothing is lost."""
    rest = file.read(4 * PIECE + 1)
    if len(rest) <= 4 * PIECE:
        yield rest
        return
    while rest:
        blank = re.compile(r"\n\s*\n").search(rest, PIECE, 2 * PIECE)
        end = blank.end() if blank else rest.find("\n", PIECE, 2 * PIECE) + 1
        end = end or (PIECE if len(rest) > 2 * PIECE else len(rest))
        yield rest[:end]
        rest = rest[end:] + file.read(end)
