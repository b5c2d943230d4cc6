"""Denormals are zero inside a step, and what they were outside of it."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import denormals, threads
from runtime.tools_numpy import make_tools

TINY = np.full(8, 1e-39, np.float32)
pytestmark = pytest.mark.skipif(denormals._libm() is None, reason="no switch on this machine")


def test_a_step_takes_them_for_zero_and_leaves_the_thread_as_it_was():
    tools, inside, in_worker = make_tools(), np.ones(8, np.float32), np.ones(8, np.float32)
    both = tools.both(lambda: np.add(TINY, TINY, inside), lambda: np.add(TINY, TINY, in_worker))
    for way in (threads.in_turn, threads.both):
        inside[:] = in_worker[:] = 1
        if isinstance(both, threads.Both):
            both.way, both.left = way, 10
        tools.step(both)()
        assert not inside.any() and not in_worker.any()
        assert np.add(TINY, TINY).all()


def test_an_error_in_a_step_leaves_the_thread_as_it_was():
    def fails() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        make_tools().step(fails)()
    assert np.add(TINY, TINY).all()
