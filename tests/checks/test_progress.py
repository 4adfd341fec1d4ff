"""Progress is kept on this machine, survives a copy by its code, and never stands in the way of a check."""

import pytest

from blueberry_checks import catalogue, exercise, progress
from blueberry_lib.config import BlueberryError

NAME = next(iter(catalogue()))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BLUEBERRY_HOME", str(tmp_path / "home"))


def test_a_solved_exercise_is_done_and_stays_done(capsys):
    asked = exercise(NAME)
    asked.check(lambda *arguments: None)
    assert progress.load()[NAME] == {"done": False, "attempts": 1, "hints": 0, "solution_seen": False}
    asked.check(asked.rules.reference)
    asked.check(lambda *arguments: None)
    assert progress.load()[NAME] == {"done": True, "attempts": 3, "hints": 0, "solution_seen": False}
    said = capsys.readouterr().out
    assert said.count("not yet") == 2 and said.count(": correct.") == 1


def test_hints_come_one_after_another_and_the_solution_only_when_asked(capsys):
    asked = exercise(NAME)
    for _ in range(4):
        asked.hint()
    said = capsys.readouterr().out
    assert [said.count(f"hint {n} of 3") for n in (1, 2, 3)] == [1, 1, 2]
    assert asked.text["solution"] not in said
    asked.solution()
    assert asked.text["solution"] in capsys.readouterr().out
    assert progress.load()[NAME]["solution_seen"]
    with pytest.raises(BlueberryError, match="hints 1 to 3"):
        asked.hint(4)


def test_a_code_carries_progress_to_another_machine(monkeypatch, tmp_path):
    names = [*catalogue()][:3] + [[*catalogue()][-1]]
    for name in names:
        progress.update(name, done=True)
    code = progress.code(progress.load())
    monkeypatch.setenv("BLUEBERRY_HOME", str(tmp_path / "elsewhere"))
    assert progress.load() == {}
    progress.restore(code)
    assert [name for name, entry in progress.load().items() if entry["done"]] == names
    assert f"{len(names)} of {len(catalogue())} done" in progress.report() and code in progress.report()
    assert "[.] begun" in progress.report()


@pytest.mark.parametrize("code", ["", "nonsense", "02:", "02:99", "99:1", "02:1-"])
def test_what_is_no_code_is_refused_and_changes_nothing(code):
    with pytest.raises(BlueberryError):
        progress.restore(code)
    assert progress.load() == {}


@pytest.mark.parametrize("damaged", ["{", "[1]", '{"02.1": 3}', '{"02.1": {"done": true}}', b"\xff\xfe"])
def test_a_damaged_file_costs_no_verdict_and_is_kept_aside(damaged, capsys):
    for n in (1, 2):
        progress.file().parent.mkdir(exist_ok=True)
        progress.file().write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
        exercise(NAME).check(exercise(NAME).rules.reference)
        said = capsys.readouterr().out
        assert f"damaged-{n}.json" in said and ": correct." in said
        assert progress.load()[NAME]["done"]
    assert len(list(progress.file().parent.glob("progress-damaged-*.json"))) == 2


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BLUEBERRY_HOME", str(tmp_path / "file"))
    exercise(NAME).check(exercise(NAME).rules.reference)
    said = capsys.readouterr().out
    assert "Progress is not saved" in said and ": correct." in said


def test_the_learners_own_piece_is_used_once_it_is_correct(capsys):
    asked = exercise(NAME)
    good = asked.rules.reference
    assert asked.piece(good) is good
    assert capsys.readouterr().out == ""
    assert asked.piece(lambda *arguments: None) is good
    said = capsys.readouterr().out
    assert "is not right yet" in said and "uses the library's own" in said


def test_an_unknown_exercise_is_refused_with_the_list():
    with pytest.raises(BlueberryError, match=f"no exercise '77.7'; there are {NAME}"):
        exercise("77.7")
    for meant in ("9.2", " 09.2 "):
        with pytest.raises(BlueberryError, match="do you mean '09.2'"):
            exercise(meant)
