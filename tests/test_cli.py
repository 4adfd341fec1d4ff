"""The command line: its main paths, and one clear line with exit code 2 for everything that can go wrong."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blueberry_lib.data import tokens
from blueberry_lib.speedrun import run as run_module
from blueberry_lib.training.folder import occupied
from blueberry_lib.training.log import Log

pytest.importorskip("tyro")
from blueberry_lib.cli import main, parse

LADDER = Path(__file__).parents[1] / "book" / "records" / "ladder_pocket.json"
TINY = (
    "--model.vocab-size 97 --model.context-length 32 --model.n-layers 2 --model.d-model 32 --model.n-heads 4 "
    "--model.n-kv-heads 2 --model.d-ff 64 --batch-size 4 --validation-tokens 960 --train-tokens 2560 --device cpu"
).split()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(folder, *more):
    return main(["train", "--data", f"tokens:{folder}", *TINY, *more])


def complaint(capsys, word):
    """Assert that the last command said one line, with ``word`` in it."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and word in lines[0], lines
    return lines[0]


def test_a_ladder_is_drawn_from_records_without_running(here, capsys):
    assert main(["speedrun", "ladder", "--records", str(LADDER)]) == 0
    assert (here / "runs/ladder-pocket/ladder.png").stat().st_size > 10_000
    assert not list(here.rglob("checkpoints")) and "best" in capsys.readouterr().out
    assert main(["speedrun", "ladder", "--records", "nowhere.json"]) == 2
    complaint(capsys, "nowhere.json")


def test_train_writes_a_record_with_everything_in_it(here, token_folder, capsys):
    assert train(token_folder, "--experiment-name", "one", "--eval-every", "7") == 0
    record = json.loads((here / "runs/one/record.json").read_text())
    assert record["params"] == record["config"]["model"]["vocab_size"] * 32 + 2 * 7_248 + 32 + 1 + 561
    assert record["tokens"] == 2560 and record["steps"] == 20 and record["seed"] == 0
    assert 0 < record["val_loss"] < 10 and 0 <= record["val_accuracy"] <= 1
    assert record["active_seconds"] > 0 and record["setup_seconds"] > 0 and record["eval_seconds"] > 0
    assert record["tokens_per_second"] == pytest.approx(2560 / record["active_seconds"])
    assert record["dollars"] > 0 and 0 < record["utilisation"] < 1
    assert record["bits_per_byte"] is None and record["official"] is False
    assert {"hardware", "versions", "data_sha256", "source_sha256"} <= record.keys()
    assert [e["tokens"] for e in record["curve"] if "val_loss" in e] == [7 * 128, 14 * 128, 2560]
    lines = (here / "runs/one/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [7, 7, 10, 14, 14, 20, 20]
    assert (here / "runs/one/loss.png").stat().st_size > 10_000
    assert "validation loss" in capsys.readouterr().out


def test_text_becomes_a_model_that_samples_and_evaluates(here, capsys):
    texts(here / "texts", 40)
    options = [*TINY[2:], "--model.vocab-size", "300", "--model.no-copy-head"]
    assert main(["train", "--data", "text:texts/*.txt", *options, "--experiment-name", "t"]) == 0
    record = json.loads((here / "runs/t/record.json").read_text())
    assert record["bits_per_byte"] > 0
    assert len((here / "runs/t/samples.txt").read_text().split("─" * 72)) == 2
    assert main(["export", "runs/t", "out", "--web"]) == 0
    assert (here / "out/t.js").read_text().startswith('(globalThis.blueberryModels ??= {})["t"] = {"config":')
    capsys.readouterr()
    sample = ["sample", "runs/t", "--prompt", "the blue", "--max-new-tokens", "10", "--seed", "1"]
    assert main(sample) == 0
    text = capsys.readouterr().out
    assert text.startswith("the blue") and len(text) > 10
    assert main(sample) == 0 and capsys.readouterr().out == text
    assert main(["sample", "runs/t", "--prompt", "the", "berry", "--max-new-tokens", "5"]) == 0
    assert "─" * 72 in capsys.readouterr().out
    assert main(["eval", "runs/t", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["loss"] == pytest.approx(record["val_loss"], rel=1e-6)
    assert main(["prepare", "text:texts/*.txt", "--vocab-size", "300"]) == 0
    assert '"source": "text:texts/*.txt"' in capsys.readouterr().out


def test_runs_are_never_overwritten(here, token_folder, capsys):
    assert train(token_folder) == train(token_folder) == 0
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["pocket-best-seed0", "pocket-best-seed0-2"]
    assert train(token_folder, "--experiment-name", "pocket-best-seed0") == 2
    assert "--resume runs/pocket-best-seed0" in complaint(capsys, "already exists")


def test_the_recipe_gives_the_defaults(here, token_folder):
    assert train(token_folder, "--recipe", "r4", "--experiment-name", "r4", "--optimizer.muon-lr", "0.01") == 0
    config = json.loads((here / "runs/r4/config.json").read_text())
    assert config["optimizer"]["muon_lr"] == 0.01 and config["schedule"]["first_step_zero"] is True
    assert config["recipe"] == "r4" and config["optimizer"]["betas"] == [0.9, 0.999]


@pytest.mark.parametrize(
    "command",
    ["", "prepare", "train", "speedrun", "speedrun run", "speedrun compare", "sample", "eval", "export", "doctor"],
)
def test_help_explains_every_option(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code in (0, None)
    text = capsys.readouterr().out
    assert "usage: python -m blueberry_lib" in text and len(text) > 200


def test_the_documented_speedrun_commands_are_understood():
    assert parse(["speedrun", "run", "--recipe", "best", "--track", "pocket", "--seed", "3"]).command.seed == 3
    command = parse("speedrun compare r4 best --seeds 5 --output book/records/x.json".split()).command
    assert (command.a, command.b, command.seeds, command.output.name) == ("r4", "best", 5, "x.json")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--learning-rate", "3"], "--learning-rate"),
        (["--seed", "x"], "--seed"),
        (["--model.d-model", "33"], "d_model 33"),
        (["--schedule.decay", "1.5"], "decay is 1.5"),
        (["--optimizer.muon-lr", "-1"], "muon_lr is -1"),
        (["--optimizer.clip-norm", "-1"], "clip_norm is -1"),
        (["--optimizer.embedding-lr", "nan"], "embedding_lr is nan"),
        (["--seed", "-1"], "seed is -1"),
        (["--seed", "99999999999999999999"], "seed is 99999999999999999999"),
        (["--precision", "float64"], "--precision"),
        (["--recipe", "r99"], "Unknown recipe"),
        (["--track", "9M"], "Unknown track"),
        (["--data", "novels"], "Unknown corpus"),
        (["--validation-tokens", "100"], "multiple"),
        (["--validation-tokens", "9600"], "3000 validation tokens"),
        (["--model.context-length", "32000", "--validation-tokens", "32000"], "fewer than one context"),
        (["--model.vocab-size", "96"], "vocabulary of 97 and the model one of 96"),
        (["--tokenizer", "nowhere.json"], "nowhere.json"),
        (["--optimizer.muon-lr", "1e38"], "Lower the learning rates"),
    ],
)
def test_a_bad_option_is_one_clear_line(here, token_folder, capsys, options, word):
    """And the name is free again: what is right is taken under it."""
    assert train(token_folder, *options, "--experiment-name", "x") == 2
    complaint(capsys, word)
    assert not (here / "runs/x").exists()


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("train --resume nowhere", "no config.json"),
        ("train --resume runs/a --optimizer.muon-lr 0.1 --seed=3", "leave out --optimizer.muon-lr, --seed"),
        ("prepare stdlib --vocab-size -5", "vocab_size is -5"),
        ("sample runs/a --temperature nan", "temperature is nan"),
        ("sample runs/a --top-k 0", "top_k is 0"),
        ("sample runs/a --seed -1", "seed is -1"),
        ("sample runs/a --max-new-tokens 0", "max_new_tokens is 0"),
        ("sample runs/a --prompt", "--prompt needs a text"),
        ("eval runs/a --validation-tokens 0", "validation_tokens is 0"),
        ("speedrun compare r4 best --seeds 1", "seeds is 1; it must be at least 2"),
        ("speedrun compare r4 bets", "Unknown recipe 'bets'"),
        ("speedrun ladder --recipes r4 bets", "Unknown recipe 'bets'"),
        ("speedrun ladder --seeds 0", "seeds is 0"),
        ("speedrun sweep batch-size 16 few", "'few' is no value"),
        ("speedrun sweep optimizer.clip-norm 1 -1", "clip_norm is -1"),
        ("speedrun run --seed -1", "seed is -1"),
        ("flow train --training.data nowhere --experiment-name x", "nowhere"),
        ("vqvae train --training.data nowhere --experiment-name x", "nowhere"),
        ("multimodal train --vqvae nowhere --experiment-name x", "no config.json"),
    ],
)
def test_a_mistake_in_any_command_is_one_clear_line_and_leaves_nothing(here, capsys, command, word):
    assert main(command.split()) == 2
    complaint(capsys, word)
    assert not list(here.glob("runs/*"))


def test_bad_corpora_are_one_clear_line(here, capsys):
    (here / "empty.txt").write_text("")
    (here / "latin.txt").write_bytes(b"caf\xe9")
    for pattern, word in (("empty.txt", "empty"), ("latin.txt", "not UTF-8"), ("none.txt", "No file")):
        assert main(["train", "--data", f"text:{pattern}"]) == 2
        complaint(capsys, word)


def test_a_truncated_shard_is_one_clear_line(here, token_folder, capsys, monkeypatch):
    monkeypatch.setenv("BLUEBERRY_CACHE", str(here / "cache"))
    assert train(token_folder) == 0
    (shard,) = (here / "cache").glob("tokens-*/train-00000.bin")
    shard.write_bytes(shard.read_bytes()[:-7])
    capsys.readouterr()
    assert train(token_folder) == 2
    complaint(capsys, "train-00000.bin is damaged")


def test_a_damaged_or_foreign_checkpoint_is_one_clear_line(here, token_folder, capsys):
    assert train(token_folder, "--experiment-name", "a") == 0
    assert train(token_folder, "--experiment-name", "b", "--model.d-ff", "96") == 0
    for name in ("a", "b"):
        (checkpoint,) = (here / "runs" / name / "checkpoints").glob("step-*")
    capsys.readouterr()
    (here / "runs/a/config.json").write_text((here / "runs/b/config.json").read_text())
    assert main(["eval", "runs/a", "--device", "cpu"]) == 2
    complaint(capsys, "belongs to another model")
    weights = checkpoint / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    (here / "runs/b/record.json").unlink()
    for command in (["train", "--resume", "runs/b"], ["sample", "runs/b"], ["eval", "runs/b", "--device", "cpu"]):
        assert main(command) == 2
        complaint(capsys, "model.safetensors is damaged")
    assert weights.exists()


def test_another_tokenizer_is_one_clear_line(here, token_folder, capsys):
    assert train(token_folder, "--experiment-name", "a") == 0
    other = tokens.train_tokenizer(["some text"], 260)
    (here / "other.json").write_text(other.to_str())
    capsys.readouterr()
    assert main(["sample", "runs/a"]) == 2
    complaint(capsys, "--tokenizer PATH")
    assert main(["sample", "runs/a", "--tokenizer", "other.json"]) == 2
    complaint(capsys, "another tokenizer")
    (here / "no.json").write_text("{}")
    assert main(["sample", "runs/a", "--tokenizer", "no.json"]) == 2
    complaint(capsys, "not a tokenizer.json")


def test_a_file_where_a_folder_should_be_is_one_clear_line(here, token_folder, capsys, monkeypatch):
    (here / "runs").write_text("a file")
    assert train(token_folder) == 2
    complaint(capsys, "runs: File exists. Rename")
    (here / "cache").write_text("a file")
    monkeypatch.setenv("BLUEBERRY_CACHE", str(here / "cache"))
    assert main(["prepare", f"tokens:{token_folder}"]) == 2
    complaint(capsys, "cache")
    assert main(["prepare", "tokens:runs"]) == 2
    complaint(capsys, "tokens:DIR expects")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_one_clear_line_and_loses_no_checkpoint(here, token_folder, capsys, monkeypatch):
    assert train(token_folder, "--experiment-name", "a", "--train-tokens", "1280") == 0
    config = json.loads((here / "runs/a/config.json").read_text())
    (here / "runs/a/config.json").write_text(json.dumps({**config, "train_tokens": 2560}))
    (here / "runs/a/record.json").unlink()
    monkeypatch.setattr(run_module, "Log", lambda path, step: Log("/dev/full"))
    capsys.readouterr()
    assert main(["train", "--resume", "runs/a"]) == 2
    complaint(capsys, "No space left on device")
    monkeypatch.setattr(run_module, "Log", Log)
    assert main(["train", "--resume", "runs/a"]) == 0
    assert json.loads((here / "runs/a/record.json").read_text())["steps"] == 20
    command = [sys.executable, "-m", "blueberry_lib", "eval", "runs/a", "--device", "cpu"]
    with open("/dev/full", "wb", buffering=0) as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr == "error: [Errno 28] No space left on device\n"


def files(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_left_as_it_is(here, token_folder, capsys):
    """Even where its data has changed since; without its record it is finished again, on the checkpoint it has."""
    assert train(token_folder, "--experiment-name", "a") == 0
    before = files(here / "runs/a")
    capsys.readouterr()
    assert main(["train", "--resume", "runs/a"]) == 0
    assert files(here / "runs/a") == before and "runs/a is finished" in capsys.readouterr().out
    record = json.loads((here / "runs/a/record.json").read_text())
    (here / "runs/a/record.json").unlink()
    assert main(["train", "--resume", "runs/a"]) == 0
    again = json.loads((here / "runs/a/record.json").read_text())
    assert again["val_loss"] == record["val_loss"] and again["steps"] == record["steps"]
    assert np.isclose(again["active_seconds"], record["active_seconds"], atol=0.05)
    assert not list((here / "runs/a/checkpoints").glob(".building-*"))


def texts(folder, count):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        lines = "\n".join(f"the blueberry number {i} grows on line {j}" for j in range(20))
        (folder / f"{i}.txt").write_text(lines)


def test_a_run_keeps_the_tokens_it_began_with(here, capsys):
    """A file more, and its tokenizer would be another: evaluation keeps the run's, and training does not go on."""
    texts(here / "texts", 40)
    options = ["--data", "text:texts/*.txt", *TINY[2:], "--model.vocab-size", "600", "--experiment-name", "t"]
    assert main(["train", *options]) == 0
    capsys.readouterr()
    assert main(["eval", "runs/t", "--device", "cpu"]) == 0
    output = capsys.readouterr()
    before = json.loads(output.out)
    assert before["loss"] == json.loads((here / "runs/t/record.json").read_text())["val_loss"] and not output.err
    assert main(["eval", "runs/t", "--device", "cpu", "--data", "text:texts/*.txt"]) == 0
    assert json.loads(capsys.readouterr().out) == before, "a vocabulary that is not full is still the run's own"
    own = ["--tokenizer", "runs/t/tokenizer.json"]
    assert main(["eval", "runs/t", "--device", "cpu", *own]) == main(["sample", "runs/t", *own]) == 0
    capsys.readouterr()

    (here / "texts/more.txt").write_text("\n".join(f"entirely other words, {i} of them: quince" for i in range(400)))
    assert main(["eval", "runs/t", "--device", "cpu"]) == 0
    output = capsys.readouterr()
    assert "text:texts/*.txt is no longer what runs/t was trained on" in output.err
    assert json.loads(output.out)["loss"] == pytest.approx(before["loss"], abs=0.5)
    (here / "runs/t/record.json").unlink()
    assert main(["train", "--resume", "runs/t"]) == 2
    complaint(capsys, "no longer gives the tokens that runs/t began with")


@pytest.mark.parametrize("what", ["tokens", "tokenizer"])
def test_changed_files_of_a_run_are_refused(here, token_folder, capsys, what):
    """Token files, and a tokenizer's file where the tokens stay the same."""
    made = tokens.train_tokenizer(["some text"], 260)
    (here / "t.json").write_text(made.to_str())
    options = ["--experiment-name", "a", "--model.vocab-size", "300", "--tokenizer", "t.json"]
    assert train(token_folder, *options) == 0
    (here / "runs/a/record.json").unlink()
    if what == "tokens":
        np.fromfile(token_folder / "train.bin", "<u2")[::-1].tofile(token_folder / "train.bin")
    else:
        (here / "t.json").write_text(tokens.train_tokenizer(["berry " * 9], 260).to_str())
    capsys.readouterr()
    assert main(["train", "--resume", "runs/a"]) == 2
    complaint(capsys, f"no longer gives the {what} that runs/a began with")


def test_a_run_without_a_tokenizer_gets_none_trained_for_it(here, token_folder, capsys):
    assert train(token_folder, "--experiment-name", "a", "--model.vocab-size", "128") == 0, "padding is possible"
    texts(here / "texts", 40)
    capsys.readouterr()
    assert main(["eval", "runs/a", "--device", "cpu", "--data", "text:texts/*.txt"]) == 2
    complaint(capsys, "--tokenizer PATH")
    assert main(["eval", "runs/a", "--device", "cpu"]) == 0


def test_a_tokenizer_larger_than_the_model_is_refused_where_it_is_used(here, token_folder, capsys):
    assert train(token_folder, "--experiment-name", "a", "--model.vocab-size", "266") == 0
    texts(here / "texts", 40)
    for size in (262, 290):
        (here / f"{size}.json").write_text(tokens.train_tokenizer(["the blueberry " * 99], size).to_str())
    capsys.readouterr()
    commands = (["eval", "runs/a", "--device", "cpu", "--data", "text:texts/*.txt"], ["sample", "runs/a"])
    for command in commands:
        for size, code in ((262, 0), (290, 2)):
            found = tokens.load_tokenizer(here / f"{size}.json").get_vocab_size()
            assert (found > 266) == (code == 2)
            assert main([*command, "--tokenizer", f"{size}.json"]) == code
        line = complaint(capsys, f"vocabulary of {found} and the model one of 266")
        assert "another tokenizer" in line and "--model" not in line


def test_a_failed_start_leaves_the_name_free_and_a_killed_one_says_how(here, token_folder, capsys):
    for folder, word in ((f"{token_folder}x", "expects"), (token_folder, "3000 validation tokens")):
        assert train(folder, "--experiment-name", "a", "--validation-tokens", "9600") == 2
        complaint(capsys, word)
    assert train(token_folder, "--experiment-name", "a") == 0
    (here / "runs/killed").mkdir()
    (here / "runs/killed/config.json").write_text((here / "runs/a/config.json").read_text())
    assert train(token_folder, "--experiment-name", "killed") == 2
    assert "--resume" not in complaint(capsys, "remove it: it holds no checkpoint")
    assert main(["train", "--resume", "runs/killed"]) == 2
    complaint(capsys, "Remove runs/killed and start it anew")


def test_two_processes_do_not_share_a_run(here, token_folder, capsys):
    assert train(token_folder, "--experiment-name", "a") == 0
    (here / "runs/a/record.json").unlink()
    capsys.readouterr()
    with occupied(here / "runs/a"):
        assert main(["train", "--resume", "runs/a"]) == 2
    complaint(capsys, "Another process is at work in runs/a")
    assert main(["train", "--resume", "runs/a"]) == 0


@pytest.mark.parametrize("name", ["a", "step-by-step"])
def test_a_run_of_another_command_is_called_by_its_name(here, token_folder, capsys, name):
    """Its own name may begin as a checkpoint's does."""
    assert train(token_folder, "--experiment-name", name) == 0
    capsys.readouterr()
    assert main(["flow", "sample", "--checkpoint", f"runs/{name}"]) == 2
    complaint(capsys, f"runs/{name} is a run of `train`, and what was asked for needs one of `flow train`")


def test_what_does_not_fit_the_context_is_said(here, token_folder, capsys):
    (here / "t.json").write_text(tokens.train_tokenizer(["some text"], 260).to_str())
    assert train(token_folder, "--experiment-name", "a", "--model.vocab-size", "300", "--tokenizer", "t.json") == 0
    capsys.readouterr()
    assert main(["sample", "runs/a", "--prompt", "x" * 20, "--max-new-tokens", "30"]) == 0
    assert "At most 11 new tokens find room in the model's context of 32" in capsys.readouterr().err
    assert main(["sample", "runs/a", "--prompt", "x" * 20, "--max-new-tokens", "11"]) == 0
    assert not capsys.readouterr().err
    assert main(["sample", "runs/a", "--prompt", "x" * 31]) == 2
    complaint(capsys, "The prompt fills the model's context of 32 with 32 tokens")


def test_a_console_that_knows_few_characters_loses_only_those(here, monkeypatch):
    """Windows' cp1252 has no ─, which stands between samples."""
    texts(here / "texts", 40)
    options = ["--data", "text:texts/*.txt", *TINY[2:], "--model.vocab-size", "300", "--experiment-name", "t"]
    for command in (["train", *options], ["sample", "runs/t", "--prompt", "the", "berry"], ["prepare", "text:─"]):
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
        wrong = "prepare" in command
        assert main(command) == (2 if wrong else 0)
        said = (sys.stderr if wrong else sys.stdout).buffer
        sys.stderr.flush()
        assert (b"error: No file matches '?'" if wrong else b"\n" + b"?" * 72) in said.getvalue()
