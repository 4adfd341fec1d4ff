"""Every notebook runs from the built wheel in an empty folder at the smoke profile, and is stored in canonical form.

Every check of a solutions notebook says "correct", every one of a learner's notebook "not started". What has not
changed since it was verified is not executed again.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from book_tool import tool

pytest.importorskip("nbval")
ROOT = Path(__file__).parents[2]
VERIFICATION = tool("verification")
NOTEBOOKS = VERIFICATION.notebooks()
ALWAYS = ("solutions/02_next_token", "exercises/02_next_token")  # executed even if nothing changed


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the built wheel, and nothing of the checkout, to be put on the path."""
    return VERIFICATION.build_site(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def outcomes(site, request):
    """The futures of the notebooks to execute among those whose tests were asked for, two at a time."""
    asked = [item.callspec.params["path"] for item in request.session.items if "outcomes" in item.fixturenames]
    everything = os.environ.get("BLUEBERRY_ALL_NOTEBOOKS") == "1"
    wanted = [p for p in asked if everything or VERIFICATION.key(p) in ALWAYS or not VERIFICATION.is_verified(p)]
    with ThreadPoolExecutor(VERIFICATION.AT_ONCE) as pool:
        yield VERIFICATION.start(wanted, site, pool)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=VERIFICATION.key)
def test_it_runs_at_smoke_and_its_checks_hold(outcomes, path):
    if path not in outcomes:
        pytest.skip("unchanged since it was verified; BLUEBERRY_ALL_NOTEBOOKS=1 executes all")
    failure, _ = outcomes[path].result()[path]
    assert not failure, failure


def test_the_wheel_holds_every_file_of_the_packages(site):
    for package, root in VERIFICATION.PACKAGES.items():
        files = [
            {
                path.relative_to(folder): path.read_bytes()
                for path in folder.rglob("*")
                if path.suffix in (".py", ".json")
            }
            for folder in (root, site / package)
        ]
        assert files[0] == files[1], package


def test_stored_notebooks_are_canonical():
    done = subprocess.run([sys.executable, ROOT / "book/tools/notebooks.py", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=VERIFICATION.key)
def test_every_cell_fits_the_page_and_nothing_reads_the_checkout(path):
    stored = nbformat.read(path, as_version=4)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert path.parent.name == "exercises" or any(cell.outputs for cell in code), (
        "a notebook is stored with its outputs"
    )
    for cell in code:
        lines = cell.source.splitlines()
        assert len(lines) <= 35 and max(map(len, lines)) <= 85, lines[0]
        assert "../" not in cell.source, lines[0]
