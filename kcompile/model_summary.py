"""The table that `Model.summary` prints.

Refuses to hold anything that changes the model.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from kcompile.errors import KCValueError
from kcompile.operation import OpCall
from kcompile.trace import leaves


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Any = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
) -> None:
    """Print layers, output shapes and weights as a table, on stdout, or as one text to `print_fn`.

    layer_range: two patterns; rows go from the first layer whose name matches the first one to the last that
    matches the second. Columns are as wide as what they hold: `positions` is taken and not needed. Raises
    KCValueError KC207 for a pattern that no layer's name matches.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f'Model: "{model.name}"', title_justify="left", title_style="bold", show_lines=True
    )
    columns = ["Layer (type)", "Output Shape", "Param #"]
    network = model._network
    connected = network is not None and type(model).__name__ != "Sequential"
    if connected:
        columns.append("Connected to")
    if show_trainable:
        columns.append("Trainable")
    for c in columns:
        table.add_column(c, justify="right" if c == "Param #" else "left", overflow="fold")
    for depth, layer in _between(list(_rows(model, expand_nested)), layer_range):
        name = f"{'  ' * depth}{layer.name} ({_kind(layer)})"
        row = [name, _output_shape(layer), _count(layer)]
        if connected:
            row.append(_sources(layer, network))
        if show_trainable:
            row.append(
                "Y"
                if getattr(layer, "trainable", False)
                else "N"
                if getattr(layer, "weights", [])
                else "-"
            )
        table.add_row(*row)
    trainable = sum(v.size for v in model.trainable_weights)
    fixed = sum(v.size for v in model.non_trainable_weights)
    width = line_length or 100
    out = Console(file=io.StringIO() if print_fn else None, width=width, highlight=False)
    out.print(table)
    known = model.built
    optimizer = getattr(model, "optimizer", None)
    extra = (
        sum(v.size for v in optimizer.variables) if optimizer is not None and optimizer.built else 0
    )
    total = trainable + fixed + extra
    out.print(f" Total params: {_amount(total, model) if known else '0 (unbuilt)'}")
    out.print(f" Trainable params: {_amount(trainable, model)}")
    out.print(f" Non-trainable params: {_amount(fixed, model)}")
    if extra:
        out.print(f" Optimizer params: {_amount(extra, model)}")
    if print_fn:
        print_fn(out.file.getvalue())  # type: ignore[attr-defined]


def _between(rows: list[tuple[int, Any]], patterns: Any) -> list[tuple[int, Any]]:
    """The rows from the first whose layer's name matches the first pattern to the last of the second."""
    if patterns is None:
        return rows
    first, last = patterns
    places = [
        [i for i, (_, layer) in enumerate(rows) if re.match(p, layer.name)] for p in (first, last)
    ]
    for pattern, found in zip(patterns, places, strict=True):
        if not found:
            raise KCValueError(
                "KC207",
                f"layer_range={patterns!r}",
                f"no layer's name matches {pattern!r}",
                f"the names are {', '.join(layer.name for _, layer in rows)}",
            )
    low, high = sorted((places[0][0], places[1][-1]))
    return rows[low : high + 1]


def _rows(model: Any, nested: bool, depth: int = 0) -> list[tuple[int, Any]]:
    network = model._network
    own = (
        network.operations
        if network is not None and type(model).__name__ != "Sequential"
        else model.layers
    )
    out = []
    for layer in own:
        out.append((depth, layer))
        if nested and hasattr(layer, "_network"):
            out += _rows(layer, nested, depth + 1)
    return out


def _kind(layer: Any) -> str:
    return str(layer.spec.class_name if isinstance(layer, OpCall) else type(layer).__name__)


def _output_shape(layer: Any) -> str:
    shapes = [t.shape for n in layer._inbound_nodes[:1] for t in leaves(n.outputs)]
    if not shapes and getattr(layer, "_network", None) is not None:
        shapes = [t.shape for t in layer._network.flat_outputs]
    if not shapes:
        return "?"
    return str(shapes[0]) if len(shapes) == 1 else str(shapes)


def _count(layer: Any) -> str:
    if isinstance(layer, OpCall):
        return "0"
    return f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"


def _sources(layer: Any, network: Any) -> str:
    kept = set(network.nodes)
    names = []
    for node in layer._inbound_nodes:
        if node in kept:
            names += [
                f"{t._keras_history.operation.name}[{t._keras_history.node_index}][{t._keras_history.tensor_index}]"
                for t in node.inputs
            ]
    return ", ".join(names) or "-"


def _amount(n: int, model: Any) -> str:
    size = float(n * 4)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{n:,} ({size:.2f} {unit})"
        size /= 1024
    return f"{n:,}"
