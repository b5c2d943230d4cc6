"""Random step graphs through every pass and code generation. KCOMPILE_FUZZ=100 runs a hundred times as many."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.fuzz.draw import Choice, budget, choices
from tests.fuzz.programs import check
from tests.fuzz.steps import draw


@settings(budget(60), suppress_health_check=list(HealthCheck))
@given(choices())
def test_a_graph_keeps_its_numbers(choice: Choice) -> None:
    check(draw(choice), seed=0)
