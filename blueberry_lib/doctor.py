"""What this machine is, how long each track will take on it, and whether its arithmetic can be trusted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from blueberry_lib.hardware import Hardware, autocast, detect, keep_freed_memory, profile, synchronize
from blueberry_lib.model import Blueberry
from blueberry_lib.model.size import flops_per_token
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.tracks import TRACKS

EXPECTED_UTILISATION = 0.35  # of the matrix-product rate, for the tracks not timed here
AGREEMENT = 1e-3  # relative difference of the losses


def _pocket_step(hardware: Hardware) -> tuple[Callable[[], float], int]:
    """A training step of the pocket track on made-up tokens, and the tokens in it."""
    config = get_recipe("best", "pocket")
    torch.manual_seed(0)
    model = Blueberry(config.model).to(hardware.device)
    optimizers = build_optimizers(model, config.optimizer, hardware.compute_dtype)
    shape = (config.batch_size, config.model.context_length)
    tokens = torch.randint(config.model.vocab_size, shape, generator=torch.Generator().manual_seed(0))
    tokens = tokens.to(hardware.device)

    def step() -> float:
        with autocast(hardware.device, hardware.compute_dtype):
            loss = model(tokens, tokens.roll(-1, dims=1))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    return step, tokens.numel()


def pocket_tokens_per_second(hardware: Hardware, steps: int = 8) -> float:
    """Training speed on the pocket track, measured over a few steps."""
    step, tokens = _pocket_step(hardware)
    step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize(hardware.device)
    return steps * tokens / (time.perf_counter() - start)


def disagreement(device: str, steps: int = 20) -> float:
    """The largest relative difference between the losses of ``steps`` training steps on ``device`` and on
    the CPU, in float32, from the same weights and data."""
    losses = []
    for where in ("cpu", device):
        step, _ = _pocket_step(replace(detect("cpu", "float32"), device=where))
        losses.append([step() for _ in range(steps)])
    return max(abs(a - b) / a for a, b in zip(*losses, strict=True))


def report(device: str = "auto") -> Iterator[str]:
    """The lines of ``doctor``."""
    hardware = detect(device)
    if hardware.device == "cpu":
        keep_freed_memory()
    memory, peak, price = hardware.memory_bytes, hardware.peak_flops, hardware.price_per_hour
    source = "data sheet" if hardware.device == "cuda" else "measured"
    yield f"device        {hardware.device}: {hardware.name}, {hardware.cores} cores"
    yield f"memory        {memory / 2**30:.1f} GiB" if memory else "memory        unknown"
    yield f"compute dtype {str(hardware.compute_dtype).removeprefix('torch.')}"
    yield f"peak rate     {peak / 1e12:,.2f} TFLOP/s, {source}" if peak else "peak rate     unknown"
    known = f"${price:.3f} an hour (BLUEBERRY_PRICE_PER_HOUR sets yours)" if price else ""
    yield f"price         {known or 'unknown (set BLUEBERRY_PRICE_PER_HOUR)'}"
    yield f"profile       {profile(hardware)} (BLUEBERRY_PROFILE sets another)"
    rate = pocket_tokens_per_second(hardware)
    yield "tracks        training time, without setup and evaluation:"
    for track in TRACKS.values():
        if track.name == "pocket":
            seconds, how = track.train_tokens / rate, f"measured: {rate:,.0f} tokens/s"
        elif peak:
            flops = track.train_tokens * flops_per_token(track.model())
            seconds = flops / (EXPECTED_UTILISATION * peak)
            how = f"estimated at {EXPECTED_UTILISATION:.0%} of the peak rate"
        else:
            continue
        cost = f", ${seconds / 3600 * price:,.2f}" if price else ""
        yield f"  {track.name:<8} {_duration(seconds):>10}{cost}  ({how})"
    if hardware.device != "cpu":
        worst = disagreement(hardware.device)
        verdict = "agree" if worst < AGREEMENT else "DISAGREE: train on the CPU, and report this"
        yield f"arithmetic    20 steps here and on the CPU {verdict} (losses differ by {worst:.1e} at most)"


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"
