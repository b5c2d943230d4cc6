"""What a layer's call needs around `call` itself: its signature, the enclosing call's `training`,
masks on tensors, the shapes `build` is given, and errors that name the layer and the user's line.

Refuses to hold the layer (`kcompile.layer`).
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ir.op import IRError
from kcompile.errors import KCError, KCTypeError, KCValueError
from kcompile.tensor import KerasTensor, Tensor
from kcompile.trace import leaves, map_structure
from kcompile.variable import Variable, active, name_scope

_training: list[Any] = []
_HOUSE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Signature(NamedTuple):
    """The parameters of `call`, without self."""

    names: tuple[str, ...]
    parameters: dict[str, inspect.Parameter]
    variadic: bool
    training: bool
    mask: bool


@functools.cache
def signature_of(fn: Callable[..., Any]) -> Signature:
    """The signature of an unbound `call`."""
    parameters = dict(list(inspect.signature(fn).parameters.items())[1:])
    keywords = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = tuple(
        n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)
    )
    return Signature(named, parameters, keywords, "training" in parameters, "mask" in parameters)


@contextmanager
def training_scope(training: Any) -> Iterator[None]:
    """Layers called inside take `training` from here unless they are given one."""
    _training.append(training)
    try:
        yield
    finally:
        _training.pop()


def enclosing_training() -> Any:
    """The `training` of the enclosing call: True, False or None."""
    return _training[-1] if _training else None


def is_array_like(x: Any) -> bool:
    """Whether `x` is a tensor of any kind."""
    return isinstance(x, (Tensor, KerasTensor, np.ndarray, Variable)) or (
        hasattr(x, "detach") and hasattr(x, "shape")
    )


def named_arguments(
    signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by parameter name, in the order of the signature where possible."""
    out = dict(zip(signature.names, args, strict=False))
    out.update(kwargs)
    return out


def tensor_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those arguments that hold tensors, masks left out."""
    return {
        k: v
        for k, v in arguments.items()
        if k != "mask"
        and not k.endswith("_mask")
        and any(is_array_like(leaf) for leaf in leaves(v))
    }


def masks_of(x: Any) -> Any:
    """The masks of nested tensors, or None when none has one."""
    found = map_structure(lambda t: getattr(t, "_keras_mask", None), x)
    return found if leaves(found) else None


def fill_masks(signature: Signature, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Put masks that travel with tensors into `mask` and `<name>_mask`, unless given."""
    tensors = tensor_arguments(arguments)
    for i, (k, v) in enumerate(tensors.items()):
        for name in ("mask",) * (i == 0) + (f"{k}_mask",):
            if name in signature.parameters and arguments.get(name) is None:
                mask = masks_of(v)
                if mask is not None:
                    kwargs[name] = mask


def in_own_scope(build: Callable[..., None]) -> Callable[..., None]:
    """`build`, in which weights carry the layer's name in their path whoever calls it, and after which
    the layer is built for the shapes it was given."""

    @functools.wraps(build)
    def scoped(self: Any, *shapes: Any, **named: Any) -> None:
        with active(None), name_scope(self.name, self):
            build(self, *shapes, **named)
        if shapes or named:
            self._build_shapes = (*shapes, *named.values())
            self.built = True

    return scoped


def build_arguments(build: Callable[..., Any], tensors: dict[str, Any]) -> tuple[Any, ...]:
    """The shapes that `build` asks for, by position. Raises KCTypeError KC201 when there are no tensors."""
    parameters = inspect.signature(build).parameters
    names = [
        n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)
    ]
    shapes = {k: map_structure(lambda t: tuple(t.shape), v) for k, v in tensors.items()}
    if names and not shapes and parameters[names[0]].default is inspect.Parameter.empty:
        raise KCTypeError(
            "KC201", "a call without a tensor", "a layer is called on tensors or NumPy arrays",
            "convert the data first: numpy.asarray(data, dtype='float32')",
        )  # fmt: skip
    if not names or not shapes:
        return ()
    if len(names) == 1:
        return (next(iter(shapes.values())),)
    by_name = [shapes.get(n.removesuffix("_shape").removesuffix("_shapes")) for n in names]
    return (
        tuple(by_name)
        if any(s is not None for s in by_name)
        else tuple(shapes.values())[: len(names)]
    )


def user_line() -> str:
    """File and line of the innermost frame outside this package, for an error message."""
    floors = os.path.dirname(_HOUSE.rstrip(os.sep)) + os.sep
    inside = tuple(floors + f + os.sep for f in ("kcompile", "ir", "codegen", "runtime"))
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if (
            not name.startswith(inside)
            and not name.startswith("<")
            and os.sep + "lib" + os.sep not in name
        ):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def describe(x: Any) -> str:
    """Tensors by type, `float32[None, 784]`, in their structure."""
    if is_array_like(x):
        dtype = getattr(x.dtype, "name", None) or str(x.dtype)
        return f"{dtype}[{', '.join(map(str, x.shape))}]"
    if isinstance(x, (list, tuple)):
        inner = ", ".join(map(describe, x))
        return f"[{inner}]" if isinstance(x, list) else f"({inner})"
    if isinstance(x, dict):
        return "{" + ", ".join(f"{k}: {describe(v)}" for k, v in x.items()) + "}"
    return repr(x)


def name_failure(error: Exception, layer: Any, arguments: dict[str, Any]) -> Exception:
    """The error with the layer, its arguments and the user's line in it: what to raise instead."""
    if getattr(error, "_kc_layer", None) is not None:
        return error
    path = "/".join(filter(None, (layer._parent_path, layer.name)))
    given = ", ".join(f"{k}={describe(v)}" for k, v in arguments.items() if v is not None)
    where = user_line()
    context = f"in the layer {path!r} ({type(layer).__name__}), called with {given}" + (
        f" at {where}" if where else ""
    )
    if isinstance(error, KCError):
        error.given = f"{error.given}, {context}"
        error.args = (error._text(),)
    elif isinstance(error, IRError):
        error = KCValueError(
            "KC208",
            f"{error}, {context}",
            "the operation does not take these operands",
            "check the shapes and dtypes the layer was given",
        )
    elif hasattr(error, "add_note"):
        error.add_note(context)
    error._kc_layer = path  # type: ignore[attr-defined]
    return error


def map_shapes(fn: Any, shape: Any) -> Any:
    """`fn` on each shape in a nest of shapes."""
    if isinstance(shape, dict):
        return {k: map_shapes(fn, v) for k, v in shape.items()}
    if isinstance(shape, (list, tuple)) and all(
        d is None or isinstance(d, (int, np.integer)) for d in shape
    ):
        return fn(tuple(shape))
    return [map_shapes(fn, s) for s in shape]
