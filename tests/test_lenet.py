"""LeNet: the lecture's shapes, exact gradients, PyTorch's numbers, its distorted batches, and that it learns."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from scratchnn import LayerError, ScratchnnError, losses
from scratchnn.layer import Array, Layer
from scratchnn.random import stream
from scratchnn_models.augment import Distortion, distort
from scratchnn_models.lenet import LeNet, Recipe, Training, predict
from scratchnn_models.summary import summarize
from tiny_run import VALIDATION, tiny_digits

STEP = 1e-30  # of the complex-step derivative: f'(x) = Im f(x + ih) / h
RNG = np.random.default_rng(0)
STILL = Distortion(0.0, 0.0, 0.0, 0.0, 0.0)
STRONG = Distortion(20.0, 0.2, 0.2, 3.0, 2.0)
RECIPE = Recipe(epochs=6, batch_size=20, lr=3e-3, validation=VALIDATION)


def lenet(dtype: type, in_channels: int = 1) -> LeNet:
    return LeNet(in_channels, rng=stream(0, "init"), dtype=dtype)


def flat(net: Layer) -> Array:
    return np.concatenate([param.data.ravel() for param in net.params()])


def flat_grad(net: Layer) -> Array:
    return np.concatenate([param.grad.ravel() for param in net.params()])


def at(net: LeNet, theta: Array) -> LeNet:
    """A network like this one, with these parameters and gradients of their dtype."""
    copy = LeNet(net.state_dict()["features.0.weight"].shape[1], dtype=theta.dtype)
    start = 0
    for param in copy.params():
        param.data[...] = theta[start : start + param.data.size].reshape(param.data.shape)
        start += param.data.size
    return copy


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(("n", "channels"), [(2, 1), (1, 3), (0, 1)])
def test_the_shapes_of_the_lecture(n: int, channels: int) -> None:
    net = lenet(np.float32, channels)
    rows = summarize(net, np.zeros((n, channels, 32, 32), np.float32))
    shapes = [row.output for row in rows]
    assert [shape[1:] for shape in shapes] == [
        (6, 28, 28), (6, 14, 14), (6, 14, 14), (16, 10, 10), (16, 5, 5), (16, 5, 5), (400,), (10,),
    ]  # fmt: skip
    assert {shape[0] for shape in shapes} == {n}
    assert sum(row.params for row in rows) == 6 * channels * 25 + 6 + 16 * 6 * 25 + 16 + 4000 + 10


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 3, 32, 32), (2, 32, 32), (1, 32, 32, 1)])
def test_other_shapes_are_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayerError, match=r"^(features\.0|classifier\.1): "):
        lenet(np.float32).forward(np.zeros(shape, np.float32))


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_by_complex_step(channels: int) -> None:
    net = lenet(np.float64, channels)
    x, target, c = RNG.random((3, channels, 32, 32)), np.array([3, 0, 9]), RNG.standard_normal((3, 10))
    theta, x_dot, theta_dot = flat(net), RNG.standard_normal(x.shape), RNG.standard_normal(flat(net).size)
    scores, ctx = net.forward(x, train=True)
    dx = net.backward(c, ctx)
    shifted, _ = at(net, theta + 1j * STEP * theta_dot).forward(x + 1j * STEP * x_dot, train=True)
    close(np.vdot(dx, x_dot) + flat_grad(net) @ theta_dot, (c * shifted.imag / STEP).sum())
    for i in RNG.choice(theta.size, 30, replace=False):  # and one at a time
        direction = np.zeros(theta.size, complex)
        direction[i] = 1j * STEP
        shifted, _ = at(net, theta + direction).forward(x.astype(complex), train=True)
        np.testing.assert_allclose(flat_grad(net)[i], (c * shifted.imag / STEP).sum(), rtol=1e-11, atol=1e-11)
    loss, dscores = losses.cross_entropy(scores, target)
    net.zero_grad()
    net.backward_params(dscores, ctx)
    assert loss == pytest.approx((np.log(np.exp(scores).sum(1)) - scores[[0, 1, 2], target]).mean(), rel=1e-12)
    shifted, _ = at(net, theta + 1j * STEP * theta_dot).forward(x.astype(complex), train=True)
    moved = (np.log(np.exp(shifted).sum(1)) - shifted[[0, 1, 2], target]).mean().imag / STEP
    close(flat_grad(net) @ theta_dot, moved)


def test_backward_params_is_backward_without_dx() -> None:
    net, x, c = lenet(np.float64), RNG.random((3, 1, 32, 32)), RNG.standard_normal((3, 10))
    _, ctx = net.forward(x, train=True)
    net.backward(c, ctx)
    whole = flat_grad(net)
    net.zero_grad()
    net.backward_params(c, ctx)
    np.testing.assert_array_equal(flat_grad(net), whole)


def test_jvp_is_the_adjoint_of_backward_and_second_order_is_exact() -> None:
    net = lenet(np.float64)
    x, x_dot = RNG.random((2, 1, 32, 32)), RNG.standard_normal((2, 1, 32, 32))
    c, c_dot = RNG.standard_normal((2, 10)), RNG.standard_normal((2, 10))
    theta, theta_dot = flat(net), RNG.standard_normal(flat(net).size)
    start = 0
    for param in net.params():
        param.dot = theta_dot[start : start + param.data.size].reshape(param.data.shape)
        start += param.data.size
    _, ctx = net.forward(x, train=True)
    y_dot, ctx_dot = net.jvp(x_dot, ctx)
    dx = net.backward(c, ctx)
    close((y_dot * c).sum(), (dx * x_dot).sum() + flat_grad(net) @ theta_dot)
    net.zero_grad()
    again, dx_dot = net.backward_jvp(c, c_dot, ctx, ctx_dot)
    np.testing.assert_array_equal(again, dx)
    moved = at(net, theta + 1j * STEP * theta_dot)
    _, moved_ctx = moved.forward(x + 1j * STEP * x_dot, train=True)
    moved_dx = moved.backward(c + 1j * STEP * c_dot, moved_ctx)
    close(dx_dot, moved_dx.imag / STEP)
    close(flat_grad(net), flat_grad(moved).imag / STEP)


@pytest.mark.oracle
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_its_pytorch_twin(torch: ModuleType, channels: int) -> None:
    nn = torch.nn

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = [nn.Conv2d(channels, 6, 5), nn.MaxPool2d(2), nn.ReLU()]
            self.features = nn.Sequential(*conv, nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU())
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(400, 10))

    net, twin = lenet(np.float64, channels), Twin().double()
    twin.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in net.state_dict().items()})
    x, target = RNG.random((4, channels, 32, 32)), np.array([1, 2, 3, 4])
    scores, ctx = net.forward(x, train=True)
    loss, dscores = losses.cross_entropy(scores, target)
    dx = net.backward(dscores, ctx)
    theirs = torch.from_numpy(x).requires_grad_()
    their_scores = twin.classifier(twin.features(theirs))
    their_loss = nn.functional.cross_entropy(their_scores, torch.from_numpy(target))
    their_loss.backward()
    close(scores, their_scores.detach().numpy())
    assert loss == pytest.approx(their_loss.item(), rel=1e-12)
    close(dx, theirs.grad.numpy())
    for name, param in net.named_params():
        close(param.grad, twin.get_parameter(name).grad.numpy())
    net.load_state_dict({name: array.numpy() for name, array in twin.state_dict().items()})


@pytest.mark.parametrize("shape", [(4, 1, 28, 28), (3, 3, 28, 28), (2, 2, 7, 12), (0, 1, 28, 28)])
def test_no_distortion_changes_nothing(shape: tuple[int, ...]) -> None:
    images = RNG.random(shape).astype(np.float32)
    np.testing.assert_array_equal(distort(images, stream(0, "a"), STILL), images)


class Steady:
    """In the place of a generator: every uniform number is at this share of its interval."""

    def __init__(self, shares: list[float]) -> None:
        self.shares = iter(shares)

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> Array:
        share = next(self.shares)
        return np.full(size, low + share * (high - low))

    def standard_normal(self, size: tuple[int, ...], dtype: type) -> Array:
        return np.zeros(size, dtype)


def test_a_shift_of_whole_pixels_shifts() -> None:
    images = RNG.random((2, 3, 9, 9)).astype(np.float32)
    for share, there, here in [(1.0, slice(2, None), slice(None, -2)), (0.0, slice(None, -2), slice(2, None))]:
        rng = Steady([0.5, 0.5, 0.5, share])  # angle, shear, scale, shift
        y = distort(images, rng, Distortion(0.0, 0.0, 0.0, 2.0, 0.0))  # type: ignore[arg-type]
        expected = np.zeros_like(images)
        expected[:, :, here, here] = images[:, :, there, there]
        np.testing.assert_array_equal(y, expected)


def test_a_quarter_turn_turns() -> None:
    images = RNG.random((1, 1, 8, 8)).astype(np.float32)
    y = distort(images, Steady([1.0, 0.5, 0.5, 0.5]), Distortion(90.0, 0.0, 0.0, 0.0, 0.0))  # type: ignore[arg-type]
    turned = [np.rot90(images, k, (2, 3)) for k in (1, 3)]
    assert min(np.abs(y - other).max() for other in turned) < 1e-5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (5, 3, 28, 28), (5, 2, 9, 14)])
def test_distortion_is_a_function_of_the_stream(shape: tuple[int, ...], dtype: type) -> None:
    images = RNG.random(shape).astype(dtype)
    before = images.copy()
    y = distort(images, stream(0, "a", 1), STRONG)
    np.testing.assert_array_equal(distort(images, stream(0, "a", 1), STRONG), y)
    np.testing.assert_array_equal(images, before)
    assert y.shape == shape and y.dtype == dtype
    assert (distort(images, stream(0, "a", 2), STRONG) != y).mean() > 0.5
    assert y.min() >= 0 and y.max() <= images.max() * (1 + 1e-6)  # a blend of pixels and background


def test_channels_are_warped_alike_and_images_differently() -> None:
    grey = np.repeat(RNG.random((1, 1, 28, 28)).astype(np.float32), 4, 0)
    y = distort(np.repeat(grey, 3, 1), stream(0, "a"), STRONG)
    np.testing.assert_array_equal(y[:, 0], y[:, 1])
    np.testing.assert_array_equal(y[:, 0], y[:, 2])
    assert all((y[i] != y[j]).any() for i in range(4) for j in range(i))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    data = tiny_digits()
    first, second = Training(RECIPE, 0, data), Training(RECIPE, 0, data)
    steps = [0, 1, 24, 25, 26, 60]
    forth = {step: first.batch(step) for step in steps}
    first.train_step(0)
    back = {step: second.batch(step) for step in reversed(steps)}
    for step in steps:
        for mine, other in zip(forth[step], back[step], strict=True):
            np.testing.assert_array_equal(mine, other)
    x, labels = forth[0]
    assert x.shape == (20, 1, 32, 32) and x.dtype == np.float32 and labels.shape == (20,)
    assert x.min() >= 0 and x.max() <= 1
    assert not np.array_equal(x, Training(RECIPE, 1, data).batch(0)[0])


def test_an_epoch_shows_every_image_once_and_none_that_is_held_out() -> None:
    data = tiny_digits()
    data.train_labels[:] = np.arange(len(data.train_labels))
    training = Training(RECIPE, 0, data)
    epochs = [np.concatenate([training.batch(25 * epoch + i)[1] for i in range(25)]) for epoch in (0, 1)]
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order), np.arange(500))
    assert (epochs[0] != epochs[1]).mean() > 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_it_learns(channels: int) -> None:
    data = tiny_digits(channels)
    training = Training(RECIPE, 0, data)
    before = training.validate()
    found = [training.train_step(step)["loss"] for step in range(training.steps)]
    after = training.validate()
    assert np.mean(found[-10:]) < 0.5 * np.mean(found[:10])
    assert before["validation_accuracy"] < 0.4 and after["validation_accuracy"] > 0.9
    assert after["validation_loss"] < 0.5 * before["validation_loss"]
    accuracy = (predict(training.net, data.test_images).argmax(1) == data.test_labels).mean()
    assert accuracy > 0.9


def test_prediction_does_not_depend_on_how_images_are_grouped() -> None:
    net, images = lenet(np.float32), tiny_digits().test_images[:10]
    np.testing.assert_allclose(predict(net, images, 3), predict(net, images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"lr": 0.0}, {"lr": float("nan")}, {"epochs": 0}, {"batch_size": 0}, {"batch_size": 501}, {"validation": 600}],
)
def test_recipes_that_cannot_be_followed(changes: dict[str, float]) -> None:
    with pytest.raises(ScratchnnError, match=r"expected|to train on"):
        Training(replace(RECIPE, **changes), 0, tiny_digits())


def test_without_distortion_a_batch_is_the_images_in_the_middle_of_their_field() -> None:
    data = tiny_digits()
    data.train_labels[:] = np.arange(len(data.train_labels))
    still = replace(RECIPE, rotation=0.0, scale=0.0, shear=0.0, shift=0.0, elastic=0.0)
    x, labels = Training(still, 0, data).batch(3)
    np.testing.assert_array_equal(x[:, :, 2:30, 2:30], data.train_images[labels] / np.float32(255))
    assert x.sum() == pytest.approx(x[:, :, 2:30, 2:30].sum(), rel=1e-6)


def test_no_image_is_seen_twice() -> None:
    data = tiny_digits()
    data.train_images[:] = data.train_images[0]
    training = Training(RECIPE, 0, data)
    seen = np.concatenate([training.batch(step)[0] for step in (0, 1, 25, 26)])
    assert len(np.unique(seen, axis=0)) == len(seen)


def test_validation_is_on_the_images_that_are_held_out() -> None:
    data = tiny_digits()
    training = Training(RECIPE, 0, data)
    scores = predict(training.net, data.train_images[-VALIDATION:])
    data.train_labels[-VALIDATION:] = scores.argmax(1)
    assert training.validate() == {
        "validation_loss": pytest.approx(losses.cross_entropy(scores, scores.argmax(1))[0], rel=1e-6),
        "validation_accuracy": 1.0,
    }
