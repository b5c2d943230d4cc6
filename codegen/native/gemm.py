"""The C text of matrix products: tiles of registers, panels packed for them, and the loops around both.

`gemm_T(m1, m, n, k1, k, a, am1, am, ak1, ak, b, bk1, bk, bn, c, cm1, cm, how)` sets C[m1 m, n] to the sum over (k1 k) of
A[m1 m, k1 k] B[k1 k, n]: rows and sums are two axes each, strides are in elements, and C's columns lie next to each other. An element is summed in
the same order whichever rows and columns are asked for together: blocks of a product are bit-equal to all of it.
Few columns, or few rows, take vectors along the sum (`column_T`), or down the rows (`down_T`). how: 0, or the number of one of `ways.PANELS`. Refuses to choose extents, threads and what else a block computes (`contract`, `blocks`).
"""

from __future__ import annotations

HEIGHTS = (8, 4, 2, 1)  # rows of the tiles
DEEP = 256  # how much of the sum one packed panel holds: 32 KB in f32, two vectors wide
AHEAD = 32  # how far ahead in the sum A is fetched: down a column, each step is on another line
NARROW = 6  # columns (or rows) up to which vectors go along the sum, where the operands lie so
DIRECT = 512  # rows up to which whole vectors of B are read where they are: no copy pays

_HEAD = f"""
#define DEEP {DEEP}
#define DIRECT {DIRECT}
#define NARROW {NARROW}
// a vector that is used more than once stays in its register
#if defined(__x86_64__)
#define KEEP(x) __asm__("" : "+v"(x));
#else
#define KEEP(x)
#endif
#define EVERY _Pragma("GCC unroll 16")
// rows of the highest tile, and how many vectors it is wide: with 32 registers, or with 16
#if W == 16 || defined(__aarch64__)
#define ROWS 8
#define WIDE 2
#else
#define ROWS 4
#define WIDE 3
#endif
// L lanes are one register
#define L_f32 W
#define L_f64 (W / 2)
typedef vf32 rf32;
typedef f64 rf64 __attribute__((vector_size(W * 4)));
INLINE rf32 some_f32(const f32 *p, int n) {{ return ldn_f32(p, n); }}
INLINE void puts_f32(f32 *p, rf32 x, int n) {{ stn_f32(p, x, n); }}
#if W == 16
INLINE rf64 some_f64(const f64 *p, int n) {{ return __builtin_ia32_loadupd512_mask(p, (rf64){{0}}, (u8)((1u << n) - 1)); }}
INLINE void puts_f64(f64 *p, rf64 x, int n) {{ __builtin_ia32_storeupd512_mask(p, x, (u8)((1u << n) - 1)); }}
#else
INLINE rf64 some_f64(const f64 *p, int n) {{ rf64 x = {{0}}; for (int k = 0; k < n; k++) x[k] = p[k]; return x; }}
INLINE void puts_f64(f64 *p, rf64 x, int n) {{ for (int k = 0; k < n; k++) p[k] = x[k]; }}
#endif
"""


def _tile(rows: int, wide: int) -> str:
    """`rows` by `wide` vectors of C in registers; the last vector has n lanes. B lies in whole vectors."""
    every = [(r, v) for r in range(rows) for v in range(wide)]
    last = wide - 1
    at = {(r, v): f"c + {r} * cm + {v} * L_@" for r, v in every}
    return "\n".join([
        f"APART void tile_@_{rows}x{wide}(long k, const @ *a, long am, long ak, "
        f"const @ *b, long bk, @ *c, long cm, int n, int add) {{",
        "  r@ " + ", ".join(f"c{r}{v} = {{0}}" for r, v in every) + ";",
        f"  for (; k > 0; k--, a += ak, b += bk) {{ __builtin_prefetch(a + {AHEAD} * ak);",
        "    r@ " + ", ".join(f"b{v} = get_@(b + {v} * L_@)" for v in range(wide)) + ";",
        "    " + " ".join(f"KEEP(b{v})" for v in range(wide)),
        *(f"    {{ const @ x = a[{r} * am]; " + " ".join(f"c{r}{v} += x * b{v};" for v in range(wide)) + " }"
          for r in range(rows)),
        "  }",
        "  if (n == L_@) {",
        *(f"    put_@({p}, add ? c{r}{v} + get_@({p}) : c{r}{v});" for (r, v), p in at.items()),
        "    return;",
        "  }",
        *(f"  put_@({p}, add ? c{r}{v} + get_@({p}) : c{r}{v});" for (r, v), p in at.items() if v < last),
        *(f"  puts_@({p}, add ? c{r}{v} + some_@({p}, n) : c{r}{v}, n);" for (r, v), p in at.items() if v == last),
        "}",
    ])  # fmt: skip


def _rows(wide: int) -> str:
    """m rows under one panel, `wide` vectors wide."""

    def tile(h: int) -> str:
        step = f"a += {h} * am; c += {h} * cm;"
        return f"{{ tile_@_{h}x{wide}(k, a, am, ak, b, bk, c, cm, n, add); {step} }}"

    lines = [
        f"INLINE void rows_@_{wide}(long m, long k, const @ *a, long am, long ak, const @ *b, long bk, @ *c, "
        "long cm, int n, int add) {",
        f"#if ROWS == 8\n  for (; m >= 8; m -= 8) {tile(8)}\n#endif",
        f"  for (; m >= 4; m -= 4) {tile(4)}",
        *(f"  if (m & {h}) {tile(h)}" for h in HEIGHTS[2:]),
    ]
    return "\n".join([*lines, "}"])


def _turn(lanes: int) -> str:
    """`lanes` vectors of as many lanes, turned: log2(lanes) rounds of exchanges between pairs."""
    lines = ["INLINE void turn_@(r@ *x) {", "  r@ p, q;"]
    step = lanes // 2
    while step:
        low = ", ".join(str(k if not k & step else lanes + k - step) for k in range(lanes))
        high = ", ".join(str(k + step if not k & step else lanes + k) for k in range(lanes))
        for a, b in ((k, k + step) for k in range(lanes) if not k & step):
            lines.append(
                f"  p = x[{a}]; q = x[{b}]; x[{a}] = __builtin_shufflevector(p, q, {low}); "
                f"x[{b}] = __builtin_shufflevector(p, q, {high});"
            )
        step //= 2
    return "\n".join([*lines, "}"])


def _whole(lanes: int) -> str:
    """The sums over the lanes of four vectors: halves of two of them make one, then quarters, then what is left is folded."""
    lines = ["INLINE void whole_@(r@ *x, @ *sum) {", "  r@ p, q;"]
    part, every = lanes // 2, [0, 1, 2, 3]
    while len(every) > 1:  # groups of 2 * part lanes become groups of part
        starts = [k * lanes + g for k in (0, 1) for g in range(0, lanes, 2 * part)]
        low = ", ".join(str(g + t) for g in starts for t in range(part))
        high = ", ".join(str(g + part + t) for g in starts for t in range(part))
        for a, b in zip(every[::2], every[1::2], strict=True):
            lines.append(
                f"  p = __builtin_shufflevector(x[{a}], x[{b}], {low}); "
                f"q = __builtin_shufflevector(x[{a}], x[{b}], {high}); x[{a}] = p + q;"
            )
        every, part = every[::2], part // 2
    while part:
        other = ", ".join(str(k ^ part) for k in range(lanes))
        lines.append(f"  x[0] += __builtin_shufflevector(x[0], x[0], {other});")
        part //= 2
    lines.append("  " + " ".join(f"sum[{r}] = x[0][{r * lanes // 4}];" for r in range(4)))
    return "\n".join([*lines, "}"])


_PLAIN_WHOLE = """INLINE void whole_@(r@ *x, @ *sum) {
  for (int r = 0; r < 4; r++) { sum[r] = 0; for (int t = 0; t < L_@; t++) sum[r] += x[r][t]; }
}"""
_PLAIN_TURN = """INLINE void turn_@(r@ *x) {
  for (int p = 0; p < L_@; p++) for (int q = 0; q < p; q++) { const @ t = x[p][q]; x[p][q] = x[q][p]; x[q][p] = t; }
}"""

_GEMM = r"""
INLINE r@ get_@(const @ *p) { r@ x; memcpy(&x, p, sizeof x); return x; }
INLINE void put_@(@ *p, r@ x) { memcpy(p, &x, sizeof x); }
// a panel of B: k rows of `wide` vectors, the columns beyond n zero
INLINE void pack_rows_@(long k, const @ *b, long bk, long n, @ *to, int wide) {
  for (; k > 0; k--, b += bk) for (int v = 0; v < wide; v++, to += L_@) {
    const long left = n - v * L_@;
    put_@(to, left >= L_@ ? get_@(b + v * L_@) : left > 0 ? some_@(b + v * L_@, left) : (r@){0});
  }
}
INLINE void pack_each_@(long k, const @ *b, long bk, long bn, long n, @ *to, int wide) {
  for (long j = 0; j < wide * L_@; j++) for (long p = 0; p < k; p++) to[p * wide * L_@ + j] = j < n ? b[p * bk + j * bn] : 0;
}
APART void pack_turned_@(long k, const @ *b, long bn, long n, @ *to, long wide) {
  for (long v = 0; v < wide; v++, b += L_@ * bn, n -= L_@, to += L_@) for (long p = 0; p < k; p += L_@) {
    const int own = n < L_@ ? n : L_@, deep = k - p < L_@ ? k - p : L_@;
    r@ x[L_@];
    if (own == L_@ && deep == L_@) EVERY for (int j = 0; j < L_@; j++) x[j] = get_@(b + p + j * bn);
    else EVERY for (int j = 0; j < L_@; j++) x[j] = j < own ? some_@(b + p + j * bn, deep) : (r@){0};
    turn_@(x);
    if (deep == L_@) EVERY for (int q = 0; q < L_@; q++) put_@(to + (p + q) * wide * L_@, x[q]);
    else EVERY for (int q = 0; q < L_@; q++) if (q < deep) put_@(to + (p + q) * wide * L_@, x[q]);
  }
}
// one column: c[i] = (add ? c[i] : 0) + the sum of a[i, p] b[p], vectors along p
APART void column_@(long m, long k, const @ *a, long am, const @ *b, @ *c, long cm, int add) {
  for (long i = 0; i < m; i += 4, a += 4 * am, c += 4 * cm) {
    const long r1 = i + 1 < m ? am : 0, r2 = i + 2 < m ? 2 * am : 0, r3 = i + 3 < m ? 3 * am : 0;
    r@ x[4] = {0};
    long p = 0;
    for (; p + L_@ <= k; p += L_@) {
      const r@ y = get_@(b + p);
      x[0] += get_@(a + p) * y; x[1] += get_@(a + r1 + p) * y; x[2] += get_@(a + r2 + p) * y; x[3] += get_@(a + r3 + p) * y;
    }
    if (p < k) {
      const r@ y = some_@(b + p, k - p);
      x[0] += some_@(a + p, k - p) * y; x[1] += some_@(a + r1 + p, k - p) * y;
      x[2] += some_@(a + r2 + p, k - p) * y; x[3] += some_@(a + r3 + p, k - p) * y;
    }
    @ sum[4];
    whole_@(x, sum);
    EVERY for (int r = 0; r < 4; r++) if (i + r < m) c[r * cm] = add ? c[r * cm] + sum[r] : sum[r];
  }
}
// fewer columns than lanes, A's rows next to each other: vectors go down the rows, and what they made is turned; the sums are those of the tiles
APART void down_@(long m, long n, long k, const @ *a, long ak, const @ *b, long bk, long bn, @ *c, long row, int add) {
  @ pack[DEEP * WIDE * L_@] __attribute__((aligned(64))), own[L_@ * WIDE * L_@] __attribute__((aligned(64)));
  for (long i = 0; i < m; i += WIDE * L_@, a += WIDE * L_@, c += WIDE * L_@ * row) {
    const long left = m - i;
    const int wide = left >= WIDE * L_@ ? WIDE : (left + L_@ - 1) / L_@, whole = left >= wide * L_@;
    const @ *panel = whole ? a : pack;
    const long step = whole ? ak : wide * L_@;
    if (!whole) pack_rows_@(k, a, ak, left, pack, wide);
DOWN_TILES
    for (long v = 0; v < wide; v++) {
      r@ x[L_@];
      EVERY for (int j = 0; j < L_@; j++) x[j] = j < n ? get_@(own + j * WIDE * L_@ + v * L_@) : (r@){0};
      turn_@(x);
      EVERY for (int j = 0; j < L_@; j++) if (v * L_@ + j < left) {
        @ *to = c + (v * L_@ + j) * row;
        puts_@(to, add ? some_@(to, n) + x[j] : x[j], n);
      }
    }
  }
}
APART void gemm_@(long m1, long m, long n, long k1, long k, const @ *a, long am1, long am, long ak1, long ak, const @ *b, long bk1, long bk, long bn, @ *c, long cm1, long cm, int how) {
  @ pack[DEEP * WIDE * L_@] __attribute__((aligned(64)));
  const int near = m1 * m <= DIRECT || k1 * k * bk * (long)sizeof(@) <= 16384;
  const int direct = bn == 1 && n % L_@ == 0 && (how ? how == 2 : near), narrow = how ? how == 3 ? 2 * L_@ : 0 : NARROW;
  for (long r = 0; r < k1; r++) for (long q = 0; q < k; q += DEEP) {
    const long h = k - q < DEEP ? k - q : DEEP;
    const int add = r > 0 || q > 0;
    if (n <= narrow && ak == 1 && k >= L_@) {
      for (long j = 0; j < n; j++) {
        const @ *one = b + r * bk1 + q * bk + j * bn;
        if (bk != 1) { for (long p = 0; p < h; p++) pack[p] = one[p * bk]; one = pack; }
        for (long i = 0; i < m1; i++) column_@(m, h, a + i * am1 + r * ak1 + q, am, one, c + i * cm1 + j, cm, add);
      }
      continue;
    }
    if (m1 * m <= narrow && ak == 1 && bk == 1 && k >= L_@) {
      for (long i = 0; i < m1; i++) for (long p = 0; p < m; p++)
        column_@(n, h, b + r * bk1 + q, bn, a + i * am1 + p * am + r * ak1 + q, c + i * cm1 + p * cm, 1, add);
      continue;
    }
    if (n < L_@ && am == 1 && m >= L_@ && (k >= 4 * L_@ || n <= L_@ / 4)) {
      for (long i = 0; i < m1; i++)
        down_@(m, n, h, a + i * am1 + r * ak1 + q * ak, ak, b + r * bk1 + q * bk, bk, bn, c + i * cm1, cm, add);
      continue;
    }
    for (long j = 0; j < n; j += WIDE * L_@) {
      const long left = n - j;
      const int wide = left >= WIDE * L_@ ? WIDE : (left + L_@ - 1) / L_@;
      const int last = left >= wide * L_@ ? L_@ : left - (wide - 1) * L_@;
      const @ *from = b + r * bk1 + q * bk + j * bn, *panel = direct ? from : pack;
      const long step = direct ? bk : wide * L_@;
      if (direct) ;
      else if (bn == 1) pack_rows_@(h, from, bk, left, pack, wide);
      else if (bk == 1) pack_turned_@(h, from, bn, left, pack, wide);
      else pack_each_@(h, from, bk, bn, left, pack, wide);
      for (long i = 0; i < m1; i++) {
        const @ *at = a + i * am1 + r * ak1 + q * ak;
        @ *to = c + i * cm1 + j;
ROWS_OF_TILES
      }
    }
  }
  if (k1 == 0 || k == 0) for (long i = 0; i < m1; i++) for (long p = 0; p < m; p++) for (long j = 0; j < n; j++) c[i * cm1 + p * cm + j] = 0;
}
"""


def _text() -> str:
    parts = []
    for wide in (1, 2, 3):
        for h in HEIGHTS:
            parts.append(f"#if ROWS >= {h} && WIDE >= {wide}\n{_tile(h, wide)}\n#endif")
        parts.append(f"#if WIDE >= {wide}\n{_rows(wide)}\n#endif")
    for plain, made in ((_PLAIN_TURN, _turn), (_PLAIN_WHOLE, _whole)):
        parts.append(f"#if !__has_builtin(__builtin_shufflevector) || L_@ < 4\n{plain}")
        parts += [f"#elif L_@ == {n}\n{made(n)}" for n in (16, 8, 4)] + ["#endif"]

    def tiles(pad: str, call: str) -> str:
        """A call for as many vectors as there are."""
        every = (
            f"#if WIDE >= {w}\n{pad}if (wide == {w}) rows_@_{w}({call});\n#endif" for w in (1, 2, 3)
        )
        return "\n".join(every)

    rows = tiles("        ", "m, h, at, am, ak, panel, step, to, cm, last, add")
    down = tiles("    ", "n, k, b, bn, bk, panel, step, own, WIDE * L_@, L_@, 0")
    return "\n".join([*parts, _GEMM.replace("ROWS_OF_TILES", rows).replace("DOWN_TILES", down)])


TEXTS = (_HEAD, _text())  # pieces for the prelude
