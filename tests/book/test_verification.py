"""A notebook is executed again when anything it runs on has changed by a byte; one that fails is never recorded."""

import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import nbformat
import pytest
from book_tool import tool

pytest.importorskip("nbval")
TOOL = tool("verification")

FILES = {
    "blueberry_lib/__init__.py": "",
    "blueberry_lib/a.py": "def f():\n    from blueberry_lib import b\n",
    "blueberry_lib/b.py": "from .part.c import g\n",
    "blueberry_lib/part/__init__.py": "",
    "blueberry_lib/part/c.py": "g = 1\n",
    "blueberry_lib/part/d.py": "",
    "blueberry_lib/data.json": "{}",
    "blueberry_checks/__init__.py": "",
    "blueberry_checks/e.py": "",
}
NEEDED = ["__init__", "a", "b", "part/__init__", "part/c"]


@pytest.fixture
def packages(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return {package: tmp_path / package for package in ("blueberry_lib", "blueberry_checks")}


def notebook(path, *sources, checked="1"):
    """Write a notebook whose cells have the stored output ``checked``."""
    path.parent.mkdir(exist_ok=True)
    output = nbformat.v4.new_output("stream", text=f"{checked}\n")
    cells = [nbformat.v4.new_code_cell(source, outputs=[output], execution_count=1) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.mark.parametrize(
    "source", ["from blueberry_lib.a import f", "import blueberry_lib.a as x", "def f(): import blueberry_lib.a"]
)
def test_what_is_imported_directly_or_not_is_needed_with_its_packages_data(packages, source):
    expected = {"blueberry_lib/data.json", *(f"blueberry_lib/{name}.py" for name in NEEDED)}
    assert set(TOOL.files_needed([source], packages)) == expected


@pytest.mark.parametrize("source", ["importlib.import_module(x)", "__import__(x)", "%load_ext x"])
def test_what_imports_by_name_or_cannot_be_read_needs_every_file(packages, source):
    assert set(TOOL.files_needed([source], packages)) == set(FILES)
    (packages["blueberry_lib"] / "part/c.py").write_text(source.replace("%", "import_module, "))
    assert set(TOOL.files_needed(["import blueberry_lib.a"], packages)) == set(FILES)


def test_a_byte_in_any_input_gives_another_hash_and_one_elsewhere_does_not(packages, tmp_path):
    path = notebook(tmp_path / "n.ipynb", "# NBVAL_CHECK_OUTPUT\nfrom blueberry_lib.a import f", "2")
    lock = tmp_path / "requirements.txt"
    lock.write_text("torch==2.13.0\n")
    before = TOOL.inputs(path, packages, lock)
    assert TOOL.inputs(path, packages, lock) == before
    counts = [*(f"blueberry_lib/{name}.py" for name in NEEDED), "blueberry_lib/data.json", "requirements.txt"]
    for name in counts + ["blueberry_lib/part/d.py", "blueberry_checks/e.py"]:
        text = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(text + b"\n")
        assert (TOOL.inputs(path, packages, lock) != before) is (name in counts), name
        (tmp_path / name).write_bytes(text)
    (tmp_path / "blueberry_lib/part/a.py").write_text("")
    assert TOOL.inputs(path, packages, lock) == before
    for sources, checked in (((" 2",), "1"), (("2", "3"), "1"), (("2",), "3")):
        notebook(path, "# NBVAL_CHECK_OUTPUT\nfrom blueberry_lib.a import f", *sources, checked=checked)
        assert TOOL.inputs(path, packages, lock) != before


IMPORTS = (
    "from blueberry_lib.speedrun.compare import run_recipe",
    "from blueberry_checks import exercise; exercise('02.1')",
)


@pytest.mark.parametrize("source", IMPORTS)
def test_no_module_that_is_really_loaded_is_missed(source):
    script = f"{source}\nimport sys\nfor m in [*sys.modules.values()]: print(getattr(m, '__file__', None))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    files = [Path(name).resolve() for name in done.stdout.splitlines()]
    loaded = {file for file in files if any(file.is_relative_to(root) for root in TOOL.PACKAGES.values())}
    assert len(loaded) > 5 and loaded <= set(TOOL.files_needed([source]).values())


@pytest.mark.parametrize("checked", ["1", "2"])
def test_a_chapter_whose_checked_output_differs_fails(tmp_path, checked):
    path = notebook(tmp_path / "n.ipynb", "# NBVAL_CHECK_OUTPUT\nprint(1)", checked=checked)
    ((failure, seconds),) = TOOL.run_chapter(path, tmp_path).values()
    assert bool(failure) is (checked != "1") and seconds > 0, failure


def test_exercises_run_apart_and_each_says_what_failed(tmp_path):
    check = "class A:\n    def check(self, x): print(x)\nA().check('{}')"
    right, learner = ": correct.", ": not started."
    paths = {
        notebook(tmp_path / "solutions/a.ipynb", "y = 1", *[check.format(right)] * 4): "",
        notebook(tmp_path / "solutions/b.ipynb", "print(y)", *[check.format(right)] * 4): "NameError",
        notebook(tmp_path / "solutions/c.ipynb", *[check.format(learner)] * 4): "not started",
        notebook(tmp_path / "exercises/a.ipynb", *[check.format(learner)] * 4): "",
        notebook(tmp_path / "exercises/b.ipynb", *[check.format(learner)] * 3): "3 exercises",
        notebook(tmp_path / "exercises/c.ipynb", "import os; os._exit(3)"): "not reached",
    }
    outcome = TOOL.run_exercises(list(paths), tmp_path)
    for path, word in paths.items():
        assert word in outcome[path][0] and bool(outcome[path][0]) is bool(word), path


def test_only_what_ran_is_recorded_and_only_the_rest_runs_again(tmp_path, monkeypatch, capsys):
    paths = [notebook(tmp_path / f"notebooks/{name}.ipynb", "1") for name in "ab"]
    started = []

    def start(wanted, site, pool):
        started.append([path.stem for path in wanted])
        futures = {path: Future() for path in wanted}
        for path, future in futures.items():
            future.set_result({path: ("it broke" if path.stem == "b" else "", 1.0)})
        return futures

    monkeypatch.setattr(TOOL, "RECORD", tmp_path / "verified.json")
    monkeypatch.setattr(TOOL, "notebooks", lambda: paths)
    monkeypatch.setattr(TOOL, "build_site", lambda folder: folder)
    monkeypatch.setattr(TOOL, "start", start)
    assert TOOL.verify(False, []) == 1 and "it broke" in capsys.readouterr().out
    assert TOOL.is_verified(paths[0]) and not TOOL.is_verified(paths[1])
    assert TOOL.verify(False, []) == 1 and started == [["a", "b"], ["b"]]
    notebook(paths[0], "2")
    assert not TOOL.is_verified(paths[0])
    assert TOOL.verify(True, ["a"]) == 0 and TOOL.verify(False, ["a"]) == 0 and started[2:] == [["a"]]
