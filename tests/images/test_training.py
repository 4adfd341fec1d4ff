"""A run of a picture model through the loop: it resumes bit for bit, keeps to its data, samples from the average."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.images import flow_training
from blueberry_lib.images.datasets import load
from blueberry_lib.images.diffusion_transformer import DiT2D, DiTConfig
from blueberry_lib.images.flow_training import PRESETS, FlowRun, load_flow
from blueberry_lib.images.training import ImageTraining, own_images, preset, run
from blueberry_lib.training import Interrupted, fit
from blueberry_lib.training.checkpoint import Checkpoints

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
TINY = DiTConfig(d_model=16, n_layers=2, n_heads=2, time_frequencies=8)


def tiny_config(**changes):
    training = replace(FlowRun().training, steps=12, batch_size=16, eval_every=6, checkpoint_every=4, device="cpu")
    return FlowRun(TINY, replace(training, **changes))


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(flow_training, "VALIDATION_DRAWS", 1)
    monkeypatch.setattr(flow_training, "SAMPLE_STEPS", 2)
    monkeypatch.setattr(flow_training, "LOOK_COLUMNS", 2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run's record and folder."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(flow_training, "SAMPLE_STEPS", 2)
        return run(tiny_config(), folder, say=lambda text: None, quiet=True), folder


def weights(folder):
    model = load_flow(folder)[0]
    return torch.cat([p.flatten() for p in model.parameters()])


def test_the_record_says_what_was_trained_on_what_and_how_well(finished):
    record, folder = finished
    assert json.loads((folder / "record.json").read_text()) == json.loads(json.dumps(record))
    assert record["steps"] == 12 and record["images"] == 12 * 16 and record["params"] == TINY.n_params
    assert record["images_per_second"] == pytest.approx(record["images"] / record["seconds"]["active"])
    assert set(record["seconds"]) == {"setup", "active", "eval", "save"} and record["seconds"]["setup"] > 0
    assert record["data_sha256"] == load("digits").sha256 and record["config"]["model"]["d_model"] == 16
    assert {"hardware", "versions", "source_sha256", "date", "dollars"} <= record.keys()
    looks = [e for e in record["curve"] if "val_loss" in e]
    assert [e["images"] for e in looks] == [6 * 16, 12 * 16]
    assert len(looks[0]["val_loss_by_time"]) == 10 and looks[0]["val_loss"] != looks[0]["val_loss_without_ema"]
    assert set(record["panel"]) == {"generated", "real", "gaussian"} and record["panel"]["real"]["judge"] > 0.97
    assert record["evaluations"] == 4


def test_grids_with_and_without_the_average_are_written_every_so_often(finished):
    _, folder = finished
    names = {path.name for path in (folder / "samples").iterdir()}
    assert names == {f"step-{step:08d}-{kind}.png" for step in (6, 12) for kind in ("ema", "raw")}
    pixels = {path.read_bytes() for path in (folder / "samples").iterdir()}
    assert len(pixels) == 4 and (folder / "class_grid.png").stat().st_size > 1_000


def test_training_lowers_the_loss(tmp_path):
    record = run(tiny_config(steps=60, eval_every=20), tmp_path, say=lambda text: None, quiet=True)
    losses = [e["val_loss"] for e in record["curve"] if "val_loss" in e]
    assert losses[0] > losses[1] > losses[2] and losses[2] < 1.3  # zero has 1.72


def test_an_interrupted_run_ends_with_the_very_weights_of_one_left_alone(finished, tmp_path, monkeypatch):
    record, whole = finished

    def stops(model, batches, loss_fn, *rest, **settings):
        def broken(model, batch):
            if batches.units_done == 9 * 16:
                raise KeyboardInterrupt
            return loss_fn(model, batch)

        return fit(model, batches, broken, *rest, **settings)

    monkeypatch.setattr("blueberry_lib.images.training.fit", stops)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        run(tiny_config(), tmp_path, say=lambda text: None, quiet=True)
    assert Checkpoints(tmp_path / "checkpoints").latest_step() == 8
    monkeypatch.undo()
    monkeypatch.setattr(flow_training, "SAMPLE_STEPS", 2)
    torch.rand(7)
    again = run(tiny_config(), tmp_path, resume=True, say=lambda text: None, quiet=True)
    assert torch.equal(weights(tmp_path), weights(whole))
    assert again["evaluation"] == record["evaluation"] and again["panel"] == record["panel"]
    assert [e["train_loss"] for e in again["curve"] if "train_loss" in e] == [
        e["train_loss"] for e in record["curve"] if "train_loss" in e
    ]


def test_the_record_comes_last_so_a_run_stopped_in_its_panel_goes_on(tmp_path, monkeypatch):
    def stopped(*inputs):
        raise KeyboardInterrupt

    config = tiny_config(steps=4, eval_every=0)
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(FlowRun, "finish", stopped)
        run(config, tmp_path, say=lambda text: None, quiet=True)
    assert (tmp_path / "samples").exists() and not (tmp_path / "record.json").exists()
    assert "panel" in run(config, tmp_path, resume=True, say=lambda text: None, quiet=True)


def test_other_data_is_refused_on_resuming_and_sampling(finished, tmp_path, monkeypatch):
    _, whole = finished
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    data = load("digits")
    assert own_images(tiny_config(), folder).sha256 == data.sha256
    changed = replace(data, train=data.train.flip(0))
    monkeypatch.setattr("blueberry_lib.images.training.load", lambda spec, size: changed)
    with pytest.raises(BlueberryError, match="images have changed"):
        load_flow(folder)
    with pytest.raises(BlueberryError, match="images have changed"):
        run(tiny_config(), folder, resume=True, say=lambda text: None, quiet=True)
    (folder / "data.json").unlink()
    with pytest.raises(BlueberryError, match=r"data\.json is missing"):
        own_images(tiny_config(), folder)


def test_a_missing_checkpoint_is_an_error(finished, tmp_path):
    _, whole = finished
    with pytest.raises(BlueberryError, match="is no run"):
        load_flow(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    with pytest.raises(BlueberryError, match="There is no checkpoint"):
        load_flow(folder / "checkpoints" / "step-00000005")
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(BlueberryError, match="No checkpoint"):
        load_flow(folder)
    with pytest.raises(BlueberryError, match="No checkpoint"):
        run(tiny_config(), folder, resume=True, say=lambda text: None, quiet=True)


def test_what_is_loaded_is_the_average_of_the_run_or_of_one_checkpoint(finished):
    _, folder = finished
    model, config, data, found = load_flow(folder)
    assert not model.training and config == tiny_config() and data.name == "digits" and found == folder
    from safetensors.torch import load_file

    older, newest = sorted((folder / "checkpoints").iterdir())
    for path, loaded in ((newest, model), (older, load_flow(older)[0])):
        stored = load_file(path / "model.safetensors")
        assert torch.equal(loaded.head.weight, stored["average.head.weight"])
        assert not torch.equal(loaded.head.weight, stored["model.head.weight"])
    assert not torch.equal(weights(older), weights(newest)) and load_flow(older)[3] == folder


def test_in_training_labels_are_dropped_at_their_rate_and_in_evaluation_none(tmp_path, monkeypatch):
    seen = {True: [], False: []}
    forward = DiT2D.forward

    def spy(self, x, t, labels):
        seen[torch.is_grad_enabled()].append(labels.clone())
        return forward(self, x, t, labels)

    monkeypatch.setattr(DiT2D, "forward", spy)
    config = replace(tiny_config(eval_every=0, batch_size=100), label_dropout=0.3)
    run(config, tmp_path, say=lambda text: None, quiet=True)
    trained, evaluated = (torch.cat(seen[mode]) == config.model.null_label for mode in (True, False))
    assert abs(trained.float().mean().item() - 0.3) < 0.05 and not evaluated.any()


def test_data_of_another_shape_is_refused(tmp_path):
    for name, value in (("channels", 3), ("classes", 7)):
        config = replace(tiny_config(), model=replace(TINY, **{name: value}))
        with pytest.raises(BlueberryError, match=rf"{name} and the model {value}: .* set --model.{name} 10?\."):
            run(config, tmp_path, say=lambda text: None, quiet=True)
    assert not list(tmp_path.iterdir())  # nothing was begun


@pytest.fixture
def oblong(tmp_path):
    """A file of two classes of 12 × 8 pixels, three images held out."""
    rng = np.random.default_rng(0)
    made = {f"x_{split}": rng.integers(0, 256, (n, 12, 8), np.uint8) for split, n in (("train", 20), ("test", 3))}
    np.savez(tmp_path / "oblong.npz", **made, y_train=np.arange(20) % 2, y_test=np.array([0, 1, 1]))
    return f"npz:{tmp_path / 'oblong.npz'}"


def test_oblong_images_and_few_held_out_ones_are_learnt_and_measured_as_far_as_can_be(oblong, tmp_path):
    said = []
    config = replace(tiny_config(data=oblong, steps=2, eval_every=0), model=replace(TINY, classes=2))
    record = run(config, tmp_path, say=said.append, quiet=True)
    assert "12 × 8, are resized to 8 × 8" in said[0]
    measured = {"judge", "frechet", "nearest", "copies"}
    assert {name: set(panel) for name, panel in record["panel"].items()} == dict.fromkeys(record["panel"], measured)


def test_without_scikit_learn_a_file_is_learnt_and_the_panel_left_out(oblong, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    config = replace(tiny_config(data=oblong, steps=2, eval_every=0), model=replace(TINY, classes=2))
    assert "panel" not in run(config, tmp_path, say=lambda text: None, quiet=True)


def test_without_matplotlib_the_first_step_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BlueberryError, match="Pictures need matplotlib"):
        run(tiny_config(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"), [("label_dropout", 1.0), ("label_dropout", float("nan")), ("ema_decay", -0.1), ("ema_decay", 1)]
)
def test_every_number_of_a_flow_run_has_its_range(name, value):
    with pytest.raises(BlueberryError, match=f"{name} is {value}"):
        FlowRun(**{name: value})


@pytest.mark.parametrize("name", flow_training.PRESETS)
def test_presets_fit_their_data(name):
    config = preset(PRESETS, name)
    shape = (1, 8, 8) if config.training.data == "digits" else (3, 32, 32)
    assert config.model.shape == shape and config.model.classes == 10


def test_impossible_settings_are_refused():
    with pytest.raises(BlueberryError, match="steps is 0"):
        ImageTraining(steps=0)
    with pytest.raises(BlueberryError, match="eval_every"):
        ImageTraining(eval_every=-1)
    with pytest.raises(BlueberryError, match="label_dropout"):
        FlowRun(label_dropout=1.0)
    with pytest.raises(BlueberryError, match="no preset"):
        preset(PRESETS, "dit-1b")


cli = pytest.importorskip("tyro") and pytest.importorskip("blueberry_lib.cli")


def test_the_command_line_samples_what_was_trained(finished, tmp_path, capsys):
    image = pytest.importorskip("matplotlib.image")
    _, folder = finished
    common = ["flow", "sample", "--checkpoint", str(folder), "--num-steps", "2", "--output"]
    assert cli.main([*common, str(tmp_path / "a.png"), "--num-samples", "10", "--class-label", "three"]) == 0
    assert "Wrote 10 images" in capsys.readouterr().out
    assert (
        cli.main([*common, str(tmp_path / "b.png"), "--class-grid", "--samples-per-class", "3", "--cfg-scale", "2"])
        == 0
    )
    assert image.imread(tmp_path / "b.png").shape[:2] == (2 + 10 * 42, 2 + 3 * 42)
    options = ["--num-samples", "9", "--solver", "euler", "--seed"]
    for name, seed in (("c", "1"), ("d", "1"), ("e", "2")):
        assert cli.main([*common, str(tmp_path / f"{name}.png"), *options, seed]) == 0
    assert "2 evaluations of the velocity" in capsys.readouterr().out
    c, d, e = ((tmp_path / f"{name}.png").read_bytes() for name in "cde")
    assert c == d != e


def test_the_command_line_trains_a_preset_with_changes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    parsed = cli.parse(["flow", "train", "--preset", "dit-30m", "--training.steps", "7"]).command
    assert parsed.config == replace(PRESETS["dit-30m"](), training=replace(PRESETS["dit-30m"]().training, steps=7))
    sizes = ["--model.d-model", "16", "--model.n-layers", "1", "--model.n-heads", "2", "--training.device", "cpu"]
    steps = ["--training.steps", "4", "--training.batch-size", "8", "--training.checkpoint-every", "2"]
    assert cli.main(["flow", "train", *sizes, *steps]) == 0
    assert "two_sample" in capsys.readouterr().out and (tmp_path / "runs/flow-digits/class_grid.png").exists()
    assert cli.main(["flow", "train", "--resume", "runs/flow-digits"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sample", "--checkpoint", "nowhere"], "is no run"),
        (["sample"], "--checkpoint"),
        (["train", "--preset", "dit-1b"], "no preset"),
        (["train", "--training.data", "mnist"], "There are no images"),
        (["train", "--resume", "nowhere"], "is no run"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["flow", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


def test_a_class_that_is_not_there_is_named(finished, capsys):
    _, folder = finished
    assert cli.main(["flow", "sample", "--checkpoint", str(folder), "--class-label", "cat"]) == 2
    assert "no class 'cat'" in capsys.readouterr().err
