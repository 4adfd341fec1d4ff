"""A run's folder is never overwritten, its files are whole, and a damaged config says so."""

import json

import pytest

from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.training.folder import load_config, new_folder, save_config, write_json


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


def test_a_config_comes_back_as_it_was_and_a_damaged_one_is_named(tmp_path):
    config = get_recipe("best", "pocket")
    save_config(tmp_path, config)
    assert load_config(TrainConfig, tmp_path) == config
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BlueberryError, match="damaged"):
        load_config(TrainConfig, tmp_path)
    with pytest.raises(BlueberryError, match="is no run"):
        load_config(TrainConfig, tmp_path / "elsewhere")
