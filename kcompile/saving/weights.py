"""The HDF5 form of weights, `layers/<class>/vars/<i>`: where each variable lies, writing and reading.

Every shape is compared before anything is read or assigned; links and external storage are refused. Refuses
to know archives and configs (`kcompile.saving.archive`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from kcompile.errors import KCError, KCValueError
from kcompile.layer import Layer
from kcompile.operation import snake
from kcompile.random import SeedGenerator
from kcompile.variable import Variable


class Place(NamedTuple):
    """The variables of one object and the group they lie in."""

    path: str
    owner: Any
    variables: list[Variable]


def places(model: Any) -> list[Place]:
    """Where every variable of the model lies, each object once; the optimizer's under `optimizer`."""
    return list(_walk(model, "", set()))


def _walk(obj: Any, path: str, seen: set[int]) -> Iterator[Place]:
    if id(obj) in seen:
        return
    seen.add(id(obj))
    yield Place(path, obj, _own(obj))
    for name, child in _children(obj):
        inner = f"{path}/{name}" if path else name
        if _is_saved(child):
            yield from _walk(child, inner, seen)
        else:
            yield from _walk_container(child, inner, seen)


def _walk_container(container: Any, path: str, seen: set[int]) -> Iterator[Place]:
    """Entries go by the names of their classes, numbered from the second one on."""
    counts: dict[str, int] = {}
    for item in container.values() if isinstance(container, Mapping) else container:
        if _is_saved(item):
            name = _numbered(counts, snake(type(item).__name__))
            yield from _walk(item, f"{path}/{name}", seen)
        elif isinstance(item, (list, tuple, Mapping)):
            yield from _walk_container(item, f"{path}/{_numbered(counts, 'container')}", seen)


def _numbered(counts: dict[str, int], name: str) -> str:
    n = counts[name] = counts.get(name, -1) + 1
    return name if n == 0 else f"{name}_{n}"


def _children(obj: Any) -> list[tuple[str, Any]]:
    found: dict[str, Any] = {}
    layered = hasattr(obj, "layers") and isinstance(obj, Layer)
    hidden = _PLUMBING
    for name, value in vars(obj).items():
        if name in hidden or not (_is_saved(value) or isinstance(value, (list, tuple, dict))):
            continue
        public = name.lstrip("_")
        # an attribute that has a public property of the same name lies under that
        if name.startswith("_") and (hasattr(type(obj), public) or public.endswith("_dense")):
            name = public
        found[name] = value
    ordered = sorted(found.items(), key=lambda kv: "~" + kv[0] if kv[0].startswith("_") else kv[0])
    if layered and not _is_subclassed(obj):
        ordered = [("layers", obj.layers), *((k, v) for k, v in ordered if k not in ("layers",))]
    return [(k, v) for k, v in ordered if _is_saved(v) or any(True for _ in _saved_inside(v))]


# attributes of layers and models that hold other objects for their own purposes
_PLUMBING = frozenset({
    "_own", "_inbound_nodes", "_outbound_nodes", "_operations", "operations", "_nodes", "_functional", "_layers",
    "_compile_loss", "_compile_metrics", "_loss_tracker", "loss", "history", "_step_functions", "_metrics",
    "metrics", "losses", "inputs", "outputs", "_inputs", "_outputs", "_layer_losses", "dtype_policy",
    "_network", "_init_arguments", "loss_tracker", "_captured_arguments", "_compile_arguments", "_predicted",
})  # fmt: skip


def _is_subclassed(model: Any) -> bool:
    return not any(c.__name__ in ("Functional", "Sequential") for c in type(model).__mro__)


def _is_saved(x: Any) -> bool:
    return isinstance(x, Layer) or _is_optimizer(x)


def _is_optimizer(x: Any) -> bool:
    return not isinstance(x, type) and hasattr(x, "apply_gradients") and hasattr(x, "variables")


def _saved_inside(x: Any) -> Iterator[Any]:
    for item in x.values() if isinstance(x, Mapping) else x:
        if _is_saved(item):
            yield item
        elif isinstance(item, (list, tuple, Mapping)):
            yield from _saved_inside(item)


def _own(obj: Any) -> list[Variable]:
    if not isinstance(obj, Layer):
        return list(obj.variables)
    own = obj._own_variables()
    return [v for v in own if v.made_trainable] + [v for v in own if not v.made_trainable]


def _generators(obj: Any) -> list[SeedGenerator]:
    return (
        [g for g in obj._held() if isinstance(g, SeedGenerator)] if isinstance(obj, Layer) else []
    )


# -- writing --------------------------------------------------------------------------------------


def write(h5: Any, model: Any) -> None:
    """Write every variable of `model` (and its optimizer's) into an open HDF5 file."""
    for place in places(model):
        store: dict[str, Any] = {}
        custom = getattr(place.owner, "save_own_variables", None)
        if custom is not None:
            custom(store)
        else:
            store = {str(i): v for i, v in enumerate(place.variables)}
        group = h5.create_group(f"{place.path}/vars" if place.path else "vars")
        name = getattr(place.owner, "name", None)
        if isinstance(name, str):
            group.attrs["name"] = name
        for key, value in store.items():
            _put(group, str(key), value)
        for i, g in enumerate(_generators(place.owner)):
            # beyond what Keras writes, so that a resumed run draws on; Keras ignores it
            _put(group.parent.require_group("random"), f"{i}/seed", g.seed)
            _put(group.parent["random"], f"{i}/step", g.step)


def _put(group: Any, key: str, value: Any) -> None:
    array = value.numpy() if isinstance(value, Variable) else np.asarray(value)
    if isinstance(value, Variable) and value.storage_dtype == "bfloat16":
        # stored as the upper half of each float32, with the mark Keras reads
        data = group.create_dataset(
            key, data=(array.view(np.uint32) >> 16).astype(np.uint16).view("V2")
        )
        data.attrs["dtype"] = "bfloat16"
        return
    group.create_dataset(key, data=array)


# -- reading --------------------------------------------------------------------------------------


def read(h5: Any, model: Any, *, skip_mismatch: bool = False, optimizer: bool = True) -> None:
    """Assign every variable of `model` from an open HDF5 file, after checking that all fit.

    Raises KCValueError KC403 (nothing is assigned then) for missing groups and for shapes that differ,
    unless `skip_mismatch`; KC402, KC405 for a damaged or hostile file. The optimizer's variables are
    taken where the file has them and their number fits.
    """
    todo: list[tuple[Variable, Any]] = []
    custom: list[tuple[Any, dict[str, Any]]] = []
    problems: list[str] = []
    for place in places(model):
        if _is_optimizer(place.owner):
            if optimizer:
                todo += _optimizer_pairs(h5, place)
            continue
        group = _group(h5, place.path)
        if hasattr(place.owner, "load_own_variables"):
            custom.append(
                (
                    place.owner,
                    {k: _checked(group, k)[()] for k in group} if group is not None else {},
                )
            )
            continue
        if not place.variables and not _generators(place.owner):
            continue
        try:
            pairs = _pairs(group, place)
        except _Mismatch as e:
            problems.append(str(e))
            continue
        todo += pairs
        todo += _random_pairs(h5, place)
    if problems and not skip_mismatch:
        shown = "; ".join(problems[:5]) + (
            f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        )
        raise KCValueError(
            "KC403", f"a weights file that does not fit {model.name!r}: {shown}", "every variable has one of its shape in the file",
            "load it into the model it was saved from, or pass skip_mismatch=True",
        )  # fmt: skip
    arrays = [(v, _array(d)) for v, d in todo]
    for variable, array in arrays:
        variable.assign(array)
    for owner, store in custom:
        owner.load_own_variables(store)


class _Mismatch(Exception):
    """What does not fit, for a reader."""


def _pairs(group: Any, place: Place) -> list[tuple[Variable, Any]]:
    where = place.path or "the model itself"
    if group is None:
        raise (
            _Mismatch(f"there is nothing for {where} ({len(place.variables)} variables)")
            if place.variables
            else _Mismatch
        )
    if len(group) != len(place.variables):
        raise _Mismatch(f"{where} has {len(place.variables)} variables, the file {len(group)}")
    found = []
    for i, v in enumerate(place.variables):
        if str(i) not in group:
            raise _Mismatch(f"{where} lacks variable {i}")
        data = _checked(group, str(i))
        if tuple(data.shape) != tuple(v.shape):
            raise _Mismatch(f"{v.path} has shape {v.shape}, the file {tuple(data.shape)}")
        found.append((v, data))
    return found


def _random_pairs(h5: Any, place: Place) -> list[tuple[Variable, Any]]:
    found = []
    for i, g in enumerate(_generators(place.owner)):
        for v, name in ((g.seed, "seed"), (g.step, "step")):
            path = f"{place.path}/random/{i}/{name}" if place.path else f"random/{i}/{name}"
            if path in h5:
                folder, _, key = path.rpartition("/")
                data = _checked(h5[folder], key)
                if tuple(data.shape) == tuple(v.shape):
                    found.append((v, data))
    return found


def _optimizer_pairs(h5: Any, place: Place) -> list[tuple[Variable, Any]]:
    group = _group(h5, place.path)
    if group is None or len(group) != len(place.variables):
        return []
    try:
        return _pairs(group, place)
    except _Mismatch:
        return []


def _group(h5: Any, path: str) -> Any:
    """The `vars` group of a path, or None. Raises KCValueError KC405 for links."""
    current = h5
    for part in [*path.split("/"), "vars"] if path else ["vars"]:
        if part not in current:
            return None
        _no_link(current, part)
        current = current[part]
    return current


def _checked(group: Any, key: str) -> Any:
    _no_link(group, key)
    data = group[key]
    if not hasattr(data, "shape") or data.external or data.is_virtual:
        raise KCValueError(
            "KC405", f"{group.name}/{key} with its data outside the file", "a weights file holds its own data",
            "use another copy of the file",
        )  # fmt: skip
    return data


def _no_link(group: Any, key: str) -> None:
    if type(group.get(key, getlink=True)).__name__ != "HardLink":
        raise KCValueError(
            "KC405",
            f"{group.name}/{key}, a link",
            "a weights file has no links",
            "use another copy of the file",
        )


def _array(data: Any) -> np.ndarray[Any, Any]:
    if data.attrs.get("dtype") == "bfloat16":
        raw = np.frombuffer(data[()].tobytes(), np.uint16).astype(np.uint32) << 16
        return raw.view(np.float32).reshape(data.shape)
    try:
        return np.asarray(data[()])
    except OSError as e:
        raise KCValueError(
            "KC402",
            f"{data.name}: {e}",
            "the data of a variable can be read",
            "use another copy of the file",
        ) from e


def open_h5(source: Any, mode: str) -> Any:
    """An HDF5 file at a path or in a binary file. Raises KCValueError KC402 for what is none."""
    import h5py

    try:
        return h5py.File(source, mode)
    except (OSError, KCError) as e:
        if isinstance(e, (FileNotFoundError, PermissionError, IsADirectoryError)):
            raise
        raise KCValueError(
            "KC402", f"{source}: {e}", "weights are in an HDF5 file", "use another copy of the file"
        ) from e
