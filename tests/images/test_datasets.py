"""Images: the split is fixed, levels survive the way to [−1, 1] and back, and bad files are named."""

import sys

import numpy as np
import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.images.datasets import load

pytest.importorskip("sklearn")


def arrays(count=6, **changes):
    rng = np.random.default_rng(0)
    made = {}
    for split in ("train", "test"):
        made[f"x_{split}"] = rng.integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)
        made[f"y_{split}"] = np.arange(count) % 3
    return {**made, **changes}


def saved(folder, **changes):
    made = {name: array for name, array in arrays(**changes).items() if array is not None}
    np.savez(folder / "images.npz", **made)
    return f"npz:{folder / 'images.npz'}"


def test_digits_are_split_once_for_all_and_evenly():
    data = load("digits")
    assert data.train.shape == (1_200, 1, 8, 8) and data.val.shape == (597, 1, 8, 8) and data.shape == (1, 8, 8)
    assert data.levels == 17 and data.train.dtype == torch.uint8 and int(data.train.max()) == 16
    shares = data.train_labels.bincount() / 1_200 - data.val_labels.bincount() / 597
    assert len(data.classes) == 10 and shares.abs().max() < 0.002
    assert data.sha256 == load("digits").sha256
    assert data.sha256.startswith("a5904404b4"), "the split has changed, and every recorded figure with it"
    both = torch.cat((data.train, data.val)).flatten(1)
    assert len(both.unique(dim=0)) == 1_797, "an image is in both halves, or twice in one"


def test_every_level_survives_and_strays_go_to_the_nearest():
    data = load("digits")
    levels = torch.arange(17, dtype=torch.uint8)
    scaled = data.scale(levels)
    assert scaled[0] == -1 and scaled[8] == 0 and scaled[16] == 1 and scaled.dtype == torch.float32
    assert torch.equal(data.round(scaled), scaled)
    assert torch.equal(data.round(scaled + 0.06), scaled)
    assert data.round(torch.tensor([-7.0, 7.0, 0.07])).tolist() == [-1, 1, 0.125]


def test_classes_go_by_name_or_number():
    data = load("digits")
    assert data.class_index("seven") == data.class_index("7") == 7
    for wrong in ("ten", "10", "-1", "²"):
        with pytest.raises(BlueberryError, match="no class"):
            data.class_index(wrong)


def test_a_file_of_arrays_becomes_images_channels_first(tmp_path):
    data = load(saved(tmp_path, label_names=np.array(["a", "b", "c"])))
    assert data.shape == (3, 4, 5) and data.classes == ("a", "b", "c") and data.levels == 256
    assert torch.equal(data.train, torch.from_numpy(arrays()["x_train"]).permute(0, 3, 1, 2))
    assert torch.equal(data.round(data.scale(data.val)), data.scale(data.val))
    grey = load(saved(tmp_path, x_train=np.zeros((6, 4, 4), np.uint8), x_test=np.zeros((6, 4, 4), np.uint8)))
    assert grey.shape == (1, 4, 4) and grey.classes == ("0", "1", "2")
    assert data.sha256 != grey.sha256


def test_a_changed_label_or_pixel_changes_the_hash(tmp_path):
    before = load(saved(tmp_path)).sha256
    labels = arrays()["y_train"].copy()
    labels[0] += 1
    assert load(saved(tmp_path, y_train=labels)).sha256 != before
    pixels = arrays()["x_test"].copy()
    pixels[0, 0, 0, 0] ^= 1
    assert load(saved(tmp_path, x_test=pixels)).sha256 != before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, "lacks y_test"),
        ({"x_train": np.zeros((6, 4, 5, 3))}, "float64"),
        ({"x_train": np.zeros((6, 4), np.uint8)}, "expected uint8"),
        ({"y_train": np.arange(5)}, "expected 6 whole labels"),
        ({"y_train": np.zeros(6)}, "float64"),
        ({"y_train": np.arange(6) - 1}, "labels go from -1"),
        ({"label_names": np.array(["a"])}, "there are 1 names"),
        ({"x_test": np.zeros((6, 9, 5, 3), np.uint8)}, "x_test"),
        ({"x_test": np.zeros((0, 4, 5, 3), np.uint8), "y_test": np.zeros(0, int)}, "x_test"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, changes, words):
    with pytest.raises(BlueberryError, match=words):
        load(saved(tmp_path, **changes))


def test_other_names_and_unreadable_files_are_refused(tmp_path):
    for spec, words in (("mnist", "There are no images"), ("npz:", "There are no"), ("npz:nowhere.npz", "no file")):
        with pytest.raises(BlueberryError, match=words):
            load(spec)
    (tmp_path / "bad.npz").write_text("not a zip")
    with pytest.raises(BlueberryError, match="no readable"):
        load(f"npz:{tmp_path / 'bad.npz'}")
    np.savez(tmp_path / "objects.npz", **arrays(), extra=np.array([{}], dtype=object))
    with pytest.raises(BlueberryError, match="no readable"):
        load(f"npz:{tmp_path / 'objects.npz'}")


def test_without_scikit_learn_the_first_step_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(BlueberryError, match=r"blueberry-lib\[images\]"):
        load("digits")


def test_without_the_hub_cifar10_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BlueberryError, match="use digits"):
        load("cifar10")
