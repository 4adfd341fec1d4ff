"""The exercises: the learners' notebooks made from the solutions, and the checkers scored.

    python book/tools/exercises.py generate         write exercises/*.ipynb and exercises/checks/exercises.json
    python book/tools/exercises.py check            fail if that would change a byte
    python book/tools/exercises.py score [02 ...]   try planted mistakes and mutants on every checker, into
                                                    book/records/exercises.json

exercises/solutions/NN_name.ipynb is the one source. Its cells carry tags: exercise:ID (the text with three hints in
folds), solution:ID (a function, or an assignment), why:ID. The learner's notebook has the function's signature and
docstring, and neither the solution nor the why.
"""

import ast
import json
import re
import sys
from importlib import import_module
from pathlib import Path

import nbformat
from mutants import mutants

from notebooks import canonical, text_of

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "exercises" / "checks" / "exercises.json"
SCORES = ROOT / "book" / "records" / "exercises.json"
FACTS = re.compile(r"\*difficulty (\d) of 5 · importance (\d) of 5 · (\d+) minutes\*")
FOLD = re.compile(r"<details><summary>(.*?)</summary>\s*(.*?)\s*</details>", re.DOTALL)
LEARNERS = {"exercises/solutions/": "exercises/", "# Solutions: ": "# Exercises: ", "](../../": "](../"}
HINTS = ["Hint 1: concept", "Hint 2: approach", "Hint 3: pseudocode"]


def sources() -> list[Path]:
    return sorted((ROOT / "exercises" / "solutions").glob("[0-9]*.ipynb"))


def role(cell) -> tuple[str, str]:
    """What a cell is, and of which exercise: ("solution", "02.1"); ("", "") for the others."""
    for tag in cell.metadata.get("tags", []):
        kind, _, name = tag.partition(":")
        if kind in ("exercise", "solution", "why"):
            return kind, name
    return "", ""


def stub(source: str, name: str) -> str:
    """The solution with its answer taken out."""
    (node,) = ast.parse(source).body
    if isinstance(node, ast.Assign):
        return f"{node.targets[0].id} = ...  # your answer"
    docstring = node.body[0]
    kept = source.splitlines()[: docstring.end_lineno]
    return "\n".join([*kept, f'    raise NotImplementedError("{name}: your code here")'])


def learners(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The learner's notebook of a solutions notebook."""
    cells = []
    for cell in notebook.cells:
        kind, name = role(cell)
        if kind == "why":
            continue
        if cell.cell_type == "code":
            cell.outputs = []
        if kind == "solution":
            cell.source = stub(cell.source, name)
            cell.metadata["tags"] = []
        for before, after in LEARNERS.items():
            cell.source = cell.source.replace(before, after)
        cells.append(cell)
    notebook.cells = cells
    return canonical(notebook)


def entries(notebook: nbformat.NotebookNode, chapter: str) -> dict[str, dict]:
    """What the checker shows of each exercise."""
    found: dict[str, dict] = {}
    for cell in notebook.cells:
        kind, name = role(cell)
        if kind == "exercise":
            title, facts = re.match(rf"## {name} (.*)", cell.source), FACTS.search(cell.source)
            hints = FOLD.findall(cell.source)
            if not title or not facts or [summary for summary, _ in hints] != HINTS:
                raise SystemExit(f"{chapter}, {name}: needs a title, its line of facts, and the folds {HINTS}")
            difficulty, importance, minutes = map(int, facts.groups())
            found[name] = {
                "chapter": chapter,
                "title": title[1],
                "difficulty": difficulty,
                "importance": importance,
                "minutes": minutes,
                "hints": [text for _, text in hints],
            }
        elif kind == "solution":
            found[name]["solution"] = cell.source
        elif kind == "why":
            ((_, found[name]["why"]),) = FOLD.findall(cell.source)
    return found


def generated() -> dict[Path, str]:
    """Every generated file and what it should hold."""
    files, catalogue = {}, {}
    for path in sources():
        catalogue |= entries(nbformat.read(path, as_version=4), path.stem)
        files[ROOT / "exercises" / path.name] = text_of(learners(nbformat.read(path, as_version=4)))
    return {**files, CATALOGUE: json.dumps(catalogue, indent=1, ensure_ascii=False) + "\n"}


def generate() -> int:
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
    return 0


def check() -> int:
    stale = 0
    for path, text in generated().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{path.relative_to(ROOT)} is not what its solutions give: python book/tools/exercises.py generate")
    return stale


def score(name: str) -> dict:
    """How the checker of an exercise does on planted mistakes and on mutants of the solution."""
    from blueberry_checks import exercise
    from blueberry_checks.engine.examine import Code, examine

    sys.path.insert(0, str(ROOT / "tests"))
    asked = exercise(name)
    planted = import_module(f"checks.planted_{asked.text['chapter']}").PLANTED[name]
    outcomes = [(wrong, examine(asked.rules, wrong.answer, seconds=2)) for wrong in planted.wrong]
    missed = [f"{wrong} passes" for wrong, outcome in outcomes if outcome.status in ("correct", "not started")]
    unnamed = [
        f"{wrong}: cause {outcome.cause!r}, expected {wrong.cause!r} ({outcome.message})"
        for wrong, outcome in outcomes
        if outcome.cause != wrong.cause
    ]
    survivors, tried = [], 0
    if isinstance(asked.rules, Code):
        for description, mutant in mutants(asked.text["solution"], asked.rules):
            if description in planted.equivalent:
                continue
            tried += 1
            if examine(asked.rules, mutant, seconds=2).status == "correct":
                survivors.append(description)
    for line in [*missed, *unnamed, *(f"mutant survives: {survivor}" for survivor in survivors)]:
        print(f"{name}: {line}")
    return {
        "planted": len(outcomes),
        "caught": len(outcomes) - len(missed),
        "named": len(outcomes) - len(unnamed),
        "mutants": tried,
        "rejected": tried - len(survivors),
        "equivalent": len(planted.equivalent),
    }


def score_all(chapters: list[str]) -> int:
    from blueberry_checks import catalogue

    scores = json.loads(SCORES.read_text()) if SCORES.exists() else {}
    for name in catalogue():
        if not chapters or name[:2] in chapters:
            scores[name] = score(name)
            print(name, scores[name])
    SCORES.write_text(json.dumps({name: scores[name] for name in catalogue() if name in scores}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    command, *rest = sys.argv[1:] or ["help"]
    commands = {"generate": generate, "check": check, "score": lambda: score_all(rest)}
    if command not in commands:
        sys.exit(__doc__)
    sys.exit(commands[command]())
