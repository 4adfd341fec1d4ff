"""How good are generated images? Never one number: each of these can be fooled alone."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from blueberry_lib.images.datasets import ImageData, resize

COMPONENTS = 20
NEIGHBOURS = 3
FOLDS = 5
HELD_OUT = 2_000  # held-out images at most; support vectors of many more take minutes
PER_CLASS = 60
COPY_DISTANCE = 0.125  # root mean square over the pixels; 1.0 in all over the 64 pixels of a digit


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between Gaussians fitted to the rows of ``a`` (N, D) and ``b`` (M, D): ‖μ − μ'‖² + tr(S + S' − 2 √(S S'))
    (Dowson & Landau, 1982; Heusel et al., 2017)."""
    s, r = (np.atleast_2d(np.cov(rows.T)) for rows in (a, b))
    roots = np.sqrt(np.linalg.eigvals(s @ r).real.clip(min=0))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + r) - 2 * roots.sum())


def precision_recall(real: np.ndarray, generated: np.ndarray, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Shares of the generated that lie among the real, and of the real among the generated (Kynkäänniemi et al., 2019).

    A point lies among others if it is closer to one of them than that one's k-th nearest neighbour.
    """
    a, b = torch.from_numpy(real).double(), torch.from_numpy(generated).double()
    between = torch.cdist(a, b)  # (N, M)
    reach_a, reach_b = (torch.cdist(points, points).kthvalue(k + 1, dim=1).values for points in (a, b))  # 1st: itself
    precision = (between <= reach_a[:, None]).any(dim=0)
    recall = (between <= reach_b[None]).any(dim=1)
    return precision.double().mean().item(), recall.double().mean().item()


class Panel:
    """Measures of generated images against the held-out ones of ``data``.

    A support vector machine fitted to the held-out images judges whether a picture shows its label, and another,
    cross-validated, tells held-out from generated.
    """

    def __init__(self, data: ImageData) -> None:
        from sklearn.decomposition import PCA
        from sklearn.svm import SVC

        some = torch.linspace(0, len(data.val) - 1, min(HELD_OUT, len(data.val))).long()  # files may be sorted by class
        self.data, labels = data, data.val_labels[some]
        self.train, self.val = (self._rows(data.scale(part)) for part in (data.train, data.val[some]))
        self.components = PCA(min(COMPONENTS, *self.train.shape), random_state=0).fit(self.train)
        judged = len(data.classes) > 1 and len(labels.unique()) == len(data.classes)
        self.svm = partial(SVC, C=10, gamma=1.28 / self.train.shape[1])  # 0.02 for 64 pixels
        self.judge = self.svm().fit(self.val, labels.numpy()) if judged else None

    @staticmethod
    def _rows(images: Tensor) -> np.ndarray:
        return images.flatten(1).double().numpy()

    def __call__(self, images: Tensor, labels: Tensor, own: Tensor | None = None) -> dict[str, float]:
        """Of ``images`` (N, C, H, W) about [−1, 1], here resized to the data's size and rounded to its levels, and the
        ``labels`` (N,) they should show:

        judge, accuracy of the judge; frechet, in 20 principal components of the training images; precision and recall
        there, k = 3; two_sample, accuracy of the real-or-generated classifier, 0.5 being indistinguishable; nearest,
        median Euclidean distance to the nearest training image; copies, share closer than 0.125 a pixel, root mean
        square. What there are too few classes or images for is left out.

        ``own`` (N,) are the places of the images among the training images, if they are such: not their neighbours.
        """
        from sklearn.model_selection import StratifiedKFold, cross_val_score

        generated = self._rows(self.data.round(resize(images, *self.data.shape[1:])))
        real_at, at = self.components.transform(self.val), self.components.transform(generated)
        found, least = {}, min(len(self.val), len(generated))
        if self.judge:
            found["judge"] = float(self.judge.score(generated, labels.numpy()))
        if least > 1:
            found["frechet"] = frechet_distance(real_at, at)
        if least > NEIGHBOURS:
            found["precision"], found["recall"] = precision_recall(real_at, at)
        if least >= FOLDS:
            few = np.linspace(0, len(self.val) - 1, least).astype(int)  # as many of each
            both, is_real = np.concatenate((self.val[few], generated)), np.repeat((1, 0), (least, len(generated)))
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
            found["two_sample"] = float(cross_val_score(self.svm(), both, is_real, cv=folds).mean())
        distances = torch.cdist(torch.from_numpy(generated), torch.from_numpy(self.train))  # (N, train)
        if own is not None:
            distances[torch.arange(len(own)), own] = torch.inf
        nearest = distances.min(dim=1).values
        copies = (nearest < COPY_DISTANCE * self.train.shape[1] ** 0.5).double().mean().item()
        return found | {"nearest": nearest.median().item(), "copies": copies}

    def beside(self, images: Tensor, labels: Tensor) -> dict[str, dict[str, float]]:
        """The panel of ``images`` (N, C, H, W), as ``generated``, beside ``real`` and ``gaussian``."""
        return {"generated": self(images, labels), "real": self.real(), "gaussian": self.gaussian()}

    def real(self, seed: int = 0) -> dict[str, float]:
        """The panel of real training images, PER_CLASS of each class: the best that can be asked for."""
        generator, labels = torch.Generator().manual_seed(seed), self.data.train_labels
        rows = [(labels == label).nonzero().flatten() for label in range(len(self.data.classes))]
        own = torch.cat([r[torch.randperm(len(r), generator=generator)[:PER_CLASS]] for r in rows])
        return self(self.data.scale(self.data.train[own]), labels[own], own)

    def gaussian(self, seed: int = 0) -> dict[str, float]:
        """The panel of draws from a Gaussian with each class's mean and covariance: the least to be better than."""
        rng, labels, draws = np.random.default_rng(seed), class_labels(len(self.data.classes)), []
        for label in range(len(self.data.classes)):
            rows = self.train[self.data.train_labels.numpy() == label]
            spread = (rows - rows.mean(0)) / np.sqrt(max(1, len(rows) - 1))  # spreadᵀ spread is the covariance
            draws.append(rows.mean(0) + rng.standard_normal((PER_CLASS, len(rows))) @ spread)
        return self(torch.from_numpy(np.concatenate(draws)).view(-1, *self.data.shape), labels)


def class_labels(classes: int, per_class: int = PER_CLASS) -> Tensor:
    """Labels (classes · per_class,), so many of each, in order."""
    return torch.arange(classes).repeat_interleave(per_class)


def table(rows: dict[str, dict[str, float]]) -> str:
    """Panels by name, as text to be printed."""
    names = list(dict.fromkeys(name for panel in rows.values() for name in panel))
    lines = [" " * 24 + "".join(f"{name:>11}" for name in names)]
    for row, panel in rows.items():
        lines.append(f"{row:24}" + "".join(f"{panel[n]:11.3f}" if n in panel else f"{'–':>11}" for n in names))
    return "\n".join(lines)
