"""Text in, text out: every `tests/passes/<pass>/<case>.ir` is one line why, an input, `# ---`, and what
the pass makes of it. Each case is also checked by value, for idempotence, and to survive printing.

`pytest --regold` rewrites the expectations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ir.graph import Graph
from ir.interpret import interpret
from ir.key import equal
from ir.passes.atomic import atomic
from ir.passes.cse import cse
from ir.passes.dce import dce
from ir.passes.decompose import decompose
from ir.passes.differentiate import differentiate
from ir.passes.fold import fold
from ir.passes.layout import layout
from ir.passes.merge_scans import merge_scans
from ir.passes.order import order
from ir.passes.precision import precision
from ir.passes.recompute import recompute
from ir.passes.simplify import simplify
from ir.pipeline import optimise
from ir.text import dump, named, parse
from ir.types import NUMPY
from ir.verify import verify

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.ir"))
LINE = "# ---\n"


def _simplified(graph: Graph) -> Graph:
    return dce(simplify(graph))


PASSES: dict[str, Callable[[Graph], Graph]] = {
    "atomic": atomic,
    "cse": cse,
    "dce": dce,
    "decompose": decompose,
    "differentiate": differentiate,
    "fold": lambda g: dce(fold(g)),
    "layout": layout,
    "merge_scans": merge_scans,
    "order": order,
    "pipeline": optimise,
    "precision": partial(precision, to="tf32"),
    "recompute": recompute,
    "simplify": _simplified,
}


def _arrays(graph: Graph) -> list[np.ndarray]:
    """Random operands: names of dimensions count 3, 4, 5 ..., integers are small."""
    rng = np.random.default_rng(0)
    names: dict[str, int] = {}
    arrays = []
    for v in graph.inputs:
        shape = [
            d if isinstance(d, int) else names.setdefault(str(d), 3 + len(names)) for d in v.shape
        ]
        if v.type.is_float:
            a = rng.standard_normal(shape)
        elif v.dtype == "bool":
            a = rng.random(shape) < 0.5
        else:
            a = rng.integers(0, 3, shape)
        arrays.append(np.asarray(a).astype(NUMPY[v.dtype]))
    return arrays


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_case(path: Path, regold: bool) -> None:
    text = path.read_text()
    given, _, want = text.partition(LINE)
    assert given.startswith("# "), "a case begins with one line why"
    before = parse(given)
    verify(before)
    run = PASSES[path.parent.name]

    after = run(before)
    verify(after)
    shown = dump(named(after))
    if regold and shown != want:
        path.write_text(given.rstrip("\n") + "\n\n" + LINE + shown)
        want = shown
    assert shown == want
    assert equal(parse(shown), after)
    assert dump(parse(shown)) == shown

    if path.parent.name != "differentiate":
        again = run(after)
        verify(again)
        assert dump(again) == shown, "not idempotent"

    arrays = _arrays(before)
    for a, b in zip(interpret(before, arrays), interpret(after, arrays), strict=False):
        if a.dtype.kind == "f":
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(b, a)


def test_every_pass_has_cases() -> None:
    assert {p.parent.name for p in CASES} == set(PASSES)
