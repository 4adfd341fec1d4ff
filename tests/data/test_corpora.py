"""Corpora read what they say they read, in a fixed order, and refuse what is no text."""

import ast
import sysconfig
from pathlib import Path

import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import corpora


def test_stdlib_holds_the_librarys_source_and_no_tests_or_tables():
    found = {document.name: document.text for document in corpora.documents("stdlib")}
    root = Path(sysconfig.get_paths()["stdlib"])
    assert found["json/decoder.py"] == (root / "json" / "decoder.py").read_text(encoding="utf-8")
    assert len(found) > 400 and 8e6 < sum(map(len, found.values())) < 15e6
    for name in found:
        assert not {"test", "tests", "encodings", "site-packages"} & set(name.split("/")), name
        assert "_sysconfigdata" not in name


def test_the_order_is_fixed():
    assert [d.name for d in corpora.documents("stdlib")] == [d.name for d in corpora.documents("stdlib")]


def test_docs_holds_docstrings_of_python_and_c_functions(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.delitem(corpora.DOCUMENTED_PACKAGES, "torch")  # most of the corpus, and a minute to read
    monkeypatch.delitem(corpora.DOCUMENTED_PACKAGES, "sklearn")
    found = {document.name: document.text for document in corpora.documents("docs")}
    assert "Return a new array of given shape and type, filled with ones." in found["numpy/_core/numeric.py"]
    assert "def ones(" not in found["numpy/_core/numeric.py"]
    assert {name.split("/")[0] for name in found} == {"numpy", "matplotlib"}
    assert 1e6 < sum(map(len, found.values())) < 20e6
    c_functions = (Path(torch.__file__).parent / "_torch_docs.py").read_text(encoding="utf-8")
    assert "Computes the element-wise logical AND" in "".join(corpora._docstrings(ast.parse(c_functions)))


def test_docs_without_a_package_names_it(monkeypatch):
    monkeypatch.setattr(corpora, "DOCUMENTED_PACKAGES", {"not_installed_here": "not-installed-here"})
    with pytest.raises(BlueberryError, match="pip install not-installed-here"):
        corpora.documents("docs")


def test_text_reads_a_glob_and_cuts_long_files_at_blank_lines(tmp_path):
    (tmp_path / "short.txt").write_text("short\n\ntext", encoding="utf-8")
    paragraphs = [f"paragraph {i} " + "word " * 30 for i in range(1000)]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "long.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    found = corpora.documents(f"text:{tmp_path}/**/*.txt")
    assert found[0].text == "short\n\ntext"
    pieces = [document.text for document in found[1:]]
    assert len(pieces) == 10 and all(len(piece) < 20_000 for piece in pieces)
    kept = [line.strip() for piece in pieces for line in piece.splitlines() if line.strip()]
    assert kept == [paragraph.strip() for paragraph in paragraphs]


def test_bad_text_is_named(tmp_path):
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin1"))
    with pytest.raises(BlueberryError, match="latin.txt is not UTF-8: byte 0xef at offset 2"):
        corpora.documents(f"text:{tmp_path}/*.txt")
    (tmp_path / "blank.md").write_text(" \n")
    with pytest.raises(BlueberryError, match="empty"):
        corpora.documents(f"text:{tmp_path}/*.md")
    with pytest.raises(BlueberryError, match="No file matches"):
        corpora.documents(f"text:{tmp_path}/*.rst")


@pytest.mark.parametrize("spec", ["novels", "stdlib:3", "text:", ""])
def test_an_unknown_corpus_is_refused(spec):
    with pytest.raises(BlueberryError, match="expected stdlib, docs, text:GLOB or tokens:DIR, or from the Hub"):
        corpora.documents(spec)
