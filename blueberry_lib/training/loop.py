"""The training loop. It knows batches, a loss and optimizers, and nothing of tokens or images."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from blueberry_lib.config import BlueberryError, Count, Positive, Whole, check_ranges
from blueberry_lib.data.batches import Batches
from blueberry_lib.hardware import Hardware, autocast
from blueberry_lib.training.checkpoint import Checkpoints, restore_scaler
from blueberry_lib.training.clock import Clock, warm_up
from blueberry_lib.training.log import Log, Progress
from blueberry_lib.training.signals import Interrupted, signals

LOSS_WINDOW = 65_536  # units over which the training loss is averaged


@dataclass(frozen=True)
class LoopConfig:
    """How long to train, and how often to look up."""

    total_steps: Whole
    """Optimizer steps."""
    accumulation: Count = 1
    """Batches whose gradients are averaged in a step."""
    clip_norm: Positive | None = None
    """Largest norm of all gradients together."""
    target_loss: Positive | None = None
    """Stop at the first evaluation whose loss, averaged with the one before, is this low."""
    eval_every: Whole = 0
    """Steps between evaluations; 0: only at the end."""
    checkpoint_every: Count = 100
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between log lines; the loss is fetched from the device only then."""
    unit: str = "tokens"
    """What ``batches.units`` counts."""
    flops_per_unit: Positive | None = None
    """Training FLOPs a unit, for the utilisation shown."""

    __post_init__ = check_ranges


@dataclass
class Result:
    """What a run reached. Grows as the run goes, and travels in its checkpoints."""

    step: int = 0
    units: int = 0
    train_loss: float = math.nan
    """Mean over the last LOSS_WINDOW units."""
    evaluation: dict = field(default_factory=dict)
    curve: list[dict] = field(default_factory=list)
    """One entry a log line or evaluation: step, units, active_seconds, train_loss or val_loss."""
    recent: list[float] = field(default_factory=list)
    """The steps' losses in the window."""


def reaches(curve: list[dict], target: float) -> bool:
    """Whether the last two evaluations of a curve have a mean loss of at most ``target``."""
    measured = [entry["val_loss"] for entry in curve if "val_loss" in entry][-2:]
    return len(measured) == 2 and sum(measured) / 2 <= target


def _diverged(what: str, step: int, checkpoints: Checkpoints | None) -> BlueberryError:
    kept = f" The checkpoint {checkpoints.latest()} is kept." if checkpoints and checkpoints.all() else ""
    return BlueberryError(
        f"{what} at or before step {step}.{kept} Lower the learning rates, or use --precision float32."
    )


class _Stepper:
    """Takes optimizer steps: products in the hardware's dtype, gradients scaled where that is float16, and clipped."""

    def __init__(self, model, loss_fn, optimizers, hardware: Hardware, clip_norm: float | None, after_step) -> None:
        self.model, self.loss_fn, self.optimizers, self.hardware = model, loss_fn, optimizers, hardware
        self.clip_norm, self.after_step = clip_norm, after_step
        self.scaler = torch.amp.GradScaler(hardware.device, enabled=hardware.compute_dtype == torch.float16)
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]

    def __call__(self, fetched: list[tuple[Tensor, ...]], factor: float) -> Tensor:
        """One step with all learning rates times ``factor``; returns the mean loss of the batches."""
        total, share = 0.0, 1 / len(fetched)
        for batch in fetched:
            with autocast(self.hardware.device, self.hardware.compute_dtype):
                loss = self.loss_fn(self.model, batch)
            self.scaler.scale(loss * share).backward()
            total = total + loss.detach() * share
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            self.scaler.unscale_(optimizer)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()
        if self.after_step:
            self.after_step()
        return total


class _Journal:
    """What is known of a run so far, for the result, the log and the progress bar."""

    def __init__(self, result: Result, config: LoopConfig, window: int, hardware: Hardware, clock: Clock, log, quiet):
        self.result, self.config, self.window, self.hardware = result, config, window, hardware
        self.clock, self.log = clock, log
        self.progress = Progress(config.total_steps, result.step, config.unit, quiet)
        self.pending: list[Tensor] = []  # losses still on the device

    def note(self, measured: dict, **only_logged) -> None:
        """Add a measurement to the curve and to the log."""
        seconds = round(self.clock.total("active"), 3)
        entry = {"step": self.result.step, "units": self.result.units, "active_seconds": seconds, **measured}
        self.result.curve.append(entry)
        if self.log:
            self.log.write(**entry, **only_logged)

    def collect(self, lr_factor: float) -> bool:
        """Fetch the pending losses and tell of them; returns whether all are finite."""
        losses = torch.stack(self.pending).tolist()
        self.pending.clear()
        result, hardware, active = self.result, self.hardware, self.clock.total("active")
        result.recent = [*result.recent, *losses][-self.window :]
        result.train_loss = sum(result.recent) / len(result.recent)
        if not all(map(math.isfinite, losses)):
            return False
        rate = result.units / max(active, 1e-9)
        flops, peak, price = self.config.flops_per_unit, hardware.peak_flops, hardware.price_per_hour
        utilisation = rate * flops / peak if flops and peak else None
        memory = {"memory_bytes": torch.cuda.max_memory_allocated()} if hardware.device == "cuda" else {}
        self.note({"train_loss": sum(losses) / len(losses)}, lr_factor=lr_factor, utilisation=utilisation, **memory)
        dollars = active / 3600 * price if price else None
        self.progress.update(len(losses), result.train_loss, rate, utilisation, dollars)
        return True

    def finished(self) -> bool:
        """Whether all steps are taken, or the target loss is reached."""
        reached = self.config.target_loss and reaches(self.result.curve, self.config.target_loss)
        return bool(reached) or self.result.step >= self.config.total_steps


def fit(
    model: nn.Module,
    batches: Batches,
    loss_fn: Callable[[nn.Module, tuple[Tensor, ...]], Tensor],
    optimizers: list[Optimizer],
    schedule: Callable[[int], float],
    config: LoopConfig,
    hardware: Hardware,
    *,
    evaluate: Callable[..., dict] | None = None,
    after_step: Callable[[], None] | None = None,
    agree: Callable[[list[int]], list[int]] | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    log: Log | None = None,
    clock: Clock | None = None,
    quiet: bool = False,
) -> Result:
    """Train ``model`` for ``config.total_steps`` steps and evaluate it.

    ``loss_fn(model, batch)`` gives a mean loss; ``schedule(step)`` the factor on every learning rate;
    ``evaluate(model)`` a dict with at least ``loss``; ``after_step()`` follows each optimizer step, and what it changes
    must belong to the model's state. Where several processes take the steps, ``agree`` tells each which signals any has
    received. With ``resume`` the newest of ``checkpoints`` is continued. Raises Interrupted on
    SIGINT and SIGTERM, after saving, and BlueberryError when the loss is not finite.
    """
    clock, result = clock or Clock(hardware.device), Result()
    take_step = _Stepper(model, loss_fn, optimizers, hardware, config.clip_norm, after_step)

    def rehearse() -> None:
        for dummy in batches.rehearsal():
            take_step([dummy], 1.0)
        if evaluate:
            evaluate(model, batches=1)

    model.train()
    warm_up(rehearse, model, [*optimizers, batches, take_step.scaler], hardware.device)
    if resume:
        state = checkpoints.load(model, optimizers)
        result = Result(**state["result"])
        batches.load_state_dict(state["batches"])
        restore_scaler(take_step.scaler, state["scaler"])
        for phase in ("active", "eval", "save"):
            clock.seconds[phase] = state["seconds"][phase]
    window = max(1, LOSS_WINDOW // (batches.units * config.accumulation))
    journal = _Journal(result, config, window, hardware, clock, log, quiet)

    def save() -> None:
        if checkpoints:
            with clock.during("save"):
                if not all(p.isfinite().all() for p in model.parameters()):
                    raise _diverged("A weight became infinite or NaN", result.step, checkpoints)
                state = {
                    "result": result.__dict__,
                    "batches": batches.state_dict(),
                    "scaler": take_step.scaler.state_dict(),
                    "seconds": clock.seconds,
                }
                checkpoints.save(result.step, model, optimizers, state, hardware.device)

    def evaluation() -> None:
        if evaluate:
            with clock.during("eval"):
                model.eval()
                result.evaluation = evaluate(model)
                model.train()
            journal.note({f"val_{k}": v for k, v in result.evaluation.items() if v is not None})

    try:
        with signals() as received:
            clock.switch("active")
            done = journal.finished()
            while not done:
                factor = schedule(result.step)
                journal.pending.append(take_step(list(islice(batches, config.accumulation)), factor))
                result.step += 1
                result.units = batches.units_done
                last, checkpoint = result.step >= config.total_steps, result.step % config.checkpoint_every == 0
                due = bool(config.eval_every) and result.step % config.eval_every == 0
                look = due or result.step % config.log_every == 0
                heard = received if agree is None else agree(received) if look else []
                if last or heard or checkpoint or look:
                    if not journal.collect(factor):
                        raise _diverged(f"The loss became {result.recent[-1]}", result.step, checkpoints)
                    done = journal.finished()
                if due and not done:
                    evaluation()
                    done = journal.finished()
                if checkpoint or heard or done:
                    save()
                if heard and not done:
                    raise Interrupted(heard[0], result.step)
        if not result.curve or "val_loss" not in result.curve[-1]:
            evaluation()
    finally:
        clock.switch("setup")
        journal.progress.close()
    return result
