"""Random step graphs as C beside the interpreter: those that were wrong once. More of them: `python -m tests.fuzz.run graphs 0 1000 native`."""

from __future__ import annotations

import pytest

from tests.fuzz.run import graphs

WRONG = (500134, 500542, 500623, 500822, 500954, 502102, 600020, 600149)


@pytest.mark.parametrize("seed", WRONG)
def test_a_graph_in_c_keeps_its_numbers(seed: int) -> None:
    graphs("native")(seed)
