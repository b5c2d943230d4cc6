"""Register tiles: how many rows by how many vectors of a product are kept in registers, and the C of one tile.

A tile adds a[row] * b[vector] over the loops given, each row's number spread over the lanes (or, where the lanes
are along the rows' own numbers too, lane by lane). Refuses to know what the loops walk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FIRST = 6000  # numbers of b that stay in the first cache from one tile to the next
TURN = 8  # cycles to begin and end a tile
WIDTHS = {16: 32, 8: 16, 4: 16}  # lanes of f32: vector registers

TEXTS = (
    r"""
#define UNROLL _Pragma("GCC unroll 32")
INLINE long least(long x, long y) { return x < y ? x : y; }
INLINE long most(long x, long y) { return x > y ? x : y; }
// how many of 0, step, 2 step .. are below x
INLINE long reach(long x, long step) { return x > 0 ? (x + step - 1) / step : 0; }
""",
    r"""
// n numbers with zeros before and after them
INLINE void padded_@(@ *to, long before, const @ *from, long n, long after) {
  if (before) __builtin_memset(to, 0, sizeof(@) * before);
  memcpy(to + before, from, sizeof(@) * n);
  if (after) __builtin_memset(to + before + n, 0, sizeof(@) * after); }
""",
)


@dataclass(frozen=True)
class Level:
    """One loop of a tile: its variable, the C texts of its range, and the elements a step is worth in a and b."""

    var: str
    low: str
    high: str
    a: int
    b: int


@dataclass(frozen=True)
class Piece:
    """One position of a tap that not all rows have: those from `low` to before `high` (C texts), its elements in a and b."""

    low: str
    high: str
    a: int
    b: int


@dataclass(frozen=True)
class Shape:
    """Rows and vectors of a tile, as C constants."""

    rows: str
    vectors: str


def shapes(
    rows: int,
    cols: int,
    deep: int,
    dtype: str,
    inner: int,
    wide: bool,
    whole: float = 0,
    choice: int = 0,
) -> dict[int, tuple[int, int]]:
    """Positions (of `inner` rows each) and vectors of a tile, by the lanes of the machine.

    rows, cols, deep: of the whole product. wide: a row is a vector of its own, not one number. whole: where a tile has
    all rows, how many of them a tap has (else 0). choice: which by estimate, 0 the best.
    """
    return {
        w: _shape(
            rows, cols, deep, w, (n - 1) // (2 if dtype == "f64" else 1), inner, wide, whole, choice
        )
        for w, n in WIDTHS.items()
    }


def _shape(
    rows: int,
    cols: int,
    deep: int,
    lanes: int,
    registers: int,
    inner: int,
    wide: bool,
    whole: float,
    choice: int,
) -> tuple[int, int]:
    """The tile with the least time, or a later one: multiplications (one a cycle, four in flight), loads, the touch of b; begin and end."""
    vectors = -(-cols // lanes)
    if wide:  # each row's numbers pass through a register of their own
        registers = registers // 2 + 1
    found: list[tuple[float, int, int]] = []
    best = math.inf
    for nv in range(1, min(vectors, 4) + 1):
        most = max(rows // inner, 1)
        for m in range(most if whole else 1, most + 1):
            held = m * inner * nv + nv + 1
            if held > registers and found:
                break
            parts = [(m, rows // inner // m), (rows // inner % m, 1)]
            panels = [(nv, vectors // nv), (vectors % nv, 1)]
            time = 0.0
            for r, many in parts:
                for v, times in panels:
                    if r and v:
                        each = whole or r * inner
                        loads = (each * v if wide else each) + v
                        pace = max(each * v, 4.5, loads * 0.85, 2.2 * v) + loads * 0.05
                        pace += 0.5 * v if deep * v * lanes > FIRST else 0
                        time += many * times * (deep * pace + 2 * r * inner * v + TURN)
            if time < best * 0.998:
                best = time
                found.insert(0, (time, m, nv))
            else:
                found.append((time, m, nv))
    ranked = [found[0], *sorted(found[1:])]
    return ranked[min(choice, len(ranked) - 1)][1:]


def constant(values: dict[int, int]) -> str:
    """A C constant by the lanes of the machine."""
    a, b, c = values[16], values[8], values[4]
    if a == b == c:
        return str(a)
    return f"W == 16 ? {a} : {b}" if b == c else f"W == 16 ? {a} : W == 8 ? {b} : {c}"


def tile(
    dtype: str, shape: Shape, last: str, row_a: str, row_c: str, levels: Sequence[Level] | None, wide: bool, add: str,
    pieces: Sequence[Piece] = (),
) -> list[str]:  # fmt: skip
    """The C of one tile at `a`, `b` and `c`.

    last: the lanes of the last vector; row_a, row_c: where row r is; add: when c is added to (C, or "").
    pieces: the taps that some rows alone have, each inside all loops but the last.
    """
    mr, nv = shape.rows, shape.vectors
    lanes = "W" if last == "W" else f"j == {nv} - 1 ? {last} : W"
    each = f"UNROLL for (int r = 0; r < {mr}; r++) UNROLL for (int j = 0; j < {nv}; j++)"
    out = [f"v{dtype} s[{mr}][{nv}];"]
    zero = f"{each} s[r][j] = (v{dtype}){{0}};"
    if add:
        out.append(f"if ({add}) {each} s[r][j] = ld_{dtype}(c + {row_c} + j * W, {lanes});")
        out.append(f"else {zero}")
    else:
        out.append(zero)
    if levels is not None:
        outer, inner = (levels[:-1], levels[-1:]) if pieces else ((), levels)
        out += [f"{'  ' * k}{v}" for k, v in enumerate(map(_loop, outer))]
        pad = "  " * len(outer)
        out.append(f"{pad}{{")
        for p in pieces or [Piece("0", mr, 0, 0)]:
            loops = [f"{'  ' * k}{v}" for k, v in enumerate(map(_loop, inner))]
            at_a = _sum([f"{v.var} * {v.a}" for v in levels if v.a], p.a)
            at_b = _sum([f"{v.var} * {v.b}" for v in levels if v.b], p.b)
            rows = f"UNROLL for (int r = {p.low}; r < {p.high}; r++)"
            each_v = f"UNROLL for (int j = 0; j < {nv}; j++)"
            body = [
                "{",
                f"  const {dtype} *x = a{at_a}, *y = b{at_b};",
                f"  v{dtype} w[{nv}];",
                f"  {each_v} w[j] = ld_{dtype}(y + j * W, {lanes});",
            ]
            if (
                dtype == "f32" and not wide
            ):  # one register, where compilers would rather load it again for each row
                body.append(f"  {each_v} KEEP(w[j]);")
            if wide:
                body.append(
                    f"  {rows} {each_v} s[r][j] += ld_{dtype}(x + {row_a} + j * W, {lanes}) * w[j];"
                )
            else:
                body += [
                    f"  {rows} {{",
                    f"    const v{dtype} t = splat_{dtype}(x[{row_a}]);",
                    f"    {each_v} s[r][j] += t * w[j];",
                    "  }",
                ]
            body.append("}")
            out += [f"{pad}  {t}" for t in (*loops, *("  " * len(loops) + t for t in body))]
        out.append(f"{pad}}}")
    out.append(f"{each} st_{dtype}(c + {row_c} + j * W, s[r][j], {lanes});")
    return ["{", *(f"  {line}" for line in out), "}"]


def _loop(v: Level) -> str:
    return f"for (long {v.var} = {v.low}; {v.var} < {v.high}; {v.var}++)"


def _sum(parts: Sequence[str], const: int) -> str:
    return "".join(f" + {p}" for p in parts) + (f" + {const}" if const else "")
