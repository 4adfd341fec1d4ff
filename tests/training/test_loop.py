"""The loop: accumulation, clipping, targets, precision, signals, non-finite losses, resuming."""

import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from blueberry_lib.config import BlueberryError, OptimizerConfig
from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.hardware import detect
from blueberry_lib.model import Blueberry
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.training import Interrupted, LoopConfig, fit
from blueberry_lib.training.checkpoint import Checkpoints
from blueberry_lib.training.log import Log

TOKENS = np.random.default_rng(0).integers(0, 97, 4_001).astype(np.uint16)


class Run:
    """A small training run, its pieces within reach."""

    def __init__(self, config, folder=None, batch_size=4, precision="float32", tokens=TOKENS, loss_fn=None):
        torch.manual_seed(0)
        self.model = Blueberry(config)
        self.batches = TokenBatches(tokens, batch_size, config.context_length, seed=0)
        self.hardware = detect("cpu", precision)
        self.optimizers = build_optimizers(self.model, OptimizerConfig(), self.hardware.compute_dtype)
        self.checkpoints = Checkpoints(folder) if folder else None
        self.loss_fn = loss_fn or (lambda model, batch: model(*batch))
        self.rates = []

    def fit(self, steps, schedule=lambda step: 1.0, resume=False, log=None, after_step=None, evaluate=None, **settings):
        def note(step):
            self.rates.append(schedule(step))
            return schedule(step)

        return fit(
            self.model, self.batches, self.loss_fn, self.optimizers, note,
            LoopConfig(total_steps=steps, **settings), self.hardware,
            checkpoints=self.checkpoints, resume=resume, log=log, after_step=after_step, evaluate=evaluate, quiet=True,
        )  # fmt: skip

    def weights(self):
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def test_the_loss_falls_and_the_curve_tells(tiny):
    repeated = np.tile(TOKENS[:200], 20)
    result = Run(tiny, tokens=repeated).fit(40)
    assert result.step == 40 and result.units == 40 * 4 * 32
    losses = [entry["train_loss"] for entry in result.curve]
    assert len(losses) == 4 and losses[0] > 4 and losses[-1] < losses[0] - 1
    assert [entry["units"] for entry in result.curve] == [1280, 2560, 3840, 5120]


def test_two_half_batches_equal_one_whole(tiny):
    whole, halves = Run(tiny, batch_size=4), Run(tiny, batch_size=2)
    whole.fit(3)
    halves.fit(3, accumulation=2)
    torch.testing.assert_close(whole.weights(), halves.weights(), atol=1e-4, rtol=1e-3)


def test_the_schedule_is_asked_once_a_step_and_rate_zero_moves_nothing(tiny):
    run = Run(tiny)
    before = run.weights()
    run.fit(3, schedule=lambda step: 0.0, accumulation=2, log_every=100)
    assert torch.equal(run.weights(), before)
    moved = Run(tiny)
    moved.fit(1, schedule=lambda step: 0.5)
    assert moved.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.012)


def test_after_each_step_comes_what_was_asked_for(tiny):
    run, seen = Run(tiny), []
    run.fit(3, accumulation=2, after_step=lambda: seen.append(run.weights()))
    assert len(seen) == 1 + 3  # once in the warm-up, whose steps are taken back
    assert torch.equal(seen[-1], run.weights()) and not torch.equal(seen[1], seen[2])


def test_clipping_bounds_the_gradient(tiny):
    seen = {}
    for clip in (None, 1e-3):
        run = Run(tiny)
        optimizer = run.optimizers[0]  # steps first, before any gradient is dropped
        step = optimizer.step

        def spy(run=run, clip=clip, step=step):
            seen[clip] = torch.cat([p.grad.flatten() for p in run.model.parameters()]).norm().item()
            step()

        optimizer.step = spy
        run.fit(1, clip_norm=clip)
    assert seen[None] > 0.1 and seen[1e-3] == pytest.approx(1e-3, rel=1e-3)


def test_it_stops_at_the_target_loss(tiny, monkeypatch):
    monkeypatch.setattr("blueberry_lib.training.loop.LOSS_WINDOW", 4 * 32 * 5)
    losses = iter([4.0, 2.4, 2.7, 2.4, 2.5, 0.0, 0.0])

    def evaluate(model, batches=None):
        return {"loss": 9.9 if batches else next(losses)}

    run = Run(tiny)
    result = run.fit(400, target_loss=2.5, eval_every=7, evaluate=evaluate)
    assert result.step == 35 and result.evaluation == {"loss": 2.5}, "2.7 and 2.4 in the mean are above"
    assert [entry["step"] for entry in result.curve if "train_loss" in entry][-1] == 35, "its clock is told there"
    assert next(losses) == 0.0, "and it is not evaluated again"


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_weights_and_optimizer_state_are_float32_whatever_the_products(tiny, precision):
    run = Run(tiny, precision=precision)
    run.fit(2)
    assert all(p.dtype == torch.float32 for p in run.model.parameters())
    for optimizer in run.optimizers:
        for state in optimizer.state.values():
            assert all(value.dtype == torch.float32 for value in state.values())


@pytest.mark.parametrize("steps_before", [10, 13])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tiny, tmp_path, steps_before):
    whole = Run(tiny, tmp_path / "whole", precision="bfloat16")
    expected = whole.fit(30, checkpoint_every=5)
    first = Run(tiny, tmp_path / "parts", precision="bfloat16")
    first.fit(steps_before, checkpoint_every=5)
    second = Run(tiny, tmp_path / "parts", precision="bfloat16")
    torch.rand(5)  # another state of the generator than the first process had
    found = second.fit(30, resume=True, checkpoint_every=5)
    assert torch.equal(second.weights(), whole.weights())
    assert found.train_loss == expected.train_loss and found.units == expected.units
    assert second.rates == [1.0] * len(second.rates)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float16), (torch.float16, torch.float32)])
def test_a_run_goes_on_in_another_precision(tiny, tmp_path, dtypes):
    """A gradient scaler has a state in float16 only."""
    before, after = Run(tiny, tmp_path), Run(tiny, tmp_path)
    before.hardware, after.hardware = (replace(before.hardware, compute_dtype=dtype) for dtype in dtypes)
    before.fit(2, checkpoint_every=2)
    assert after.fit(4, resume=True).step == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these to itself")
def test_a_signal_saves_and_stops(tiny, tmp_path, number):
    def loss_fn(model, batch):
        if run.batches.position == 4 * 7 and not run.stopped:
            run.stopped = True
            os.kill(os.getpid(), number)
        return model(*batch)

    run = Run(tiny, tmp_path, loss_fn=loss_fn)
    run.stopped = False
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted) as stopped:
        run.fit(30)
    assert stopped.value.signal_number == number and stopped.value.step == 7
    assert run.checkpoints.latest_step() == 7 and signal.getsignal(number) is handler
    resumed = Run(tiny, tmp_path)
    resumed.fit(30, resume=True)
    whole = Run(tiny)
    whole.fit(30)
    assert torch.equal(resumed.weights(), whole.weights())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tiny, tmp_path):
    def loss_fn(model, batch):
        loss = model(*batch)
        return loss * float("nan") if run.batches.position >= 4 * 13 else loss

    run = Run(tiny, tmp_path, loss_fn=loss_fn)
    with pytest.raises(BlueberryError, match=r"became nan at or before step 13\. .*step-00000010 is kept"):
        run.fit(30, checkpoint_every=5, log_every=1)
    fresh = Run(tiny, tmp_path)
    fresh.checkpoints.load(fresh.model, fresh.optimizers)
    assert fresh.weights().isfinite().all()


def test_the_log_has_a_line_every_so_often_and_resumes_without_doubles(tiny, tmp_path):
    path = tmp_path / "log.jsonl"
    log = Log(path)
    Run(tiny, tmp_path).fit(13, log=log, log_every=2, checkpoint_every=10)
    log.close()
    with open(path, "a") as file:
        file.write('{"step": 14, "train_lo')  # killed in the middle of a line
    log = Log(path, resume_step=10)
    run = Run(tiny, tmp_path)
    shutil.rmtree(tmp_path / "step-00000013")  # as if killed there: the end of a run is saved
    run.fit(16, resume=True, log=log, log_every=2, checkpoint_every=10)
    log.close()
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == [2, 4, 6, 8, 10, 12, 14, 16]
