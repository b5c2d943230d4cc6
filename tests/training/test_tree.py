"""Nested structures against `keras.tree`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

import kcompile.tree as tree
from tests.training.oracle import keras

STRUCTURES: list[Any] = [
    1,
    [1, 2],
    (1, [2, {"b": 3, "a": 4}]),
    {"z": 1, "a": [2, None]},
    OrderedDict([("z", 1), ("a", (2,))]),
    [],
    {},
    [{"x": 1}, (2, 3)],
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_as_keras(structure: Any) -> None:
    flat = tree.flatten(structure)
    assert flat == keras.tree.flatten(structure)
    assert tree.is_nested(structure) == keras.tree.is_nested(structure)
    assert [tuple(p) for p, _ in tree.flatten_with_path(structure)] == [
        tuple(p) for p, _ in keras.tree.flatten_with_path(structure)
    ]
    again = tree.pack_sequence_as(structure, flat)
    assert again == structure and type(again) is type(structure)
    shown = tree.map_structure(lambda x: (x, "leaf"), structure)
    assert shown == keras.tree.map_structure(lambda x: (x, "leaf"), structure)
    assert tree.lists_to_tuples(structure) == keras.tree.lists_to_tuples(structure)


def test_several_structures() -> None:
    assert tree.map_structure(lambda a, b: a + b, {"x": [1, 2]}, {"x": [3, 4]}) == {"x": [4, 6]}
    found = tree.map_structure_up_to([0, 0], lambda a, b: (a, b), [1, [2]], [3, {"k": 4}])
    assert found == [(1, 3), ([2], {"k": 4})]


@pytest.mark.parametrize(
    "a, b", [([1], [1, 2]), ([1], (1,)), ({"a": 1}, {"b": 1}), ([1], 1), ([[1]], [1])]
)
def test_mismatches(a: Any, b: Any) -> None:
    assert not tree.same_structure(a, b)
    with pytest.raises(ValueError, match="what to do"):
        tree.assert_same_structure(a, b)
    with pytest.raises(ValueError, match=r"structure|match|Mismatch"):
        keras.tree.assert_same_structure(a, b)


def test_packing_needs_as_many_leaves() -> None:
    with pytest.raises(ValueError, match="2 leaves"):
        tree.pack_sequence_as([0, 0], [1])
    with pytest.raises(TypeError):
        tree.pack_sequence_as([0, 0], 1)


def test_traverse() -> None:
    double = tree.traverse(lambda x: x * 2 if isinstance(x, int) else None, [1, {"a": 2}])
    assert double == [2, {"a": 4}]
    sums = tree.traverse(
        lambda x: sum(x) if isinstance(x, list) else None, [1, [2, 3]], top_down=False
    )
    assert sums == 6
