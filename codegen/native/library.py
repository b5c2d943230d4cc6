"""The C text of products that a library does: the BLAS that the runtime finds, where the operands lie as that takes them.

`library_T` takes the arguments of `gemm_T` and is that where there is no library, or for operands that it does not take. Refuses
to find the library (`runtime.blas`), and to say which products are better off with it.
"""

from __future__ import annotations

from collections.abc import Iterable

_ROUTINE = "(*blas_@)(int, int, int, i64, i64, i64, @, const @ *, i64, const @ *, i64, @, @ *, i64)"

# 101: rows first; 111, 112: an operand as it is, or turned
TEXT = (
    f"\n#define BLAS_@ blas_@\nextern void {_ROUTINE};\n"
    r"""// whether BLAS takes `rows` rows, `step` apart, of n numbers `next` apart
INLINE int in_rows(long rows, long n, long step, long next) { return (n == 1 || next == 1) && (rows == 1 || step >= n); }
APART void library_@(long m1, long m, long n, long k1, long k, const @ *a, long am1, long am, long ak1, long ak, const @ *b, long bk1, long bk, long bn, @ *c, long cm1, long cm, int how) {
  const int a_rows = in_rows(m, k, am, ak), b_rows = in_rows(k, n, bk, bn);
  const int taken = (a_rows || in_rows(k, m, ak, am)) && (b_rows || in_rows(n, k, bn, bk)) && in_rows(m, n, cm, 1);
  if (!BLAS_@ || !taken || !k1 || !k) {
    gemm_@(m1, m, n, k1, k, a, am1, am, ak1, ak, b, bk1, bk, bn, c, cm1, cm, how);
    return;
  }
  const long lda = a_rows ? (m == 1 ? k : am) : k == 1 ? m : ak, ldb = b_rows ? (k == 1 ? n : bk) : n == 1 ? k : bn;
  for (long i = 0; i < m1; i++) for (long r = 0; r < k1; r++)
    BLAS_@(101, a_rows ? 111 : 112, b_rows ? 111 : 112, m, n, k, 1, a + i * am1 + r * ak1, lda, b + r * bk1, ldb, r > 0,
           c + i * cm1, m == 1 ? n : cm);
}
"""
)
ENTER, LEAVE = "if (blas_alone) blas_alone(1);", "if (blas_alone) blas_alone(-1);"


def types(text: str) -> list[str]:
    """The types of the library's products in a text."""
    return [t for t in ("f32", "f64") if f"library_{t}(" in text]


def pointers(found: Iterable[str]) -> list[str]:
    """The C of what is given when a program is loaded: the routine of each type, and what keeps the library to one thread."""
    return [*(f"void {_ROUTINE.replace('@', t)};" for t in found), "void (*blas_alone)(int);"]
