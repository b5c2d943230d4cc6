"""Every class of schedule over extents that do not divide its tiles, small limits standing in for large extents; train steps over batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import ir.ops as ops
from ir.graph import Value
from tests.triton.test_kernels import SIZES, Array, check, kinds, normal, wide
from tests.triton.test_sums import gradient, normalised

pytest.importorskip("triton")
pytest.importorskip("torch")


ONE = (("i", "h", "a", 1, 1, 1),)
STRIDED = (("i", "h", "a", 2, 1, 1),)


class Class(NamedTuple):
    """build: what is computed. arrays: of an extent. kind: of its first kernel, from extent `least` on. limits: set meanwhile."""

    build: Callable[..., Any]
    arrays: Callable[[int], tuple[Array, ...]]
    kind: str
    least: int = 2
    limits: tuple[tuple[str, int], ...] = ()


def softmax(x: Value) -> Any:
    return ops.softmax(x, axis=1)


def product(spec: str) -> Callable[[Value, Value], Value]:
    def build(a: Value, b: Value) -> Value:
        out: Value = ops.tanh(ops.contract(a, b, spec=spec))
        return out

    return build


def windowed(spec: str, out: Callable[[Value, Value], int], windows: Any = ONE) -> Any:
    return lambda a, b: ops.contract(a, b, spec=spec, windows=windows, out=(out(a, b),))


def same(a: Value, b: Value) -> int:
    return int(a.shape[1])


def pooled(x: Value) -> Value:
    found = ops.unfold(x, windows=((1, 3, 1, 1, 1, x.shape[1]),), fill=-float("inf"))
    out: Value = ops.reduce_max(found, axes=(3,))
    return out


def with_sums(a: Value, b: Value, g: Value) -> tuple[Value, ...]:
    return normalised(ops.contract(a, b, spec="mk,kn->mn"), g)


HELD = ("codegen.triton.schedule.PERSISTENT", 32)
FEW = ("codegen.triton.split.FEW", 2)
SUMS = (("codegen.triton.schedule.APART", 0), ("codegen.triton.schedule.WHOLE", 1))

CLASSES = {
    "pointwise": Class(lambda x, y: ops.tanh(ops.add(x, wide(y, x, 1))), lambda n: (normal(n, 5), normal(5)), "pointwise", 1),
    "rows": Class(softmax, lambda n: (normal(3, n),), "rows"),
    "columns": Class(lambda x: ops.reduce_sum(x, axes=(0,)), lambda n: (normal(n, 33),), "rows", 65),
    "loop": Class(softmax, lambda n: (normal(70, n),), "loop", 33, (HELD,)),
    "split": Class(lambda x: ops.reduce_max(x, axes=(0,)), lambda n: (normal(40 * n, 3),), "split", 127, (HELD, FEW)),
    "apart": Class(gradient, lambda n: (normal(20 * n, 3), normal(20 * n, 3), normal(3)), "split", 127, (HELD, FEW)),
    "taps": Class(pooled, lambda n: (normal(2, n, 5),), "taps", 1),
    "product rows": Class(product("mk,kn->mn"), lambda n: (normal(n, 40), normal(40, 18)), "product"),
    "product columns": Class(product("km,kn->mn"), lambda n: (normal(40, 18), normal(40, n)), "product"),
    "product terms": Class(product("mk,nk->mn"), lambda n: (normal(18, n), normal(19, n)), "product"),
    "product of few terms": Class(product("mk,kn->mn"), lambda n: (normal(n, 3), normal(3, n)), "product"),
    "product by few columns": Class(product("mk,kn->mn"), lambda n: (normal(n, 20), normal(20, 3)), "product"),
    "product of few rows": Class(product("mk,kn->mn"), lambda n: (normal(2, 20), normal(20, n)), "product"),
    "product in groups": Class(product("mgk,gkn->mgn"), lambda n: (normal(n, 2, 6), normal(2, 6, 5)), "product", 5),
    "product in small groups": Class(product("mgk,gkn->mgn"), lambda n: (normal(n, 2, 6), normal(2, 6, 3)), "rows", 7),
    "product with its sums": Class(with_sums, lambda n: (normal(n, 6), normal(6, 18), normal(18)), "product", 2, SUMS),
    "convolution": Class(windowed("nic,acf->nhf", same), lambda n: (normal(2, n, 3), normal(3, 3, 18)), "product"),
    "input gradient": Class(windowed("nhf,acf->nic", same), lambda n: (normal(2, n, 4), normal(3, 17, 4)), "product"),
    "strided gradient": Class(
        windowed("nhf,acf->nic", lambda a, _: 2 * int(a.shape[1]) - 1, STRIDED),
        lambda n: (normal(1, n, 4), normal(3, 6, 4)), "product",
    ),
    "weight gradient": Class(windowed("nic,nhf->acf", lambda *_: 3), lambda n: (normal(2, n, 5), normal(2, n, 6)), "product"),
    "depthwise": Class(windowed("nic,ac->nhc", same), lambda n: (normal(2, n, 5), normal(3, 5)), "taps"),
    "depthwise gradient": Class(
        windowed("nhc,ac->nic", lambda a, _: 2 * int(a.shape[1]) - 1, STRIDED),
        lambda n: (normal(2, n, 5), normal(3, 5)), "pointwise",
    ),
    "depthwise multiplied": Class(windowed("nic,acm->nhcm", same), lambda n: (normal(2, n, 5), normal(3, 5, 2)), "taps"),
}  # fmt: skip


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_schedules(name: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    c = CLASSES[name]
    for path, value in c.limits:
        monkeypatch.setattr(path, value)
    p = check(c.build, *c.arrays(n), tol=5e-5)
    if n >= c.least:
        assert kinds(p)[0] == c.kind
