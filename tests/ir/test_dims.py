"""Dimensions: arithmetic is that of integers at every binding, spelling is canonical, division exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.dims import Dim, DimLike, bind, dim, divide, names, product

N, T = dim("N"), dim("T")
ENV = {"N": 7, "T": 5}

leaves: st.SearchStrategy[Any] = st.one_of(st.integers(-4, 9), st.sampled_from([("N",), ("T",)]))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*"), inner, inner),
        st.tuples(st.just("//"), inner, st.integers(1, 4)),
    ),
    max_leaves=8,
)


def build(tree: Any, env: Mapping[str, DimLike]) -> DimLike:
    if isinstance(tree, int):
        return tree
    if len(tree) == 1:
        return env[tree[0]]
    op, a, b = tree[0], build(tree[1], env), build(tree[2], env)
    return a + b if op == "+" else a - b if op == "-" else a * b if op == "*" else a // b


@settings(max_examples=300, deadline=None)
@given(trees, st.integers(0, 12), st.integers(0, 12))
def test_bound_it_is_the_arithmetic_of_integers(tree: Any, n: int, t: int) -> None:
    d = build(tree, {"N": N, "T": T})
    assert bind(d, {"N": n, "T": t}) == build(tree, {"N": n, "T": t})
    assert names(d) <= {"N", "T"}


@settings(max_examples=200, deadline=None)
@given(trees, trees)
def test_equal_dimensions_are_one_object(a: Any, b: Any) -> None:
    x, y = build(a, {"N": N, "T": T}), build(b, {"N": N, "T": T})
    for left, right in ((x + y, y + x), (x * y, y * x), (x - y, -y + x), (x + x, 2 * x)):
        assert left is right or (isinstance(left, int) and left == right)
    assert x - x == 0


@settings(max_examples=200, deadline=None)
@given(trees, st.sampled_from([1, 2, 3, N, T, N * T, 2 * N, N + 1]))
def test_a_product_divides_by_its_factor(tree: Any, factor: DimLike) -> None:
    d = build(tree, {"N": N, "T": T})
    quotient = divide(d * factor, factor)
    # a sum of several terms is only seen as a factor of its whole multiples
    if quotient is None:
        assert factor is N + 1
    else:
        assert quotient == d


def test_divide_is_exact_or_nothing() -> None:
    assert divide(6 * N * T, 3 * N) is 2 * T
    assert divide(N * T + N, N) is T + 1
    assert divide(4 * N + 2, 2) is 2 * N + 1
    assert divide(N, 2) is None
    assert divide(N + 1, N) is None
    assert divide(6, N) is None
    assert divide(0, N) == 0
    assert divide(N, 0) is None
    assert divide(3 * N + 3, N + 1) == 3
    assert divide(7, 2) is None


def test_floor_division_pulls_out_what_divides() -> None:
    assert (4 * N + 3) // 2 is 2 * N + 1
    assert (2 * N) // 2 is N
    assert str((N + 1) // 2) == "((N + 1)//2)"
    assert bind((N + 1) // 2, ENV) == 4
    assert bind((N * T) // (N + T), ENV) == 35 // 12


def test_the_spelling() -> None:
    assert str(N * T + 1) == "N*T + 1"
    assert str(-N + 2 * T) == "-N + T*2"
    assert str(2 * N * N - T // 3) == "-(T//3) + N*N*2"
    assert product([N, 3, T]) is 3 * N * T
    assert product([]) == 1


def test_a_dimension_is_no_number() -> None:
    for use in (bool, int, list(range(3)).__getitem__):
        with pytest.raises(TypeError, match=r"not known until it is bound|int\(\)"):
            use(N)  # type: ignore[operator]
    assert isinstance(N - 1, Dim) and N - N == 0
