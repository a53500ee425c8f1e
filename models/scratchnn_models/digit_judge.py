"""How good generated digits are, by the features of our own LeNet: its distance, precision and recall, and the classes.

    LeNet-FID = |m - m'|^2 + tr(S + S' - 2 (S S')^1/2)      of the features' means and covariances (Heusel et al. 2017)
    precision = share of fakes that lie among real ones,  recall = the reverse      (Kynkaanniemi et al. 2019, k = 3)

The features are the 400 numbers behind LeNet's second pool, so a LeNet-FID says nothing beside a published FID, whose
features are Inception's. The weights in digit_judge.safetensors are those of

    scratchnn train lenet --seed 0 --deterministic --threads 1

which misreads 0.67 % of the test images; those in garment_judge.safetensors, for Fashion-MNIST, of

    scratchnn train lenet --data fashion_mnist --epochs 8 --seed 0 --deterministic --threads 1

which misreads 12.3 %.
"""

from math import log
from pathlib import Path

import numpy as np

from scratchnn.layer import Array
from scratchnn.weights import load_weights
from scratchnn_models.batches import parts
from scratchnn_models.lenet import LeNet, framed
from scratchnn_models.parzen import squared_distances

NEIGHBOUR = 3


class DigitJudge:
    """Compares images [N,1,H,W] in [0,1], of 28 or 32 pixels a side, with real ones."""

    of, distance = "digit", "lenet_fid"

    def __init__(self, real: Array) -> None:
        self.net = LeNet()
        load_weights(self.net, Path(__file__).with_name(f"{self.of}_judge.safetensors"))
        self.real, _ = self.read(real)

    def read(self, images: Array) -> tuple[Array, Array]:
        """The features [N,400] and the classes [N] that LeNet sees."""
        found = [self.net.features.forward(framed(part))[0] for part in parts(images)]
        scores = [self.net.classifier.forward(features)[0] for features in found]
        return np.concatenate(found).reshape(len(images), -1), np.concatenate(scores).argmax(1)

    def numbers(self, fake: Array) -> dict[str, float]:
        """LeNet-FID, precision, recall, the entropy of the classes in nats (log 10 at most), and the rarest's share."""
        features, classes = self.read(fake)
        precision, recall = precision_recall(self.real, features)
        share = shares(classes)
        return {
            self.distance: frechet(self.real, features), "precision": precision, "recall": recall,
            f"{self.of}_entropy": entropy(share), f"rarest_{self.of}_share": float(share.min()),
        }  # fmt: skip


class GarmentJudge(DigitJudge):
    """The same for the classes of Fashion-MNIST, by a LeNet that reads those."""

    of = "garment"


def frechet(a: Array, b: Array) -> float:
    """The Frechet distance of two Gaussians with the means and covariances of features [N,F]."""
    mean_a, mean_b = a.mean(0, dtype=float), b.mean(0, dtype=float)
    cov_a, cov_b = np.cov(a.T.astype(float)), np.cov(b.T.astype(float))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # tr (S S')^1/2 = tr (R S' R)^1/2 with R = S^1/2, and that matrix is symmetric
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return float(np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def precision_recall(real: Array, fake: Array) -> tuple[float, float]:
    """The share of fakes within the reach of a real one, and of real ones within that of a fake.

    A point reaches as far as its k-th nearest neighbour of its own kind.
    """
    return _within(real, fake), _within(fake, real)


def _within(own: Array, others: Array) -> float:
    reach = np.concatenate(
        [np.partition(squared_distances(part, own), NEIGHBOUR, 1)[:, NEIGHBOUR] for part in parts(own)]
    )
    inside = [(squared_distances(part, own) <= reach).any(1) for part in parts(others)]
    return float(np.concatenate(inside).mean())


def shares(classes: Array) -> Array:
    """The share of each class [10]."""
    share: Array = np.bincount(classes, minlength=10) / len(classes)
    return share


def entropy(share: Array) -> float:
    """In nats."""
    return -sum(float(p) * log(p) for p in share if p > 0)
