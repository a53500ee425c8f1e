"""Layers, loss, optimizer and training loop on GPU arrays that are only played: the same numbers as on the CPU."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import scratchnn as snn
from cuda_cases import CASES, disagreement, truths
from played_cupy import ndarray, played
from scratchnn.data import Dataset
from scratchnn.random import stream
from scratchnn_kernels import KernelError, conv2d
from scratchnn_kernels.device import to_cpu
from scratchnn_models.lenet import LeNet, Recipe, Training
from test_gpu import on_gpu
from tiny_run import digits


@pytest.fixture
def gpu() -> Iterator[ModuleType]:
    with played() as cupy:
        yield cupy


def data() -> Dataset:
    return Dataset("tiny", tuple("0123456789"), *digits("train", 24), *digits("test", 6))


RECIPE = Recipe(epochs=1, batch_size=8, validation=8)


def test_lenet_trains_as_on_the_cpu(gpu: ModuleType) -> None:
    here, there = Training(RECIPE, 0, data()), Training(RECIPE, 0, data(), "cuda")
    for step in range(2):
        assert there.train_step(step)["loss"] == pytest.approx(here.train_step(step)["loss"], rel=1e-4)
    for name, array in there.tensors().items():
        assert isinstance(array, ndarray | np.ndarray)
        np.testing.assert_allclose(to_cpu(array), here.tensors()[name], rtol=2e-3, atol=2e-5, err_msg=name)
    assert there.validate() == pytest.approx(here.validate(), rel=1e-3)


def test_a_network_moves_there_and_back(gpu: ModuleType) -> None:
    net = LeNet(rng=stream(0, "init"))
    before = {name: array.copy() for name, array in net.state_dict().items()}
    assert all(isinstance(param.data, ndarray) and isinstance(param.grad, ndarray) for param in net.to("cuda").params())
    for name, array in net.to("cpu").state_dict().items():
        np.testing.assert_array_equal(array, before[name], strict=True)


RNG = np.random.default_rng(0)
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "conv": (snn.Conv2d(3, 4, 3, padding=1, stride=2, rng=RNG), (2, 3, 7, 6)),
    "transposed": (snn.ConvTranspose2d(3, 4, 3, stride=2, rng=RNG), (2, 3, 4, 5)),
    "batch norm": (snn.BatchNorm2d(3), (4, 3, 5, 4)),
    "layer norm": (snn.LayerNorm(6), (4, 6)),
    "instance norm": (snn.InstanceNorm2d(3, affine=True), (2, 3, 4, 5)),
    "group norm": (snn.GroupNorm(2, 4), (2, 4, 3, 3)),
    "max-pool": (snn.MaxPool2d(3, stride=2, padding=1), (2, 3, 7, 6)),
    "average-pool": (snn.AvgPool2d(2), (2, 3, 6, 6)),
    "linear": (snn.Linear(5, 3, rng=RNG), (4, 5)),
    "leaky": (snn.LeakyReLU(0.2), (4, 5)),
    "gelu": (snn.GELU(), (4, 5)),
    "softmax": (snn.Softmax(), (4, 5)),
    "upsample": (snn.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 4, 5)),
    "top-k": (snn.TopK(2), (4, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_s_passes(name: str, gpu: ModuleType) -> None:
    layer, shape = LAYERS[name]
    x = RNG.standard_normal(shape).astype(np.float32)
    results = []
    for device in ("cpu", "cuda"):
        layer.to(device)
        move = gpu.asarray if device == "cuda" else np.asarray
        y, ctx = layer.forward(move(x), train=True)
        dy = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
        layer.zero_grad()
        dx = layer.backward(move(dy), ctx)
        assert isinstance(y, ndarray) is isinstance(dx, ndarray) is (device == "cuda")
        results.append([to_cpu(a) for a in (y, dx, *(param.grad for param in layer.params()))])
    layer.to("cpu")
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


def test_the_tests_for_a_gpu_run(gpu: ModuleType) -> None:
    """What test_gpu.py does with its arrays, on those that are played."""
    for case, truth in zip(CASES["update.cu"], truths("update.cu"), strict=True):
        assert disagreement(case, on_gpu(case, np.float32), truth, np.float32) is None


def test_mixed_arrays_are_refused(gpu: ModuleType) -> None:
    x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    with pytest.raises(KernelError, match=r"conv2d got .* on the GPU, .* on the CPU, .* on one device"):
        conv2d(gpu.asarray(x), weight)


def test_cuda_kernels_are_for_gpu_arrays() -> None:
    x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    for impl in ("cuda", "cuda_tf32"):
        with pytest.raises(KernelError, match=r"on the CPU; CuPy arrays are expected|TF32 is a precision of float32"):
            conv2d(x, weight, impl=impl)
