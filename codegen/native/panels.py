"""C text: products with a matrix that is met many times, a few rows at a time: packed once, then kept in the near caches.

Made of the tiles of `gemm`: each number is one chain of sums in the order of the summed axis, however many rows come together.
Refuses to hold which products are made so (`scan`).
"""

from __future__ import annotations

LANES = 16  # of the widest machine


def packed_size(k: int, n: int) -> int:
    """How many elements the panels of a matrix (k, n) take at most."""
    return k * -(-n // LANES) * LANES


PANELS = r"""
// B (k, n) in panels of WIDE vectors at most, zeros beyond n
APART void panels_@(long k, long n, const @ *b, long bk, long bn, @ *to) {
  for (long j = 0; j < n; j += WIDE * L_@) {
    const long left = n - j;
    const int wide = left >= WIDE * L_@ ? WIDE : (left + L_@ - 1) / L_@;
    if (bn == 1) pack_rows_@(k, b + j, bk, left, to, wide);
    else if (bk == 1) pack_turned_@(k, b + j * bn, bn, left, to, wide);
    else pack_each_@(k, b + j * bn, bk, bn, left, to, wide);
    to += k * wide * L_@;
  }
}
// C[m, n] = A[m, k] B, where b are the panels of B; the columns of C next to each other
INLINE void under_@(long m, long n, long k, const @ *a, long am, long ak, const @ *b, @ *c, long cm) {
  for (long j = 0; j < n; j += WIDE * L_@) {
    const long left = n - j;
    const int wide = left >= WIDE * L_@ ? WIDE : (left + L_@ - 1) / L_@;
    const int last = left >= wide * L_@ ? L_@ : left - (wide - 1) * L_@;
#if WIDE >= 1
    if (wide == 1) rows_@_1(m, k, a, am, ak, b, wide * L_@, c + j, cm, last, 0);
#endif
#if WIDE >= 2
    if (wide == 2) rows_@_2(m, k, a, am, ak, b, wide * L_@, c + j, cm, last, 0);
#endif
#if WIDE >= 3
    if (wide == 3) rows_@_3(m, k, a, am, ak, b, wide * L_@, c + j, cm, last, 0);
#endif
    b += k * wide * L_@;
  }
}
"""
