"""The doctor reports the machine, and its comparison with the CPU sees a fault."""

import pytest
import torch

from blueberry_lib import doctor
from blueberry_lib.hardware import detect
from blueberry_lib.speedrun.tracks import TRACKS


def test_the_report_names_device_profile_and_every_track():
    text = "\n".join(doctor.report("cpu"))
    for word in ("device        cpu", "compute dtype", "TFLOP/s", "an hour", "profile       cpu", *TRACKS):
        assert word in text
    assert "tokens/s" in text and "estimated" in text


def test_the_cpu_agrees_with_itself_and_a_fault_would_show(monkeypatch):
    assert doctor.disagreement("cpu", steps=3) == 0
    original, calls = doctor._pocket_step, []

    def faulty(hardware):
        step, tokens = original(hardware)
        calls.append(hardware)
        if len(calls) < 2:
            return step, tokens
        return lambda: step() * 1.01, tokens

    monkeypatch.setattr(doctor, "_pocket_step", faulty)
    assert doctor.disagreement("cpu", steps=3) > doctor.AGREEMENT


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees_with_the_cpu():
    assert detect("cuda").peak_flops is None or detect("cuda").peak_flops > 1e12
    assert doctor.disagreement("cuda") < doctor.AGREEMENT
