"""Several processes train as one does, go on from its checkpoints, and say in one line that one of them is gone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("tyro")
from conftest import write_tokens
from test_cli import TINY

from blueberry_lib import scaling
from blueberry_lib.cli import main
from blueberry_lib.config import BlueberryError
from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.optim.orthogonalize import polar_express

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="torchrun with gloo is tried on Linux")
STEPS = 50
TOKENS = 128 * STEPS - 32  # the last batch has three rows: two and one of them for two processes
SETTINGS = [
    *TINY,
    "--model.no-copy-head",  # with it 1e-7 of the weights grows to 1e-3 of the loss in ten steps, in one process too
    "--train-tokens",
    str(TOKENS),
    "--precision",
    "float32",
    "--checkpoint-every",
    "25",
]


def torchrun(folder: Path, count: int, *arguments: str, words: str = "train") -> subprocess.Popen:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    command = [*launcher, "-m", "blueberry_lib", *words.split(), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes)


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [value for line in lines for key, value in line.items() if key in ("train_loss", "val_loss", "val_accuracy")]


def half_of(run: Path, target: Path) -> Path:
    """A copy of a finished run as it was after 25 steps."""
    shutil.copytree(run, target, ignore=shutil.ignore_patterns("record.json", f"step-{STEPS:08d}"))
    assert [path.name for path in (target / "checkpoints").iterdir()] == ["step-00000025"]
    return target


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder in which one process has trained, as runs/one, and its data."""
    folder = tmp_path_factory.mktemp("scaling")
    data = f"tokens:{write_tokens(folder)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "--data", data, *SETTINGS, "--experiment-name", "one"]) == 0
    return folder, data


@pytest.fixture(scope="module")
def two(one):
    """Two processes have done the same, as runs/two; what they said."""
    folder, data = one
    process = torchrun(folder, 2, "--data", data, *SETTINGS, "--experiment-name", "two")
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def test_two_processes_have_the_losses_of_one(one, two):
    alone, together = losses(one[0] / "runs/one"), losses(one[0] / "runs/two")
    assert len(alone) == 6 + 2 and together == pytest.approx(alone, abs=1e-5)
    assert two.count("; preparing tokens:") == 1 and two.count("validation loss ") == 1  # the first alone speaks
    weights = [
        load_file(one[0] / f"runs/{name}/checkpoints/step-{STEPS:08d}/model.safetensors") for name in ("one", "two")
    ]
    torch.testing.assert_close(*weights, atol=1e-4, rtol=1e-3)
    record = json.loads((one[0] / "runs/two/record.json").read_text())
    assert record["tokens"] == TOKENS and record["hardware"]["name"].endswith("2 processes")
    assert not list((one[0] / "runs").glob("two-*")) and not list((one[0] / "runs/two/checkpoints").glob(".*"))


def test_each_goes_on_from_the_others_checkpoint(one, two, monkeypatch):
    runs = one[0] / "runs"
    process = torchrun(one[0], 2, "--resume", str(half_of(runs / "one", runs / "one-then-two")))
    _, err = process.communicate()
    assert process.returncode == 0, err
    monkeypatch.chdir(one[0])
    assert main(["train", "--resume", str(half_of(runs / "two", runs / "two-then-one"))]) == 0
    for name in ("one-then-two", "two-then-one"):
        assert losses(runs / name) == pytest.approx(losses(runs / "one"), abs=1e-5), name


def test_four_processes_once(one):
    folder, data = one
    process = torchrun(folder, 4, "--data", data, *SETTINGS, "--experiment-name", "four")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert losses(folder / "runs/four") == pytest.approx(losses(folder / "runs/one"), abs=1e-5)


def test_pictures_in_two_processes_have_the_losses_of_one(tmp_path, monkeypatch):
    """Times, noise and dropped labels are those of the whole batch."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    model = "--model.d-model 16 --model.n-layers 1 --model.n-heads 2"
    run = "--training.steps 20 --training.batch-size 15 --training.eval-every 10 --training.checkpoint-every 10"
    settings = [*model.split(), *run.split(), "--training.precision", "float32"]
    monkeypatch.chdir(tmp_path)
    assert main(["flow", "train", *settings, "--experiment-name", "one"]) == 0
    process = torchrun(tmp_path, 2, *settings, "--experiment-name", "two", words="flow train")
    _, err = process.communicate()
    assert process.returncode == 0, err
    runs = tmp_path / "runs"
    assert losses(runs / "two") == pytest.approx(losses(runs / "one"), abs=1e-5)
    for name in ("samples/step-00000020-ema.png", "class_grid.png"):
        assert (runs / "two" / name).stat().st_size > 1000


def test_a_killed_process_is_told_in_one_line(one):
    folder, data = one
    settings = [*SETTINGS, "--checkpoint-every", "5", "--train-tokens", str(2**20)]
    process = torchrun(folder, 2, "--data", data, *settings, "--experiment-name", "killed")
    while not list((folder / "runs/killed/checkpoints").glob("step-*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = {pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in children}
    (victim,) = [int(pid) for pid, environment in ranks.items() if b"\0RANK=1\0" in environment]
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    _, err = process.communicate()
    assert time.monotonic() - began < 60 and process.returncode != 0
    (line,) = [line for line in err.splitlines() if line.rpartition("\r")[2].startswith("error: ")]
    assert "one of the 2 processes ended" in line
    assert line.endswith("To go on: torchrun --nproc-per-node 2 -m blueberry_lib train --resume runs/killed")
    newest = max((folder / "runs/killed/checkpoints").glob("step-*"))
    assert {path.name for path in newest.iterdir()} == {"model.safetensors", "state.safetensors", "state.json"}


def test_a_signal_saves_and_says_how_to_go_on(one):
    folder, data = one
    settings = [*SETTINGS, "--checkpoint-every", "5", "--train-tokens", str(2**20)]
    process = torchrun(folder, 2, "--data", data, *settings, "--experiment-name", "stopped")
    while not list((folder / "runs/stopped/checkpoints").glob("step-*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    (said,) = re.findall(r"stopped by SIGTERM after step (\d+); saved", err)
    assert (folder / f"runs/stopped/checkpoints/step-{int(said):08d}/state.json").exists()
    assert err.count("To go on: torchrun --nproc-per-node 2 -m blueberry_lib train --resume runs/stopped") == 1


def test_other_commands_are_refused(one, monkeypatch, capsys):
    monkeypatch.setattr(scaling, "ranks", lambda: 2)
    assert main(["doctor"]) == 2
    assert "torchrun is for train, speedrun run and flow train" in capsys.readouterr().err


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_rows_are_shared_out_and_weighed(ranks, monkeypatch):
    """Each row once; the shares' mean losses, weighed, have the whole's mean as their mean."""
    monkeypatch.setattr(scaling, "ranks", lambda: ranks)
    tokens, shares = torch.arange(200).numpy(), []
    for rank in range(ranks):
        monkeypatch.setattr(scaling, "rank", lambda rank=rank: rank)
        shares.append(list(scaling.Share(TokenBatches(tokens, 4, 8, seed=0, limit=5), tuple)))
    whole = list(TokenBatches(tokens, 4, 8, seed=0, limit=5))  # batches of 4 rows and of 1
    for step, (inputs, _) in enumerate(whole):
        own = [share[step] for share in shares]
        rows = [row.tolist() for x, _, weight in own if weight for row in x]
        assert sorted(rows) == sorted(inputs.tolist())
        mean = sum(x.float().mean().item() * weight for x, _, weight in own) / ranks
        assert mean == pytest.approx(inputs.float().mean().item())
    with pytest.raises(BlueberryError, match="1 sequences cannot be shared"):
        scaling.Share(TokenBatches(tokens, 1, 8, seed=0), tuple)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_matrices_are_shared_out(count, monkeypatch):
    """Three ranks' parts, put together, are what one orthogonalizes; no rank does more than its part."""
    monkeypatch.setattr(scaling, "ranks", lambda: 3)
    matrices, done = torch.randn(count, 4, 6), []

    def watched(part, steps, dtype):
        done.append(polar_express(part, steps, dtype))
        return done[-1]

    def gather(target, own):
        for piece, other in zip(target, done, strict=False):
            piece.copy_(other)

    monkeypatch.setattr(scaling.dist, "all_gather", gather)
    for rank in range(3):
        monkeypatch.setattr(scaling, "rank", lambda rank=rank: rank)
        found = scaling.shared(watched)(matrices, 5, None)
    assert {len(part) for part in done} == {-(-count // 3)}
    torch.testing.assert_close(found, polar_express(matrices, 5))
