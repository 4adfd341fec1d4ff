"""One command changes the project's address everywhere, and leaves everything else alone."""

import json
import shutil
from pathlib import Path

import pytest
from book_tool import tool

import blueberry_lib

ROOT = Path(blueberry_lib.__file__).parents[1]
if not (ROOT / "_toc.yml").exists():
    pytest.skip("the library is installed without the book", allow_module_level=True)

address = tool("address")


def texts(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for place in address.PLACES for path in root.glob(place)}


@pytest.fixture
def copied(tmp_path) -> Path:
    for path in texts(ROOT):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / path)
    return tmp_path


def test_the_new_address_stands_everywhere_and_the_way_back_is_the_same(copied):
    before, old = texts(copied), address.address(copied)
    changed = address.change("some-one/their.course", copied)
    assert address.address(copied) == "some-one/their.course" and len(changed) > 60
    for path, text in texts(copied).items():
        assert f"github.com/{old}".encode() not in text and f"github/{old}/".encode() not in text, path
        assert f"cd {old.split('/')[1]}\n".encode() not in text, path
        if path.suffix == ".ipynb":
            assert b"github.com/some-one/their.course" in text and json.loads(text)["cells"], path
    assert address.change("some-one/their.course", copied) == []
    address.change(old, copied)
    assert texts(copied) == before


def test_links_to_the_original_records_and_longer_names_stay(copied):
    address.change("Open-Superintelligence-Lab/5-dollar-llm", copied)
    page = copied / "book" / "leaderboard.md"
    before = page.read_bytes()
    (copied / "README.md").write_text("https://github.com/Open-Superintelligence-Lab/5-dollar-llm-two and …-llm.git")
    address.change("a/b", copied)
    assert page.read_bytes() == before and "-llm-two" in (copied / "README.md").read_text()
    with pytest.raises(SystemExit, match="OWNER/NAME"):
        address.change("https://github.com/a/b", copied)


def test_the_publishing_workflows_run_it_before_they_build():
    for name in ("book", "release"):
        steps = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
        assert steps.index('book/tools/address.py "$GITHUB_REPOSITORY"') < steps.index("jupyter-book build"), name


def test_no_address_stands_where_the_command_does_not_look():
    old, looked = address.address(), set(texts(ROOT))
    for path in [
        *ROOT.rglob("*.py"),
        *ROOT.glob(".devcontainer/*"),
        *ROOT.glob("book/**/*.html"),
        *ROOT.glob("Makefile"),
    ]:
        if path.relative_to(ROOT) not in looked and not {".venv", "_build", "runs"} & set(path.parts):
            assert f"github.com/{old}" not in path.read_text(encoding="utf-8"), path
