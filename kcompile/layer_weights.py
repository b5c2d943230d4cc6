"""`Weighted`: what a layer holds. Its weights, sublayers, metrics and generators are found in its own
attributes when asked, also in lists and dicts; their order is Keras's.

Refuses to hold calls, losses and configs (`kcompile.layer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

import kcompile.constraints as constraints
import kcompile.initializers as initializers
import kcompile.regularizers as regularizers
from kcompile.dtypes import is_float, standardize_dtype
from kcompile.errors import KCRuntimeError, KCTypeError, KCValueError
from kcompile.operation import Operation
from kcompile.random import SeedGenerator
from kcompile.variable import Variable, active, unique_name

_HIDDEN = frozenset(
    {
        "_inbound_nodes",
        "_own",
        "_layer_losses",
        "_init_arguments",
        "_input_shape_arg",
        "_metrics_held",
        "_compile_arguments",
    }
)
# attributes of these types hold nothing
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, FunctionType, BuiltinFunctionType, np.ndarray, np.dtype})  # fmt: skip


class Weighted(Operation):
    """Weights, their tracking and their order."""

    built: bool
    _trainable: bool
    _own: list[Variable]
    dtype_policy: Any
    _parent_path: str | None

    # attributes: variables are taken up as they are set

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Variable):
            own = self.__dict__.get("_own")
            if own is None:
                raise self._no_super()
            if not any(v is value for v in own):
                own.append(value)
        object.__setattr__(self, name, value)

    def _no_super(self) -> Exception:
        return KCRuntimeError(
            "KC203", f"{type(self).__name__} without super().__init__()", "a layer's __init__ begins with super().__init__(**kwargs)",
            "add that line",
        )  # fmt: skip

    def _held(self) -> Iterator[Any]:
        """Layers, variables, metrics and generators in attributes, in order of assignment."""
        if "_own" not in self.__dict__:
            raise self._no_super()
        seen: set[int] = set()
        for name, value in self.__dict__.items():
            if type(value) in _PLAIN or name in _HIDDEN:
                continue
            for found in _things(value):
                if id(found) not in seen:
                    seen.add(id(found))
                    yield found

    @property
    def _layers(self) -> list[Any]:
        return [x for x in self._held() if isinstance(x, Weighted)]

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> list[Any]:
        found = [layer for layer, _ in self._walk(recursive)]
        return found if include_self else found[1:]

    def _walk(self, recursive: bool = True) -> Iterator[tuple[Any, list[Any]]]:
        """The layer and its sublayers, each once and with what it holds; a layer's own come right after it."""
        seen = set()
        todo: list[Any] = [self]
        while todo:
            layer = todo.pop()
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            held = list(layer._held())
            yield layer, held
            if recursive or layer is self:
                todo += [x for x in reversed(held) if isinstance(x, Weighted)]

    def _own_variables(self, held: Iterable[Any] | None = None) -> list[Variable]:
        own = {id(v): v for v in self._own}
        for x in self._held() if held is None else held:
            if isinstance(x, Variable):
                own.setdefault(id(x), x)
        return list(own.values())

    @property
    def path(self) -> str:
        """Names of the layers it was built in, and its own."""
        return "/".join(filter(None, (self._parent_path, self.name)))

    # weights

    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> Variable:
        """Make a weight: glorot_uniform (zeros for ints) by default, in the policy's variable dtype."""
        if "_own" not in self.__dict__:
            raise self._no_super()
        if kwargs:
            raise KCTypeError(
                "KC107",
                f"add_weight({', '.join(kwargs)}=...)",
                "add_weight does not take this",
                "drop the argument",
            )
        if isinstance(shape, str):
            raise KCTypeError(
                "KC209",
                f"add_weight({shape!r}, ...)",
                "the first argument is the shape",
                "pass name= by keyword",
            )
        if isinstance(shape, (tuple, list)) and None in shape:
            raise KCValueError(
                "KC209", f"add_weight(shape={tuple(shape)})", "the shape of a weight is known",
                "give the Input of the model that extent",
            )  # fmt: skip
        kind = self.dtype_policy.variable_dtype if dtype is None else standardize_dtype(dtype)
        made = Variable(
            initializers.get(initializer or ("glorot_uniform" if is_float(kind) else "zeros")),
            shape=() if shape is None else (shape,) if isinstance(shape, int) else tuple(shape),
            dtype=kind, trainable=trainable, autocast=autocast, name=name or unique_name("variable"), aggregation=aggregation,
        )  # fmt: skip
        made.regularizer = regularizers.get(regularizer)
        made.constraint = constraints.get(constraint)
        made.overwrite_with_gradient = overwrite_with_gradient
        self._own.append(made)
        return made

    @property
    def weights(self) -> list[Variable]:
        """Own trainable, own non-trainable, then the sublayers'; each once."""
        held = list(self._held())
        own = self._own_variables(held)
        out: dict[int, Variable] = {id(v): v for v in own if v.made_trainable}
        out.update((id(v), v) for v in own)
        for layer in held:
            if isinstance(layer, Weighted):
                out.update((id(v), v) for v in layer.weights if id(v) not in out)
        return list(out.values())

    @property
    def variables(self) -> list[Variable]:
        """The weights, and the states of random generators."""
        out = {id(v): v for v in self.weights}
        for _, held in self._walk():
            for g in held:
                if isinstance(g, SeedGenerator):
                    out.update((id(v), v) for v in (g.seed, g.step))
        return list(out.values())

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights an optimizer updates: none when the layer is frozen."""
        return [v for v in self.weights if v.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The other weights."""
        return [v for v in self.weights if not v.trainable] if self.trainable else self.weights

    @property
    def trainable_variables(self) -> list[Variable]:
        return [v for v in self.variables if v.trainable] if self.trainable else []

    @property
    def non_trainable_variables(self) -> list[Variable]:
        return [v for v in self.variables if not v.trainable] if self.trainable else self.variables

    @property
    def metrics(self) -> list[Any]:
        """Metrics held by the layer and its sublayers."""
        return [m for _, held in self._walk() for m in held if _is_metric(m)]

    @property
    def metrics_variables(self) -> list[Variable]:
        return [v for m in self.metrics for v in m.variables]

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for v in self._own_variables():
            v.freeze(not value)
        for layer in self._layers:
            layer.trainable = value

    def count_params(self) -> int:
        """The number of elements of all weights. Raises KCValueError KC202 before building."""
        if not self.built:
            raise KCValueError(
                "KC202",
                f"count_params of the unbuilt layer {self.name!r}",
                "weights exist after building",
                "call it on data, or build(shape)",
            )
        return sum(v.size for v in self.weights)

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the weights."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Set all weights, in the order of `weights`. Raises KCValueError KC204 before anything is set."""
        if not isinstance(weights, Iterable):
            raise KCValueError(
                "KC204", f"set_weights({weights!r})", "it takes a list of arrays",
                "pass what get_weights of an equal layer gives",
            )  # fmt: skip
        own, given = self.weights, [np.asarray(w) for w in weights]
        if len(own) != len(given):
            raise KCValueError(
                "KC204", f"{len(given)} arrays for the {len(own)} weights of {self.name!r}", "there is one array per weight",
                "build the layer first, and pass what get_weights of an equal layer gives",
            )  # fmt: skip
        for v, w in zip(own, given, strict=True):
            if v.shape != w.shape:
                raise KCValueError(
                    "KC204",
                    f"an array of shape {w.shape} for {v.path!r}",
                    f"its shape is {v.shape}",
                    "pass an array of this shape",
                )
        with active(None):
            for v, w in zip(own, given, strict=True):
                v.assign(w)


def _is_metric(x: Any) -> bool:
    return hasattr(x, "update_state") and hasattr(x, "result") and hasattr(x, "reset_state")


def _things(value: Any) -> Iterator[Any]:
    if isinstance(value, (Weighted, Variable, SeedGenerator)) or (
        _is_metric(value) and not isinstance(value, type)
    ):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from _things(v)
    elif isinstance(value, (list, tuple, set)):
        for v in value:
            yield from _things(v)
