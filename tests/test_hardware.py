"""The compute dtype follows the design's table; prices and profiles come from the environment where set."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blueberry_lib import hardware
from blueberry_lib.config import BlueberryError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ((9, 0), torch.bfloat16),
        ((8, 0), torch.bfloat16),
        ((7, 5), torch.float16),  # a T4, on which torch.cuda.is_bf16_supported() is true
        ((7, 0), torch.float16),
        ((6, 1), torch.float32),
    ],
)
def test_dtype_on_cuda_follows_the_capability(capability, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    assert hardware.fast_dtype("cuda", capability) == dtype


@pytest.mark.parametrize(("avx", "amx"), [(False, False), (True, False), (False, True)])
def test_dtype_on_a_cpu_asks_for_bfloat16_instructions(avx, amx, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert hardware.fast_dtype("cpu") == (torch.bfloat16 if avx or amx else torch.float32)


def test_dtype_on_mps_is_float32():
    assert hardware.fast_dtype("mps") == torch.float32


def test_this_cpu_is_described():
    found = hardware.detect("cpu")
    assert found.name and found.cores >= 1 and found.peak_flops > 1e8
    assert found.price_per_hour == pytest.approx(hardware.CPU_CORE_PRICE * found.cores)
    assert found.summary()["compute_dtype"] in ("float32", "bfloat16")


def test_a_run_is_said_to_take_what_the_recorded_one_took():
    """The record of make speedrun on a machine with bfloat16; of a GPU nobody knows yet."""
    record = json.loads((ROOT / "book" / "records" / "first_run.json").read_text(encoding="utf-8"))
    peak = record["hardware"]["peak_flops"]
    fast = hardware.Hardware("cpu", "", 2, None, torch.bfloat16, peak, None)
    words, seconds, unit = fast.about(record["flops"]).rsplit(" ", 2)
    assert (words, unit) == ("about", "s") and float(seconds) == pytest.approx(record["active_seconds"], rel=0.15)
    assert replace(fast, compute_dtype=torch.float32, peak_flops=peak / 4).about(record["flops"]) == "about 2 min"
    assert replace(fast, device="cuda").about(1e15) == replace(fast, peak_flops=None).about(1e15) == ""


def test_a_missing_device_is_refused():
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(BlueberryError, match="not usable here"):
        hardware.detect(missing)


def test_float16_on_a_cpu_is_refused():
    with pytest.raises(BlueberryError, match="float16"):
        hardware.detect("cpu", "float16")


def test_the_price_can_be_set(monkeypatch):
    monkeypatch.setenv("BLUEBERRY_PRICE_PER_HOUR", "1.5")
    assert hardware.detect("cpu").price_per_hour == 1.5
    monkeypatch.setenv("BLUEBERRY_PRICE_PER_HOUR", "cheap")
    with pytest.raises(BlueberryError, match="dollars"):
        hardware.detect("cpu")


def test_the_profile_follows_the_hardware_unless_set(monkeypatch):
    here = hardware.detect("cpu")
    assert hardware.profile(here) == "cpu"
    monkeypatch.setenv("BLUEBERRY_PROFILE", "smoke")
    assert hardware.profile(here) == "smoke"
    monkeypatch.setenv("BLUEBERRY_PROFILE", "huge")
    with pytest.raises(BlueberryError, match="smoke, cpu, t4, gpu"):
        hardware.profile(here)
