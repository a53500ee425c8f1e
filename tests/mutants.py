"""Small faults in a module, made in its syntax tree: what a mutant is, and how one is put into running functions.

A mutant replaces one node by another. The whole module is compiled with it, and the code of the functions around the
node is set into the functions that live, so that no module is loaded twice. Not touched, because no number depends on
it: annotations, texts of errors, and `__repr__`. Defaults of arguments are not touched either.

Nor is made what computes the same by the rules of Python or NumPy, whatever the code around it does:
- two arguments swapped of a function that commutes (COMMUTES; Python's max and min only get ints here, never a NaN),
  or the two factors of `fma`;
- the arrays of `choose` in another order: it asks whether any of them has another dtype or lies on a GPU;
- -1 made -2 among reshape's arguments: NumPy takes any negative number for the length that it is to find;
- an option that says how a result is found, not which one (HOW): `copy` of astype, which either way gives these
  numbers, `optimize` of einsum, which picks the order of the sums, Numba's `cache`; and `strict` of zip, by which the
  code checks itself;
- a function without a call (HINTS) that asks LLVM for wider registers, or for memory before it is used.
"""

import ast
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
COMMUTES = {
    "max", "min", "add", ".maximum", ".minimum", ".result_type", ".swapaxes",  # layer.add is a sum of two
    ".add", ".mul", ".fadd", ".fmul", ".and_", ".or_", ".xor",  # LLVM's
}  # fmt: skip
PRODUCTS = {"fma", ".fma"}  # of the first two arguments
HOW = {".astype": {"copy"}, ".einsum": {"optimize"}, ".njit": {"cache"}, "zip": {"strict"}}
HINTS = {"wide", "prefetch", ".prefetch"}
Fault = tuple[str, ast.AST]


class Slot(NamedTuple):
    """A place in the tree: a field of a node, or an element of a list there."""

    owner: Any
    field: str
    index: int | None

    def get(self) -> Any:
        value = getattr(self.owner, self.field)
        return value if self.index is None else value[self.index]

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.owner, self.field, node)
        else:
            getattr(self.owner, self.field)[self.index] = node


@dataclass(frozen=True)
class Mutant:
    """One fault: its id, the functions around it (outermost first), the lines of its statement, and the change."""

    id: str
    path: Path
    functions: tuple[str, ...]
    lines: frozenset[int]
    change: str
    slot: Slot
    node: ast.AST
    tree: ast.Module

    @property
    def backward(self) -> bool:
        """Whether it sits in a backward, jvp or backward_jvp, or in a kernel that computes a gradient."""
        name = self.id.split(":")[1].replace("winograd", "")
        return name.rsplit(".")[-1] != "zero_grad" and any(
            word in name for word in ("backward", "jvp", "grad", "_rule")
        )

    def codes(self) -> dict[str, CodeType]:
        """The functions' code with the fault in it, by qualified name."""
        kept = self.slot.get()
        self.slot.put(self.node)
        try:
            made = compile(ast.fix_missing_locations(self.tree), str(self.path), "exec", dont_inherit=True)
        finally:
            self.slot.put(kept)
        return {name: code for name, code in codes_in(made).items() if name in self.functions}


def codes_in(code: CodeType) -> dict[str, CodeType]:
    """All functions' code inside this one, by qualified name."""
    found = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= {constant.co_qualname: constant, **codes_in(constant)}
    return found


def live_functions(path: Path) -> dict[str, list[FunctionType]]:
    """All functions of this file that exist now, by qualified name, also those that a decorator hides."""
    found: dict[str, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename == str(path):
            found.setdefault(thing.__code__.co_qualname, []).append(thing)
    return found


@contextmanager
def applied(mutant: Mutant, live: dict[str, list[FunctionType]]) -> Iterator[bool]:
    """The fault in the living functions while the context lasts; yields False if it changes no bytecode."""
    before = []
    try:
        for name, code in mutant.codes().items():
            for function in live.get(name, ()):
                before.append((function, function.__code__))
                function.__code__ = code
        yield any(function.__code__ != code for function, code in before)
    finally:
        for function, code in before:
            function.__code__ = code


def mutants_of(path: Path, module: str) -> list[Mutant]:
    """All mutants of a module's functions, in the order of the file."""
    tree = ast.parse(path.read_text())
    found, unknown = [], _unknown_lengths(tree)
    for name, top, chain in _functions(tree):
        counts: dict[str, int] = {}
        for slot, lines in _slots(top):
            for operator, node in faults(slot.get()):
                if operator == "plus1" and id(slot.get()) in unknown:
                    continue
                key = f"{min(lines) - top.lineno}:{operator}"
                index = counts[key] = counts.get(key, -1) + 1
                change = f"{ast.unparse(slot.get())}  ->  {ast.unparse(node)}"
                identity = f"{module}:{name}:{key}:{index}"
                found.append(Mutant(identity, path, chain, frozenset(lines), change, slot, node, tree))
    return found


def _unknown_lengths(tree: ast.Module) -> set[int]:
    """The 1 of every -1 that reshape is given."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node) == ".reshape")
    return {id(arg.operand) for call in calls for arg in call.args if ast.unparse(arg) == "-1"}  # type: ignore[attr-defined]


def _functions(node: ast.AST, prefix: str = "", chain: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, Any]]:
    """(name without <locals>, the function, qualified names from the outermost function to it)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and child.name != "__repr__":
            name = prefix + child.name
            yield name.replace(".<locals>", ""), child, (*chain, name)
            yield from _functions(child, f"{name}.<locals>.", (*chain, name))
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.", chain)
        elif isinstance(child, ast.stmt):
            yield from _functions(child, prefix, chain)


def _slots(function: ast.FunctionDef) -> Iterator[tuple[Slot, set[int]]]:
    """Every place in a function's own body, with the lines of the statement that it belongs to."""
    for index, statement in enumerate(function.body):
        yield from _inside(Slot(function, "body", index), statement, _lines(statement))


def _inside(slot: Slot, node: ast.AST, lines: set[int]) -> Iterator[tuple[Slot, set[int]]]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    yield slot, lines
    if isinstance(node, ast.Raise | ast.Assert):
        return
    for field, value in ast.iter_fields(node):
        if field == "annotation":
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _only_how(node, child):
                own = _lines(child) if isinstance(child, ast.stmt) else lines
                yield from _inside(Slot(node, field, index), child, own)


def _lines(statement: ast.stmt) -> set[int]:
    """The lines of a statement, without those of the statements inside it."""
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    return set(range(statement.lineno, max(last, statement.lineno) + 1))


def faults(node: ast.AST) -> Iterator[Fault]:
    """What this node is replaced by, each with the name of the operator."""
    kinds = {
        ast.BinOp: _binary, ast.Compare: _comparison, ast.BoolOp: _boolean, ast.UnaryOp: _unary,
        ast.Constant: _constant, ast.AugAssign: _augmented, ast.Call: _call, ast.Slice: _slice, ast.IfExp: _choice,
    }  # fmt: skip
    made: Iterator[Fault] = iter(())
    if type(node) in kinds:
        made = kinds[type(node)](node)  # type: ignore[operator]
    elif isinstance(node, ast.Raise) or _calls(node):
        made = iter([("drop", ast.Pass())])
    elif isinstance(node, ast.Attribute) and node.attr == "real":
        made = iter([("real", node.value)])
    for operator, new in made:
        yield operator, ast.copy_location(deepcopy(new), node)


def _calls(node: ast.AST) -> bool:
    """Whether a statement is a call, and no hint."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value) not in HINTS


def _with(node: ast.AST, **fields: Any) -> Any:
    new = deepcopy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _binary(node: ast.BinOp) -> Iterator[Fault]:
    if type(node.op) in SWAPS:
        yield "swap", _with(node, op=SWAPS[type(node.op)]())
    yield "left", node.left
    yield "right", node.right
    if isinstance(node.op, ast.Mult | ast.Div | ast.MatMult):
        yield "minus", ast.UnaryOp(ast.USub(), node)


def _comparison(node: ast.Compare) -> Iterator[Fault]:
    for i, op in enumerate(node.ops):
        yield "swap", _with(node, ops=[*node.ops[:i], SWAPS[type(op)](), *node.ops[i + 1 :]])


def _boolean(node: ast.BoolOp) -> Iterator[Fault]:
    yield "swap", _with(node, op=SWAPS[type(node.op)]())
    for value in node.values:
        yield "alone", value


def _unary(node: ast.UnaryOp) -> Iterator[Fault]:
    yield "sign" if isinstance(node.op, ast.USub) else "not", node.operand


def _constant(node: ast.Constant) -> Iterator[Fault]:
    if isinstance(node.value, bool):
        yield "flip", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield "plus1", ast.Constant(node.value + 1)
        yield "minus1", ast.Constant(node.value - 1)
    elif isinstance(node.value, float):
        yield "scale", ast.Constant(node.value * 1.001)
        yield "zero", ast.Constant(0.0)


def _augmented(node: ast.AugAssign) -> Iterator[Fault]:
    yield "drop", ast.Pass()
    yield "assign", ast.Assign([node.target], node.value)
    if type(node.op) in SWAPS:
        yield "swap", _with(node, op=SWAPS[type(node.op)]())


def _call(node: ast.Call) -> Iterator[Fault]:
    name = _name(node)
    for i, (a, b) in enumerate(zip(node.args, node.args[1:], strict=False)):
        same = name in COMMUTES or (name == "choose" and i >= 2) or (name in PRODUCTS and i == 0)
        same = same or ast.dump(a) == ast.dump(b)
        if not same:
            yield "arguments", _with(node, args=[*node.args[:i], b, a, *node.args[i + 2 :]])
    for i, keyword in enumerate(node.keywords):
        if not _only_how(node, keyword):
            yield "keyword", _with(node, keywords=[*node.keywords[:i], *node.keywords[i + 1 :]])


def _name(call: ast.Call) -> str:
    """`max` of a call of max, `.maximum` of one of np.maximum."""
    return f".{call.func.attr}" if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _only_how(node: ast.AST, child: ast.AST) -> bool:
    """Whether a child of this node is an option that changes no result."""
    return isinstance(node, ast.Call) and isinstance(child, ast.keyword) and child.arg in HOW.get(_name(node), ())


def _slice(node: ast.Slice) -> Iterator[Fault]:
    for side, absent in (("lower", 1), ("upper", -1)):
        bound = getattr(node, side)
        if bound is None:
            yield "bound", _with(node, **{side: ast.Constant(absent)})
        elif not isinstance(bound, ast.Constant):  # a constant is moved as a constant
            yield "bound", _with(node, **{side: ast.BinOp(bound, ast.Add(), ast.Constant(1))})


def _choice(node: ast.IfExp) -> Iterator[Fault]:
    yield "alone", node.body
    yield "alone", node.orelse
