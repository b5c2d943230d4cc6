"""Kernels that share a launch: nothing runs before what it waits for, and each part may have another schedule."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

import codegen.triton.candidates as candidates
import ir.ops as ops
from codegen.loops import Axis, Buf, Group, Schedule
from codegen.triton.launch import Launch, Place
from codegen.triton.together import together
from ir.graph import Value
from tests.triton.test_kernels import check, kinds, normal
from tests.triton.test_scan import simple

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.triton_program import TritonProgram
from runtime.tune import rewritten, widened

KINDS = ("pointwise", "rows", "taps", "product", "order", "scan", "attention")


def launch(rng: random.Random, bufs: list[Buf]) -> Launch:
    """A kernel of a kind, of some size, that reads and writes some buffers."""
    kind = rng.choice(KINDS)
    notes = {"kind": kind, "warps": rng.choice((1, 2, 4, 8)), "grid": rng.choice((1, 8, 300))}
    sides = [Group((Axis("m", 64),), rng.choice(("grid", "tile")), 64) for _ in range(3)]
    plan = Schedule(tuple(sides) if kind == "product" else (), notes)
    reads, writes = (rng.sample(bufs, rng.randrange(1, 4)) for _ in range(2))
    return Launch(reads, writes, plan, None, lambda name, names, barrier: "")


def meet(a: Launch, b: Launch) -> bool:
    return bool({*a.writes} & {*b.reads, *b.writes} or {*b.writes} & {*a.reads})


@pytest.mark.parametrize("seed", range(20))
def test_what_waits_for_another_runs_in_a_later_launch(seed: int) -> None:
    rng = random.Random(seed)
    bufs = [Buf(f"b{k}", (4,), "f32") for k in range(40)]
    places = {b: Place(b.dtype, b.shape, "temp") for b in bufs}
    given = [launch(rng, bufs) for _ in range(30)]
    made = [x.parts or [x] for x in together(given, places)]
    where = {x: k for k, group in enumerate(made) for x in group}
    assert where.keys() == set(given) and len(made) < len(given)
    assert all(where[a] < where[b] for a, b in combinations(given, 2) if meet(a, b))
    for group in (g for g in made if len(g) > 1):
        own = {str(x.schedule.notes["kind"]) for x in group}
        assert "attention" not in own and (own == {"scan"} or "scan" not in own)


def test_two_loops_that_do_not_wait_for_each_other_run_side_by_side() -> None:
    build, shapes = simple(3, 2, 0, 5)
    p = check(lambda *v: (*build(*v[:3]), *build(*v[3:])), *(normal(*s) for s in (*shapes, *shapes)))  # fmt: skip
    assert [k.schedule["kinds"] for k in p.kernels] == [["scan", "scan"]]


def test_the_large_parts_of_a_launch_have_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two gradients of a layer."""
    monkeypatch.setattr(candidates, "HEAVY", 1)

    def build(x: Value, w: Value, g: Value) -> tuple[Value, ...]:
        return ops.contract(x, g, spec="mk,mn->kn"), ops.contract(g, w, spec="mn,kn->mk")

    given = normal(70, 33), normal(33, 40), normal(70, 40)
    p = check(build, *given)
    assert kinds(p) == ["product", "product"] and len(p.kernels) == 1
    _, ways = widened(p)
    (found,) = ways.values()
    assert 2 < len(found) <= 8
    assert len({str(w.schedule["groups"]) + str(w.schedule["warps"]) for w in found}) > 2
    expected = TritonProgram(p, {}).run(*given)
    for way in found[1:]:
        for a, b in zip(TritonProgram(rewritten(p, {"k0": way}), {}).run(*given), expected, strict=True):  # fmt: skip
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-4)


def test_a_product_that_holds_whole_rows_shares_no_launch_with_a_large_one() -> None:
    """Its registers are its own; small ones may join."""
    plan = {"kind": "product", "warps": 4}
    large = 1 << 30

    def product(role: str, out: Buf) -> Launch:
        groups = tuple(Group((Axis(n, 64),), r, 16) for n, r in (("m", "grid"), ("k", "loop"), ("n", role)))  # fmt: skip
        return Launch([], [out], Schedule(groups, plan), None, lambda name, names, barrier: "")

    bufs = [Buf(n, (large,), "f32") for n in "ab"]
    places = {b: Place(b.dtype, b.shape, "temp") for b in bufs}
    count = {
        role: len(together([product("grid", bufs[0]), product(role, bufs[1])], places))
        for role in ("grid", "tile")
    }
    assert count == {"grid": 1, "tile": 2}


def test_an_update_that_nothing_waits_for_joins_a_later_launch() -> None:
    """A sum's second stage, between a product and attention's, has no launch of its own."""
    bufs = {n: Buf(n, (4,), "f32") for n in "abcdef"}
    places = {b: Place(b.dtype, b.shape, "temp") for b in bufs.values()}

    def one(kind: str, reads: str, writes: str) -> Launch:
        plan = Schedule((), {"kind": kind, "warps": 4, "grid": 20})
        given = [bufs[n] for n in reads], [bufs[n] for n in writes]
        return Launch(*given, plan, None, lambda name, names, barrier: "")

    launches = [
        one("rows", "a", "b"),
        one("taps", "b", "c"),
        one("attention", "b", "d"),
        one("rows", "d", "e"),
    ]
    made = together(launches, places)
    assert [[str(x.schedule.notes["kind"]) for x in m.parts or [m]] for m in made] == [
        ["rows"], ["attention"], ["rows", "taps"],
    ]  # fmt: skip
