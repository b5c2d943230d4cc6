"""Every way to lay out a product or a convolution computes what the rules' way does, with one thread and with three."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from codegen.native import ways
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Graph
from ir.interpret import interpret
from ir.text import parse
from runtime import blas, native, pool
from runtime.executable import Executable, definitions
from runtime.native_profile import texts
from runtime.store import StateStore
from tests.codegen.test_native_conv import Cases
from tests.codegen.test_native_products import (
    FORWARD,
    LAYOUTS,
    SIZES,
    arrays_for,
    products,
)


def results(program: Program, arrays: list[Any]) -> list[Any]:
    """Those of a program, the same bits with one thread and with three."""
    exe = Executable(program, StateStore())
    try:
        pool.limit(1)
        first = exe.run(*arrays)
        pool.limit(3)
        again = exe.run(*arrays)
    finally:
        pool.limit(1)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a, b), "threads change the result"
    return first


def laid(kind: str) -> list[dict[str, Any]]:
    """Every way for kernels with atoms of a kind."""
    every = [w.laid() for w in ways.others([kind])]
    assert 3 < len(every) <= ways.MOST and len({str(w) for w in every}) == len(every)
    return every


def check(graph: Graph, every: list[dict[str, Any]]) -> None:
    """A graph with its kernels each in one of the ways, then in the next one, until all have been in all."""
    rules = generate(graph, "native")
    arrays = arrays_for(graph)
    expected = interpret(graph, arrays)
    differ = set()
    for shift in range(len(every)):
        asked = {k.name: every[(n + shift) % len(every)] for n, k in enumerate(rules.kernels)}
        program = generate(graph, "native", asked)
        for k in program.kernels:
            assert k.schedule.get("way") == asked[k.name]
        for a, b, way in zip(texts(rules), texts(program), asked.values(), strict=True):
            if a != b:
                differ.add(str(way))
        for a, b in zip(results(program, arrays), expected, strict=True):
            scale = np.abs(b).max(initial=1)
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * scale)
    assert differ == {str(w) for w in every}, "a way that changes nothing"


def test_products() -> None:
    n = len(SIZES)
    cases = [
        (spec, dict(zip("mnk", (SIZES[i], SIZES[(5 * i + j) % n], SIZES[(8 * i + 3 * j + 2) % n]), strict=True)))
        for i in range(1, n, 4) for j, spec in enumerate(LAYOUTS)
    ]  # fmt: skip
    large = [("mk,kn->mn", dict(m=129, n=130, k=65)), ("km,kn->mn", dict(m=65, n=257, k=129)), ("bmk,bkn->bmn", dict(b=9, m=65, n=33, k=64)),
             ("abk,abn->kn", dict(a=63, b=31, k=48, n=65)), ("abk,kxy->axby", dict(a=2, b=127, k=65, x=3, y=33))]  # fmt: skip
    check(products("f32", [*cases, *large]), laid("product"))


def test_a_product_with_what_follows_it() -> None:
    text = FORWARD.replace("M", "1025").replace("N", "129").replace("K", "33")
    check(parse(text), [{"grain": 0.5}, {"blas": True}])


def test_convolutions() -> None:
    c = Cases()
    c.conv(9, (14, 15), (3, 3), 33, 17)
    c.conv(5, (13, 9), (3, 3), 16, 40, stride=2, pad=(1, 1))
    c.conv(2, (40, 31), (3, 3), 16, 16, pad=(1, 1))
    c.conv(3, (17, 16), (3, 3), 20, 1, depthwise=True)
    check(c.graph(), laid("convolution"))


def test_a_product_is_the_librarys_where_there_is_one() -> None:
    cases = [("mk,kn->mn", dict(m=65, n=33, k=17)), ("km,nk->mn", dict(m=7, n=31, k=33))]
    graph = products("f64", cases)
    arrays = arrays_for(graph)
    expected = interpret(graph, arrays)
    program = generate(graph, "native", {"k0": {"blas": True}, "k1": {"blas": True}})
    for a, b in zip(results(program, arrays), expected, strict=True):  # whatever is there
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    routine = ctypes.c_void_p.in_dll(native.library(definitions(program)["C"]), "blas_f64")
    found, asked = routine.value, []
    n, p, x = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int] * 3, n, n, n, x, p, n, p, n, x, p, n)
    exe = Executable(program, StateStore())
    try:
        own = kind(lambda *args: asked.append(args[1:6]))
        routine.value = ctypes.cast(own, p).value
        exe.run(*arrays)
        routine.value = None  # no library: products of our own
        for a, b in zip(exe.run(*arrays), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    finally:
        routine.value = found
    assert asked == [(111, 111, 65, 33, 17), (112, 112, 7, 31, 33)]


def test_the_library_keeps_to_one_thread_meanwhile() -> None:
    count = blas._function("get_num_threads")
    if count is None:
        pytest.skip("another library")
    before = count()
    alone = blas._alone().blas_alone
    alone(1)
    alone(1)
    assert count() == 1
    alone(-1)
    assert count() == 1
    alone(-1)
    assert count() == before
