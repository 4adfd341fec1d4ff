"""Execute the notebooks whose text or library changed, and keep them in one canonical form.

    python book/tools/notebooks.py run [--profile cpu] [--force] [NAME ...]
    python book/tools/notebooks.py verify [--all] [NAME ...]
    python book/tools/notebooks.py check

``run`` executes each chapter, and the solutions of its exercises, in an empty folder. The outputs of the cpu profile
are stored; what each profile took goes to book/records/notebooks.json, with a hash of the code and the library, by
which an unchanged notebook is skipped. Where only ``--force`` runs it again, cells tagged ``measured``, whose output
holds times, keep what is stored, so that a second execution leaves no difference. ``verify`` tests at the smoke profile
the chapters, solutions and learners' notebooks whose inputs changed, two at a time, and records those that run (see
verification.py); it goes on where it was stopped. ``check`` fails where a stored notebook is not canonical.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from verification import key, verify

from blueberry_lib.hardware import detect
from blueberry_lib.training.folder import source_sha256, versions, write_json

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "book" / "records" / "notebooks.json"
STORED_PROFILE = "cpu"
CELL_METADATA = ("tags", "mystnb")
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # how Colab and JupyterLab fold a cell's code
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


def notebooks() -> list[Path]:
    """The chapters and the solutions; the learners' notebooks are generated from these."""
    folders = (ROOT / "notebooks", ROOT / "exercises" / "solutions")
    return [path for folder in folders for path in sorted(folder.glob("[0-9]*.ipynb"))]


def clean(text: str) -> str:
    return ADDRESS.sub("0xADDR", ANSI.sub("", text))


def canonical(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what differs between two executions: counts in order, stable ids, no timings, addresses
    and colours masked, only the metadata that the book reads."""
    notebook.metadata = {
        **{name: notebook.metadata[name] for name in ("blueberry",) if name in notebook.metadata},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    count = 0
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02d}"
        cell.metadata = {key: cell.metadata[key] for key in CELL_METADATA if key in cell.metadata}
        if cell.cell_type != "code":
            continue
        if "hide-input" in cell.metadata.get("tags", []):
            cell.metadata |= FOLDED
        count += 1
        cell.execution_count = count
        outputs = []
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = clean(output.text)
                if outputs and outputs[-1].output_type == "stream" and outputs[-1].name == output.name:
                    outputs[-1].text += output.text
                    continue
            elif output.output_type in ("display_data", "execute_result"):
                output.metadata = {}
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
                if "text/plain" in output.data:
                    output.data["text/plain"] = clean(output.data["text/plain"])
                if output.output_type == "execute_result":
                    output.execution_count = count
            outputs.append(output)
        cell.outputs = outputs
    return notebook


def text_of(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook) + "\n"


def identity(notebook: NotebookNode) -> str:
    """A hash of what the outputs depend on: the code and the library."""
    cells = json.dumps([(cell.source, cell.metadata) for cell in notebook.cells if cell.cell_type == "code"])
    return hashlib.sha256((cells + source_sha256()).encode()).hexdigest()


def execute(path: Path, profile: str) -> tuple[NotebookNode, float]:
    """The notebook with fresh outputs, and the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as empty:
        os.environ |= {"BLUEBERRY_PROFILE": profile, "BLUEBERRY_STORE": "1", "BLUEBERRY_HOME": empty}
        client = NotebookClient(
            notebook, timeout=1800, record_timing=False, kernel_name="python3", resources={"metadata": {"path": empty}}
        )
        start = time.perf_counter()
        client.execute()
        return canonical(notebook), time.perf_counter() - start


def keep_measured(stored: NotebookNode, executed: NotebookNode) -> None:
    """Put the stored outputs of cells that measure time into a notebook executed again."""
    for old, new in zip(stored.cells, executed.cells, strict=True):
        if "measured" in new.metadata.get("tags", []) and old.get("outputs"):
            new.outputs = old.outputs


def run(profile: str, force: bool, names: list[str]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for path in notebooks():
        name = key(path)
        if names and path.stem not in names and name not in names:
            continue
        known = results.setdefault(name, {})
        current = identity(canonical(nbformat.read(path, as_version=4)))
        if not force and known.get(profile, {}).get("identity") == current:
            print(f"{name}: unchanged since its last run at {profile}")
            continue
        print(f"{name}: running at {profile} …", flush=True)
        notebook, seconds = execute(path, profile)
        if known.get(profile, {}).get("identity") == current:
            keep_measured(nbformat.read(path, as_version=4), notebook)
        if profile == STORED_PROFILE:
            path.write_text(text_of(notebook), encoding="utf-8")
        known[profile] = {
            "seconds": round(seconds, 1),
            "machine": detect().name,
            "cores": os.cpu_count(),
            "versions": versions(),
            "identity": current,
        }
        write_json(RESULTS, results)
        print(f"{name}: {seconds:.0f} s")


def check() -> int:
    """The number of notebooks that are not in canonical form, each named."""
    wrong = []
    for path in notebooks():
        stored = path.read_text(encoding="utf-8")
        if text_of(canonical(nbformat.reads(stored, as_version=4))) != stored:
            wrong.append(path.name)
        for cell in nbformat.reads(stored, as_version=4).cells:
            if cell.cell_type == "code" and any(output.output_type == "error" for output in cell.outputs):
                wrong.append(f"{path.name} (stored error)")
    for name in wrong:
        print(f"{name} is not canonical: run make notebooks, or book/tools/notebooks.py run --force")
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("--profile", default=STORED_PROFILE)
    runner.add_argument("--force", action="store_true")
    runner.add_argument("names", nargs="*")
    verifier = commands.add_parser("verify")
    verifier.add_argument("--all", action="store_true")
    verifier.add_argument("names", nargs="*")
    commands.add_parser("check")
    arguments = parser.parse_args()
    if arguments.command == "check":
        return check()
    if arguments.command == "verify":
        return verify(arguments.all, arguments.names)
    run(arguments.profile, arguments.force, arguments.names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
