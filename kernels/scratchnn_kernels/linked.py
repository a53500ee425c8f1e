"""Functions that exist once for each type of their arguments: their callers find them by a symbol.

Numba puts a copy of every function into each of its callers, and optimises it there again; for nested loops over
register tiles that was most of the time of a first start. Here a caller refers to a symbol, which LLVM looks up when it
loads the caller's code, compiled just now or cached on disk.

Import this module only when Numba is wanted: it imports it.
"""

from collections.abc import Callable
from copy import copy
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar, cast

import llvmlite.binding as llvm
from numba import types
from numba.core import config
from numba.core.registry import CPUDispatcher

P = ParamSpec("P")
R = TypeVar("R")
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}


class Link(NamedTuple):
    """Which function code calls, for which types. Numba keeps it with this code, and calls it before it loads that."""

    module: str
    name: str
    kinds: tuple[Any, ...]

    @property
    def symbol(self) -> str:
        return f"{self.module}.{self.name}{self.kinds}"

    def __call__(self) -> None:
        import_module(self.module)
        Linked.known[self.module, self.name].compile(self.kinds)


class Linked(CPUDispatcher):  # type: ignore[misc]
    """A function that Numba compiles once for each type of its arguments, and calls by a symbol."""

    known: ClassVar[dict[tuple[str, str], "Linked"]] = {}

    def __init__(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        super().__init__(function, *args, **options)
        self.known[function.__module__, function.__name__] = self

    def __call__(self, *args: Any) -> Any:
        """Python gets what it decorated: compiled code to call from there would double the time."""
        return self.py_func(*args)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Another int, be it a literal or the unsigned one of a `prange`, is no reason for another version."""
        return super().get_call_template([_usual(kind) for kind in args], kws)

    def get_overload(self, kinds: Any) -> str:
        """What Numba looks up how to call it by."""
        return self._link(kinds).symbol

    def add_overload(self, made: Any) -> None:
        super().add_overload(made)
        link = self._link(made.signature.args)
        llvm.add_symbol(link.symbol, made.library.get_pointer_to_function(made.fndesc.llvm_func_name))

        def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return self.called(context, builder, link.kinds, args)[1]

        self.targetctx.insert_func_defn([(call, link.symbol, link.kinds)])

    def called(self, context: Any, builder: Any, kinds: Any, args: Any) -> tuple[Any, Any]:
        """Write a call; returns its status, whether it raised, and its result."""
        link, there = self._link(kinds), copy(self.overloads[kinds].fndesc)
        there.mangled_name = link.symbol
        context.active_code_library._reload_init.add(link)
        function = context.declare_function(builder.module, there)
        found: tuple[Any, Any] = context.call_conv.call_function(builder, function, there.restype, there.argtypes, args)
        return found

    def _link(self, kinds: Any) -> Link:
        return Link(self.py_func.__module__, self.py_func.__name__, tuple(kinds))


def _usual(kind: Any) -> Any:
    kind = types.unliteral(kind)
    return types.intp if isinstance(kind, types.Integer) else kind


def linked(function: Callable[P, R], **options: bool) -> Callable[P, R]:
    """A function that compiled code calls by a symbol; `options` are further ones of `njit`.

    It must not raise, because its callers do not look: if they did, Numba would count references to arrays around each
    call, on counters that all threads share.
    """
    if config.DISABLE_JIT:
        return function
    made = Linked(function, targetoptions={"nopython": True, "no_cpython_wrapper": True, **OPTIONS, **options})
    made.enable_caching()
    return cast(Callable[P, R], made)
