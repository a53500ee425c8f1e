"""LeNet: the convolutional network that reads handwritten digits.

LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 1998, in the form
of the lecture:

    image [1,32,32] -> conv 5x5 [6,28,28] -> max-pool [6,14,14] -> conv 5x5 [16,10,10] -> max-pool [16,5,5] -> 10 scores

    minimise  mean_n -log softmax(scores(x_n))[t_n]

Simplified against the paper: ReLU for the scaled tanh, max-pool for trained subsampling, full connections between the
maps, and one linear layer with softmax for the two hidden layers and the radial basis functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchnn import Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array, Context, Tangent
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_kernels import array_module
from scratchnn_kernels.device import captured, mover, to_cpu
from scratchnn_models import recipes
from scratchnn_models.augment import Distortion, distort
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

METRICS = (Metric("test_error_percent", 0.8, "LeNet-5 with distortions, LeCun et al. 1998, figure 9 (0.95 without)"),)
SIDE = 32  # pixels; a 28x28 digit sits in the middle


class LeNet(Layer):
    """Scores of `num_classes` for images [N,in_channels,32,32]; 1 channel for digits, 3 for RGB."""

    def __init__(
        self, in_channels: int = 1, num_classes: int = 10, *, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        # Pooling before ReLU gives the same values as after it, with a quarter of the work.
        self.features = Sequential(
            Conv2d(in_channels, 6, 5, rng=rng, dtype=dtype),  # [N,6,28,28]
            MaxPool2d(2),  # [N,6,14,14]
            ReLU(),
            Conv2d(6, 16, 5, rng=rng, dtype=dtype),  # [N,16,10,10]
            MaxPool2d(2),  # [N,16,5,5]
            ReLU(),
        )
        self.classifier = Sequential(Flatten(), Linear(16 * 5 * 5, num_classes, rng=rng, dtype=dtype))

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        h, features = self.features.forward(x, train, rng)
        scores, classifier = self.classifier.forward(h, train, rng)
        return scores, (features, classifier)

    def backward(self, dy: Array, ctx: Context) -> Array:
        features, classifier = ctx
        dh = self.classifier.backward(dy, classifier)
        return self.features.backward(dh, features)

    def backward_params(self, dy: Array, ctx: Context) -> None:
        features, classifier = ctx
        dh = self.classifier.backward(dy, classifier)
        self.features.backward_params(dh, features)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        features, classifier = ctx
        h_dot, features_dot = self.features.jvp(x_dot, features)
        scores_dot, classifier_dot = self.classifier.jvp(h_dot, classifier)
        return scores_dot, (features_dot, classifier_dot)

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        (features, classifier), (features_dot, classifier_dot) = ctx, ctx_dot
        dh, dh_dot = self.classifier.backward_jvp(dy, dy_dot, classifier, classifier_dot)
        return self.features.backward_jvp(dh, dh_dot, features, features_dot)


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train lenet` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    epochs: int = 20
    batch_size: int = 64
    lr: float = 4e-3
    warmup: float = 0.05  # share of the steps in which the rate rises
    rotation: float = 10.0  # degrees
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 1.5  # pixels
    elastic: float = 0.7  # pixels
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """LeNet learns to name the classes of a labelled data set: the task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset, device: str = "cpu", graph: bool = False) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.move = mover(device)
        self.net = LeNet(data.train_images.shape[1], len(data.classes), rng=stream(seed, "init"))
        self.net.to(device)
        self.learn: Callable[[Array, Array], Array] = captured(self.gradients) if graph else self.gradients
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.distortion = Distortion(recipe.rotation, recipe.scale, recipe.shear, recipe.shift, recipe.elastic)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the cross-entropy of one batch of distorted images."""
        x, target = map(self.move, self.batch(step))
        warmup = int(self.recipe.warmup * self.steps)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps, warmup=warmup)
        loss = self.learn(x, target)
        self.optimizer.step()
        return {"loss": float(loss)}

    def gradients(self, x: Array, target: Array) -> Array:
        """Let the parameters' gradients be those of one batch; its loss."""
        scores, ctx = self.net.forward(x, train=True)
        loss, dscores = losses.cross_entropy(scores, target)
        self.optimizer.zero_grad()
        self.net.backward_params(dscores, ctx)  # nobody wants the gradient of the image
        return loss

    def batch(self, step: int) -> tuple[Array, Array]:
        """The images [B,C,32,32] and labels [B] of a step: a function of the seed and the step alone."""
        chosen = self.batches.indices(step)
        images = distort(scaled(self.data.train_images[chosen]), stream(self.seed, "distort", step), self.distortion)
        return framed(images), self.data.train_labels[chosen]

    def validate(self) -> dict[str, float]:
        """Loss and accuracy on the held-out training images."""
        scores = predict(self.net, self.data.train_images[self.batches.held_out])
        labels = self.data.train_labels[self.batches.held_out]
        loss, _ = losses.cross_entropy(scores, labels)
        return {"validation_loss": float(loss), "validation_accuracy": _accuracy(scores, labels)}

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """Accuracy and error on the test images."""
        accuracy = _accuracy(predict(self.net, self.data.test_images), self.data.test_labels)
        return {"test_accuracy": accuracy, "test_error_percent": 100 * (1 - accuracy)}

    def draw(self, run: Run) -> None:
        """curves.png, filters.png and mistakes.png."""
        _draw(self, run)


def example(batch_size: int) -> tuple[LeNet, Array]:
    """A network and a batch for it, for `scratchnn summary`."""
    return LeNet(rng=stream(0, "init")), np.zeros((batch_size, 1, SIDE, SIDE), np.float32)


def predict(net: LeNet, images: Array, batch_size: int = 500) -> Array:
    """Scores [N,classes] of uint8 images [N,C,H,W], in evaluation mode; computed where the net is."""
    xp = array_module(next(net.params()).data)
    return np.concatenate([to_cpu(net.forward(xp.asarray(prepared(part)))[0]) for part in parts(images, batch_size)])


def prepared(images: Array) -> Array:
    """What the network sees of uint8 images [N,C,H,W]: values in [0,1], in a field of 32x32."""
    return framed(scaled(images))


def _accuracy(scores: Array, labels: Array) -> float:
    return float((scores.argmax(1) == labels).mean())


def framed(images: Array) -> Array:
    """Centre images in a field of 32x32 of the background."""
    h, w = SIDE - images.shape[2], SIDE - images.shape[3]
    return np.pad(images, ((0, 0), (0, 0), (h // 2, h - h // 2), (w // 2, w - w // 2)))


def _draw(training: Training, run: Run) -> None:
    measured = run.metrics()
    names = {"loss": "training (distorted)", "validation_loss": "validation"}
    series = {shown: [(r["step"], r[name]) for r in measured if name in r] for name, shown in names.items()}
    plot.curves(run.folder / "curves.png", series, "cross-entropy, nats")
    first = training.net.state_dict()["features.0.weight"]
    plot.filters(run.folder / "filters.png", first, "LeNet's first filters: red adds, blue subtracts")
    guesses = predict(training.net, training.data.test_images).argmax(1)
    labels = training.data.test_labels
    wrong = np.flatnonzero(guesses != labels)
    classes = training.data.classes
    captions = [f"{classes[labels[i]]} read as {classes[guesses[i]]}" for i in wrong[:72]]
    title = f"{len(wrong)} of {len(labels)} test images misread" + (": the first 72" if len(wrong) > 72 else "")
    plot.labelled_images(run.folder / "mistakes.png", scaled(training.data.test_images[wrong[:72]]), captions, title)
