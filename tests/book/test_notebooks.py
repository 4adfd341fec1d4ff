"""Every notebook runs from the built wheel in an empty folder at the smoke profile, and is stored in canonical form.

The learners' notebooks run with their stubs untouched, every check saying "not started".
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbval")
ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((ROOT / "exercises" / "solutions").glob("[0-9]*.ipynb"))
LEARNERS = sorted((ROOT / "exercises").glob("[0-9]*.ipynb"))
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, "executed.ipynb")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the built wheel, and nothing of the checkout, to be put on the path."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for package in ("blueberry_lib", "exercises/checks"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


def in_empty_folder(site, tmp_path, command):
    environment = {**os.environ, "BLUEBERRY_PROFILE": "smoke", "PYTHONPATH": str(site), "BLUEBERRY_HOME": str(tmp_path)}
    environment.pop("MPLBACKEND", None)
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)


def test_the_wheel_is_what_the_notebooks_import(site, tmp_path):
    done = in_empty_folder(site, tmp_path, [sys.executable, "-c", "import blueberry_lib as b; print(b.__file__)"])
    assert Path(done.stdout.strip()).is_relative_to(site), done.stderr


@pytest.mark.parametrize("path", CHAPTERS + SOLUTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_runs_at_smoke_and_its_checked_outputs_hold(site, tmp_path, path):
    shutil.copy(path, tmp_path)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]
    done = in_empty_folder(site, tmp_path, [*command, "-p", "no:cacheprovider", "--rootdir", str(tmp_path), path.name])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", LEARNERS, ids=lambda path: path.stem)
def test_untouched_exercises_run_to_the_end_and_every_check_says_not_started(site, tmp_path, path):
    done = in_empty_folder(site, tmp_path, [sys.executable, "-c", EXECUTE, path])
    assert done.returncode == 0, done.stdout + done.stderr
    cells = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells
    checks = [cell for cell in cells if cell.cell_type == "code" and ").check(" in cell.source]
    assert len(checks) >= 4
    for cell in checks:
        assert any(": not started." in output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def test_stored_notebooks_are_canonical():
    done = subprocess.run([sys.executable, ROOT / "book/tools/notebooks.py", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", CHAPTERS + SOLUTIONS + LEARNERS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_cell_fits_the_page_and_nothing_reads_the_checkout(path):
    stored = nbformat.read(path, as_version=4)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert path in LEARNERS or any(cell.outputs for cell in code), "a notebook is stored with its outputs"
    for cell in code:
        lines = cell.source.splitlines()
        assert len(lines) <= 35 and max(map(len, lines)) <= 85, lines[0]
        assert "../" not in cell.source, lines[0]
