"""Where text comes from. A corpus is an iterator over documents, in a fixed order. (Those of the Hub: hub.py.)"""

import ast
import glob
import importlib.metadata
import importlib.util
import re
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blueberry_lib.config import BlueberryError

# Folders of the standard library that hold no source one would read: tests, generated tables, bundled wheels.
STDLIB_SKIPPED = {
    "test", "tests", "idle_test", "encodings", "pydoc_data", "_bundled", "site-packages", "dist-packages",
}  # fmt: skip
DOCUMENTED_PACKAGES = {"torch": "torch", "numpy": "numpy", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
LONG_TEXT = 65_536  # characters beyond which a text file is cut into documents, at blank lines …
PIECE = 16_384  # … of about this many characters each

OFFLINE = "stdlib, docs, text:GLOB or tokens:DIR"  # the corpora that need no network

LICENSES = {
    "stdlib": "PSF-2.0",
    "docs": "BSD-3-Clause (torch, numpy, scikit-learn), PSF-based (matplotlib)",
    "text": "the user's own files",
    "tokens": "see the source",
    "blueberry": "ODC-By-1.0 (FineWeb-Edu), Apache-2.0 (Cosmopedia)",
    "smollm-mix": "ODC-By-1.0 (FineWeb-Edu), Apache-2.0 (Cosmopedia)",
    "hub": "see the dataset's page",
}


@dataclass(frozen=True)
class Document:
    """A name to find it by, and its text."""

    name: str
    text: str


def stdlib() -> Iterator[Document]:
    """The source of this Python's standard library, without its tests and generated tables: a file a document."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if STDLIB_SKIPPED.isdisjoint(parts) and not parts[0].startswith(("config-", "_sysconfigdata")):
            with tokenize.open(path) as source:  # honours a file's declared encoding
                yield Document("/".join(parts), source.read())


def docs() -> Iterator[Document]:
    """The docstrings of the installed torch, numpy, scikit-learn and matplotlib: a module a document."""
    for package, distribution in sorted(DOCUMENTED_PACKAGES.items()):
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise BlueberryError(
                f"The docs corpus reads the docstrings of {distribution}, which is not installed: "
                f"pip install {distribution}, or use --data stdlib."
            )
        root = Path(spec.submodule_search_locations[0])
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


def text(pattern: str) -> Iterator[Document]:
    """UTF-8 files that match a glob (``**`` goes into folders); long files are cut at blank lines."""
    paths = sorted(Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file())
    if not paths:
        raise BlueberryError(f"No file matches {pattern!r}; quote the pattern, as in --data 'text:books/**/*.txt'.")
    for path in paths:
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise BlueberryError(
                f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}. "
                f"Convert it first, for example: iconv -f latin1 -t utf-8 {path}"
            ) from None
        for i, piece in enumerate(_pieces(content)):
            yield Document(f"{path}#{i}", piece)


def _pieces(content: str) -> Iterator[str]:
    if len(content) <= LONG_TEXT:
        yield content
        return
    paragraphs, length = [], 0
    for paragraph in re.split(r"(?<=\n)\s*\n", content):
        paragraphs.append(paragraph)
        length += len(paragraph)
        if length >= PIECE:
            yield "\n".join(paragraphs)
            paragraphs, length = [], 0
    yield "\n".join(paragraphs)


def documents(spec: str) -> list[Document]:
    """All documents of ``stdlib``, ``docs`` or ``text:GLOB`` that hold more than white space."""
    kind, _, argument = spec.partition(":")
    if kind == "stdlib" and not argument:
        found = stdlib()
    elif kind == "docs" and not argument:
        found = docs()
    elif kind == "text" and argument:
        found = text(argument)
    else:
        raise BlueberryError(
            f"Unknown corpus {spec!r}; expected {OFFLINE}, or from the Hub blueberry, smollm-mix or hub:NAME."
        )
    kept = [document for document in found if document.text.strip()]
    if not kept:
        raise BlueberryError(f"The corpus {spec!r} is empty: nothing but white space in it.")
    return kept


def identity(spec: str) -> list[str]:
    """What a corpus' text depends on: the versions of the packages it documents, else the text itself."""
    if spec == "docs":
        packages = {p: d for p, d in DOCUMENTED_PACKAGES.items() if importlib.util.find_spec(p)}
        return [f"{d} {importlib.metadata.version(d)}" for _, d in sorted(packages.items())]
    return [document.name + "\0" + document.text for document in documents(spec)]
