"""Random models against real Keras. KCOMPILE_FUZZ=100 runs a hundred times as many, and others each time."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.fuzz.draw import Choice, budget, choices

keras = pytest.importorskip("keras")

from tests.fuzz.compare import Refused, check  # noqa: E402
from tests.fuzz.models import draw  # noqa: E402


@pytest.mark.filterwarnings("ignore")
@settings(budget(12), suppress_health_check=list(HealthCheck))
@given(choices())
def test_a_model_has_the_numbers_of_keras(choice: Choice) -> None:
    model = draw(choice, keras)
    try:
        check(keras, model)
    except Refused:
        assume(False)
