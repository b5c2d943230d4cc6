"""How targets, weights, losses and metrics find the outputs of a model: by place, name or nesting.

An output is a leaf of the predictions, in the order of `kcompile.tree.flatten`. Refuses to hold
what is done with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import kcompile.tree as tree
from kcompile.errors import KCError, KCValueError
from kcompile.layer_call import describe


class Output(NamedTuple):
    """One output: its path in the predictions and the name shown in histories (None: no name)."""

    path: tuple[Any, ...]
    name: str | None


def outputs_of(y_pred: Any, output_names: list[str] | None) -> list[Output]:
    """The outputs of a model that predicts `y_pred`. `output_names` are those of a functional model."""
    paths = [p for p, _ in tree.flatten_with_path(y_pred)]
    names: list[str | None] = list(output_names or [])
    if len(names) != len(paths):
        names = [None] * len(paths)
    out = []
    for path, name in zip(paths, names, strict=True):
        parts = [str(p) for p in path if not isinstance(p, int)]
        if path and not isinstance(path[-1], int):
            name = "/".join(parts)
        elif name is not None and parts:
            name = "/".join([*parts, name])
        out.append(Output(path, name))
    return out


@contextmanager
def naming(what: str, y_true: Any, y_pred: Any, sample_weight: Any) -> Iterator[None]:
    """Errors inside say that they came up in `what`, and for which shapes."""
    try:
        yield
    except KCError as error:
        given = f"targets {describe(y_true)}, outputs {describe(y_pred)}"
        if sample_weight is not None:
            given += f", sample weights {describe(sample_weight)}"
        error.given = f"{error.given}, in {what} for {given}"
        error.args = (error._text(),)
        raise


def find(structure: Any, path: tuple[Any, ...]) -> Any:
    """The part of `structure` at `path`. Raises KeyError, IndexError or TypeError."""
    for p in path:
        structure = structure[p]
    return structure


def align(given: Any, y_pred: Any, outputs: list[Output], used: list[bool], what: str) -> list[Any]:
    """The leaves of `given` (targets or weights), one for each output, None for outputs not `used`.

    Accepts the predictions' own structure, a list in their order, a dict of output names, and, where
    some outputs are not used, leaves for the used ones only. Raises KCValueError KC303.
    """
    if not tree.is_nested(given):
        if len(outputs) == 1:
            return [given]
    elif isinstance(given, dict):
        by_name = {o.name: i for i, o in enumerate(outputs)}
        if len(outputs) == 1 and len(given) == 1 and outputs[0].name is None:
            return tree.flatten(given)
        if (
            given
            and set(given) <= set(by_name)
            and all(k in given for k, i in by_name.items() if used[i])
        ):
            return [given.get(o.name) for o in outputs]
        if tree.is_nested(y_pred) and tree.same_structure(y_pred, given):
            return tree.flatten(given)
    else:
        leaves = tree.flatten(given)
        if len(leaves) == len(outputs) and (_flat(given) or _alike(given, y_pred)):
            return _in_order(leaves, y_pred, outputs)
        if len(leaves) == sum(used) and _flat(given):
            rest = iter(leaves)
            return [next(rest) if u else None for u in used]
    names = [o.name for o in outputs]
    shown = f", named {names}" if all(names) else ""
    raise KCValueError(
        "KC303", f"{what} of the structure {tree.describe(given)}",
        f"the model predicts {tree.describe(y_pred)}: {len(outputs)} outputs{shown}",
        f"give the {what} as a list in this order, or as a dict of the outputs' names",
    )  # fmt: skip


def _flat(given: Any) -> bool:
    return not any(tree.is_nested(x) for x in given)


def _alike(given: Any, y_pred: Any) -> bool:
    return tree.same_structure(tree.lists_to_tuples(given), tree.lists_to_tuples(y_pred))


def _in_order(leaves: list[Any], y_pred: Any, outputs: list[Output]) -> list[Any]:
    """A list of leaves follows a dict of predictions in the dict's own order, not the sorted one."""
    if isinstance(y_pred, dict) and not any(tree.is_nested(v) for v in y_pred.values()):
        given = dict(zip(y_pred, leaves, strict=True))
        return [given[o.path[0]] for o in outputs]
    return leaves
