"""The panel against closed forms, and against what is known of digits: each measure catches what it should."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blueberry_lib.images.datasets import load, resize

pytest.importorskip("sklearn")
from blueberry_lib.images.metrics import Panel, class_labels, frechet_distance, precision_recall, table

ALL = {"judge", "frechet", "precision", "recall", "two_sample", "nearest", "copies"}


@pytest.fixture(scope="module")
def panel():
    return Panel(load("digits"))


def test_frechet_distance_of_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((200, 3))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + [3, 0, 4]) == pytest.approx(25)
    assert frechet_distance(a, 3 * a) == pytest.approx(
        4 * np.trace(np.cov(a.T)) + (2 * a.mean(0) @ (2 * a.mean(0)))
    )  # commuting covariances: Σ (√λ − √λ')²
    b = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 3))
    linalg = pytest.importorskip("scipy.linalg")
    root = linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_precision_asks_of_the_generated_and_recall_of_the_real():
    square = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), -1).reshape(-1, 2)
    assert precision_recall(square, square + 0.01) == (1.0, 1.0)
    assert precision_recall(square, square + 100) == (0.0, 0.0)
    left = square[square[:, 0] < 2] + 0.01
    precision, recall = precision_recall(square, left)
    assert precision == 1.0 and 0.3 < recall < 0.6
    precision, recall = precision_recall(left, square)
    assert recall == 1.0 and 0.3 < precision < 0.6


def test_real_against_real_and_a_gaussian_a_class_are_what_is_known(panel):
    real, gaussian = panel.real(), panel.gaussian()
    known = {"judge": 0.985, "frechet": 0.21, "recall": 0.90, "two_sample": 0.5, "nearest": 2.1}
    for name, value in known.items():
        assert real[name] == pytest.approx(value, abs=0.045), name
    known = {"judge": 0.985, "frechet": 0.48, "recall": 0.68, "two_sample": 0.83, "nearest": 2.38}
    for name, value in known.items():
        assert gaussian[name] == pytest.approx(value, abs=0.045), name
    assert real["copies"] < 0.02 and gaussian["copies"] == 0
    assert panel.real(seed=1) != real and panel.real() == real


def test_copies_fool_all_but_the_nearest_neighbour(panel):
    data = panel.data
    found = panel(data.scale(data.train[:600]), data.train_labels[:600])
    assert found["judge"] > 0.97 and found["frechet"] < 0.25 and found["recall"] > 0.83
    assert abs(found["two_sample"] - 0.5) < 0.05 and found["nearest"] == 0 and found["copies"] == 1


def test_few_samples_meet_as_few_real_ones_in_the_two_sample_test(panel):
    data = panel.data
    found = panel(data.scale(data.train[:120]), data.train_labels[:120])
    assert 0.35 < found["two_sample"] < 0.65  # calling all of them real would be right for 597 of 717


def test_class_means_fool_the_judge_and_nothing_else(panel):
    data, labels = panel.data, class_labels(10)
    means = torch.stack([data.scale(data.train[data.train_labels == c]).mean(dim=0) for c in range(10)])
    found = panel(means[labels] + 0.05 * torch.randn(600, 1, 8, 8), labels)
    assert found["judge"] == 1 and found["precision"] > 0.95
    assert found["frechet"] > 4 and found["recall"] == 0 and found["two_sample"] > 0.99


def test_noise_and_wrong_labels_fail(panel):
    labels = class_labels(10)
    noise = panel(torch.randn(600, 1, 8, 8), labels)
    assert noise["judge"] < 0.2 and noise["frechet"] > 8 and noise["precision"] < 0.1 and noise["recall"] < 0.1
    data = panel.data
    assert panel(data.scale(data.train[:600]), (data.train_labels[:600] + 1) % 10)["judge"] < 0.05


def test_samples_are_rounded_before_they_are_measured(panel):
    """A classifier tells numbers between the levels from levels at once; that says nothing of the picture."""
    data = panel.data
    images, labels = data.scale(data.train[:300]), data.train_labels[:300]
    assert panel(images + 0.06 * torch.rand(images.shape), labels) == panel(images, labels)


@pytest.mark.parametrize(
    ("classes", "held_out", "missing"),
    [
        (10, 597, set()),
        (10, 12, {"judge"}),  # not all classes are among the twelve
        (1, 40, {"judge"}),
        (2, 4, {"two_sample"}),
        (2, 3, {"two_sample", "precision", "recall"}),
        (1, 1, {"judge", "two_sample", "precision", "recall", "frechet"}),
    ],
)
def test_what_there_are_too_few_classes_or_images_for_is_left_out(classes, held_out, missing):
    data = load("digits")
    chosen, kept = data.val_labels < classes, data.train_labels < classes
    some = {"val": data.val[chosen][:held_out], "val_labels": data.val_labels[chosen][:held_out]}
    seen = {"train": data.train[kept], "train_labels": data.train_labels[kept], "classes": data.classes[:classes]}
    data = replace(data, **some, **seen)
    found = Panel(data).beside(data.scale(data.train[:30]), data.train_labels[:30])
    assert {name: set(row) for name, row in found.items()} == dict.fromkeys(found, ALL - missing)
    assert all(np.isfinite(value) for row in found.values() for value in row.values())
    assert all(len(line) == len(table(found).splitlines()[0]) for line in table(found).splitlines())


def test_held_out_images_sorted_by_class_are_all_of_them_judged(monkeypatch):
    data = load("digits")
    order = data.val_labels.argsort()
    monkeypatch.setattr("blueberry_lib.images.metrics.HELD_OUT", 200)
    panel = Panel(replace(data, val=data.val[order], val_labels=data.val_labels[order]))
    assert panel.real()["judge"] > 0.9


def test_samples_of_another_size_are_measured_at_the_datas(panel):
    data = panel.data
    larger = resize(data.scale(data.train[:100]), 16, 16)
    assert panel(larger, data.train_labels[:100])["judge"] > 0.9


def test_a_table_has_a_line_for_each(panel):
    text = table({"real": panel.real(), "gaussian": panel.gaussian()})
    assert len(text.splitlines()) == 3 and "two_sample" in text.splitlines()[0] and "gaussian" in text
