"""Kernels in units: every cut gives the same bits, and what a cut computes is what the interpreter says."""

from __future__ import annotations

import pytest

from codegen.native import stages, threads
from tests.codegen.test_native import KINDS, arrays_for, check, kind_graph


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that can be cut is cut, into many units."""
    monkeypatch.setattr(stages, "SMALL", 0.0)
    monkeypatch.setattr(stages, "UNIT", 2.0)
    monkeypatch.setattr(stages, "LINE", 1)
    monkeypatch.setattr(threads, "SMALL", 0.0)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("product", "thin", "spread")])
def test_a_kind_in_units_over_awkward_sizes(kind: str, dtype: str, small: None) -> None:
    graph = kind_graph(kind, dtype)
    program = check(graph, arrays_for(graph))
    assert "each(k" in program.source
