"""lm-eval asks our model, offline, what it asks transformers' of the exported run, and gets the same answers."""

import json
import sys

import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.evaluate import NEEDED, evaluate, language_model
from blueberry_lib.export import export
from blueberry_lib.ranking import choice_scores
from blueberry_lib.speedrun.run import load_run, run_tokenizer

TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: {kind}
"""
CHOICE = """
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
target_delimiter: " "
metric_list:
  - metric: acc
  - metric: acc_norm
  - metric: acc_bytes
"""
ROLLING = """
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - metric: bits_per_byte
"""
GENERATE = """
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 20}
metric_list:
  - metric: exact_match
"""


@pytest.fixture
def lm_eval(monkeypatch):
    """lm-eval, if it is installed, with its libraries told that there is no network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    pytest.importorskip("lm_eval")


@pytest.fixture
def tasks(tmp_path, lm_eval):
    """A folder with three tasks over the same 30 questions, some of them longer than the context."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    words = "one two three four five six seven eight nine ten".split()
    rows = []
    for i in range(30):
        question = f"{i} {words[i % 10]} and {words[(i * i) % 10]} make"
        row = {"question": question * (1 if i % 10 else 12), "choices": [str(i * i), "very many", "\N{SNOWMAN}"]}
        rows.append({**row, "answer": i % 3})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, kind, rest in (
        ("choice", "multiple_choice", CHOICE),
        ("rolling", "loglikelihood_rolling", ROLLING),
        ("generate", "generate_until", GENERATE),
    ):
        text = TASK.format(name=f"own_{name}", kind=kind, data=folder / "rows.jsonl") + rest
        (folder / f"{name}.yaml").write_text(text)
    return folder, rows


def ours(run):
    model, _ = load_run(run)
    tokenizer = run_tokenizer(run, None, 300)
    return model, tokenizer, language_model(model, tokenizer)


def test_it_agrees_with_lm_eval_s_own_model_on_the_exported_run(finished, tasks, tmp_path):
    pytest.importorskip("accelerate")  # which lm-eval's hf needs
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    export(finished, tmp_path / "out")
    theirs = HFLM(pretrained=str(tmp_path / "out"), device="cpu", batch_size=4, dtype="float32")
    *_, own = ours(finished)
    _, rows = tasks
    pairs = [(row["question"], " " + choice) for row in rows for choice in row["choices"]]
    pairs += [("", "12 three"), ("a space ", "b")]
    asked = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    for mine, other in zip(own.loglikelihood(asked), theirs.loglikelihood(asked), strict=True):
        assert mine[0] == pytest.approx(other[0], abs=1e-4) and mine[1] == other[1]
    asked = [Instance("loglikelihood_rolling", {}, (row["question"],), 0) for row in rows]
    mine, other = own.loglikelihood_rolling(asked), theirs.loglikelihood_rolling(asked)
    assert mine == pytest.approx(other, abs=1e-4)
    settings = {"until": ["7", "\n"], "max_gen_toks": 16, "do_sample": False}
    asked = [Instance("generate_until", {}, (row["question"], settings), 0) for row in rows]
    assert own.generate_until(asked) == theirs.generate_until(asked)


def test_accuracies_are_those_of_our_own_ranking(finished, tasks):
    folder, rows = tasks
    found = evaluate(finished, ["own_choice", "own_rolling", "own_generate"], include=folder, device="cpu")
    model, tokenizer, _ = ours(finished)
    for metric, per in (("acc", "sum"), ("acc_norm", "character"), ("acc_bytes", "byte")):
        right = 0
        for row in rows:
            length = {"sum": lambda text: 1, "character": len, "byte": lambda text: len(text.encode())}[per]
            sums = choice_scores(model, tokenizer, row["question"], [" " + c for c in row["choices"]])
            scores = [s / length(c) for s, c in zip(sums, row["choices"], strict=True)]
            right += max(range(3), key=scores.__getitem__) == row["answer"]
        assert found["results"]["own_choice"][f"{metric},none"] == pytest.approx(right / len(rows))
    assert found["results"]["own_rolling"]["bits_per_byte,none"] > 0
    assert json.loads((finished / "evaluation.json").read_text()) == json.loads(json.dumps(found))
    assert found["lm_eval"] == "0.4.13"


def test_a_cache_keeps_answers_and_a_limit_takes_the_first(finished, tasks, tmp_path, monkeypatch):
    folder, _ = tasks
    settings = {"include": folder, "device": "cpu", "limit": 5}
    first = evaluate(finished, ["own_choice"], cache=tmp_path / "kept", **settings)
    assert first["n-samples"]["own_choice"]["effective"] == 5
    monkeypatch.setattr("blueberry_lib.evaluate.continuations", None)  # nothing is asked again
    assert evaluate(finished, ["own_choice"], cache=tmp_path / "kept", **settings)["results"] == first["results"]


@pytest.mark.parametrize("name", ["no_such_task", "arc_easy"])
def test_a_task_that_cannot_be_had_is_one_line(finished, name, lm_eval):
    with pytest.raises(BlueberryError, match=rf"^lm-eval cannot load {name} \(.*--include FOLDER"):
        evaluate(finished, [name], device="cpu")


def test_without_lm_eval_it_says_what_to_install(finished, monkeypatch, capsys):
    pytest.importorskip("tyro")
    from blueberry_lib.cli import main

    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert main(["evaluate", str(finished), "--tasks", "arc_easy"]) == 2
    assert NEEDED in capsys.readouterr().err


def test_the_command_prints_each_metric_with_its_error(finished, tasks, capsys):
    pytest.importorskip("tyro")
    from blueberry_lib.cli import main

    command = ["evaluate", str(finished), "--tasks", "own_choice,own_rolling", "--include", str(tasks[0])]
    assert main([*command, "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "acc_norm" in text and " ± " in text and "bits_per_byte" in text and "evaluation.json" in text
