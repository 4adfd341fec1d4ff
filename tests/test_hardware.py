"""The compute dtype follows the design's table; prices and profiles come from the environment where set."""

import pytest
import torch

from blueberry_lib import hardware
from blueberry_lib.config import BlueberryError


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
