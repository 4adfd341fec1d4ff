"""The training loop. It knows batches, a loss and optimizers, and nothing of tokens or images."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from blueberry_lib.config import BlueberryError, Count, Positive, Whole, check_ranges
from blueberry_lib.hardware import Hardware, autocast
from blueberry_lib.training.checkpoint import Checkpoints, restore_scaler
from blueberry_lib.training.clock import Clock, warm_up
from blueberry_lib.training.log import Log, Progress

TARGET_WINDOW = 65_536  # units over which the training loss is averaged


class Interrupted(Exception):
    """SIGINT or SIGTERM stopped a run; its state was saved at ``step``."""

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}")
        self.signal_number, self.step = signal_number, step


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
    """Stop once the mean training loss of the last TARGET_WINDOW units is this low."""
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
    """Mean over the last TARGET_WINDOW units."""
    evaluation: dict = field(default_factory=dict)
    curve: list[dict] = field(default_factory=list)
    """One entry a log line or evaluation: step, units, active_seconds, train_loss or val_loss."""
    recent: list[float] = field(default_factory=list)
    """The steps' losses in the window."""


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one of a kind acts as usual."""
    received: list[int] = []
    previous = {}

    def note(number: int, frame) -> None:
        received.append(number)
        signal.signal(number, previous[number])

    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def fit(
    model: nn.Module,
    batches,
    loss_fn: Callable[[nn.Module, tuple[Tensor, ...]], Tensor],
    optimizers: list[Optimizer],
    schedule: Callable[[int], float],
    config: LoopConfig,
    hardware: Hardware,
    *,
    evaluate: Callable[..., dict] | None = None,
    after_step: Callable[[], None] | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    log: Log | None = None,
    clock: Clock | None = None,
    quiet: bool = False,
) -> Result:
    """Train ``model`` for ``config.total_steps`` steps and evaluate it.

    ``batches`` yields tuples of tensors and has ``units`` (of a full batch), ``units_done``, ``rehearsal()`` (a dummy
    batch of each shape), ``state_dict`` and ``load_state_dict``; ``loss_fn(model, batch)`` gives a mean loss;
    ``schedule(step)`` the factor on every learning rate; ``evaluate(model)`` a dict with at least ``loss``;
    ``after_step()`` follows each optimizer step, and what it changes must belong to the model's state. With
    ``resume`` the newest of ``checkpoints`` is continued. Raises Interrupted on SIGINT and SIGTERM, after saving, and
    BlueberryError when the loss is not finite.
    """
    device, dtype = hardware.device, hardware.compute_dtype
    clock = clock or Clock(device)
    result = Result()
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    base_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    window = max(1, TARGET_WINDOW // (batches.units * config.accumulation))
    pending: list[Tensor] = []  # losses still on the device

    def forward_backward(batch: tuple[Tensor, ...], share: float) -> Tensor:
        with autocast(device, dtype):
            loss = loss_fn(model, batch)
        scaler.scale(loss * share).backward()
        return loss.detach() * share

    def train_step(fetched: list[tuple[Tensor, ...]], factor: float) -> Tensor:
        loss = sum(forward_backward(batch, 1 / len(fetched)) for batch in fetched)
        for optimizer, rates in zip(optimizers, base_rates, strict=True):
            scaler.unscale_(optimizer)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        if config.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        for optimizer in optimizers:
            scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        scaler.update()
        if after_step:
            after_step()
        return loss

    def diverged(what: str) -> BlueberryError:
        kept = f" The checkpoint {checkpoints.latest()} is kept." if checkpoints and checkpoints.all() else ""
        return BlueberryError(
            f"{what} at or before step {result.step}.{kept} Lower the learning rates, or use --precision float32."
        )

    def save() -> None:
        if checkpoints:
            with clock.during("save"):
                if not all(p.isfinite().all() for p in model.parameters()):
                    raise diverged("A weight became infinite or NaN")
                state = {
                    "result": result.__dict__,
                    "batches": batches.state_dict(),
                    "scaler": scaler.state_dict(),
                    "seconds": clock.seconds,
                }
                checkpoints.save(result.step, model, optimizers, state, device)

    def note(measured: dict, **only_logged) -> None:
        """Add a measurement to the curve and to the log."""
        seconds = round(clock.total("active"), 3)
        entry = {"step": result.step, "units": result.units, "active_seconds": seconds, **measured}
        result.curve.append(entry)
        if log:
            log.write(**entry, **only_logged)

    def collect() -> None:
        """Fetch the pending losses, check them, log."""
        if not pending:
            return
        losses = torch.stack(pending).tolist()
        pending.clear()
        result.recent = [*result.recent, *losses][-window:]
        if not all(map(math.isfinite, losses)):
            raise diverged(f"The loss became {losses[-1]}")
        result.train_loss = sum(result.recent) / len(result.recent)
        rate = result.units / max(clock.total("active"), 1e-9)
        flops, peak, price = config.flops_per_unit, hardware.peak_flops, hardware.price_per_hour
        utilisation = rate * flops / peak if flops and peak else None
        memory = {"memory_bytes": torch.cuda.max_memory_allocated()} if device == "cuda" else {}
        mean = sum(losses) / len(losses)
        note({"train_loss": mean}, lr_factor=schedule(result.step - 1), utilisation=utilisation, **memory)
        progress.update(
            len(losses),
            result.train_loss,
            rate,
            utilisation,
            clock.total("active") / 3600 * price if price else None,
        )

    def evaluation() -> None:
        if evaluate:
            with clock.during("eval"):
                model.eval()
                result.evaluation = evaluate(model)
                model.train()
            note({f"val_{k}": v for k, v in result.evaluation.items() if v is not None})

    def target_reached() -> bool:
        full = len(result.recent) == window
        return config.target_loss is not None and full and result.train_loss <= config.target_loss

    def rehearse() -> None:
        for dummy in batches.rehearsal():
            train_step([dummy], 1.0)
        if evaluate:
            evaluate(model, batches=1)

    model.train()
    warm_up(rehearse, model, [*optimizers, batches, scaler], device)
    if resume:
        state = checkpoints.load(model, optimizers)
        result = Result(**state["result"])
        batches.load_state_dict(state["batches"])
        restore_scaler(scaler, state["scaler"])
        for phase in ("active", "eval", "save"):
            clock.seconds[phase] = state["seconds"][phase]

    progress = Progress(config.total_steps, result.step, config.unit, quiet)
    try:
        with _signals() as received:
            clock.switch("active")
            done = result.step >= config.total_steps or target_reached()
            while not done:
                pending.append(train_step(list(islice(batches, config.accumulation)), schedule(result.step)))
                result.step += 1
                result.units = batches.units_done
                done = result.step >= config.total_steps
                look_up = done or received or result.step % config.log_every == 0
                if look_up or result.step % config.checkpoint_every == 0:
                    collect()
                    done = done or target_reached()
                if config.eval_every and result.step % config.eval_every == 0 and not done:
                    evaluation()
                if result.step % config.checkpoint_every == 0 or received or done:
                    save()
                if received and not done:
                    raise Interrupted(received[0], result.step)
        evaluation()
    finally:
        clock.switch("setup")
        progress.close()
    return result
