"""`Model`: a layer with training. Subclassed (`call`) or functional (`Model(inputs, outputs)`).

Training, saving and compiling are delegated. Refuses to hold loops (`kcompile.fit`), steps
(`kcompile.step`) and files (`kcompile.saving`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import kcompile.later as later
import kcompile.serialization as serialization
from ir.graph import here
from kcompile.errors import KCAttributeError, KCTypeError, KCValueError
from kcompile.input_layer import InputLayer
from kcompile.layer import Layer
from kcompile.layer_call import is_array_like, map_shapes
from kcompile.network import Network, rebuild
from kcompile.tensor import KerasTensor
from kcompile.trace import leaves, map_structure
from kcompile.trainer import Trainer
from kcompile.variable import in_scope, unique_name

_APART = frozenset(
    {
        "loss_tracker",
        "_compile_metrics",
        "_compile_loss",
        "optimizer",
        "_network",
        "_step_functions",
        "history",
    }
)


def _is_functional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return (
        len(args) >= 2
        or (len(args) == 1 and "outputs" in kwargs)
        or ("inputs" in kwargs and "outputs" in kwargs)
    )


class Model(Trainer):
    """A model: `Model(inputs, outputs)`, or a subclass with `call`.

    Raises KCTypeError KC107 for other arguments, KCValueError KC205 for tensors that are not connected.
    """

    _network: Network | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = Functional if cls is Model and _is_functional(args, kwargs) else cls
        return super().__new__(made, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any):
        network = None
        if _is_functional(args, kwargs):
            given = inspect.signature(_functional_arguments).bind(*args, **kwargs).arguments
            network = Network(given.pop("inputs"), given.pop("outputs"))
            kwargs = given.pop("more", {}) | given
        elif args:
            raise KCTypeError(
                "KC107",
                f"Model({', '.join(map(repr, args))})",
                "a model takes inputs and outputs, or is subclassed",
                "pass both",
            )
        super().__init__(**kwargs)
        self.__dict__["_network"] = network
        self._no_training_yet()
        if network is not None:
            self.built = True

    # structure

    def _held(self) -> Iterator[Any]:
        network = self._network
        if network is not None:
            yield from network.layers
        apart = {id(v) for k, v in self.__dict__.items() if k in _APART}
        seen = {id(x) for x in network.layers} if network is not None else set()
        for x in super()._held():
            if id(x) not in apart and id(x) not in seen:
                yield x

    @property
    def layers(self) -> list[Layer]:
        """The layers directly in the model, inputs included for a functional one."""
        return self._layers

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic inputs of a functional model, flat."""
        return self._connected("inputs").flat_inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs of a functional model, flat."""
        return self._connected("outputs").flat_outputs

    @property
    def input(self) -> Any:
        return self._connected("input").inputs

    @property
    def output(self) -> Any:
        return self._connected("output").outputs

    @property
    def input_shape(self) -> Any:
        return map_structure(lambda t: t.shape, self.input)

    @property
    def output_shape(self) -> Any:
        return map_structure(lambda t: t.shape, self.output)

    @property
    def input_names(self) -> list[str]:
        return [t._keras_history.operation.name for t in self.inputs]

    @property
    def output_names(self) -> list[str] | None:
        """The names of a functional model's outputs: those of their layers, made unique; else None."""
        if self._network is None:
            return None
        if isinstance(self._network.outputs, dict):
            return list(self._network.outputs)
        names = [t._keras_history.operation.name for t in self._network.flat_outputs]
        return [
            n if names.count(n) == 1 or names.index(n) == i else f"{n}_{names[:i].count(n)}"
            for i, n in enumerate(names)
        ]

    def _connected(self, what: str) -> Network:
        if self._network is None:
            raise KCAttributeError(
                "KC202",
                f".{what} of {self.name!r}",
                "only a functional or built Sequential model has it",
                "call the model, or give it an Input",
            )
        return self._network

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name or place. Raises KCValueError KC207."""
        if (name is None) == (index is None):
            raise KCValueError(
                "KC207",
                f"get_layer(name={name!r}, index={index!r})",
                "a layer is found by one of them",
                "pass one",
            )
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise KCValueError(
                    "KC207",
                    f"get_layer(index={index})",
                    f"the model has {len(self.layers)} layers",
                    "pass a smaller index",
                )
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KCValueError(
            "KC207",
            f"no layer {name!r} in {self.name!r}",
            f"its layers are {[layer.name for layer in self.layers]}",
            "pass one of these",
        )

    # calling

    @property
    def calls(self) -> bool:
        """Whether the model says what calling it does: one that only has steps of its own need not."""
        return self._network is not None or type(self).call is not Model.call

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if self._network is None:
            return super().call(*args, **kwargs)
        return self._run(*args, **kwargs)

    def _run(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        network = self._connected("inputs")
        if mask is not None:
            for x, m in zip(network.arrange(inputs), leaves(mask), strict=False):
                x._keras_mask = m
        return network.run(inputs, training)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None

    def _convert(self, x: Any) -> Any:
        # a model's inputs keep their dtype: its Inputs and layers say what they take
        if self._network is None:
            return super()._convert(x)
        kept, self.autocast = self.autocast, False
        try:
            return super()._convert(x)
        finally:
            self.autocast = kept

    def _path_in(self, path: str) -> str:
        # the model that is trained is no part of its layers' paths; a model inside another is
        return super()._path_in(path) if path or in_scope() else ""

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of a subclassed model for inputs of this shape."""
        if (
            self._network is None
            and not self.built
            and input_shape is not None
            and type(self).call is not Model.call
        ):
            self.built = True
            symbols = map_shapes(lambda s: KerasTensor(s, self.compute_dtype), input_shape)
            self.compute_output_spec(symbols)
        self.built = True

    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._network is None and args:
            self.__dict__["_called_with"] = map_structure(_symbol, args[0])
        if self._network is None and type(self).build is Model.build:
            self._parent_path = here() if self._parent_path is None else self._parent_path
            self.built = True  # the layers build themselves as `call` calls them
        else:
            super()._build_for(args, kwargs)

    # what other modules do with a model

    summary = later.method("kcompile.model_summary", "print_summary")
    dump_ir = later.method("kcompile.dump", "dump_ir")
    compile_report = later.method("kcompile.compile_report", "compile_report")
    export = later.method("kcompile.export", "export")
    save = later.method("kcompile.saving.archive", "save_model")
    save_weights = later.method("kcompile.saving.archive", "save_weights")
    load_weights = later.method("kcompile.saving.archive", "load_weights")

    def to_json(self, **kwargs: Any) -> str:
        """The config as JSON text."""
        return json.dumps(serialization.serialize_keras_object(self), **kwargs)

    def get_config(self) -> dict[str, Any]:
        network = self._network
        if network is not None and type(self).__init__ in (Model.__init__, Functional.__init__):
            return {"name": self.name, "trainable": self.trainable, **network.config()}
        out = super().get_config()
        if type(self).get_config is Model.get_config:
            out |= {k: v for k, v in self._captured().items() if k not in out}
        return out

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        with serialization.CustomObjectScope(custom_objects):
            if all(k in config for k in ("layers", "input_layers", "output_layers")) and issubclass(
                cls, Model
            ):
                inputs, outputs = rebuild(config)
                kind: Any = Functional if cls in (Model, Functional) else cls
                made = kind(inputs=inputs, outputs=outputs, name=config.get("name"))
                if not config.get("trainable", True):
                    made.trainable = False
                return made
            return super().from_config(config)

    def get_build_config(self) -> dict[str, Any] | None:
        return super().get_build_config() if self._network is None else {"input_shape": None}

    def build_from_config(self, config: dict[str, Any]) -> None:
        if self._network is None and config.get("input_shape") is not None:
            super().build_from_config(config)


class Functional(Model):
    """A model made of a graph of layers: what `Model(inputs, outputs)` gives."""

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any):
        super().__init__(
            inputs=inputs, outputs=outputs, name=name or unique_name("functional"), **kwargs
        )

    def call(self, inputs: Any, training: Any = None, mask: Any = None, **kwargs: Any) -> Any:
        return self._run(inputs, training, mask)


def _functional_arguments(
    inputs: Any, outputs: Any, name: Any = None, trainable: bool = True, **more: Any
) -> None: ...


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """The model that `to_json` wrote, with new weights."""
    try:
        config = json.loads(json_string)
    except json.JSONDecodeError as e:
        raise KCValueError(
            "KC402", f"a text that is no JSON: {e}", "it is what to_json wrote", "pass that text"
        ) from e
    return serialization.deserialize_keras_object(config, custom_objects=custom_objects)


def clone_model(model: Any, **kwargs: Any) -> Any:
    """A model of the same config with new weights."""
    if kwargs:
        raise KCTypeError(
            "KC107",
            f"clone_model({', '.join(kwargs)}=...)",
            "a clone has the config of its model",
            "drop the argument",
        )
    if not isinstance(model, Model):
        raise KCTypeError("KC209", f"clone_model({model!r})", "a model is cloned", "pass a model")
    return type(model).from_config(model.get_config())


__all__ = ["Functional", "InputLayer", "Model", "clone_model", "model_from_json"]


def _symbol(x: Any) -> Any:
    """A symbol like a tensor that a model was called on, for any batch size."""
    if not is_array_like(x):
        return x
    dtype = str(getattr(x.dtype, "name", x.dtype))
    return KerasTensor((None, *x.shape[1:]), _NARROW.get(dtype, dtype), name="input")


_NARROW = {"float64": "float32", "int64": "int32"}
