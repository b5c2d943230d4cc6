"""Random models of blocks beside their meaning. More of them: `python -m tests.fuzz.run blocks 0 1000` (or native, triton)."""

from __future__ import annotations

import pytest

from tests.fuzz.beside import check

WRONG = (185, 301)  # lost the gradient of a maximum; read what an empty half does not hold
CASES = [*((seed, "numpy") for seed in (*WRONG, *range(16))), (7, "native")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("seed", "target"), CASES)
def test_a_step_is_its_meaning(seed: int, target: str) -> None:
    check(seed, target)
