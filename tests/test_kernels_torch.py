"""The kernels against PyTorch's functions, where the layers do not reach: winners, unpooling, output sizes."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_bits, assert_close
from kernel_arguments import ARGUMENTS
from scratchnn.testing.strategies import (
    batches,
    both,
    conv_transpose_options,
    pairs,
    pool_inputs,
    pool_options,
    seeds,
    transposed_sizes,
    values,
)
from scratchnn_kernels import KernelError

pytestmark = pytest.mark.oracle


@given(options=pool_options(dilated=True), data=st.data(), seed=seeds)
def test_winners_gather_and_scatter(torch: ModuleType, options: dict, data: st.DataObject, seed: int) -> None:
    assume(all(2 * p <= k for p, k in zip(both(options["padding"]), both(options["kernel_size"]), strict=True)))
    shape = data.draw(pool_inputs(options))
    assume(shape[0] > 0)
    x = values(shape, seed, ties=data.draw(st.booleans()))
    y, winners = kernels.max_pool2d(x, **options)
    x_torch = torch.from_numpy(x).requires_grad_()
    y_torch, theirs = torch.nn.functional.max_pool2d(x_torch, **options, return_indices=True)
    assert_bits(y, y_torch.detach().numpy(), "y")
    assert_bits(winners, theirs.numpy(), "winners")
    dy = values(y.shape, seed + 1)
    y_torch.backward(torch.from_numpy(dy))
    assert_close(kernels.max_pool2d_scatter(dy, winners, shape[2:]), x_torch.grad.numpy(), 1e-14, "scatter")
    assert_bits(kernels.max_pool2d_gather(x, winners), y, "gather")


@given(
    shape=st.tuples(batches, *[st.integers(1, 3)] * 3), kernel=pairs(1, 3), gap=st.integers(0, 2),
    padding=st.integers(0, 1), spare=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2)), seed=seeds,
)  # fmt: skip
def test_max_unpool(
    torch: ModuleType, shape: tuple[int, ...], kernel: int | tuple[int, int], gap: int, padding: int,
    spare: tuple[int, int] | None, seed: int,
) -> None:  # fmt: skip
    """Windows that do not overlap; the output size is PyTorch's default, or given."""
    stride = tuple(k + gap for k in both(kernel))
    least = [(n - 1) * s - 2 * padding + k for n, s, k in zip(shape[2:], stride, both(kernel), strict=True)]
    assume(shape[0] > 0 and min(least) > 0 and 2 * padding <= min(both(kernel)))
    size = tuple(least) if spare is None else tuple(n + more for n, more in zip(least, spare, strict=True))
    rng, cells = np.random.default_rng(seed), size[0] * size[1]
    count = shape[2] * shape[3]
    assume(cells >= count)
    indices = np.stack([rng.permutation(cells)[:count] for _ in range(shape[0] * shape[1])]).reshape(shape)
    y = values(shape, seed)
    ours = kernels.max_unpool2d(
        y, indices, kernel, stride=stride, padding=padding, output_size=None if spare is None else size
    )
    assert ours.shape[2:] == size
    # PyTorch takes only sizes within a stride of its default; the size it is told here is its own
    flat = torch.zeros(*shape[:2], cells, dtype=torch.float64)
    flat.scatter_(2, torch.from_numpy(indices.reshape(*shape[:2], -1)), torch.from_numpy(y.reshape(*shape[:2], -1)))
    assert_bits(ours, flat.reshape(*shape[:2], *size).numpy(), "max_unpool2d")
    if spare is None:
        theirs = torch.nn.functional.max_unpool2d(
            torch.from_numpy(y), torch.from_numpy(indices), kernel, stride=stride, padding=padding
        )
        assert_bits(ours, theirs.numpy(), "max_unpool2d")


@given(options=conv_transpose_options(), data=st.data())
def test_transposed_output_sizes(torch: ModuleType, options: dict, data: st.DataObject) -> None:
    """All sizes that PyTorch makes of output_padding and output_size, and an error where it has one."""
    size, output_size = data.draw(transposed_sizes(options))
    kernel = both(options["kernel_size"])
    sizing = {name: options[name] for name in ("stride", "padding", "dilation")}
    module = torch.nn.ConvTranspose2d(**options)
    x = torch.zeros(1, options["in_channels"], *size)
    padded = kernels.transposed_size(size, kernel, output_padding=options["output_padding"], **sizing)
    assert padded == tuple(module(x).shape[2:])
    assert kernels.transposed_size(size, kernel, output_size=output_size, **sizing) == output_size
    assert tuple(module(x, output_size=output_size).shape[2:]) == output_size
    least = kernels.transposed_size(size, kernel, **sizing)
    for wrong in ((least[0] - 1, least[1]), (least[0], least[1] + both(options["stride"])[1])):
        with pytest.raises(ValueError, match=r"output.size"):
            module(x, output_size=wrong)
        with pytest.raises(KernelError):
            kernels.transposed_size(size, kernel, output_size=wrong, **sizing)


@given(data=st.data())
def test_cross_entropy_and_top_k(torch: ModuleType, data: st.DataObject) -> None:
    call = data.draw(ARGUMENTS["softmax_cross_entropy"])
    z, target = (torch.from_numpy(a.copy()) for a in call.args)
    theirs = torch.nn.functional.cross_entropy(z, target, reduction="none", **call.options)
    assert_close(kernels.softmax_cross_entropy(*call.args, **call.options)[0], theirs.numpy(), 1e-13, "cross entropy")
    x = call.args[0]
    for k in range(1, x.shape[1] + 1):
        ours = kernels.topk(x, k)
        for got, expected in zip(ours, torch.topk(z, k), strict=True):
            assert_bits(got, expected.numpy(), "topk")
