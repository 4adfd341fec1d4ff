"""Images: the split is fixed, levels survive the way to [−1, 1] and back, and bad files are named."""

import sys

import numpy as np
import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.images.datasets import ImageData, load, resize

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
        ({"label_names": np.array(["a", "", "c"])}, "expected another for each class"),
        ({"label_names": np.array(["a", " a", "c"])}, "expected another for each class"),
        ({"label_names": np.array(["a", "b", "c", "d"])}, "no training image is labelled 'd': count labels from 0"),
        ({"y_train": np.arange(6) % 3 + 1}, "no training image is labelled '0'"),
        ({"y_train": np.arange(6) % 2 * 2}, "no training image is labelled '1'"),
        ({"y_train": np.arange(6) * 10**12}, "labels go from 0 to 5000000000000"),
        ({"x_train": np.zeros((6, 4, 5, 4), np.uint8)}, "without transparency"),
        ({"x_train": np.zeros((6, 4, 5, 2), np.uint8)}, "C being 1 or 3"),
        ({"x_train": np.zeros((6, 0, 5), np.uint8)}, "expected uint8"),
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
    saved(tmp_path)
    whole = (tmp_path / "images.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[200] ^= 1
    np.save(tmp_path / "array.npy", np.zeros(3))
    for content in (b"not a zip", b"", whole[:-30], bytes(damaged), (tmp_path / "array.npy").read_bytes()):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(BlueberryError, match="no readable"):
            load(f"npz:{tmp_path / 'bad.npz'}")
    np.savez(tmp_path / "objects.npz", **arrays(), extra=np.array([{}], dtype=object))
    with pytest.raises(BlueberryError, match="no readable"):
        load(f"npz:{tmp_path / 'objects.npz'}")


def picture(path, colour, mode="RGB", size=(9, 7)):
    """A file of one colour."""
    image = pytest.importorskip("PIL.Image").new("RGBA", size, colour).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def test_a_folder_of_pictures_of_all_sizes_and_modes_becomes_images(tmp_path):
    reds = [("a.png", "RGBA", (9, 7)), ("b.jpg", "RGB", (40, 3)), ("c.PNG", "P", (4, 4)), ("d.jpeg", "RGB", (500, 20))]
    for name, mode, size in reds:
        picture(tmp_path / "red" / name, "red", mode, size)
    picture(tmp_path / "grey/a.png", "gray", "L")
    picture(tmp_path / "grey/clear.png", (0, 0, 0, 0), "RGBA")
    (tmp_path / "red/notes.txt").write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    data = load(f"folder:{tmp_path}", 4)
    assert data.classes == ("grey", "red") and data.shape == (3, 4, 4) and data.levels == 256
    assert (len(data.train), len(data.val)) == (4, 2)
    pixels, labels = torch.cat((data.train, data.val)), torch.cat((data.train_labels, data.val_labels))
    assert ((pixels[labels == 1].float() - torch.tensor([255.0, 0, 0]).view(3, 1, 1)).abs() < 3).all()
    assert sorted(pixels[labels == 0].flatten(1).float().mean(1).tolist()) == [128, 255]  # what is clear is white
    again = load(f"folder:{tmp_path}", 4)
    assert again.sha256 == data.sha256 and load(f"folder:{tmp_path}", 8).shape == (3, 8, 8)
    picture(tmp_path / "red/a.png", "blue")
    assert load(f"folder:{tmp_path}", 4).sha256 != data.sha256


def test_a_folder_of_grey_pictures_has_one_channel_and_one_class_is_enough(tmp_path):
    for i in range(12):
        picture(tmp_path / "all" / f"{i}.png", (i, i, i), "RGB")
    data = load(f"folder:{tmp_path}", 8)
    assert data.shape == (1, 8, 8) and data.classes == ("all",) and (len(data.train), len(data.val)) == (10, 2)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no folders"),
        ({"a/x.png": "red", "b": None}, "b holds no JPEG or PNG file"),
        ({"a/x.png": "red", "b/y.png": "red"}, "one picture for each class"),
        ({"a/x.png": "red", "a/y.png": "blue", "a/z.jpg": None}, "z.jpg cannot be read as a picture"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, files, words):
    for name, colour in files.items():
        if colour:
            picture(tmp_path / name, colour)
        elif "." in name:
            (tmp_path / name).write_bytes(b"\xff\xd8\xff broken")
        else:
            (tmp_path / name).mkdir(parents=True)
    with pytest.raises(BlueberryError, match=words) as error:
        load(f"folder:{tmp_path}")
    assert len(str(error.value).splitlines()) == 1


def test_oblong_images_are_resized_to_squares():
    data = ImageData("x", torch.randint(256, (2, 1, 12, 8)), *[torch.zeros(2)] * 3, ("a",), 256)
    assert data.scale(data.train, 8).shape == (2, 1, 8, 8) and data.scale(data.train).shape == (2, 1, 12, 8)
    assert resize(data.scale(data.train, 8), 12, 8).shape == (2, 1, 12, 8)


def test_a_file_needs_no_scikit_learn_and_digits_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert load(saved(tmp_path)).shape == (3, 4, 5)
    with pytest.raises(BlueberryError, match=r"blueberry-lib\[images\]"):
        load("digits")


def test_without_the_hub_cifar10_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BlueberryError, match="use digits"):
        load("cifar10")
