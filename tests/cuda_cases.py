"""Calls that take every CUDA kernel through all of its code: beyond one tile, one block and one warp, and never a
multiple of them. `.cu` file -> its calls; the race detector, the schedules and the mutation run use the same ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import scratchnn_kernels as kernels
from kernel_arguments import IN_PLACE
from scratchnn_kernels import normalize_cuda
from scratchnn_kernels.conv2d import depthwise_cuda
from scratchnn_kernels.cuda import tiles

Array = np.ndarray
rng = np.random.default_rng(5)


def normal(*shape: int) -> Array:
    """Numbers that float32 holds exactly, so that both precisions start from the same."""
    return rng.standard_normal(shape).astype(np.float32).astype(float)


class Case(NamedTuple):
    """A call of a public kernel in float64; `large` makes products take the large tile, `off` misaligns its arrays, or
    those at these places, normalisation takes a piece for every `piece` numbers, and depthwise convolutions take
    `blocks` if they can.
    """

    op: str
    args: tuple[Any, ...]
    options: dict[str, Any] = {}  # noqa: RUF012  never written to
    impl: str = "cuda"
    large: bool = False
    off: bool | tuple[int, ...] = False
    piece: int = normalize_cuda.LEAST
    blocks: int = depthwise_cuda.BLOCKS

    @property
    def tolerance(self) -> float:
        """Of float32, relative to the largest number of a result."""
        return 2e-3 if self.impl == "cuda_tf32" else 2e-5

    def run(self, impl: str, dtype: Any = np.float64) -> list[Array]:
        """What the call returns or changes."""
        off = self.off if isinstance(self.off, tuple) else range(len(self.args) * self.off)
        args = [self._cast(a, dtype, i in off) for i, a in enumerate(self.args)]
        with limits(0 if self.large else tiles.ENOUGH, self.piece, self.blocks):
            given = getattr(kernels, self.op)(*args, **self.options, impl=impl)
        if self.op in IN_PLACE:
            return args
        return [a for a in (given if isinstance(given, tuple) else (given,)) if a is not None]

    @staticmethod
    def _cast(a: Any, dtype: Any, off: bool) -> Any:
        if not isinstance(a, np.ndarray) or a.dtype.kind != "f":
            return a
        room = np.empty(a.size + 1, dtype)
        view = room[1:].reshape(a.shape) if off else room[:-1].reshape(a.shape)
        view[...] = a
        return view


@contextmanager
def limits(enough: int, piece: int, blocks: int) -> Iterator[None]:
    """Threads that are enough for large tiles, numbers that are worth a piece of a cell, enough depthwise blocks."""
    before = tiles.ENOUGH, normalize_cuda.LEAST, depthwise_cuda.BLOCKS
    tiles.ENOUGH, normalize_cuda.LEAST, depthwise_cuda.BLOCKS = enough, piece, blocks
    normalize_cuda.plan.cache_clear()
    try:
        yield
    finally:
        tiles.ENOUGH, normalize_cuda.LEAST, depthwise_cuda.BLOCKS = before
        normalize_cuda.plan.cache_clear()


def elementwise() -> list[Case]:
    x = np.concatenate([normal(1030) * 3, [0.0, -0.0, 30, -30, 90, -90, np.inf, -np.inf, np.nan]])
    dy, y = normal(x.size), 1 / (1 + np.exp(-normal(x.size)))
    calm = np.where(np.isfinite(x), x, 1)  # 0 * inf is for the reference to say
    numbers = {"leaky_relu": {"negative_slope": 0.5}, "softplus": {"beta": 3.0}, "elu": {"alpha": 3.0}}
    names = ("relu", "leaky_relu", "sigmoid", "tanh", "softplus", "silu", "elu", "gelu", "erf")
    cases = [Case(op, (calm if op == "silu" else x,), numbers.get(op, {})) for op in names]
    for op in names[:-1]:
        kept = y if op in ("sigmoid", "tanh") else calm
        cases.append(Case(f"{op}_grad", (dy, kept), numbers.get(op, {})))
    return [*cases, Case("relu", (x[:30],), off=True), Case("relu_grad", (dy[:30], calm[:30]), off=True)]


# For each group of threads, and beyond its registers; the first array and its 36 targets end at a multiple of 16 bytes,
# where a read of a number behind them is seen.
ROWS = (36, 29), (9, 70), (2, 700), (2, 1100), (2, 4200)


def softmaxes() -> list[Case]:
    banned = normal(3, 70)
    banned[1, ::3] = -np.inf
    cases = [Case("softmax", (banned,)), *(Case("softmax", (20 * normal(*shape),)) for shape in ROWS)]
    cases += [Case("softmax", (20 * normal(2, 5, 137),), {"axis": 1})]
    cases += [Case("softmax_grad", (normal(*shape), normal(*shape)), {"axis": 1}) for shape in ROWS]
    cases += [Case("softmax_grad", (normal(2, 5, 137), normal(2, 5, 137)), {"axis": 1})]
    for shape, smoothing in (((9, 10), 0.0), *((shape, 0.1) for shape in ROWS)):
        scores, target = 5 * normal(*shape), rng.integers(0, shape[1], shape[0])
        target[:2] = 0, shape[1] - 1
        cases.append(Case("softmax_cross_entropy", (scores, target), {"label_smoothing": smoothing}))
    excluded = normal(9, 10)
    excluded[:, 3] = -np.inf
    return [*cases, Case("softmax_cross_entropy", (excluded, rng.integers(4, 10, 9)))]


def pools() -> list[Case]:
    ties = rng.integers(0, 3, (2, 3, 13, 11)).astype(float)
    ties[0, 0, 2:5, 3:6], ties[0, 1, :4] = np.nan, -np.inf
    few, many = {"kernel_size": 2}, {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "dilation": (1, 2)}
    cases = [Case("max_pool2d", (x,), o) for x in (ties, normal(2, 3, 13, 11)) for o in (few, many)]
    cases += [Case("max_pool2d", (ties,), many | {"index_type": t}) for t in (np.int32, np.int16)]
    cases += [Case("max_pool2d", (normal(3, 2, 9, 9),), few | {"index_type": np.int8})]
    cases += [Case("max_pool2d", (x,), many | {"relu": True}) for x in (ties - 1, -abs(normal(1, 2, 5, 5)))]
    for index_type in (np.int64, np.int32, np.int16):
        winners = rng.integers(0, 13 * 11, (2, 3, 7, 10)).astype(index_type)
        cases += [Case("max_pool2d_scatter", (normal(2, 3, 7, 10), winners, (13, 11)))]
        cases += [Case("max_pool2d_gather", (normal(2, 3, 13, 11), winners))]
    _, winners = kernels.max_pool2d(normal(2, 3, 31, 29), 3, stride=2, padding=1)
    small = rng.integers(0, 20, (2, 1, 3, 3)).astype(np.int8)
    cases += [Case("max_pool2d_gather", (normal(2, 1, 4, 5), small))]
    cases += [Case("max_pool2d_scatter", (normal(2, 1, 3, 3), small, size)) for size in ((4, 5), (5, 5))]
    cases += [Case("max_pool2d_scatter", (normal(*winners.shape), winners, (31, 29)))]
    for shape, options in (((7, 9, 6, 5), {"kernel_size": 2}), ((1, 1, 200, 161), {"kernel_size": 5, "stride": 4})):
        _, winners = kernels.max_pool2d(normal(*shape), **options)  # small planes together, and a large one
        cases += [Case("max_pool2d_scatter", (normal(*winners.shape), winners, shape[2:]))]
    often = np.where(rng.random((3, 1, 20, 13)) < 0.5, 17, rng.integers(0, 30, (3, 1, 20, 13)))
    cases += [Case("max_pool2d_scatter", (normal(*often.shape), often, (5, 6)))]
    again = np.zeros((32, 1, 6, 6), int)  # all planes of a block, whose first output is in the middle of a list
    return [*cases, Case("max_pool2d_scatter", (np.ones(again.shape), again, (1, 2)))]


def windows() -> list[Case]:
    cases = []
    for options in (
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "count_include_pad": True},
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": 1, "count_include_pad": False},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": (2, 3), "stride": (3, 4), "ceil_mode": True, "count_include_pad": False},
    ):
        x = normal(2, 3, 12, 10)
        y = kernels.avg_pool2d(x, **options, impl="reference")
        cases += [Case("avg_pool2d", (x,), options)]
        cases += [Case("avg_pool2d_input_grad", (normal(*y.shape), (12, 10)), options)]
    for padding, mode in (((1, 2, 3, 0), "zeros"), ((-1, 2, 3, -2), "zeros"), ((3, 4, 5, 2), "reflect")):
        x = normal(2, 3, 7, 6)
        y = kernels.pad2d(x, padding, mode=mode, impl="reference")
        cases += [Case("pad2d", (x, padding), {"mode": mode})]
        cases += [Case("pad2d_input_grad", (normal(*y.shape), (7, 6), padding), {"mode": mode})]
    for mode, corners in (("nearest", False), ("bilinear", False), ("bilinear", True)):
        options = {"mode": mode, "align_corners": corners}
        for size in ((5, 17), (16, 3), (1, 1)):
            cases += [Case("resize2d", (normal(2, 2, 8, 9), size), options)]
            cases += [Case("resize2d_input_grad", (normal(2, 2, *size), (8, 9)), options)]
        cases += [Case("resize2d_input_grad", (normal(1, 1, 5, 4), (1, 1)), options)]
        # Not a whole number of blocks, more planes than a thread takes at once, and more outputs of a cell.
        cases += [Case("resize2d", (normal(1, 11, 10, 9), (19, 17)), options)]
        cases += [Case("resize2d_input_grad", (normal(1, 11, 21, 93), (21, 15)), options)]
    x, half = normal(11, 1, 23, 35), {"kernel_size": (1, 2)}
    cases += [Case("avg_pool2d", (x,), half), Case("avg_pool2d", (normal(50, 3, 4, 5),), {"kernel_size": 2})]
    cases += [Case("avg_pool2d_input_grad", (normal(11, 1, 23, 17), (23, 35)), half)]
    # The planes of one thread, and one more.
    cases += [Case("avg_pool2d", (np.ones((5, 1, 10, 13)),), {"kernel_size": 1})]
    cases += [Case("pad2d", (x, (1, 2, 3, 1)), {"mode": "reflect"})]
    cases += [Case("pad2d_input_grad", (normal(11, 1, 27, 38), (23, 35), (1, 2, 3, 1)), {"mode": "reflect"})]
    return cases


def tops() -> list[Case]:
    ties = rng.integers(-2, 3, (3, 700)).astype(float)
    ties[0, 5:9], ties[0, 20:30], ties[1, :3] = np.nan, np.inf, -np.inf
    ties[2, ::7] = -0.0
    calls: list[tuple[Any, int, int]] = [(normal(3, 700), 5, 1), (normal(3, 700), 300, 1), (ties, 300, 1)]
    calls += [(ties, 12, 1), (ties[:, :40], 40, 1), (normal(2, 70, 3) * 1e-39, 31, 1), (normal(300, 2), 7, 0)]
    long = np.concatenate([ties[1:], ties[1:]], 1)  # for a block; one with more than THREADS to sort, and few ties
    calls += [(long, 300, 1), (long, 5, 1), (normal(2, 1025), 700, 1)]
    tiny, level, alike = normal(3, 60), normal(3, 1024), np.full((2, 50), -np.inf)
    tiny[0] *= 1e-39
    tiny[1, ::2] *= -1e-39
    level[:, ::200] = 3
    calls += [(tiny, 20, 1), (-tiny, 20, 1), (level, 4, 1), (level, 33, 1), (level, 1024, 1), (alike, 3, 1)]
    calls += [(normal(5, 1), 1, 1), (normal(3, 200), 64, 1), (normal(3, 200), 1, 1)]
    long = np.arange(1400.0) * 37 % 1400
    rows = [
        *((long, 700), (long, 1400)),
        (np.arange(40.0)[::-1] * 2.0**-149, 33),  # neighbouring keys, and the lanes' largest are the 32 largest
        (np.arange(67.0) * 44 % 67, 32),  # one candidate too many to be few
        ((np.arange(40.0) + 15) % 40, 32),  # 40 candidates, of which a lane's second is the largest
        # Of 64 and 43 candidates some are equal, and so many that a wrong sum of ranks would be the right one.
        *((np.arange(64.0) % 32, 32), (np.arange(43.0) % 22, 32)),
    ]
    calls += [(np.array([[2.0, 2, 1, 1], [3, 2, 1, 1]]), 4, 1), *((np.stack([x, x]), k, 1) for x, k in rows)]
    return [Case(op, (x, k), {"axis": axis}) for op in ("topk", "k_sparse") for x, k, axis in calls]


# Shape, axes, weight.
NORMS: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]] = [
    # batch norm in pieces: 16 bytes at a time, and not
    ((7, 3, 40, 31), (0, 2, 3), (1, 3, 1, 1)),
    ((9, 2, 31, 31), (0, 2, 3), (1, 2, 1, 1)),
    # rows for each group of threads: layer norm in shares, group norm, instance norm; and one row too long
    ((150, 45), (1,), (1, 45)),
    ((5, 4, 11, 13), (2, 3), (1, 4, 1, 1)),
    ((3, 2, 4, 8, 11), (2, 3, 4), (1, 2, 4, 1, 1)),
    ((2, 300), (1,), None),
    ((3, 1500), (1,), (1, 1500)),
    ((2, 2, 4, 33, 33), (2, 3, 4), (1, 2, 4, 1, 1)),
    ((1, 4101), (1,), (1, 4101)),
    # weights of other kinds, cells of one number
    ((4, 3, 5, 7), (2, 3), (1, 3, 1, 1)),
    ((3, 4, 5), (2,), (1, 4, 5)),
    ((4, 3, 5), (0, 2), (1, 3, 5)),
    ((4, 3, 5), (0, 2), (1, 1, 5)),
    ((130, 2, 3), (2,), (1, 2, 1)),
    ((4, 3, 5), (0, 2), None),
    ((4, 3, 5), (0,), (1, 3, 1)),
    ((1, 3), (0,), (1, 3)),
]


def norms() -> list[Case]:
    cases = []
    for shape, axes, weight in NORMS:
        x, g, reduced = normal(*shape) + 3, normal(*shape), [1 if i in axes else n for i, n in enumerate(shape)]
        affine = () if weight is None else (normal(*weight), normal(*weight))
        mean, inv_std = normal(*reduced), normal(*reduced)
        for centred in (True, False):
            o = {"centred": centred}
            cases += [Case("normalize", (x, axes, 0.3, *affine), o)]
            cases += [Case("normalize_grad", (g, x, inv_std, axes), o)]
            cases += [Case("normalize_affine_grad", (g, x, mean, inv_std, affine[0] if affine else None, axes), o)]
    x, g = normal(2, 3, 44), normal(2, 3, 44)
    cases += [
        Case("normalize", (x, (0, 2), 0.3), off=True),
        *(Case("normalize_grad", (g, x, normal(1, 3, 1), (0, 2)), off=off) for off in (True, (1,))),
    ]
    # A weight without a bias; weights of one number each.
    x, w, one = normal(3, 4, 5), normal(1, 4, 5), np.ones((1, 4, 1))
    cases += [Case("normalize", (x, (2,), 0.3, w)), Case("normalize_affine_grad", (x[:1], w, one, one, w, (2,)))]
    # More pieces than threads, and some of them empty.
    x, g, one = normal(1, 4105), normal(1, 4105), normal(1, 1)
    cases += [
        Case("normalize", (x, (1,), 0.3, one, one), piece=15),
        Case("normalize_affine_grad", (g, x, one, one, one, (1,)), piece=15),
    ]
    # A difference of large squares would lose the variance.
    far = [rng.integers(97, 104, shape).astype(float) for shape in ((300, 2), (5, 600), (2, 3, 50, 60))]
    return [*cases, *(Case("normalize", (x, axes, 0.3)) for x, axes in zip(far, ((0,), (1,), (0, 2, 3)), strict=True))]


def products() -> list[Case]:
    cases = []
    sizes = (
        (70, 67, 75, False),
        (5, 33, 150, False),
        (150, 37, 140, True),
        (600, 11, 9, False),
        (1, 1, 1, False),
        (12, 80, 40, False),
    )
    for n, i, o, large in sizes:
        x, w, dy = normal(n, i), normal(o, i), normal(n, o)
        cases += [Case("linear", (x, w), large=large), Case("linear_input_grad", (dy, w), large=large)]
        cases += [Case("linear_weight_grad", (dy, x), large=large)]
        cases += [Case("linear", (x, w, normal(o)), {"relu": relu}) for relu in (True, False)]
    return cases


def trio(n: int, c: int, size: tuple[int, int], o: int, kernel: tuple[int, int], **options: Any) -> list[Case]:
    """Forward, input gradient, weight gradient; `impl` and `large` are the cases', the rest is geometry."""
    how = {name: options.pop(name) for name in ("impl", "large") if name in options}
    x, w, bias = normal(n, c, *size), normal(o, c // options.get("groups", 1), *kernel), normal(o)
    dy = normal(*kernels.conv2d(x, w, **options, impl="reference").shape)
    return [
        Case("conv2d", (x, w, bias), options, **how),
        Case("conv2d_input_grad", (dy, w, size), options, **how),
        Case("conv2d_weight_grad", (dy, x, kernel), options, **how),
    ]


def convolutions() -> list[Case]:
    mixed = {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1)}
    infinite = np.ones((1, 2, 4, 4))
    infinite[0, 0, 2, 2] = np.inf
    return [
        *trio(3, 3, (13, 11), 6, (3, 2), padding=(1, 0)),
        *trio(2, 18, (9, 10), 36, (2, 3), groups=2, **mixed),
        *trio(1, 140, (7, 6), 132, (1, 2), stride=2, large=True),
        *trio(2, 4, (20, 17), 20, (3, 3), stride=(3, 2), dilation=(3, 4), padding=4),
        *trio(2, 3, (6, 5), 4, (1, 1), stride=3),
        *trio(2, 4, (18, 17), 6, (2, 2), groups=2),  # a weight gradient in parts
        *trio(2, 36, (8, 8), 40, (3, 3), padding=1),  # results 16 bytes at a time, and sums in parts
        *trio(1, 12, (9, 8), 12, (4, 4)),
        Case("conv2d", (normal(2, 40, 5, 4), normal(6, 40, 2, 2), normal(6)), {"relu": True}),
        Case("conv2d", (infinite, np.ones((3, 2, 2, 2)))),
        # Rows of results of which 16 bytes are not together, and are cut by the end of an image.
        Case("conv2d_input_grad", (np.ones((1, 3, 4, 2)), np.ones((3, 12, 1, 2)), (4, 4)), {"stride": (1, 2)}),
        Case("conv2d_input_grad", (np.ones((2, 3, 3, 5)), np.ones((3, 12, 1, 1)), (3, 5))),
        # Phases without a cell, and with a single one.
        Case("conv2d_input_grad", (np.ones((2, 3, 1, 1)), np.ones((3, 2, 1, 1)), (2, 2)), {"stride": 3}),
    ]


def tensor_convolutions() -> list[Case]:
    mixed = {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "impl": "cuda_tf32"}
    return [
        *trio(3, 3, (13, 11), 6, (3, 2), padding=(1, 0), impl="cuda_tf32"),
        *trio(2, 18, (9, 10), 150, (2, 3), groups=2, **mixed),
        *trio(1, 70, (7, 6), 5, (1, 1), impl="cuda_tf32"),
        *trio(2, 4, (18, 17), 6, (2, 2), groups=2, impl="cuda_tf32"),
        *trio(2, 130, (9, 8), 132, (1, 1), impl="cuda_tf32"),  # the large tile, and sums in parts
        *trio(1, 20, (5, 8), 66, (1, 1), impl="cuda_tf32"),  # 16 bytes at a time, beyond what there is
        *trio(2, 3, (6, 5), 4, (1, 1), stride=3, impl="cuda_tf32"),  # phases without a tap
        *trio(2, 1, (6, 5), 5, (3, 3), impl="cuda_tf32"),  # rows of weights that do not begin at 16 bytes
        *trio(5, 6, (2, 2), 7, (2, 2), impl="cuda_tf32"),  # nor images
        Case("conv2d", (normal(2, 4, 8, 9), normal(3, 4, 1, 3), normal(3)), {"relu": True}, "cuda_tf32", off=True),
        # Of 25 parts of the sum, the last has no terms.
        Case("conv2d_weight_grad", (normal(13, 3, 5, 25), normal(13, 2, 5, 25), (1, 1)), {}, "cuda_tf32"),
    ]


def depthwise() -> list[Case]:
    mixed = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 3}
    x, w, bias = normal(3, 2, 17, 70), normal(4, 1, 3, 3), normal(4)
    infinite = normal(1, 2, 13, 6)
    infinite[0, :, -1, 2], infinite[0, 1, 4, 0], infinite[0, 0, 4, 5] = np.inf, np.nan, np.inf
    return [
        *trio(2, 3, (13, 21), 6, (3, 2), **mixed),
        *trio(3, 5, (9, 8), 5, (2, 2), groups=5),
        *trio(2, 2, (33, 9), 4, (2, 3), stride=(3, 2), padding=(1, 2), dilation=(2, 1), groups=2),
        *trio(2, 2, (3, 2), 2, (1, 1), stride=4, groups=2),  # phases without a tap or a cell
        *trio(3, 2, (19, 67), 4, (3, 3), padding=(1, 2), groups=2),
        *trio(5, 3, (9, 7), 3, (5, 5), padding=2, groups=3),
        *trio(10, 2, (17, 40), 2, (3, 3), groups=2),  # a weight gradient in parts
        Case("conv2d", (x, w, bias), {"groups": 2, "relu": True}),
        Case("conv2d_weight_grad", (normal(1, 2, 11, 4), infinite, (3, 3)), {"groups": 2}),
        Case("conv2d", (normal(150_000, 4, 1, 1), normal(4, 1, 1, 1)), {"groups": 4}),  # several planes a thread
        Case("conv2d_input_grad", (normal(150_000, 4, 1, 1), normal(4, 1, 1, 1), (1, 1)), {"groups": 4}),
        *(case._replace(blocks=1) for case in trio(5, 2, (17, 20), 2, (3, 3), groups=2)),
        Case("conv2d_weight_grad", (normal(257, 2, 1, 1), normal(257, 2, 1, 1), (1, 1)), {"groups": 2}),
    ]


def updates() -> list[Case]:
    w, g, m, v = normal(300), normal(300), normal(300), abs(normal(300))
    sgd = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    adam = {"lr": 0.1, "eps": 0.3, "weight_decay": 0.1, "step": 3}
    cases = [Case("sgd_update", (w, g, m), sgd | {"nesterov": nesterov}) for nesterov in (True, False)]
    return [
        *cases,
        *(Case("adam_update", (w, g, m, v), adam | {"decoupled": decoupled}) for decoupled in (True, False)),
    ]


def losses() -> list[Case]:
    x, t, p = 3 * normal(70, 9), normal(70, 9), abs(np.tanh(normal(70, 9)))
    x[0, :3], t[0, :3], p[0, 3:5] = (0.5, 40, -40), (0.5, 1, 1), (0, 1)
    divisors = [{}, {"divisor": 7}]
    return [
        Case(op, (x, p if op == "binary_cross_entropy" else t), divisor)
        for op in ("squared_error", "absolute_error", "binary_cross_entropy")
        for divisor in divisors
    ] + [
        Case("squared_error", (normal(1025, 1025), normal(1025, 1025))),
        *(Case("squared_error", (normal(30), normal(30)), off=off) for off in (True, (1,))),
    ]


CASES: dict[str, list[Case]] = {
    "elementwise.cu": elementwise(),
    "softmax.cu": softmaxes(),
    "channel_sum.cu": [
        Case("channel_sum", (normal(*shape),)) for shape in ((5, 3, 17, 19), (5, 200, 1, 3), (300, 45), (1, 3, 1, 1))
    ],
    "losses.cu": losses(),
    "max_pool2d.cu": pools(),
    "window.cu": windows(),
    "topk.cu": tops(),
    "normalize.cu": norms(),
    "linear.cu": products(),
    "conv2d.cu": convolutions(),
    "conv2d_tf32.cu": tensor_convolutions(),
    "depthwise.cu": depthwise(),
    "update.cu": updates(),
}


def truths(name: str) -> list[list[Array]]:
    """What the references say, in float64."""
    with np.errstate(all="ignore"):
        return [case.run("reference") for case in CASES[name]]


def disagreement(case: Case, found: list[Array], truth: list[Array], dtype: Any) -> str | None:
    """How the results differ from the truth, or None; infinities and NaNs must be at the same places."""
    tolerance = case.tolerance if dtype == np.float32 else 1e-12
    for got, expected in zip(found, truth, strict=True):
        if got.shape != expected.shape or (expected.dtype.kind == "i" and not np.array_equal(got, expected)):
            return f"{case.op}: other indices or another shape"
        finite = np.isfinite(expected)
        if not np.array_equal(np.where(finite, 0, got), np.where(finite, 0, expected), equal_nan=True):
            return f"{case.op}: other infinities or NaNs"
        scale = max(1.0, np.abs(expected[finite]).max(initial=0.0))
        error = np.abs(got[finite] - expected[finite]).max(initial=0.0) / scale
        if not error <= tolerance:
            return f"{case.op}: off by {error:.1e}"
    return None
