"""Corpora read what they say they read, in a fixed order, and refuse what is no text."""

import ast
import bz2
import gzip
import io
import json
import lzma
import sys
import sysconfig
import types
from pathlib import Path

import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import corpora


def test_stdlib_holds_the_librarys_source_and_no_tests_or_tables():
    found = {document.name: document.text for document in corpora.stdlib()}
    root = Path(sysconfig.get_paths()["stdlib"])
    assert found["json/decoder.py"] == (root / "json" / "decoder.py").read_text(encoding="utf-8")
    assert len(found) > 400 and 8e6 < sum(map(len, found.values())) < 15e6
    for name in found:
        assert not {"test", "tests", "encodings", "site-packages"} & set(name.split("/")), name
        assert "_sysconfigdata" not in name


def test_the_order_is_fixed():
    assert [d.name for d in corpora.stdlib()] == [d.name for d in corpora.stdlib()]


def test_docs_holds_docstrings_of_python_and_c_functions(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.delitem(corpora.DOCUMENTED_PACKAGES, "torch")  # most of the corpus, and a minute to read
    monkeypatch.delitem(corpora.DOCUMENTED_PACKAGES, "sklearn")
    found = {document.name: document.text for document in corpora.docs()}
    assert "Return a new array of given shape and type, filled with ones." in found["numpy/_core/numeric.py"]
    assert "def ones(" not in found["numpy/_core/numeric.py"]
    assert {name.split("/")[0] for name in found} == {"numpy", "matplotlib"}
    assert 1e6 < sum(map(len, found.values())) < 20e6
    c_functions = (Path(torch.__file__).parent / "_torch_docs.py").read_text(encoding="utf-8")
    assert "Computes the element-wise logical AND" in "".join(corpora._docstrings(ast.parse(c_functions)))


def test_docs_without_a_package_names_it(monkeypatch):
    monkeypatch.setattr(corpora, "DOCUMENTED_PACKAGES", {"not_installed_here": "not-installed-here"})
    with pytest.raises(BlueberryError, match="pip install not-installed-here"):
        list(corpora.docs())


def test_text_reads_a_glob_and_cuts_long_files_at_blank_lines(tmp_path):
    (tmp_path / "short.txt").write_text("short\n\ntext", encoding="utf-8")
    paragraphs = [f"paragraph {i} " + "word " * 30 for i in range(1000)]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "long.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    found = list(corpora.text(f"text:{tmp_path}/**/*.txt"))
    assert found[0].text == "short\n\ntext"
    pieces = [document.text for document in found[1:]]
    assert len(pieces) == 11 and all(len(piece) < 20_000 for piece in pieces)
    assert "".join(pieces) == "\n\n".join(paragraphs)


def test_bad_text_is_named(tmp_path):
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin1"))
    with pytest.raises(BlueberryError, match="latin.txt is not UTF-8: byte 0xef at offset 2"):
        list(corpora.text(f"text:{tmp_path}/*.txt"))
    with pytest.raises(BlueberryError, match="No file matches"):
        list(corpora.text(f"text:{tmp_path}/*.rst"))


@pytest.mark.parametrize("between", ["", "\n", "\r\n", "\n\n\n\n", "\n \t\n"])
def test_any_long_text_is_cut_and_nothing_lost(tmp_path, between):
    content = between.join(f"Name {i} " + "x" * (i % 50) for i in range(5_000))
    (tmp_path / "long.txt").write_text(content, encoding="utf-8", newline="")
    pieces = [document.text for document in corpora.text(f"text:{tmp_path}/long.txt")]
    assert "".join(pieces) == content.replace("\r\n", "\n") and len(pieces) > 5
    assert all(16_384 <= len(piece) < 33_000 for piece in pieces[:-1])
    assert all(piece.endswith("\n") for piece in pieces[:-1]) or not between


def test_lines_of_json_are_documents_and_the_field_can_be_named(tmp_path):
    rows = [{"text": f"text {i}", "body": f"body {i}\u2028"} for i in range(3)]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()))
    assert [d.text for d in corpora.text(f"text:{path}")] == ["text 0", "text 1", "text 2"]
    assert [d.text for d in corpora.text(f"text:{tmp_path}/*.gz#body")] == [f"body {i}\u2028" for i in range(3)]
    with pytest.raises(BlueberryError, match=r"rows.jsonl.gz, line 1: expected .* 'words', .* text:GLOB#FIELD"):
        list(corpora.text(f"text:{path}#words"))
    for bad in ("[1]", "{", '{"text": 3}'):
        (tmp_path / "bad.jsonl").write_text(bad)
        with pytest.raises(BlueberryError, match="bad.jsonl, line 1"):
            list(corpora.text(f"text:{tmp_path}/bad.jsonl"))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_read_and_truncated_ones_named(tmp_path, pack):
    content = "naïve words\n" * 9_000
    (tmp_path / "whole.txt.x").write_bytes(pack(content.encode()))
    assert "".join(d.text for d in corpora.text(f"text:{tmp_path}/whole.*")) == content
    (tmp_path / "cut.x").write_bytes(pack(content.encode())[:-20])
    with pytest.raises(BlueberryError, match="cut.x is truncated or damaged"):
        list(corpora.text(f"text:{tmp_path}/cut.x"))
    (tmp_path / "latin.x").write_bytes(pack(b"x" * 100_000 + "é".encode("latin1")))
    with pytest.raises(
        BlueberryError, match="latin.x is not UTF-8: byte 0xe9 at offset 100000.* unpack it, then iconv"
    ):
        list(corpora.text(f"text:{tmp_path}/latin.x"))


def test_zstd_is_read_where_a_module_can_and_else_named(tmp_path, monkeypatch):
    (tmp_path / "a.zst").write_bytes(corpora.ZSTD + b"packed")
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    with pytest.raises(BlueberryError, match="a.zst is compressed with zstd: unpack it, or pip install backports.zstd"):
        list(corpora.text(f"text:{tmp_path}/a.zst"))

    def reader(path, mode, encoding=None):
        return io.BytesIO(b"words") if mode == "rb" else io.TextIOWrapper(io.BytesIO(b"words"), encoding)

    monkeypatch.setitem(sys.modules, "backports.zstd", types.SimpleNamespace(open=reader))
    assert [d.text for d in corpora.text(f"text:{tmp_path}/a.zst")] == ["words"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_heeded_and_does_not_stay(tmp_path, encoding):
    (tmp_path / "a.txt").write_text("naïve 🫐", encoding=encoding)
    assert [d.text for d in corpora.text(f"text:{tmp_path}/a.txt")] == ["naïve 🫐"]


@pytest.mark.parametrize(
    "content", ["words".encode("utf-16-le"), "words".encode("utf-32"), b"PK\3\4\xff", b"\xff\xfea"]
)
def test_what_is_no_text_is_not_told_to_be_latin1(tmp_path, content):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(BlueberryError, match="a.bin is not text in UTF-8") as caught:
        list(corpora.text(f"text:{tmp_path}/a.bin"))
    assert "iconv" not in str(caught.value) and "text:books/**/*.txt" in str(caught.value)


def test_folders_links_brackets_and_the_home_folder(tmp_path, monkeypatch):
    home = tmp_path / "[home]"
    (home / "sub" / ".hidden").mkdir(parents=True)
    for name in ("a[1].txt", "sub/b.txt", "sub/.hidden/c.txt"):
        (home / name).write_text(name)
    for name in ("again", "sub/up", "sub/twice"):
        (home / name).symlink_to(home, target_is_directory=True)
    (home / "link.txt").symlink_to(home / "a[1].txt")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    both = ["a[1].txt", "sub/b.txt"]
    for pattern in ("~", str(home), "**", "**/*.txt", "./**/*", f"{tmp_path}/*/**/*.txt"):
        assert [d.text for d in corpora.text(f"text:{pattern}")] == both, pattern
    assert [d.text for d in corpora.text("text:~/a[1].txt")] == both[:1]
    assert [d.text for d in corpora.text("text:sub/*.txt")] == [d.text for d in corpora.text("text:sub/**")] == both[1:]
    with pytest.raises(BlueberryError, match=r"A \[ in a file's name is written \[\[\]"):
        corpora.text_files("text:a[1].t?t")
