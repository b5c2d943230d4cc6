"""How kernels in C are tuned, by a clock that is made up: what is chosen, what is kept, and when anything is asked at all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile as keras
import kcompile.compile as compiling
from codegen.pipeline import generate
from codegen.program import Program
from kcompile.fit.runner import step_function
from runtime import choices
from runtime.choices import Choices
from runtime.native_profile import texts
from runtime.store import StateStore
from runtime.tune_native import tune
from tests.codegen.test_native_products import products

GRAPH = products(
    "f32", [("mk,kn->mn", dict(m=257, n=129, k=65)), ("mk,kn->mn", dict(m=5, n=7, k=3))]
)
Steps = Callable[[Program], Callable[[], Sequence[float]]]


def clock(seconds: Mapping[str, float], asked: list[dict[str, Any]]) -> Steps:
    """What runs nothing: k0 takes so long in a way, 1 where nothing is said; k1 takes always 1."""

    def steps(program: Program) -> Callable[[], Sequence[float]]:
        way = program.kernels[0].schedule.get("way", {})
        asked.append(way)
        return lambda: [seconds.get(str(way), 1.0), 1.0]

    return steps


def tuned(
    directory: Path | None, seconds: Mapping[str, float], asked: list[dict[str, Any]]
) -> Program:
    program = generate(GRAPH, "native")
    make = functools.partial(generate, GRAPH, "native")
    return tune(program, make, StateStore(), Choices(directory), clock(seconds, asked))


def test_the_quickest_way_is_taken_and_kept(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    program = tuned(tmp_path, {"{'grain': 2.0}": 0.9, "{'panels': 'packed'}": 0.5}, asked)
    first, second = program.kernels
    assert first.schedule["way"] == {"panels": "packed"} and "way" not in second.schedule
    assert first.schedule["tuned"] == {"of": len(asked) - 1, "seconds": 0.5, "heuristic": 1.0}
    assert second.schedule["tuned"]["seconds"] == second.schedule["tuned"]["heuristic"] == 1.0
    assert program.source == generate(GRAPH, "native", {"k0": {"panels": "packed"}}).source
    assert not any(k.candidates for k in program.kernels)
    again: list[dict[str, Any]] = []
    assert tuned(tmp_path, {"{'blas': True}": 0.1}, again) == program and not again


def test_a_little_quicker_is_not_worth_another_way(tmp_path: Path) -> None:
    program = tuned(tmp_path, {"{'panels': 'packed'}": 0.98}, [])
    assert "way" not in program.kernels[0].schedule
    assert program.source == generate(GRAPH, "native").source


def test_what_was_quicker_once_must_be_so_again() -> None:
    times = iter([*[0.5] * 7, *[1.0] * 1000])

    def steps(program: Program) -> Callable[[], Sequence[float]]:
        if program.kernels[0].schedule.get("way") == {"panels": "packed"}:
            return lambda: [next(times), 1.0]
        return lambda: [1.0, 1.0]

    make = functools.partial(generate, GRAPH, "native")
    program = tune(generate(GRAPH, "native"), make, StateStore(), Choices(None), steps)
    assert "way" not in program.kernels[0].schedule


@pytest.mark.parametrize("text", ["", "[]", "{", '{"way": {"grain": 2.0}}', '{"way": {"wheel": 1}, "of": 1, "seconds": 1, "heuristic": 1}'])  # fmt: skip
def test_a_choice_that_is_none_is_made_again(text: str, tmp_path: Path) -> None:
    best = {"{'panels': 'packed'}": 0.5}
    tuned(tmp_path, best, [])
    for path in tmp_path.glob("*.way"):
        path.write_text(text)
    asked: list[dict[str, Any]] = []
    assert tuned(tmp_path, best, asked).kernels[0].schedule["way"] == {"panels": "packed"} and asked


def test_a_choice_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    tuned(tmp_path, {}, [])
    for path in tmp_path.glob("*.way"):
        path.chmod(0o666)
    asked: list[dict[str, Any]] = []
    tuned(tmp_path, {}, asked)
    assert asked


def test_the_first_of_two_processes_chooses(tmp_path: Path) -> None:
    kept = Choices(tmp_path)
    text = texts(generate(GRAPH, "native"))[0]
    first = {"way": {"blas": True}, "of": 8, "seconds": 0.5, "heuristic": 1.0}

    class Late(Choices):
        def save(self, text: str, choice: dict[str, Any]) -> None:
            kept.save(own, first)  # the other process is done now
            super().save(text, choice)

    own = text
    make = functools.partial(generate, GRAPH, "native")
    steps = clock({"{'panels': 'packed'}": 0.5}, [])
    program = tune(generate(GRAPH, "native"), make, StateStore(), Late(tmp_path), steps)
    assert program.kernels[0].schedule["way"] == {"blas": True}


def test_the_text_of_a_kernel_is_its_c_and_no_name() -> None:
    swapped = products(
        "f32", [("mk,kn->mn", dict(m=5, n=7, k=3)), ("mk,kn->mn", dict(m=257, n=129, k=65))]
    )
    one, two = texts(generate(GRAPH, "native")), texts(generate(swapped, "native"))
    assert one == two[::-1] and one[0] != one[1] and all("gemm_f32" in t for t in one)


def model() -> Any:
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((20,)), keras.layers.Dense(5)])
    made.compile("sgd", "mse", backend="native")
    return made


def fitted() -> tuple[Program, Any]:
    rng = np.random.default_rng(0)
    made = model()
    made.fit(rng.random((8, 20), np.float32), rng.random((8, 5), np.float32), verbose=0)
    return step_function(made, "train").log[-1].program, made


def test_kernels_in_c_are_tuned_when_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KCOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KCOMPILE_TUNE", raising=False)
    asked: list[dict[str, Any]] = []
    slow = functools.partial(
        tune, steps=lambda p: asked.append({}) or (lambda: [1.0] * len(p.kernels))
    )
    monkeypatch.setattr(compiling, "_tune_native", slow)

    def is_tuned() -> bool:
        return any("tuned" in k.schedule for k in fitted()[0].kernels)

    assert not is_tuned() and not asked
    monkeypatch.setenv("KCOMPILE_TUNE", "1")
    assert is_tuned() and asked
    asked.clear()
    assert is_tuned() and not asked
    monkeypatch.delenv("KCOMPILE_TUNE")
    assert is_tuned() and not asked  # a choice once made stays
    monkeypatch.setenv("KCOMPILE_TUNE", "0")
    assert not is_tuned()


def test_tuning_on_the_clock_changes_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runtime.tune_native as tuning

    monkeypatch.setattr(tuning, "SECONDS", 0)
    monkeypatch.setattr(tuning, "LEAST", 1)
    monkeypatch.setenv("KCOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KCOMPILE_TUNE", "0")
    _, plain = fitted()
    monkeypatch.setenv("KCOMPILE_TUNE", "1")
    program, made = fitted()
    timed = [k for k in program.kernels if "contract" in k.ops]
    assert timed and all(k.schedule["tuned"]["seconds"] > 0 for k in timed)
    shown = made.dump_ir(stage="kernels", batch_size=8)
    assert shown.count("chosen of") == len(timed)
    for a, b in zip(plain.get_weights(), made.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert choices.asked() is True
