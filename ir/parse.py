"""The parser of the text form (see `ir.text`): Python's own `ast`, read by a closed grammar.

Every malformed input gives one `TextError` with its line. Nothing is evaluated but literals, tuples,
and `+ - * //` in dimensions. Refuses to hold per-op syntax: arguments resolve by declared kind.
"""

from __future__ import annotations

import ast
import math
from typing import Any, NoReturn

import ir.ops  # noqa: F401  (fills the table)
from ir.dims import Dim, DimLike, dim
from ir.graph import Graph, Node, Role, Value
from ir.op import TABLE, Attr, IRError, Op
from ir.types import DTYPES, Type

_CONSTANTS = {"inf": math.inf, "nan": math.nan, "True": True, "False": False}
MAX_DEPTH = 60  # nesting of expressions
MAX_TERMS = 200  # size of a dimension's text, against polynomials that explode


class TextError(IRError):
    """Text that is not a graph: the line (from 1), and what is wrong there."""

    def __init__(self, line: int, why: str):
        super().__init__(f"line {line}: {why}")
        self.line, self.why = line, why


def parse(text: str) -> Graph:
    """The graph of the last `def` in `text`; those above it are bodies. Raises TextError."""
    try:
        tree = ast.parse(text)
    except SyntaxError as e:
        raise TextError(e.lineno or 1, e.msg) from e
    except (ValueError, RecursionError, MemoryError) as e:
        raise TextError(1, str(e) or "nested too deeply") from e
    if not tree.body:
        raise TextError(1, "no graph: a `def` is expected")
    graphs: dict[str, Graph] = {}
    used: set[str] = set()
    graph = None
    for statement in tree.body:
        graph = _Def(graphs, used).run(statement)
        if graph.name in graphs or graph.name in TABLE:
            _fail(statement, f"{graph.name!r} is defined twice, or is the name of an op")
        graphs[graph.name] = graph
    assert graph is not None
    idle = set(graphs) - used - {graph.name}
    if idle:
        _fail(tree.body[0], f"never called: {sorted(idle)}; the last graph is the result")
    return graph


class _Def:
    """The reading of one `def`."""

    def __init__(self, graphs: dict[str, Graph], used: set[str]):
        self.graphs, self.used = graphs, used
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []

    def run(self, f: ast.stmt) -> Graph:
        if not isinstance(f, ast.FunctionDef) or f.decorator_list:
            _fail(f, "a plain `def` is expected")
        a = f.args
        if a.posonlyargs or a.kwonlyargs or a.vararg or a.kwarg:
            _fail(f, "inputs are plain parameters")
        inputs, roles = [], []
        defaults = [None] * (len(a.args) - len(a.defaults)) + list(a.defaults)
        for p, default in zip(a.args, defaults, strict=True):
            if p.annotation is None:
                _fail(p, f"the input {p.arg!r} needs a type")
            v = Value(_type(p.annotation), None, 0, p.arg)
            self.define(p, p.arg, v)
            inputs.append(v)
            roles.append(_role(default))
        for statement in f.body[:-1]:
            self.assign(statement)
        outputs = self.returned(f.body[-1], f.returns)
        return Graph(f.name, inputs, self.nodes, outputs, roles)

    def define(self, where: Any, name: str, v: Value) -> None:
        if name in self.values:
            _fail(where, f"{name!r} is defined twice")
        if name in TABLE or name in DTYPES or name in _CONSTANTS:
            _fail(where, f"{name!r} is reserved")
        self.values[name] = v

    def value(self, e: ast.expr) -> Value:
        if not isinstance(e, ast.Name):
            _fail(e, f"a value's name is expected, not `{_shown(e)}`")
        found = self.values.get(e.id)
        if found is None:
            _fail(e, f"{e.id!r} is not defined")
        return found

    def returned(self, s: ast.stmt, types: ast.expr | None) -> list[Value]:
        if not isinstance(s, ast.Return) or not isinstance(s.value, ast.Tuple):
            _fail(s, "a graph ends with `return x, y,`, a tuple")
        outputs = [self.value(e) for e in s.value.elts]
        if types is not None:
            if not isinstance(types, ast.Tuple) or len(types.elts) != len(outputs):
                _fail(types, f"the result type should be a tuple of {len(outputs)} types")
            for e, v in zip(types.elts, outputs, strict=True):
                if _type(e) is not v.type:
                    _fail(e, f"{v.name!r} is {v.type}, not {_shown(e)}")
        return outputs

    def assign(self, s: ast.stmt) -> None:
        annotation: ast.expr | None = None
        targets: list[ast.expr]
        if isinstance(s, ast.AnnAssign) and s.value is not None:
            targets, call, annotation = [s.target], s.value, s.annotation
        elif isinstance(s, ast.Assign) and len(s.targets) == 1:
            t = s.targets[0]
            targets, call = list(t.elts) if isinstance(t, ast.Tuple) else [t], s.value
        else:
            _fail(s, "a statement is `x: type = op(...)` or `x, y = op(...)`")
        node = self.call(call)
        if len(targets) != len(node.outs):
            _fail(s, f"{node.op.name} has {len(node.outs)} results, not {len(targets)}")
        for t, v in zip(targets, node.outs, strict=True):
            if not isinstance(t, ast.Name):
                _fail(t, f"a name is expected, not `{_shown(t)}`")
            v.name = t.id
            self.define(t, t.id, v)
        if annotation is not None and _type(annotation) is not node.outs[0].type:
            _fail(annotation, f"the type is {node.outs[0].type}, not {_shown(annotation)}")
        self.nodes.append(node)

    def call(self, e: ast.expr) -> Node:
        if not isinstance(e, ast.Call) or not isinstance(e.func, ast.Name):
            _fail(e, f"a call of an op is expected, not `{_shown(e)}`")
        name = e.func.id
        op = TABLE.get(name)
        attrs: dict[str, Any] = {}
        if op is None and name in self.graphs:
            op = TABLE["fused"]
            self.used.add(name)
            attrs[next(a.name for a in op.attrs if a.kind == "graph")] = self.graphs[name]
        if op is None:
            _fail(e, f"unknown op {name!r}")
        at = ""
        for k in e.keywords:
            if k.arg is None:
                _fail(e, "`**` is not allowed")
            if k.arg == "at":
                at = _string(k.value)
            elif k.arg in attrs:
                _fail(e, f"{k.arg!r} is given twice")
            else:
                attrs[k.arg] = self.attr(op, k.arg, k.value)
        inputs = tuple(self.value(v) for v in e.args)
        try:
            return op.node(inputs, op.normalise(attrs), at)
        except (
            IRError,
            ValueError,
            TypeError,
            AttributeError,
            LookupError,
            ArithmeticError,
        ) as err:
            raise TextError(e.lineno, str(err)) from err
        except (RecursionError, MemoryError) as err:
            raise TextError(e.lineno, "an attribute is too large") from err

    def attr(self, op: Op, name: str, e: ast.expr) -> Any:
        index = op.attr_index.get(name)
        if index is None:
            _fail(e, f"{op.name} has no attribute {name!r}; it has {list(op.attr_index)}")
        declared: Attr = op.attrs[index]
        if declared.kind == "graph":
            if not isinstance(e, ast.Name) or e.id not in self.graphs:
                _fail(e, f"{name} is the name of a graph above, not `{_shown(e)}`")
            self.used.add(e.id)
            return self.graphs[e.id]
        if declared.kind == "dtype":
            if not isinstance(e, ast.Name):
                _fail(e, f"{name} is a dtype, not `{_shown(e)}`")
            return e.id
        return _literal(e, declared.kind in ("dim", "dims", "nested"))


def _fail(where: Any, why: str) -> NoReturn:
    raise TextError(getattr(where, "lineno", 1), why)


def _shown(e: ast.AST) -> str:
    try:
        text = ast.unparse(e)
    except RecursionError:
        return "..."
    return text if len(text) <= 60 else text[:57] + "..."


def _string(e: ast.expr) -> str:
    if not isinstance(e, ast.Constant) or not isinstance(e.value, str):
        _fail(e, f"a string is expected, not `{_shown(e)}`")
    return e.value


def _role(e: ast.expr | None) -> Role:
    if e is None:
        return Role()
    if isinstance(e, ast.Call) and isinstance(e.func, ast.Name) and not e.keywords:
        kind = e.func.id
        if kind == "unnamed" and not e.args:
            return Role()
        if kind in ("state", "data") and len(e.args) == 1:
            return Role(kind, _string(e.args[0]))
    _fail(e, f'an input is `= state("path")` or `= data("name")`, not `{_shown(e)}`')


def _type(e: ast.expr) -> Type:
    """The type written `f32` or `f32[2, N]`."""
    base = e.value if isinstance(e, ast.Subscript) else e
    if not isinstance(base, ast.Name) or base.id not in DTYPES:
        _fail(e, f"a type is expected, not `{_shown(e)}`")
    shape: list[DimLike] = []
    if isinstance(e, ast.Subscript):
        parts = e.slice.elts if isinstance(e.slice, ast.Tuple) else [e.slice]
        if not parts:
            _fail(e, "a scalar's type has no brackets")
        for p in parts:
            d = _literal(p, True)
            if isinstance(d, bool) or not isinstance(d, (int, Dim)):
                _fail(p, f"an extent is an int or a dimension, not `{_shown(p)}`")
            shape.append(d)
    try:
        return Type(base.id, tuple(shape))
    except ValueError as err:
        raise TextError(e.lineno, str(err)) from err


def _literal(e: ast.expr, dims: bool, depth: int = 0) -> Any:
    """A literal, a tuple of them, `-x`, and where `dims` is true names and `+ - * //` of dimensions."""
    if depth > MAX_DEPTH:
        _fail(e, "nested too deeply")
    if isinstance(e, ast.Constant):
        if isinstance(e.value, (bool, int, float, str)):
            return e.value
    elif isinstance(e, ast.Tuple):
        return tuple(_literal(x, dims, depth + 1) for x in e.elts)
    elif isinstance(e, ast.Name):
        if dims:
            return dim(e.id)
        if e.id in _CONSTANTS:
            return _CONSTANTS[e.id]
    elif isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
        x = _literal(e.operand, dims, depth + 1)
        if isinstance(x, (int, float, Dim)) and not isinstance(x, bool):
            return -x
    elif isinstance(e, ast.BinOp) and dims:
        a, b = (_literal(x, dims, depth + 1) for x in (e.left, e.right))
        if _is_dim(a) and _is_dim(b):
            return _combine(e, a, b)
    _fail(e, f"`{_shown(e)}` is no {'dimension or ' if dims else ''}literal")


def _is_dim(x: Any) -> bool:
    return isinstance(x, (int, Dim)) and not isinstance(x, bool)


def _combine(e: ast.BinOp, a: DimLike, b: DimLike) -> DimLike:
    out: DimLike
    try:
        if isinstance(e.op, ast.Add):
            out = a + b
        elif isinstance(e.op, ast.Sub):
            out = a - b
        elif isinstance(e.op, ast.Mult):
            out = a * b
        elif isinstance(e.op, ast.FloorDiv):
            out = a // b
        else:
            _fail(e, "only + - * // are allowed in a dimension")
        if len(str(out)) > MAX_TERMS:
            _fail(e, "the dimension is too large")
    except (ArithmeticError, ValueError, AssertionError) as err:
        raise TextError(e.lineno, f"`{_shown(e)}`: {err}") from err
    return out
