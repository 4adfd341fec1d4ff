"""A training step of the 88 M model fits into 5 GB on a CPU."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from blueberry_lib.config import OptimizerConfig, blueberry_88m
from blueberry_lib.hardware import fast_dtype, keep_freed_memory
from blueberry_lib.model import Blueberry
from blueberry_lib.optim.hybrid import build_optimizers
keep_freed_memory()
dtype = fast_dtype("cpu")
model = Blueberry(blueberry_88m())
optimizers = build_optimizers(model, OptimizerConfig(orthogonalize_steps=1), dtype)
tokens = torch.randint(49_152, (1, 2048))
before = model.blocks[0].attention.query.weight.detach().clone()
with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
    loss = model(tokens, tokens)
loss.backward()
for optimizer in optimizers:
    optimizer.step()
assert not torch.equal(before, model.blocks[0].attention.query.weight)
print(loss.item(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux reports it")
def test_one_step_of_the_88m_model_fits_into_5_gb():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loss, peak = map(float, done.stdout.split())
    assert 5 < loss < 13 and peak < 5e9, (loss, peak)
