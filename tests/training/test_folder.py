"""A run's folder is never overwritten, its files are whole, and a damaged config says so."""

import contextlib
import json

import pytest

from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.images.flow_training import FlowConfig
from blueberry_lib.images.multimodal_training import MultimodalRun
from blueberry_lib.images.vqvae_training import VQVAERun
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.training.folder import load_config, new_folder, occupied, save_config, write_json

CONFIGS = {
    "train": get_recipe("best", "pocket"),
    "flow train": FlowConfig(),
    "vqvae train": VQVAERun(),
    "multimodal train": MultimodalRun(),
}


def test_json_is_written_whole(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"val_loss": 1.0})
    with pytest.raises(TypeError):
        write_json(path, {"val_loss": object()})
    assert json.loads(path.read_text()) == {"val_loss": 1.0}


def test_a_named_folder_must_be_new_and_a_default_one_is_counted_up(tmp_path):
    assert new_folder(tmp_path, None, "run").name == "run"
    assert new_folder(tmp_path, None, "run").name == "run-2"
    assert new_folder(tmp_path, "mine", "run").name == "mine"
    with pytest.raises(BlueberryError, match="never overwritten"):
        new_folder(tmp_path, "mine", "run")


def test_a_folder_in_use_is_refused_and_one_that_came_to_nothing_goes(tmp_path):
    folder = new_folder(tmp_path, "a", "run")
    with pytest.raises(OSError, match="disk"), occupied(folder):
        with pytest.raises(BlueberryError, match="Another process is at work"), occupied(folder):
            raise AssertionError("two in one folder")
        assert folder.exists(), "the second must not take away what the first is writing"
        raise OSError("disk full")
    assert not folder.exists()
    for ends_well in (True, False):
        folder = new_folder(tmp_path, None, "run")
        with contextlib.suppress(KeyboardInterrupt), occupied(folder):
            if not ends_well:
                (folder / "checkpoints/step-00000001").mkdir(parents=True)
                raise KeyboardInterrupt
        assert folder.exists()


@pytest.mark.parametrize("made", CONFIGS)
@pytest.mark.parametrize("wanted", CONFIGS)
def test_the_kind_of_a_run_is_known_by_its_config(tmp_path, made, wanted):
    save_config(tmp_path, CONFIGS[made])
    if made == wanted:
        assert load_config(type(CONFIGS[wanted]), tmp_path) == CONFIGS[made]
    else:
        with pytest.raises(BlueberryError, match=f"is a run of `{made}`, .* one of `{wanted}`"):
            load_config(type(CONFIGS[wanted]), tmp_path)


def test_a_config_comes_back_as_it_was_and_a_damaged_one_is_named(tmp_path):
    config = get_recipe("best", "pocket")
    save_config(tmp_path, config)
    assert load_config(TrainConfig, tmp_path) == config
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BlueberryError, match="damaged"):
        load_config(TrainConfig, tmp_path)
    with pytest.raises(BlueberryError, match="is no run"):
        load_config(TrainConfig, tmp_path / "elsewhere")
