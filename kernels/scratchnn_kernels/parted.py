"""Loops over parts of the work that wake no thread where there is one part.

Numba's `prange` wakes all its threads, however few the parts. To tell it the number for every call is no way out: with
GNU's OpenMP below, threads end when fewer are asked for, and begin anew. So one part is called as it is; and several
are called by the one `prange` that all kernels share, because Numba takes a second to compile one.

Import this module only when Numba is wanted: it imports it.
"""

from collections.abc import Callable
from inspect import getfile, signature
from typing import Any

from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from scratchnn_kernels.linked import OPTIONS, linked

ENTRY = (types.intp, types.intp, types.intp)  # where the arguments of a kernel are, the part, and how many parts


@njit(**OPTIONS, cache=True)
def bounds(part: int, parts: int, size: int) -> tuple[int, int]:
    """Where a part of `size` pieces begins and ends."""
    return part * size // parts, (part + 1) * size // parts


@njit(**OPTIONS, cache=True)
def share(array: Any, part: int, parts: int) -> Any:
    """A part's own piece of a flat array, such as its scratch."""
    size = array.size // parts
    return array[part * size : (part + 1) * size]


def in_parts(function: Callable[..., None]) -> Any:
    """A kernel that does the part of its work that its last two arguments tell: its number, and that of all parts.

    Python calls it with all arguments but these, after the number of parts: so it does all of them.
    """
    name, names = f"{function.__name__}_in_parts", ", ".join([*signature(function).parameters][:-2])
    scope = {"__name__": function.__module__, "kernel": linked(function)}
    scope |= {"packed": packed, "enter": enter, "spread": spread}
    exec(compile(WHOLE.format(name=name, names=names), getfile(function), "exec"), scope)  # there Numba looks for edits
    whole = scope[name]
    whole.__doc__ = function.__doc__
    return njit(**OPTIONS, cache=True)(whole)


# Written out for each kernel, because Numba takes a microsecond to see of what a tuple of arguments is.
WHOLE = """
def {name}(parts, {names}):
    entry, place = packed(kernel, ({names},))
    if parts == 1:
        enter(entry, place, 0, 1)
    else:
        spread(entry, place, parts)
"""


@intrinsic
def packed(typing: Any, kernel: Any, arguments: Any) -> Any:
    """The address of a function that calls the kernel with the arguments at an address, and this address."""
    called = kernel.get_call_type(typing, (*arguments, types.intp, types.intp), {})

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        convention = context.call_conv
        kind = convention.get_function_type(types.none, ENTRY)
        entry = ir.Function(builder.module, kind, builder.module.get_unique_name("entry"))
        entry.linkage = "internal"
        convention.decorate_function(entry, ("place", "part", "parts"), ENTRY)
        place, *part = convention.get_arguments(entry)
        inside = ir.IRBuilder(entry.append_basic_block())
        given = inside.load(inside.inttoptr(place, values[1].type.as_pointer()))
        given = [*cgutils.unpack_tuple(inside, given), *part]
        given = [context.cast(inside, *each) for each in zip(given, (*arguments, *ENTRY[1:]), called.args, strict=True)]
        status, _ = kernel.dispatcher.called(context, inside, called.args, given)
        with cgutils.if_unlikely(inside, status.is_error):
            convention.return_status_propagate(inside, status)
        convention.return_value(inside, context.get_dummy_value())
        found = cgutils.alloca_once_value(builder, values[1])
        addresses = [builder.ptrtoint(each, ir.IntType(64)) for each in (entry, found)]
        return context.make_tuple(builder, signature.return_type, addresses)

    return types.UniTuple(types.intp, 2)(kernel, arguments), codegen


@intrinsic
def enter(typing: Any, entry: Any, place: Any, part: Any, parts: Any) -> Any:
    """Call such a function."""

    def codegen(context: Any, builder: Any, _: Any, values: Any) -> Any:
        convention = context.call_conv
        kind = convention.get_function_type(types.none, ENTRY)
        there = builder.inttoptr(values[0], kind.as_pointer())
        status, _ = convention.call_function(builder, there, types.none, ENTRY, values[1:])
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(types.intp, *ENTRY), codegen


def _spread(entry: int, place: int, parts: int) -> None:
    """Call it for all parts, by several threads."""
    for part in prange(parts):
        enter(entry, place, part, parts)


spread = linked(_spread, parallel=True)
