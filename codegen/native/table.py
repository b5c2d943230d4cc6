"""How each pointwise op is spelled in C: the target's row of the table. {0}, {1}.. stand for operands.

`FUNCTIONS` are named after the type they work on (`exp_f32`, `exp_vf32`), `INFIX` is spelled as it is for
numbers and vectors alike, `COMPARE` gives masks. `UNSUPPORTED` says why an op has no row (the NumPy
renderer runs it). Refuses to hold loops and what mixes axes.
"""

from __future__ import annotations

INFIX = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
}
COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
LOGIC = {
    "logical_and": "{0} & {1}",
    "logical_or": "{0} | {1}",
    "logical_xor": "{0} ^ {1}",
    "logical_not": "~{0}",
}
FLOAT_FUNCTIONS = frozenset({
    "floor", "ceil", "round_even", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos",
    "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "erf", "atan2", "is_finite", "is_nan",
})  # fmt: skip
FUNCTIONS = FLOAT_FUNCTIONS | {"absolute", "sign", "maximum", "minimum", "mod", "floordiv", "power"}
OTHERS = frozenset({"select", "cast", "uniform", "stop_gradient"})  # spelled by the renderer
# vector instructions of an op, more or less
SLOW = {"exp": 14, "expm1": 20, "log": 16, "log1p": 20, "tanh": 22, "sigmoid": 20, "erf": 20, "div": 6, "sqrt": 8, "rsqrt": 14,
        "sin": 100, "cos": 100, "tan": 150, "power": 200, "mod": 20, "floordiv": 20, "load": 0, "const": 0, "iota": 2}  # fmt: skip
UNSUPPORTED: dict[str, str] = {}


def spelled(op: str) -> bool:
    """Whether the table has a row for a pointwise op."""
    return op in INFIX or op in COMPARE or op in LOGIC or op in FUNCTIONS or op in OTHERS
