"""A milestone's page says what the record says, shows every sample, and is written of finished runs only."""

import json

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("tyro")

from blueberry_lib.cli import main
from blueberry_lib.milestone import DRAWS, milestone
from blueberry_lib.speedrun.run import draw_samples, load_run, run_tokenizer


def test_the_page_has_the_records_figures_and_every_sample(finished, tmp_path):
    page = tmp_path / "page.md"
    assert main(["milestone", str(finished), str(page)]) == 0
    record, text = json.loads((finished / "record.json").read_text()), page.read_text(encoding="utf-8")
    for figure in (f"{record['params']:,}", f"{record['val_loss']:.4f}", f"{record['val_accuracy']:.2%}"):
        assert f"| {figure} |" in text
    assert "not official, " in text and "has not been done for this run" in text
    samples = draw_samples(load_run(finished)[0], run_tokenizer(finished, None, 300), [""] * DRAWS + ["The"] * DRAWS)
    assert samples.rstrip() in text
    assert (tmp_path / "page.png").stat().st_size > 10_000 and "](page.png)" in text


def test_it_says_where_the_benchmarks_are(finished, tmp_path):
    (finished / "evaluation.json").write_text("{}")
    milestone(finished, tmp_path / "page.md")
    (finished / "evaluation.json").unlink()
    assert "see run/evaluation.json" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_an_unfinished_run_has_none(finished, tmp_path, capsys):
    assert main(["milestone", str(tmp_path)]) == 2
    assert "a milestone is written of a finished run" in capsys.readouterr().err
