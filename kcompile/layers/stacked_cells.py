"""`StackedRNNCells`, and how any cell is started and called: ours, a layer, or any object with `call`.

Refuses to hold concrete cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import kcompile.ops as ops
from kcompile.arguments import refuse
from kcompile.layer import Layer
from kcompile.layers.settings import build_child
from kcompile.serialization import deserialize_keras_object, serialize_keras_object


class StackedRNNCells(Layer):
    """Cells one above the other; its state is the list of theirs."""

    def __init__(self, cells: Any, **kwargs: Any):
        for cell in cells:
            if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
                refuse(
                    f"{type(self).__name__} was given the cell {cell!r}",
                    "A cell has a method `call` and an attribute `state_size`",
                    "Pass cells such as LSTMCell(32)",
                )
        super().__init__(**kwargs)
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        return [c.state_size for c in self.cells]

    @property
    def output_size(self) -> int:
        last = self.cells[-1]
        size = getattr(last, "output_size", None)
        return size if size is not None else _flat(last.state_size)[0]  # type: ignore[no-any-return]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        return [initial_state(c, batch_size, self.compute_dtype) for c in self.cells]

    @contextmanager
    def masks_drawn(self, batch: Any, training: Any) -> Iterator[None]:
        """Inside, every step of every cell uses the same dropout masks."""
        with ExitStack() as stack:
            for cell in self.cells:
                if hasattr(cell, "masks_drawn"):
                    stack.enter_context(cell.masks_drawn(batch, training))
            yield

    def build(self, input_shape: Any) -> None:
        for cell in self.cells:
            build_child(cell, input_shape)
            size = getattr(cell, "output_size", None)
            input_shape = (input_shape[0], _flat(cell.state_size)[0] if size is None else size)
        self.built = True

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            nested = isinstance(state, (list, tuple))
            inputs, after = call_cell(cell, inputs, list(state) if nested else [state])
            new.append(after if nested else after[0])
        return inputs, new

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"cells": [serialize_keras_object(c) for c in self.cells]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        cells = config.pop("cells")
        return cls(
            [deserialize_keras_object(c, custom_objects=custom_objects) for c in cells], **config
        )


def _flat(size: Any) -> list[Any]:
    return list(size) if isinstance(size, (list, tuple)) else [size]


def initial_state(cell: Any, batch: Any, dtype: str) -> list[Any]:
    """The states a cell starts from: what it says, else zeros."""
    if hasattr(cell, "get_initial_state"):
        found = cell.get_initial_state(batch_size=batch)
        return list(found) if isinstance(found, (list, tuple)) else [found]
    return [ops.zeros((batch, d), dtype=dtype) for d in _flat(cell.state_size)]


def call_cell(cell: Any, inputs: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """One step of any cell: (output, list of new states). A layer takes `training` from the call around."""
    output, new = (cell if callable(cell) else cell.call)(inputs, states)
    return output, list(new) if isinstance(new, (list, tuple)) else [new]
