"""LLVM intrinsics of the kernels, compiled without Numba and called with arrays that have a margin on both sides.

`Compiled(intrinsic)` is a function of addresses and numbers, made of what the intrinsic writes. `assert_same` runs a
micro-kernel and its plain twin (plain_intrinsics.py) on the same memory and compares all of it, the margins too: so
what is read wrongly, left out, or written beside its place shows.

Import this module only when Numba is wanted: it imports it.
"""

import ctypes
import warnings
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types

from plain_memory import Place

MARGIN = 96  # numbers before and after those of an array
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-13}
C_TYPES = {"int64": ctypes.c_int64, "int32": ctypes.c_int32, "float32": ctypes.c_float, "float64": ctypes.c_double}
LLVM_TYPES = {"i64": "int64", "i32": "int32", "float": "float32", "double": "float64"}


class _Context:
    """What of Numba's target context the intrinsics ask."""

    def get_dummy_value(self) -> None:
        return None

    def get_value_type(self, kind: Any) -> Any:
        return _value_type(kind)

    def get_data_type(self, kind: Any) -> Any:
        return _value_type(kind)

    def get_abi_sizeof(self, kind: Any) -> int:
        return kind.width // 8 if isinstance(kind, ir.IntType) else {ir.FloatType(): 4, ir.DoubleType(): 8}[kind]

    def make_array(self, kind: Any) -> Callable[..., Any]:
        pointer = _value_type(kind.dtype).as_pointer()
        return lambda context, builder, value: SimpleNamespace(data=builder.inttoptr(value, pointer))


def _value_type(kind: Any) -> Any:
    """An array is passed as its address."""
    if isinstance(kind, types.Array):
        return ir.IntType(64)
    if isinstance(kind, types.BaseTuple):
        return ir.LiteralStructType([_value_type(each) for each in kind])
    if kind == types.boolean:
        return ir.IntType(1)
    if isinstance(kind, types.Integer):
        return ir.IntType(kind.bitwidth)
    return ir.FloatType() if kind == types.float32 else ir.DoubleType()


def _kind(value: Any) -> Any:
    if isinstance(value, Place | int | np.int64):
        return types.intp
    if isinstance(value, np.ndarray):
        return types.Array(_kind(value.dtype.type(0)), 1, "C")
    if isinstance(value, tuple):
        return types.UniTuple(types.float64, len(value))
    if isinstance(value, float) and not isinstance(value, np.floating):
        return types.float64
    return getattr(types, np.dtype(type(value)).name)


class Compiled:
    """An intrinsic as a function of ints, NumPy numbers, places and flat arrays; a tuple is compiled in."""

    def __init__(self, intrinsic: Any) -> None:
        self.write = intrinsic._defn
        self.made: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *values: Any) -> Any:
        key = tuple(value if isinstance(value, tuple) else _kind(value) for value in values)
        if key not in self.made:
            self.made[key] = self._compile(values)
        passed = [_passed(value) for value in values if not isinstance(value, tuple)]
        return self.made[key](*passed)

    def _compile(self, values: tuple[Any, ...]) -> Callable[..., Any]:
        signature, codegen = self.write(None, *map(_kind, values))
        module, kinds = ir.Module(), [_kind(value) for value in values]
        if list(signature.args) != kinds:  # as Numba demands
            raise TypeError(f"the intrinsic takes {signature.args}; it was called with {kinds}")
        module.triple = llvm.get_process_triple()
        pairs = [*zip(values, kinds, strict=True)]
        # only an i1 is not passed as it is used: C knows no number of one bit
        outer = [ir.IntType(32) if kind == types.boolean else _value_type(kind) for v, kind in pairs if not _fixed(v)]
        none = signature.return_type == types.void
        result = ir.VoidType() if none else _value_type(signature.return_type)
        function = ir.Function(module, ir.FunctionType(result, outer), "kernel")
        builder, given = ir.IRBuilder(function.append_basic_block()), iter(function.args)
        args = [_constant(v, kind) if _fixed(v) else _used(builder, next(given), kind) for v, kind in pairs]
        value = codegen(_Context(), builder, signature, args)
        builder.ret_void() if none else builder.ret(value)
        returned = None if none else C_TYPES[str(signature.return_type)]
        passed = [
            C_TYPES[{"i64": "int64", "i32": "int32", "float": "float32", "double": "float64"}[str(k)]] for k in outer
        ]
        return _loaded(str(module), returned, tuple(passed))


def _fixed(value: Any) -> bool:
    return isinstance(value, tuple)


def _constant(value: tuple[float, ...], kind: Any) -> Any:
    return ir.Constant(_value_type(kind), [ir.Constant(ir.DoubleType(), number) for number in value])


def _used(builder: Any, argument: Any, kind: Any) -> Any:
    return builder.trunc(argument, ir.IntType(1)) if kind == types.boolean else argument


def _passed(value: Any) -> Any:
    if isinstance(value, Place):
        return value.memory.ctypes.data + value.index * value.memory.itemsize
    if isinstance(value, np.ndarray):
        return value.ctypes.data
    return value.item() if isinstance(value, np.generic) else value


def _loaded(code: str, returned: Any, passed: tuple[Any, ...]) -> Callable[..., Any]:
    module = llvm.parse_assembly(code)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, _machine())
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(returned, *passed)(engine.get_function_address("kernel"))
    function.engine = engine  # type: ignore[attr-defined]  # lives as long as the function
    return function


def _machine() -> Any:
    _initialized()
    features = llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=1, jit=True
    )


@cache
def _initialized() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()


class Memory:
    """Arrays of random numbers of one precision, each with margins."""

    def __init__(self, seed: int, dtype: Any) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), np.dtype(dtype)

    def number(self, value: float | None = None) -> Any:
        return self.dtype.type(self.rng.standard_normal() if value is None else value)

    def count(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def numbers(self, size: int) -> Place:
        return Place(self.rng.standard_normal(size + 2 * MARGIN).astype(self.dtype), MARGIN)

    def steps(self, count: int, below: int) -> Place:
        """Offsets: where the terms of a sum lie."""
        return Place(self.rng.integers(0, below, count + 2 * MARGIN), MARGIN)


def assert_same(micro: Callable[..., Any], plain: Callable[..., Any], args: list[Any]) -> None:
    """Both return the same and leave the same in memory."""
    mine, theirs = _copied(args), _copied(args)
    got, truth = micro(*mine), plain(*theirs)
    if isinstance(truth, Place):  # an address
        got, truth = got - mine[0].ctypes.data, truth.index * truth.memory.itemsize
    assert_close(bool(got) if isinstance(truth, bool) else got, truth, "the result")
    for k, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        if isinstance(one, Place | np.ndarray):
            assert_close(_memory(one), _memory(other), f"argument {k}")


def _memory(value: Any) -> np.ndarray:
    return value.memory if isinstance(value, Place) else value


def _copied(args: list[Any]) -> list[Any]:
    """The arguments in new memory; what shared an array still does."""
    made: dict[int, np.ndarray] = {}

    def again(value: Any) -> Any:
        if not isinstance(value, Place | np.ndarray):
            return value
        memory = _memory(value)
        copy = made.setdefault(id(memory), memory.copy())
        return Place(copy, value.index) if isinstance(value, Place) else copy

    return [again(value) for value in args]


def assert_close(got: Any, truth: Any, what: str) -> None:
    if truth is None:
        return
    got, truth = np.asarray(got), np.asarray(truth)
    if truth.dtype.kind != "f":
        np.testing.assert_array_equal(got, truth, what)
        return
    scale = np.abs(truth[np.isfinite(truth)]).max(initial=1.0)
    np.testing.assert_allclose(got, truth, rtol=0, atol=TOLERANCE[truth.dtype] * scale, err_msg=what)
