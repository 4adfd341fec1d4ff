"""Every exercise: its solution and other right answers pass, its stub is a stub, what is planted is caught and named.

A planted mistake must get the message meant for it; of the solution's mechanical mutants nine in ten must be rejected.
"""

import json
import re
import time
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
import torch
from book_tool import tool

import blueberry_lib
from blueberry_checks import catalogue, chapters, exercise
from blueberry_checks.engine.examine import Code, examine

ROOT = Path(blueberry_lib.__file__).parents[1]
TOOL = tool("exercises")
NAMES = list(catalogue())
SCORES = json.loads((ROOT / "book" / "records" / "exercises.json").read_text(encoding="utf-8"))


def planted(name):
    return import_module(f"checks.planted_{catalogue()[name]['chapter']}").PLANTED[name]


def defined(source: str):
    """The function, or the value of the assignment, that a cell of a notebook makes."""
    import math

    space = {"torch": torch, "math": math, "F": torch.nn.functional, "__name__": "cell"}
    before = set(space)
    exec(source, space)
    (made,) = set(space) - before - {"__builtins__"}
    return space[made]


def test_what_is_generated_from_the_solutions_is_up_to_date(capsys):
    assert TOOL.check() == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_are_accepted_quickly_and_the_stub_is_not_started(name):
    rules, text = exercise(name).rules, catalogue()[name]
    start = time.process_time()
    outcome = examine(rules, defined(text["solution"]))
    assert outcome.status == "correct", outcome
    assert time.process_time() - start < 5
    answers = planted(name).correct
    assert len(answers) >= 2
    for answer in answers:
        assert examine(rules, answer).status == "correct", (answer, examine(rules, answer))
    assert examine(rules, defined(TOOL.stub(text["solution"], name))).status == "not started"


@pytest.mark.parametrize("name", NAMES)
def test_planted_mistakes_are_caught_and_mutants_rejected_as_recorded(name, capsys):
    score = TOOL.score(name)
    said = capsys.readouterr().out
    assert score["planted"] >= 3 and score["caught"] == score["planted"], said
    assert score["rejected"] >= 0.9 * score["mutants"], said
    assert score == SCORES[name], f"{said}: python book/tools/exercises.py score {name[:2]}"


@pytest.mark.parametrize("name", NAMES)
def test_each_mistake_earns_its_own_message(name):
    rules = exercise(name).rules
    for mistake in getattr(rules, "mistakes", ()):
        if mistake.wrong:
            outcome = examine(rules, mistake.wrong)
            assert outcome.cause == mistake.name, (mistake.name, outcome)


def test_nineteen_in_twenty_planted_mistakes_are_named_and_a_third_came_from_the_text_alone():
    total = {key: sum(score[key] for score in SCORES.values()) for key in ("planted", "named")}
    assert list(SCORES) == NAMES
    assert total["named"] >= 0.95 * total["planted"]
    blind = [wrong.from_text for name in NAMES for wrong in planted(name).wrong]
    assert sum(blind) >= len(blind) / 3


@pytest.mark.parametrize("name", NAMES)
def test_each_exercise_is_complete_and_sends_the_learner_to_a_heading_that_exists(name):
    text, rules = catalogue()[name], exercise(name).rules
    assert 1 <= text["difficulty"] <= 5 and 1 <= text["importance"] <= 5 and text["minutes"] <= 15
    assert len(text["hints"]) == 3 and text["solution"] and text["why"]
    chapter = nbformat.read(ROOT / "notebooks" / f"{text['chapter']}.ipynb", as_version=4)
    prose = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown")
    headings = {anchor(line) for line in re.findall(r"^#+ (.*)", prose, re.MULTILINE)}
    notes = [rules, *rules.mistakes, *rules.properties] if isinstance(rules, Code) else [rules]
    for section in filter(None, (note.section for note in notes)):
        assert section in headings, f"{section}: not among {sorted(headings)}"
    assert f"Exercise {name}" in prose


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_every_chapter_has_four_to_seven_exercises_and_one_that_is_not_code():
    for chapter in chapters():
        rules = [exercise(name).rules for name in NAMES if catalogue()[name]["chapter"] == chapter]
        assert 4 <= len(rules) <= 7
        assert any(not isinstance(rule, Code) for rule in rules)


def test_the_learners_notebooks_hold_no_solution():
    for path in sorted((ROOT / "exercises").glob("*.ipynb")):
        cells = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        for name, text in catalogue().items():
            if text["chapter"] == path.stem:
                body = text["solution"].splitlines()[-1]
                assert body not in cells, f"{path.name}, {name}: {body}"
