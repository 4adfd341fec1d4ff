"""A run killed at random moments and resumed ends with the very weights of one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytest.importorskip("tyro")
from conftest import write_tokens
from test_cli import TINY

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
STEPS = 240
OPTIONS = [*TINY, "--train-tokens", str(128 * STEPS), "--checkpoint-every", "3"]


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "blueberry_lib", "train", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def newest_step(run: Path) -> int:
    return max((int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*")), default=0)


def wait_for_steps(process: subprocess.Popen, run: Path, count: int) -> None:
    """Until the run is at least ``count`` steps beyond its newest checkpoint, and then a moment."""
    target = newest_step(run) + count
    while newest_step(run) < target and process.poll() is None:
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be stopped: give it more steps"


def final_weights(run: Path) -> dict:
    return load_file(run / "checkpoints" / f"step-{STEPS:08d}" / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The final weights of the uninterrupted run, and its data."""
    folder = tmp_path_factory.mktemp("whole")
    data = f"tokens:{write_tokens(folder)}"
    process = start(folder, "--data", data, *OPTIONS, "--experiment-name", "whole")
    assert process.wait() == 0, process.stderr.read()
    return final_weights(folder / "runs/whole"), data


def test_six_kills_change_nothing(tmp_path, whole):
    expected, data = whole
    rng = random.Random(0)
    run = tmp_path / "runs/killed"
    process = start(tmp_path, "--data", data, *OPTIONS, "--experiment-name", "killed")
    for _ in range(6):
        wait_for_steps(process, run, rng.randint(1, 12))
        time.sleep(rng.uniform(0, 0.1))  # longer than three steps and a checkpoint take
        process.kill()
        process.wait()
        process = start(tmp_path, "--resume", "runs/killed")
    assert process.wait() == 0, process.stderr.read()
    resumed = final_weights(run)
    assert resumed.keys() == expected.keys()
    assert all(resumed[name].equal(expected[name]) for name in expected)
    assert not list((run / "checkpoints").glob(".building-*"))


def test_signals_save_and_say_how_to_go_on(tmp_path, whole):
    expected, data = whole
    run = tmp_path / "runs/stopped"
    process = start(tmp_path, "--data", data, *OPTIONS, "--experiment-name", "stopped")
    for number in (signal.SIGINT, signal.SIGTERM):
        wait_for_steps(process, run, 1)
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode == 128 + number
        assert f"stopped by {number.name} after step" in errors
        (command,) = [line for line in errors.splitlines() if line.startswith("To go on: ")]
        assert command == "To go on: python -m blueberry_lib train --resume runs/stopped"
        process = start(tmp_path, "--resume", "runs/stopped")
    assert process.wait() == 0, process.stderr.read()
    assert all(final_weights(run)[name].equal(expected[name]) for name in expected)


def test_a_second_process_is_turned_away_from_a_run(tmp_path, whole):
    """Two that wrote into one folder broke its log and left checkpoints half built."""
    _, data = whole
    run = tmp_path / "runs/shared"
    process = start(tmp_path, "--data", data, *OPTIONS, "--experiment-name", "shared")
    wait_for_steps(process, run, 1)
    process.kill()
    process.wait()
    (run / "checkpoints/.building-00000001").mkdir()
    process = start(tmp_path, "--resume", "runs/shared")
    wait_for_steps(process, run, 1)
    process.send_signal(signal.SIGSTOP)
    second = start(tmp_path, "--resume", "runs/shared")
    assert "Another process is at work in runs/shared" in second.communicate()[1] and second.returncode == 2
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0, process.stderr.read()
    assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()][-1] == STEPS
    assert not list((run / "checkpoints").glob(".building-*"))
