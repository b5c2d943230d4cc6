"""Candidates and the choice among them: every one computes the same, the quickest is taken and kept, by a clock that is made up."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from codegen.pipeline import generate
from codegen.program import Program
from codegen.triton import candidates
from ir.graph import Role, Value, graph_of
from ir.interpret import interpret
from ir.types import Type, type_of
from tests.triton.steps import cnn, mlp, train_graph
from tests.triton.test_attention import built
from tests.triton.test_scan import lstm, trained

pytest.importorskip("triton")
pytest.importorskip("torch")

from runtime.cuda import CudaExecutable
from runtime.device import Interpreted, Ready
from runtime.driver import DriverError
from runtime.library import library
from runtime.seat import host
from runtime.store import StateStore
from runtime.triton_program import TritonProgram
from runtime.triton_report import Refused, Usage
from runtime.tune import (
    choices,
    clocked,
    digest,
    from_table,
    promising,
    rewritten,
    tune,
    widened,
)

Array = np.ndarray[Any, Any]


def is_tuned(p: Program) -> bool:
    return any("tuned" in k.schedule for k in p.kernels)


def stepped(p: Program, states: dict[str, Array], data: list[Array]) -> dict[str, Array]:
    made = TritonProgram(p, states)
    made.fill(data)
    made.step()
    return {path: host(t) for path, t in made.states.items()}


def batch(p: Program) -> list[Array]:
    rng = np.random.default_rng(0)
    shapes = {b.name: (b.shape, b.dtype) for b in p.buffers}
    return [
        rng.random(s, np.float32) if d == "f32" else rng.integers(0, 10, s).astype("i4")
        for s, d in (shapes[n] for n in p.data)
    ]


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_every_candidate_computes_the_same(kind: str) -> None:
    graph, states = train_graph(mlp(6, 20) if kind == "mlp" else cnn(9, (3, 5)), 2)
    p = generate(graph, "triton")
    wide, ways = widened(p)
    assert all(1 <= len(w) <= 8 for w in ways.values())
    assert {k.name for k in wide.kernels} == {w.name for found in ways.values() for w in found}
    data = batch(p)
    expected = stepped(p, states, data)
    for n in range(1, max(map(len, ways.values()))):
        chosen = {name: found[n % len(found)] for name, found in ways.items()}
        found = stepped(rewritten(p, chosen), states, data)
        for path in expected:
            np.testing.assert_allclose(
                found[path], expected[path], rtol=2e-5, atol=2e-5, err_msg=f"{n} {path}"
            )


def test_what_the_cost_model_finds_much_slower_is_no_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The most promising comes first, and of a wide product's many tiles few are tried."""
    plans: list[Any] = []
    ins = [Value(Type("f32", s), name="x") for s in ((512, 512), (512, 512))]
    graph = graph_of("case", ins, [ops.contract(*ins, spec="mk,kn->mn")])
    kept = candidates.neighbours
    monkeypatch.setattr(candidates, "neighbours", lambda plan: plans.append(plan) or kept(plan))
    generate(graph, "triton")
    (rule,) = plans
    found = [candidates._seconds(s) for s in kept(rule)]
    assert 1 < len(found) <= 7 and found == sorted(found)
    monkeypatch.setattr(candidates, "MOST", 999)
    every = [candidates._seconds(s) for s in kept(rule)]
    monkeypatch.setattr(candidates, "WORSE", 999.0)
    slow = [candidates._seconds(s) for s in kept(rule)]
    assert max(every) <= 2 * min(*every, candidates._seconds(rule)) < max(slow)
    assert found == every[:7]


@pytest.mark.parametrize("kind", ["lines", "lookup", "in any order"])
def test_every_candidate_of_what_sorts_computes_the_same(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WHOLE", 32), ("RUN", 32), ("WAYS", 4)):
        monkeypatch.setattr(f"codegen.triton.ordered.{name}", value)
    monkeypatch.setattr("codegen.triton.lookup.FEW", 32)
    monkeypatch.setattr("codegen.triton.states.together", lambda launches, places: launches)
    rng = np.random.default_rng(0)
    if kind == "lines":
        given = [rng.integers(-9, 9, (2, 70)).astype("f4")]
        build = lambda x: [ops.argsort(x, axis=1)]
    else:
        given = [rng.integers(0, 9, 70).astype("i4"), rng.integers(-9, 9, (70, 3)).astype("f4")]
        any_order = kind == "in any order"
        build = lambda i, u: [ops.scatter_add(i, u, axis=0, extent=9, atomic=any_order)]
    ins = [Value(type_of(v), None, 0, "x") for v in given]
    g = graph_of("case", ins, build(*ins))
    p = generate(g, "triton")
    _, ways = widened(p)
    expected = interpret(g, given)[0]
    assert all(1 < len(found) <= 8 for found in ways.values())
    for n in (1, 2, 3):
        chosen = {name: found[n % len(found)] for name, found in ways.items()}
        found = TritonProgram(rewritten(p, chosen), {}).run(*given)[0]
        np.testing.assert_array_equal(found, expected, err_msg=str(n))


@pytest.mark.parametrize("kind", ["causal", "masked", "ieee", "tf32"])
def test_so_does_every_candidate_of_attention_and_of_a_loop(kind: str) -> None:
    if kind in ("ieee", "tf32"):
        graph, data = trained(lstm(3 if kind == "ieee" else 17, 2, 3, 34), kind)
    else:
        graph, data = built(1, 1, 70, 40, 5, kind[0].replace("m", "p"))
    p = generate(graph, "triton")
    whole = [k for k in p.kernels if k.schedule["kind"] in ("attention", "scan")]
    assert whole and all(2 <= len(k.candidates) <= 7 for k in whole)
    _, ways = widened(p)
    laid = [
        [w.schedule["groups"], w.schedule["warps"], w.schedule["stages"]]
        for w in ways[whole[0].name]
    ]
    assert all(laid.count(x) == 1 for x in laid)  # by which the table tells them apart
    expected = interpret(graph, data)
    for n in range(1, 1 + max(len(k.candidates) for k in whole)):
        chosen = {k.name: ways[k.name][n % len(ways[k.name])] for k in whole}
        found = TritonProgram(rewritten(p, chosen), {}).run(*data)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=str(n))


def test_the_quickest_candidate_is_taken_and_the_step_is_made_once() -> None:
    graph, states = train_graph(mlp(6, 20), 5)
    p = generate(graph, "triton")
    data = batch(p)
    made = TritonProgram(p, states)
    made.fill(data)
    calls = []

    def clock(launch: Any) -> float:
        """The third of all is the quickest: the second candidate of the first kernel."""
        calls.append(launch)
        launch()
        return 1.0 if len(calls) == 3 else 2.0

    tuned = tune(made, Interpreted(), clock)
    assert is_tuned(tuned) and not is_tuned(p)
    verdicts = [k.schedule["tuned"] for k in tuned.kernels]
    assert sum(v["of"] for v in verdicts) == len(calls)
    assert verdicts[0]["seconds"] == 1.0 and verdicts[0]["heuristic"] == 2.0
    moved = p.kernels[0].candidates[1]
    assert tuned.kernels[0].schedule["groups"] == moved["groups"]
    assert moved["source"].splitlines()[1] in tuned.source
    expected = stepped(p, states, data)
    for path, t in made.states.items():
        np.testing.assert_allclose(host(t), expected[path], rtol=2e-5, atol=2e-5, err_msg=path)
    again = Program.from_json(tuned.to_json())
    after = stepped(again, states, data)
    for path in expected:
        np.testing.assert_allclose(after[path], expected[path], rtol=2e-5, atol=2e-5, err_msg=path)


def test_a_table_has_the_choices_of_a_device(tmp_path: Path) -> None:
    p = generate(train_graph(mlp(6, 20), 5)[0], "triton")
    _, ways = widened(p)
    other = rewritten(p, {"k0": ways["k0"][1]})
    rows = choices(p, other)
    assert list(rows) == [digest(p, p.kernels[0])]
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"a GPU": rows}))
    known = from_table(p, "a GPU", table)
    assert known.source == other.source
    assert from_table(p, "another GPU", table) is p
    assert known.kernels[0].schedule["tuned"] == {"table": True} and not known.kernels[0].candidates
    assert [k.candidates for k in known.kernels[1:]] == [k.candidates for k in p.kernels[1:]]


def test_what_the_table_knows_is_not_timed_and_the_rest_is(tmp_path: Path) -> None:
    graph, states = train_graph(mlp(6, 20), 5)
    p = generate(graph, "triton")
    table = tmp_path / "table.json"
    _, ways = widened(p)
    table.write_text(json.dumps({"a GPU": choices(p, rewritten(p, {"k0": ways["k0"][1]}))}))
    known, data = from_table(p, "a GPU", table), batch(p)
    made = TritonProgram(known, states)
    made.fill(data)
    calls: list[Any] = []
    tuned = tune(made, Interpreted(), lambda launch: float(calls.append(launch) or len(calls)))
    assert len(calls) == sum(
        len(found) for name, found in widened(known)[1].items() if name != "k0"
    )
    assert tuned.kernels[0].schedule == known.kernels[0].schedule
    assert all("seconds" in k.schedule["tuned"] for k in tuned.kernels[1:])
    expected = stepped(p, states, data)
    for path, t in made.states.items():
        np.testing.assert_allclose(host(t), expected[path], rtol=2e-5, atol=2e-5, err_msg=path)


def test_the_table_knows_where_the_library_was_quicker(tmp_path: Path) -> None:
    ins = [Value(Type("f32", s), name="x") for s in ((3, 5), (5, 4))]
    p = generate(graph_of("case", ins, [ops.contract(*ins, spec="mk,kn->mn")]), "triton")
    made = TritonProgram(p, {})
    ticks = iter([*range(len(p.kernels[0].candidates) + 1, 0, -1), 0.5])
    tuned = tune(made, Interpreted(), lambda launch: float(next(ticks)))
    assert tuned.kernels[0].schedule["tuned"]["library"]
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"a GPU": choices(p, tuned)}))
    known = from_table(p, "a GPU", table)
    assert known.kernels[0].schedule["tuned"] == {"table": True, "library": True}
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 5), np.float32), rng.random((5, 4), np.float32)
    np.testing.assert_allclose(TritonProgram(known, {}).run(a, b)[0], a @ b, rtol=1e-5)


def test_a_kernel_is_left_as_it_is_where_trials_find_no_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    graph, states = train_graph(mlp(6, 20), 5)
    p = generate(graph, "triton")
    made, data = TritonProgram(p, states), batch(p)
    made.fill(data)
    import torch

    full = torch.OutOfMemoryError("no memory")
    monkeypatch.setattr(torch.Tensor, "clone", lambda t: (_ for _ in ()).throw(full))
    tuned = tune(made, Interpreted(), lambda launch: 1.0)
    assert tuned.source.split() == p.source.split() and not is_tuned(tuned)
    expected = stepped(p, states, data)
    for path, t in made.states.items():
        np.testing.assert_array_equal(host(t), expected[path], err_msg=path)


def test_a_digest_does_not_depend_on_names() -> None:
    p = generate(train_graph(mlp(6, 20), 5)[0], "triton")
    _, ways = widened(p)
    wide, _ = widened(p)
    k = p.kernels[1]
    assert digest(p, k) == digest(wide, next(w for w in wide.kernels if w.name == "k1"))
    assert len({digest(wide, w) for w in wide.kernels}) == len(wide.kernels)
    assert len(ways["k1"]) > 2


@pytest.mark.parametrize(
    ("spec", "x", "y"),
    [
        ("mk,kn->mn", (3, 5), (5, 4)), ("km,kn->mn", (5, 3), (5, 4)), ("mk,nk->nm", (3, 5), (4, 5)),
        ("bmk,bnk->bmn", (2, 17, 40), (2, 19, 40)), ("abk,kn->abn", (2, 3, 5), (5, 4)),
    ],
)  # fmt: skip
def test_a_plain_product_may_be_the_librarys(
    spec: str, x: tuple[int, ...], y: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(x, np.float32), rng.random(y, np.float32)
    ins = [Value(type_of(v), None, 0, "x") for v in (a, b)]
    p = generate(graph_of("case", ins, [ops.contract(*ins, spec=spec)]), "triton")
    made = TritonProgram(p, {})
    made.fill([a, b])
    call = library(p.kernels[0], made.tensors)
    assert call is not None
    call()
    np.testing.assert_allclose(host(made.results[0]), np.einsum(spec, a, b), rtol=1e-5)


CONVOLUTIONS = {
    "forward": ("nijc,abcf->nhwf", (2, 9, 9, 3), (3, 3, 3, 4), (5, 5), 2),
    "input": ("nhwf,abcf->nijc", (2, 5, 5, 4), (3, 3, 3, 4), (9, 9), 2),
    "weight": ("nijc,nhwf->abcf", (2, 9, 9, 3), (2, 5, 5, 4), (3, 3), 2),
    "depthwise": ("nijg,abg->nhwg", (2, 9, 9, 3), (3, 3, 3), (9, 9), 1),
    "groups": ("nijgc,abcgf->nhwgf", (2, 9, 9, 2, 3), (3, 3, 3, 2, 4), (9, 9), 1),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_plain_convolution_may_be_the_librarys(name: str) -> None:
    spec, x, y, out, stride = CONVOLUTIONS[name]
    rng = np.random.default_rng(0)
    a, b = rng.random(x, np.float32), rng.random(y, np.float32)
    windows = (("i", "h", "a", stride, 1, 1), ("j", "w", "b", stride, 1, 1))
    ins = [Value(type_of(v), None, 0, "x") for v in (a, b)]
    g = graph_of("case", ins, [ops.contract(*ins, spec=spec, windows=windows, out=out)])
    p = generate(g, "triton")
    made = TritonProgram(p, {})
    made.fill([a, b])
    call = library(p.kernels[0], made.tensors)
    assert call is not None
    call()
    np.testing.assert_allclose(host(made.results[0]), interpret(g, [a, b])[0], rtol=1e-5)


@pytest.mark.parametrize(("size", "out", "low"), [(8, 4, 0), (9, 5, 1)])
def test_a_convolution_padded_more_behind_is_not_the_librarys(
    size: int, out: int, low: int
) -> None:
    ins = [Value(Type("f32", s), name="x") for s in ((2, size, 3), (3, 3, 4))]
    windows = (("i", "h", "a", 2, 1, low),)
    z = ops.contract(*ins, spec="nic,acf->nhf", windows=windows, out=(out,))
    p = generate(graph_of("case", ins, [z]), "triton")
    assert ("library" in p.kernels[0].schedule) == bool(low)


def test_what_is_more_than_a_product_is_not_the_librarys() -> None:
    p = generate(train_graph(mlp(6, 20), 5)[0], "triton")
    assert not [k.name for k in p.kernels if "library" in k.schedule]


def test_a_product_that_is_the_next_value_of_its_operand_is_not_the_librarys() -> None:
    s, x = (Value(Type("f32", (9, 9)), name=n) for n in "sx")
    z = ops.contract(s, x, spec="mk,kn->mn")
    for new, call in ((z, False), (ops.tanh(s), True)):
        roles = [Role("state", "s"), Role("data", "x")]
        p = generate(graph_of("step", [s, x], [new, z], roles), "triton")
        assert any("library" in k.schedule for k in p.kernels) == call


def test_a_launch_is_timed_as_the_least_of_many() -> None:
    ticks = iter([5.0, 3.0, 4.0, 9.0, 8.0])
    device = Interpreted()
    device.seconds = lambda work: (work(), next(ticks))[1]  # type: ignore[method-assign]
    count: list[int] = []
    assert clocked(device, lambda: count.append(1)) == 3.0 / 20
    assert len(count) == 1 + 20 + 5 * 20


def test_what_spills_has_no_room_or_does_not_compile_is_not_tried() -> None:
    graph, states = train_graph(mlp(6, 20), 5)
    p = generate(graph, "triton")
    many = [k.name for k in p.kernels if len(k.candidates) >= 3]
    first, second, third = many[:3]

    class Small(Interpreted):
        target, shared = "sm_90", 5000

        def kernels(self, program: Program) -> dict[str, Ready | Refused]:
            found = dict(super().kernels(program))
            for k in program.kernels:
                plain = Usage(k.name, 32, 0, 1000, k.schedule["warps"], "")
                used = replace(plain, stack=8) if k.name in (first, f"{first}_1") else plain
                if k.name in (f"{first}_2", second):
                    used = replace(plain, shared=5001)
                made = found[k.name]
                assert isinstance(made, Ready)
                broken = k.name in (f"{first}_3", third)
                found[k.name] = Refused("no") if broken else replace(made, usage=used)
            return found

    made = TritonProgram(p, states, Small())
    made.fill(batch(p))
    tuned = {k.name: k for k in tune(made, made.device, lambda launch: 1.0).kernels}
    was = {k.name: k for k in p.kernels}
    assert tuned[first].schedule["tuned"]["of"] == 1 + len(was[first].candidates) - 3
    assert tuned[first].schedule["groups"] == was[first].schedule["groups"]
    assert tuned[second].schedule["tuned"] == {
        "of": len(was[second].candidates), "seconds": 1.0, "heuristic": 1.0,
    }  # fmt: skip
    assert tuned[second].schedule["groups"] == was[second].candidates[0]["groups"]
    assert tuned[third].schedule["groups"] == was[third].candidates[0]["groups"]
    assert promising(p.kernels[:1], {p.kernels[0].name: Refused("no")}, 1) == [p.kernels[0]]


def test_a_candidate_that_the_driver_refuses_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    graph, states = train_graph(mlp(6, 20), 5)
    p = generate(graph, "triton")

    class Strict(Interpreted):
        """All but the first kernel's own candidates are launched; of the last, none at all."""

        def kernels(self, program: Program) -> dict[str, Ready | Refused]:
            found = dict(super().kernels(program))
            bad = [k for k in found if k.startswith("k0_") or k.partition("_")[0] == last]
            return found | dict.fromkeys(bad, Ready(refuse))

    def refuse(programs: int, args: Any) -> Any:
        raise DriverError("a launch", 1, "CUDA_ERROR_INVALID_VALUE", "no")

    last = ""
    made = TritonProgram(p, states, Strict())
    made.fill(batch(p))
    tuned = tune(made, made.device, lambda launch: 1.0).kernels[0]
    assert tuned.schedule["groups"] == p.kernels[0].schedule["groups"]
    assert tuned.schedule["tuned"]["of"] == 1 and "k0_1 is not tried further" in caplog.text
    last = p.kernels[-1].name
    made = TritonProgram(p, states, Strict())
    made.fill(batch(p))
    with pytest.raises(DriverError, match="CUDA_ERROR_INVALID_VALUE"):
        tune(made, made.device, lambda launch: 1.0)


@pytest.mark.parametrize("asked", ["1", "0"])
def test_a_program_is_tuned_in_its_first_step_once_and_kept(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is to be compiled is asked for at once."""
    monkeypatch.setenv("KCOMPILE_TUNE", asked)
    graph, states = train_graph(mlp(6, 20), 5)
    p = generate(graph, "triton")
    built: list[int] = []
    ticks = itertools.cycle([3.0, 2.0, 1.0])
    monkeypatch.setattr("runtime.tune.clocked", lambda device, launch: next(ticks))

    class Fast(Interpreted):
        target = "sm_90"

        def kernels(self, program: Program) -> Any:
            built.append(len(program.kernels))
            return super().kernels(program)

    def steps(program: Program, keep: Any) -> tuple[Any, list[bytes]]:
        store = StateStore()
        for path, value in states.items():
            store.put(path, value)
        exe = CudaExecutable(program, store, keep, Fast())
        for _ in range(3):
            for target, given in zip(exe.data, batch(p), strict=True):
                target[...] = given
            exe.step()
        return exe, [store[path].tobytes() for path in store]

    kept: list[Program] = []
    exe, found = steps(p, kept.append)
    most = sum(1 + len(k.candidates) for k in p.kernels)
    assert built[0] == (most if asked == "1" else len(p.kernels)) and len(kept) == (asked == "1")
    assert is_tuned(exe.program) == (asked == "1") and exe.program in [p, *kept]
    built.clear()
    again, same = steps(exe.program, None)
    assert same == found and built == [len(p.kernels)] and again.program is exe.program
