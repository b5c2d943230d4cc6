"""`Sequential`: layers one after the other, built when the input shape is known.

Refuses to hold graphs (`kcompile.network`) and training (`kcompile.model`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import kcompile.policy as policy
import kcompile.serialization as serialization
from kcompile.errors import KCTypeError, KCValueError
from kcompile.input_layer import Input, InputLayer
from kcompile.layer import Layer, map_shapes
from kcompile.model import Model
from kcompile.network import Network
from kcompile.operation import Operation
from kcompile.tensor import KerasTensor
from kcompile.trace import leaves
from kcompile.variable import active, name_scope


class Sequential(Model):
    """A stack of layers.

    Args:
        layers: layers (or functions of tensors, wrapped in Lambda) from first to last; an Input may come first.

    Raises KCTypeError KC206 for other objects, KCValueError KC207 for a name used twice.
    """

    def __init__(
        self, layers: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any
    ):
        super().__init__(trainable=trainable, name=name, **kwargs)
        self._stack: list[Layer] = []
        if layers is not None and not isinstance(layers, Iterable):
            raise KCTypeError(
                "KC206",
                f"Sequential({layers!r})",
                "it takes a list of layers",
                "put the layer into a list",
            )
        for layer in layers or []:
            self._push(layer)
        self._connect()

    def add(self, layer: Any, rebuild: bool = True, **others: Any) -> None:
        """Put a layer on top."""
        if others:
            raise KCTypeError(
                "KC107", f"add({layer!r}, {', '.join(f'{k}=...' for k in others)})", "add takes a layer",
                "give the arguments to the layer itself: model.add(Dense(10, activation='relu'))",
            )  # fmt: skip
        self._push(layer)
        if rebuild:
            self._connect()

    def _push(self, layer: Any) -> None:
        if (
            isinstance(layer, KerasTensor)
            and layer._keras_history is not None
            and isinstance(layer._keras_history.operation, InputLayer)
        ):
            layer = layer._keras_history.operation
        if not isinstance(layer, Layer):
            raise KCTypeError(
                "KC206", f"{layer!r} of type {type(layer).__name__} added to {self.name!r}", "a Sequential holds layers",
                "write the class with parentheses"
                if isinstance(layer, type)
                else "wrap a function in layers.Lambda; for an activation use layers.Activation",
            )  # fmt: skip
        shape = layer.__dict__.get("_input_shape_arg")
        if not self._stack and shape is not None and not isinstance(layer, InputLayer):
            self._stack.append(Input(shape=shape)._keras_history.operation)
        if isinstance(layer, InputLayer) and self._stack:
            raise KCValueError(
                "KC206",
                f"an Input added to {self.name!r} after other layers",
                "an Input comes first",
                "put it first",
            )
        if any(layer is s or layer.name == s.name for s in self._stack):
            raise KCValueError(
                "KC207",
                f"the layer name {layer.name!r} twice in {self.name!r}",
                "layers of a model have different names",
                "pass name=",
            )
        self._stack.append(layer)

    def pop(self, rebuild: bool = True) -> Layer:
        """Take the top layer off. Raises KCValueError KC206 when there is none."""
        if not self.layers:
            raise KCValueError(
                "KC206",
                f"pop from the empty {self.name!r}",
                "there is a layer to take off",
                "add one first",
            )
        layer = self._stack.pop()
        self.__dict__["_network"] = None
        self.built = False
        if rebuild:
            self._connect()
        return layer

    def _connect(self, shape: Any = None) -> None:
        """Build the layers from a known input on, and the network between."""
        self.__dict__["_network"] = None
        self.built = False
        if not self._stack:
            return
        first = self._stack[0]
        if not isinstance(first, InputLayer):
            if shape is None:
                inner = getattr(first, "_network", None)
                if inner is None or len(inner.flat_inputs) != 1:
                    return
                shape = inner.flat_inputs[0].shape
            dtype = getattr(getattr(first, "_network", None), "flat_inputs", [None])[0]
            first = Input(
                batch_shape=shape, dtype=dtype.dtype if dtype is not None else _input_dtype(first)
            )._keras_history.operation
            self._stack.insert(0, first)
        x = start = first.output
        with active(None), name_scope(self.name, self):
            for layer in self._stack[1:]:
                x = layer(x)
        self.__dict__["_network"] = Network(start, x)
        self.built = True

    @property
    def layers(self) -> list[Layer]:
        """The layers without the Input."""
        return [s for s in self._stack if not isinstance(s, InputLayer)]

    def _held(self) -> Any:
        yield from self._stack

    def build(self, input_shape: Any = None) -> None:
        """Build for inputs of this shape (with the batch axis)."""
        if isinstance(self._stack[0] if self._stack else None, InputLayer):
            self._connect()
        elif input_shape is not None and self._stack:
            if not all(d is None or isinstance(d, int) for d in input_shape):
                raise KCValueError(
                    "KC206",
                    f"input_shape={input_shape!r} for {self.name!r}",
                    "a Sequential has one input",
                    "use a functional Model",
                )
            self._connect((None, *tuple(input_shape)[1:]))

    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._stack:
            raise KCValueError(
                "KC206", f"the empty {self.name!r} called", "a model has layers", "add layers first"
            )
        given = leaves(args[:1])
        if not isinstance(self._stack[0], InputLayer) and given:
            dtype = str(getattr(given[0].dtype, "name", given[0].dtype))
            made = Input(batch_shape=(None, *tuple(given[0].shape)[1:]), dtype=_narrow(dtype))
            self._stack.insert(0, made._keras_history.operation)
        self._connect()

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return self._run(inputs, training, mask)

    def get_config(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": policy.serialize(self.dtype_policy),
        }
        out["layers"] = [serialization.serialize_keras_object(s) for s in self._stack]
        if self._network is not None:
            out["build_input_shape"] = list(self._network.flat_inputs[0].shape)
        return out

    def get_build_config(self) -> dict[str, Any] | None:
        return (
            None
            if self._network is None
            else {"input_shape": list(self._network.flat_inputs[0].shape)}
        )

    def build_from_config(self, config: dict[str, Any]) -> None:
        if self._network is None and config.get("input_shape") is not None:
            self.build(map_shapes(tuple, config["input_shape"]))

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        with serialization.CustomObjectScope(custom_objects):
            made = cls(name=config.get("name"), trainable=config.get("trainable", True))
            for entry in config["layers"]:
                made.add(serialization.deserialize_keras_object(entry), rebuild=False)
            made._connect()
            shape = config.get("build_input_shape")
            if made._network is None and shape:
                made.build(map_shapes(tuple, shape))
        return made


def _narrow(dtype: str) -> str:
    return {"float64": "float32", "int64": "int32"}.get(dtype, dtype)


def _input_dtype(layer: Operation) -> str | None:
    return "int32" if type(layer).__name__ == "Embedding" else None
