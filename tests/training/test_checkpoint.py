"""Checkpoints are whole or absent, and what is damaged or another model's is refused."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from blueberry_lib.config import BlueberryError, OptimizerConfig
from blueberry_lib.model import Blueberry
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.training import checkpoint
from blueberry_lib.training.checkpoint import Checkpoints, _read_content, load_model, restore_scaler


@pytest.fixture
def saved(tiny, tmp_path):
    model = Blueberry(tiny)
    optimizers = build_optimizers(model, OptimizerConfig(), torch.float32)
    model(torch.zeros(1, 8, dtype=torch.long), torch.ones(1, 8, dtype=torch.long)).backward()
    for optimizer in optimizers:
        optimizer.step()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (10, 20, 30):
        checkpoints.save(step, model, optimizers, {"note": step}, "cpu")
    return checkpoints, model, optimizers


def test_everything_comes_back(saved, tiny):
    checkpoints, model, optimizers = saved
    rng = torch.get_rng_state()
    fresh = Blueberry(tiny)
    fresh_optimizers = build_optimizers(fresh, OptimizerConfig(), torch.float32)
    assert checkpoints.load(fresh, fresh_optimizers) == {"note": 30}
    assert torch.equal(torch.get_rng_state(), rng)
    for a, b in zip(model.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(optimizers, fresh_optimizers, strict=True):
        states = a.state_dict()["state"], b.state_dict()["state"]
        assert states[0].keys() == states[1].keys() and states[0]
        for key in states[0]:
            assert all(torch.equal(states[0][key][name], states[1][key][name]) for name in states[0][key])


def test_a_checkpoint_of_another_kind_of_device_is_taken_and_that_is_said(saved, tiny, capsys):
    """A Mac's has a generator of its own; a run in bfloat16 had no gradient scaler where float16 needs one."""
    checkpoints, model, optimizers = saved
    content, path = _read_content(checkpoints.latest()), checkpoints.latest()
    tensors = load_file(path / "state.safetensors") | {"rng.mps": torch.zeros(4, dtype=torch.uint8)}
    save_file(tensors, path / "state.safetensors")
    content["sha256"]["state.safetensors"] = hashlib.sha256((path / "state.safetensors").read_bytes()).hexdigest()
    signed = {"sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest(), "content": content}
    (path / "state.json").write_text(json.dumps(signed))
    assert checkpoints.load(model, optimizers) == {"note": 30}
    assert "made with the random numbers of cpu and mps, and goes on with those of cpu" in capsys.readouterr().err
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    restore_scaler(scaler, torch.amp.GradScaler("cpu", enabled=False).state_dict())
    assert scaler.get_scale() == 8.0 and "fresh gradient scaler" in capsys.readouterr().err
    restore_scaler(scaler, torch.amp.GradScaler("cpu", init_scale=4.0).state_dict())
    assert scaler.get_scale() == 4.0 and not capsys.readouterr().err


def test_what_a_killed_process_left_half_written_is_removed(saved):
    checkpoints, model, optimizers = saved
    (checkpoints.folder / ".building-00000040").mkdir()
    checkpoints.load(model, optimizers)
    checkpoints.save(30, model, optimizers, {}, "cpu")
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000020", "step-00000030"]


def test_the_newest_two_are_kept_and_all_files_are_data(saved):
    checkpoints, *_ = saved
    assert [path.name for path in checkpoints.all()] == ["step-00000020", "step-00000030"]
    names = {path.name for path in checkpoints.latest().iterdir()}
    assert names == {"model.safetensors", "state.safetensors", "state.json"}


def test_a_write_cut_short_leaves_the_checkpoints_as_they_were(saved, tiny, monkeypatch):
    checkpoints, model, optimizers = saved

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.json, "dumps", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(40, model, optimizers, {}, "cpu")
    monkeypatch.undo()
    assert checkpoints.load(model, optimizers) == {"note": 30}


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json"])
@pytest.mark.parametrize("where", [0, 0.3, 0.99])
def test_a_flipped_byte_is_noticed(saved, name, where):
    checkpoints, model, optimizers = saved
    path = checkpoints.latest() / name
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(BlueberryError, match=f"{name} is damaged.*step-00000030"):
        checkpoints.load(model, optimizers)


def test_another_models_checkpoint_is_refused(saved, tiny):
    checkpoints, *_ = saved
    for other in (replace(tiny, n_layers=3), replace(tiny, d_ff=32), replace(tiny, value_residual=True)):
        with pytest.raises(BlueberryError, match="belongs to another model"):
            load_model(checkpoints.latest(), Blueberry(other))


def test_no_checkpoint_is_said(tmp_path):
    with pytest.raises(BlueberryError, match="No checkpoint"):
        Checkpoints(tmp_path).latest()
