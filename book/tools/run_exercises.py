"""Run notebooks of exercises one after the other in one process, each with a namespace and a folder of its own.

    python run_exercises.py RESULTS NOTEBOOK ...

appends a line to RESULTS for each: its path, why it failed ("" if it did not), and the seconds it took. In a solutions
notebook every check must say "correct", in a learner's "not started".
"""

import json
import os
import sys
import time
from pathlib import Path

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

SAYS = {"solutions": ": correct.", "exercises": ": not started."}


def failure(path: Path, shell: InteractiveShell) -> str:
    checks = 0
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        with capture_output() as said:
            result = shell.run_cell(cell.source)
        shown = said.stdout + "".join(output.data.get("text/plain", "") for output in said.outputs)
        is_check = ").check(" in cell.source
        checks += is_check
        if not result.success or (is_check and SAYS[path.parent.name] not in shown):
            return f"{cell.source}\n{shown}{said.stderr}"
    return "" if checks >= 4 else f"it checks {checks} exercises, fewer than 4"


def main(results: Path, *notebooks: Path) -> None:
    config = Config()
    config.HistoryManager.enabled = False
    shell, folder = InteractiveShell.instance(config=config), Path.cwd()
    for path in notebooks:
        home = folder / path.parent.name / path.stem
        home.mkdir(parents=True)
        os.chdir(home)
        os.environ["BLUEBERRY_HOME"] = str(home)
        shell.reset()
        start = time.perf_counter()
        outcome = [str(path), failure(path, shell), time.perf_counter() - start]
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(outcome) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
