"""The table of views: what its lines mean."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.views import views


def read(table: str) -> dict:
    return views([np.arange(24, dtype=np.float32), np.zeros(4, np.int32)], table)


def test_a_view_and_the_buffers():
    made = read("\nv0 b0 float32 8 2,3 24,4\nv1 b1 int32 4 - -\n")
    np.testing.assert_array_equal(made["v0"], [[2, 3, 4], [8, 9, 10]])
    assert made["v1"].shape == () and made["v1"].base is made["b1"]
    assert made["b1"].dtype == np.int32


def test_views_that_move_with_loops():
    made = read("v0 b0 float32 0 2 4 3:32 2:8\nv1 b0 float32 4 - - 4%8\nv2 b0 float32 4 - - 4%-8")
    assert [[int(v[0]) for v in row] for row in made["v0"]] == [[0, 2], [8, 10], [16, 18]]
    assert [int(v) for v in made["v1"]] == [1, 3, 1, 3]
    assert [int(v) for v in made["v2"]] == [3, 1, 3, 1]


def test_a_start_in_the_first_place_whose_own_view_may_lie_outside():
    made = read("v0 b0 float32 80 1 4\nv1 b0 float32 -4 1 4 3:4 <v0\nl0 zip v1 v1")
    assert [int(v[0]) for v in made["v1"]] == [20, 0, 1]
    assert [(int(a[0]), int(b[0])) for a, b in made["l0"]] == [(20, 20), (0, 0), (1, 1)]


@pytest.mark.parametrize(
    "line", ["v0 b0 float32 0 100 4", "v0 b0 float32", "v0 b0 float32 x 1 4", "v0 b9 int8 0 1 1"]
)
def test_a_line_that_is_none(line):
    with pytest.raises((ValueError, KeyError, IndexError)):
        read(line)
