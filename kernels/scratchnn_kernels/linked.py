"""Micro-kernels that exist once: compiled for both precisions when their module is imported, and called by address.

Numba puts a copy of every function into each of its callers, and optimises it there again; for the large register tiles
that was most of the time of a first start. Here a caller refers to a symbol, which LLVM looks up when it loads the
caller's code, compiled just now or cached on disk.

Import this module only when Numba is wanted: it imports it.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any, ParamSpec

import llvmlite.binding as llvm
from numba import cfunc, types
from numba.core import cgutils, config
from numba.core.imputils import lower_builtin
from numba.core.typing import templates

P = ParamSpec("P")


def linked(function: Callable[P, None]) -> Callable[P, None]:
    """A kernel of ints and floats without a result; all floats are float32, or all are float64."""
    if config.DISABLE_JIT:
        return function
    floats = [parameter.annotation is float for parameter in signature(function).parameters.values()]

    def symbol(kind: Any) -> str:
        # with the arguments: Numba may hold code on disk that calls an older version, which must not be found then
        return f"{function.__module__}.{function.__name__}.{kind}.{''.join('if'[number] for number in floats)}"

    def typed(kind: Any) -> Any:
        return types.void(*[kind if number else types.intp for number in floats])

    for kind in (types.float32, types.float64):
        code = cfunc(typed(kind), cache=True)(function)
        # its address is that of a wrapper for C, whose name is "cfunc." and that of the function itself
        inner = code._library.get_pointer_to_function(code._wrapper_name.removeprefix("cfunc."))
        llvm.add_symbol(symbol(kind), inner)

    class Template(templates.AbstractTemplate):  # type: ignore[misc]
        key = function

        def generic(self, args: Any, kws: Any) -> Any:
            return typed(next(arg for arg, number in zip(args, floats, strict=True) if number))

    @lower_builtin(function, types.VarArg(types.Any))
    def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = next(arg for arg, number in zip(signature.args, floats, strict=True) if number)
        convention, (result, kinds) = context.call_conv, (types.void, signature.args)
        shape = convention.get_function_type(result, kinds)
        there = cgutils.get_or_insert_function(builder.module, shape, symbol(kind))
        convention.call_function(builder, there, result, kinds, args)
        return context.get_dummy_value()

    templates.infer_global(function, types.Function(Template))
    return function
