"""The C text that a native program begins with: of all pieces, those its functions use.

A piece is a C function (or `#if .. #endif` around spellings of it, with the comment before it) that starts at the
beginning of a line; in the texts, @ stands for each type and $ for the signed integer of its width. A compiler reads
every line it is given, so a program gets no other. Refuses to hold the pieces (`lanes`, `functions`, and the files of the kernels).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from codegen.native import functions, lanes

INTS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
FLOATS = ("f32", "f64")
_LINE = re.compile(r"\n(?=#if |//|#define |typedef |INLINE |APART )")
_NAME = re.compile(r"^(?:INLINE|APART) [^(]*?(\w+)\(|^#define (\w+)|^typedef .*?(\w+)(?: __attribute__.*)?;", re.M)  # fmt: skip
_WORD = re.compile(r"[A-Za-z_]\w*")


def prelude(body: str, texts: Sequence[str] = ()) -> list[str]:
    """The lines that the functions in `body` need before them.

    texts: more pieces, for f32 and f64 where @ is in them.
    """
    pieces, names, uses = _library(tuple(texts))
    out: list[str] = []
    done: set[int] = set()

    def need(k: int) -> None:
        if k in done:
            return
        done.add(k)
        if k not in uses:
            found = dict.fromkeys(names[w] for w in _WORD.findall(pieces[k]) if w in names)
            uses[k] = [j for j in found if j != k]
        for j in uses[k]:
            need(j)
        out.extend(pieces[k].splitlines())

    for word in dict.fromkeys(_WORD.findall(body)):
        if word in names:
            need(names[word])
    return [*lanes.HEAD.splitlines(), *out]


@functools.cache
def _library(texts: tuple[str, ...]) -> tuple[list[str], dict[str, int], dict[int, list[int]]]:
    """Every piece, the piece of each name, and (to be filled) the pieces that a piece uses."""
    pieces = [
        *_pieces(lanes.ALL, (*INTS, *FLOATS)),
        *_pieces(lanes.INT_EXTREMES, INTS),
        *_pieces(lanes.FLOAT_EXTREMES, FLOATS),
        *_pieces(lanes.NARROW, ("i8", "i16", "i64", "u8", "u16", "u64", "f64")),
        *_pieces(lanes.WIDE, ("i32", "u32", "f32")),
        *_pieces(lanes.MASKS),
        *_pieces(lanes.HALVES),
    ]
    for text, types in functions.texts():
        pieces += _pieces(text, types)
    for text in texts:
        pieces += _pieces(text, FLOATS if "@" in text else ())
    return pieces, {n: k for k, p in enumerate(pieces) for n in _names(p)}, {}


def _names(piece: str) -> list[str]:
    return [n for found in _NAME.findall(piece) for n in found if n]


def _pieces(text: str, types: Sequence[str] = ()) -> list[str]:
    """The pieces of a text, for each of the types it is for."""
    if types:
        return [p for t in types for p in _pieces(text.replace("@", t).replace("$", f"i{t[1:]}"))]
    out: list[str] = []
    open_ = False
    for part in _LINE.split(text):
        if open_:
            out[-1] += "\n" + part
        else:
            out.append(part)
        last = out[-1]
        open_ = (
            last.count("#if ") != last.count("#endif")
            or last.count("{") != last.count("}")
            or last.rpartition("\n")[2].startswith("//")
        )
    return [p.strip() for p in out if p.strip()]


GEMM = r"""
// C[m, n] = sum over k of A[m, k] * B[k, n]; strides in elements, C's columns next to each other.
// B goes panel by panel into scratch, PANEL rows at a time; eight rows of C by two vectors are kept in registers.
#define PANEL 256
INLINE void tile8_@(long k, const @ *a, long am, long ak, const @ *b, @ *c, long cm, int n0, int n1, int add) {
  const @ *a0 = a + 0 * am; v@ x0 = {0}, y0 = {0}; const @ *a1 = a + 1 * am; v@ x1 = {0}, y1 = {0};
  const @ *a2 = a + 2 * am; v@ x2 = {0}, y2 = {0}; const @ *a3 = a + 3 * am; v@ x3 = {0}, y3 = {0};
  const @ *a4 = a + 4 * am; v@ x4 = {0}, y4 = {0}; const @ *a5 = a + 5 * am; v@ x5 = {0}, y5 = {0};
  const @ *a6 = a + 6 * am; v@ x6 = {0}, y6 = {0}; const @ *a7 = a + 7 * am; v@ x7 = {0}, y7 = {0};
  for (long p = 0; p < k; p++, b += 2 * W) { v@ b0 = ldw_@(b), b1 = ldw_@(b + W), t;
  t = splat_@(*a0); x0 += t * b0; y0 += t * b1; a0 += ak; t = splat_@(*a1); x1 += t * b0; y1 += t * b1; a1 += ak;
  t = splat_@(*a2); x2 += t * b0; y2 += t * b1; a2 += ak; t = splat_@(*a3); x3 += t * b0; y3 += t * b1; a3 += ak;
  t = splat_@(*a4); x4 += t * b0; y4 += t * b1; a4 += ak; t = splat_@(*a5); x5 += t * b0; y5 += t * b1; a5 += ak;
  t = splat_@(*a6); x6 += t * b0; y6 += t * b1; a6 += ak; t = splat_@(*a7); x7 += t * b0; y7 += t * b1; a7 += ak; }
  if (add) { x0 += ld_@(c + 0 * cm, n0); if (n1) y0 += ld_@(c + 0 * cm + W, n1); x1 += ld_@(c + 1 * cm, n0);
  if (n1) y1 += ld_@(c + 1 * cm + W, n1); x2 += ld_@(c + 2 * cm, n0); if (n1) y2 += ld_@(c + 2 * cm + W, n1);
  x3 += ld_@(c + 3 * cm, n0); if (n1) y3 += ld_@(c + 3 * cm + W, n1); x4 += ld_@(c + 4 * cm, n0);
  if (n1) y4 += ld_@(c + 4 * cm + W, n1); x5 += ld_@(c + 5 * cm, n0); if (n1) y5 += ld_@(c + 5 * cm + W, n1);
  x6 += ld_@(c + 6 * cm, n0); if (n1) y6 += ld_@(c + 6 * cm + W, n1); x7 += ld_@(c + 7 * cm, n0);
  if (n1) y7 += ld_@(c + 7 * cm + W, n1); }
  st_@(c + 0 * cm, x0, n0); if (n1) st_@(c + 0 * cm + W, y0, n1); st_@(c + 1 * cm, x1, n0);
  if (n1) st_@(c + 1 * cm + W, y1, n1); st_@(c + 2 * cm, x2, n0); if (n1) st_@(c + 2 * cm + W, y2, n1);
  st_@(c + 3 * cm, x3, n0); if (n1) st_@(c + 3 * cm + W, y3, n1); st_@(c + 4 * cm, x4, n0);
  if (n1) st_@(c + 4 * cm + W, y4, n1); st_@(c + 5 * cm, x5, n0); if (n1) st_@(c + 5 * cm + W, y5, n1);
  st_@(c + 6 * cm, x6, n0); if (n1) st_@(c + 6 * cm + W, y6, n1); st_@(c + 7 * cm, x7, n0);
  if (n1) st_@(c + 7 * cm + W, y7, n1); }
INLINE void tile4_@(long k, const @ *a, long am, long ak, const @ *b, @ *c, long cm, int n0, int n1, int add) {
  const @ *a0 = a + 0 * am; v@ x0 = {0}, y0 = {0}; const @ *a1 = a + 1 * am; v@ x1 = {0}, y1 = {0};
  const @ *a2 = a + 2 * am; v@ x2 = {0}, y2 = {0}; const @ *a3 = a + 3 * am; v@ x3 = {0}, y3 = {0};
  for (long p = 0; p < k; p++, b += 2 * W) { v@ b0 = ldw_@(b), b1 = ldw_@(b + W), t;
  t = splat_@(*a0); x0 += t * b0; y0 += t * b1; a0 += ak; t = splat_@(*a1); x1 += t * b0; y1 += t * b1; a1 += ak;
  t = splat_@(*a2); x2 += t * b0; y2 += t * b1; a2 += ak; t = splat_@(*a3); x3 += t * b0; y3 += t * b1; a3 += ak; }
  if (add) { x0 += ld_@(c + 0 * cm, n0); if (n1) y0 += ld_@(c + 0 * cm + W, n1); x1 += ld_@(c + 1 * cm, n0);
  if (n1) y1 += ld_@(c + 1 * cm + W, n1); x2 += ld_@(c + 2 * cm, n0); if (n1) y2 += ld_@(c + 2 * cm + W, n1);
  x3 += ld_@(c + 3 * cm, n0); if (n1) y3 += ld_@(c + 3 * cm + W, n1); }
  st_@(c + 0 * cm, x0, n0); if (n1) st_@(c + 0 * cm + W, y0, n1); st_@(c + 1 * cm, x1, n0);
  if (n1) st_@(c + 1 * cm + W, y1, n1); st_@(c + 2 * cm, x2, n0); if (n1) st_@(c + 2 * cm + W, y2, n1);
  st_@(c + 3 * cm, x3, n0); if (n1) st_@(c + 3 * cm + W, y3, n1); }
INLINE void tile1_@(long k, const @ *a, long am, long ak, const @ *b, @ *c, long cm, int n0, int n1, int add) {
  const @ *a0 = a + 0 * am; v@ x0 = {0}, y0 = {0};
  for (long p = 0; p < k; p++, b += 2 * W) { v@ b0 = ldw_@(b), b1 = ldw_@(b + W), t;
  t = splat_@(*a0); x0 += t * b0; y0 += t * b1; a0 += ak; }
  if (add) { x0 += ld_@(c + 0 * cm, n0); if (n1) y0 += ld_@(c + 0 * cm + W, n1); }
  st_@(c + 0 * cm, x0, n0); if (n1) st_@(c + 0 * cm + W, y0, n1); }
APART void gemm_@(long m, long n, long k, const @ *a, long am, long ak, const @ *b, long bk, long bn, @ *c, long cm) {
  @ pack[PANEL * 2 * W] __attribute__((aligned(64)));
  for (long j = 0; j < n; j += 2 * W) {
    long w = n - j < 2 * W ? n - j : 2 * W; int n0 = w < W ? w : W, n1 = w < W ? 0 : w - W;
    for (long q = 0; q < k; q += PANEL) {
      long h = k - q < PANEL ? k - q : PANEL; const @ *from = b + q * bk + j * bn;
      if (bn == 1) for (long p = 0; p < h; p++) { stw_@(pack + p * 2 * W, ld_@(from + p * bk, n0));
        stw_@(pack + p * 2 * W + W, n1 ? ld_@(from + p * bk + W, n1) : (v@){0}); }
      else for (long p = 0; p < h; p++) for (long t = 0; t < 2 * W; t++) pack[p * 2 * W + t] = t < w ? from[p * bk + t * bn] : 0;
      long i = 0; const @ *at = a + q * ak; @ *to = c + j;
      for (; i + 8 <= m; i += 8) tile8_@(h, at + i * am, am, ak, pack, to + i * cm, cm, n0, n1, q > 0);
      for (; i + 4 <= m; i += 4) tile4_@(h, at + i * am, am, ak, pack, to + i * cm, cm, n0, n1, q > 0);
      for (; i < m; i++) tile1_@(h, at + i * am, am, ak, pack, to + i * cm, cm, n0, n1, q > 0); } }
  if (k == 0) for (long i = 0; i < m; i++) for (long j = 0; j < n; j++) c[i * cm + j] = 0; }
"""
