"""Layers, loss, optimizer and training loop on GPU arrays that are only played: the same numbers as on the CPU."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import scratchnn as snn
import test_gpu
from cuda_case import disagreement
from cuda_cases import CASES, truths
from played_cupy import ndarray, played
from scratchnn.data import Dataset
from scratchnn.errors import ScratchnnError
from scratchnn.random import stream
from scratchnn_kernels import KernelError, conv2d
from scratchnn_kernels.cuda import eagerly
from scratchnn_kernels.device import captured, to_cpu
from scratchnn_models import blame, lenet, train
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


def test_a_captured_step_trains_as_kernel_by_kernel(gpu: ModuleType) -> None:
    plain, captured = Training(RECIPE, 0, data(), "cuda"), Training(RECIPE, 0, data(), "cuda", graph=True)
    for step in range(4):
        assert captured.train_step(step) == plain.train_step(step)
    for name, array in captured.tensors().items():
        np.testing.assert_array_equal(to_cpu(array), to_cpu(plain.tensors()[name]), err_msg=name)


def test_who_made_a_nan_is_found_in_a_captured_step(gpu: ModuleType) -> None:
    training = Training(RECIPE, 0, data(), "cuda", graph=True)
    for step in range(3):
        training.train_step(step)
    training.net.features.layers[3].weight.data[...] = np.nan
    assert "(features.3) made the first one, in its forward" in blame.culprit(training, blame.Snapshot(training, 3), 3)


def test_the_gpu_s_tests_of_graphs_pass(gpu: ModuleType) -> None:
    test_gpu.test_a_captured_step_trains_as_kernel_by_kernel()


def test_the_command_records_a_step_if_told(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    captured_functions = []
    monkeypatch.setattr(lenet, "captured", lambda function: captured_functions.append(function) or function)
    monkeypatch.setattr(train, "dataset_of", lambda *_: data())
    changes = {"epochs": 1, "batch_size": 8, "validation": 8}
    for i, manner in enumerate(({"device": "cuda"}, {"device": "cuda", "graph": True})):
        train.begun("lenet", changes, 0, tmp_path / str(i), 1, manner)
        assert len(captured_functions) == i
    with pytest.raises(ScratchnnError, match="--graph records CUDA kernels; it needs --device cuda"):
        train.begun("lenet", changes, 0, tmp_path / "cpu", 1, {"graph": True})


def test_what_is_captured_computes_nothing_before_it_is_launched(gpu: ModuleType) -> None:
    calls = []

    def double(x: Any) -> Any:
        calls.append(len(x))
        total[...] += x.sum()
        return 2 * x

    total, function = gpu.asarray(np.zeros(())), captured(double)
    for i, size in enumerate((3, 3, 3, 4, 4, 3)):
        before = float(total)
        given = np.arange(size) + i
        assert function(gpu.asarray(given)).get().tolist() == (2 * given).tolist()
        assert float(total) == before + given.sum()
    assert calls == [3, 3, 4, 4], "for each shape once by itself and once captured"
    with eagerly():
        function(gpu.asarray(np.arange(3)))
    assert calls == [3, 3, 4, 4, 3]


def test_a_number_that_is_read_back_cannot_be_captured(gpu: ModuleType) -> None:
    function = captured(lambda x: x * float(x[0]))
    x = gpu.asarray(np.arange(1.0, 3.0))
    assert function(x).get().tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="capturing"):
        function(x)
    assert gpu.asarray(np.zeros(1)).get() == 0, "the stream no longer captures"


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


def test_what_is_no_probability_makes_nans(gpu: ModuleType) -> None:
    """To refuse it, the CPU would have to wait for the GPU."""
    x, target = np.array([0.5, -1.0, 2.0, 3.0, 0.0]), np.array([0.0, 1.0, -0.1, 1.1, np.nan])
    loss, dx = snn.losses.bce_with_logits(gpu.asarray(x), gpu.asarray(target))
    assert np.isnan(float(loss)) and np.isnan(dx.get()).tolist() == [False, False, True, True, True]


def test_mixed_arrays_are_refused(gpu: ModuleType) -> None:
    x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    with pytest.raises(KernelError, match=r"conv2d got .* on the GPU, .* on the CPU, .* on one device"):
        conv2d(gpu.asarray(x), weight)


def test_cuda_kernels_are_for_gpu_arrays() -> None:
    x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    for impl in ("cuda", "cuda_tf32"):
        with pytest.raises(KernelError, match=r"on the CPU; CuPy arrays are expected|TF32 is a precision of float32"):
            conv2d(x, weight, impl=impl)
