"""`Model`: a layer with training. Subclassed (`call`) or functional (`Model(inputs, outputs)`).

Training, saving and compiling are delegated. Refuses to hold loops (`kcompile.fit`), steps
(`kcompile.step`) and files (`kcompile.saving`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import kcompile.dump as dumping
import kcompile.export as exporting
import kcompile.dump as dump
import kcompile.export as onnx_export
import kcompile.fit.loops as loops
import kcompile.ops as ops
import kcompile.optimizers.registry as optimizers
import kcompile.saving.archive as archive
import kcompile.serialization as serialization
from kcompile.errors import KCTypeError, KCValueError
from kcompile.input_layer import InputLayer
from kcompile.layer import Layer
from kcompile.losses.compile_loss import CompileLoss
from kcompile.metrics.compile_metrics import CompileMetrics
from kcompile.metrics.reduction import Mean
from kcompile.optimizers.loss_scale import LossScaleOptimizer
from kcompile.model_summary import print_summary
from kcompile.network import Network, rebuild
from kcompile.tensor import KerasTensor
from kcompile.trace import leaves, map_structure
from kcompile.variable import unique_name

_APART = frozenset({"loss_tracker", "_compile_metrics", "_compile_loss", "optimizer", "_network", "_step_functions", "history"})


def _is_functional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return len(args) >= 2 or (len(args) == 1 and "outputs" in kwargs) or ("inputs" in kwargs and "outputs" in kwargs)


class Model(Layer):
    """A model: `Model(inputs, outputs)`, or a subclass with `call`.

    Raises KCTypeError KC107 for other arguments, KCValueError KC205 for tensors that are not connected.
    """

    _network: Network | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(Functional if cls is Model and _is_functional(args, kwargs) else cls)
        made.__dict__["_init_arguments"] = (args, kwargs)
        return made

    def __init__(self, *args: Any, **kwargs: Any):
        network = None
        if _is_functional(args, kwargs):
            given = inspect.signature(_functional_arguments).bind(*args, **kwargs).arguments
            network = Network(given.pop("inputs"), given.pop("outputs"))
            kwargs = given.pop("more", {}) | given
        elif args:
            raise KCTypeError("KC107", f"Model({', '.join(map(repr, args))})", "a model takes inputs and outputs, or is subclassed", "pass both")
        super().__init__(**kwargs)
        self.__dict__["_network"] = network
        self.compiled = False
        self.stop_training = False
        self.history: Any = None
        self.optimizer: Any = None
        self.loss: Any = None
        self._compile_loss: Any = None
        self._compile_metrics: Any = None
        self._compile_arguments: dict[str, Any] | None = None
        self.loss_tracker: Any = None
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
        return [n if names.count(n) == 1 or names.index(n) == i else f"{n}_{names[:i].count(n)}" for i, n in enumerate(names)]

    def _connected(self, what: str) -> Network:
        if self._network is None:
            raise _AttributeError("KC202", f".{what} of {self.name!r}", "only a functional or built Sequential model has it", "call the model, or give it an Input")
        return self._network

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name or place. Raises KCValueError KC207."""
        if (name is None) == (index is None):
            raise KCValueError("KC207", f"get_layer(name={name!r}, index={index!r})", "a layer is found by one of them", "pass one")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise KCValueError("KC207", f"get_layer(index={index})", f"the model has {len(self.layers)} layers", "pass a smaller index")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KCValueError("KC207", f"no layer {name!r} in {self.name!r}", f"its layers are {[layer.name for layer in self.layers]}", "pass one of these")

    # calling

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
        return f"{path}/{self.name}" if path else ""

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of a subclassed model for inputs of this shape."""
        if self._network is None and not self.built and input_shape is not None and type(self).call is not Model.call:
            self.built = True
            symbols = [KerasTensor(s, self.compute_dtype) for s in input_shape] if isinstance(input_shape, list) else KerasTensor(input_shape, self.compute_dtype)
            self.compute_output_spec(symbols)
        self.built = True

    # training

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        """Choose optimizer, loss and metrics. Raises KCValueError KC302, KCTypeError KC107."""
        if kwargs:
            raise KCTypeError("KC107", f"compile({', '.join(kwargs)}=...)", "compile does not take this", "drop the argument")
        names = self.output_names
        compile_loss = CompileLoss(loss, loss_weights, output_names=names) if loss is not None else None
        compile_metrics = None
        if metrics is not None or weighted_metrics is not None:
            compile_metrics = CompileMetrics(metrics, weighted_metrics, output_names=names)
        self.optimizer = optimizers.get(optimizer)
        half = auto_scale_loss and self.optimizer is not None and self.dtype_policy.name == "mixed_float16"
        if half and not isinstance(self.optimizer, LossScaleOptimizer):
            self.optimizer = LossScaleOptimizer(self.optimizer, name="loss_scale_optimizer")
        self.loss = loss
        self._compile_loss, self._compile_metrics = compile_loss, compile_metrics
        self.loss_tracker = Mean(name="loss")
        self.run_eagerly, self.steps_per_execution, self.jit_compile = run_eagerly, steps_per_execution, jit_compile
        self._compile_arguments = {
            "optimizer": optimizer, "loss": loss, "loss_weights": loss_weights, "metrics": metrics,
            "weighted_metrics": weighted_metrics, "run_eagerly": run_eagerly, "steps_per_execution": steps_per_execution,
            "jit_compile": bool(jit_compile) and jit_compile != "auto",
        }  # fmt: skip
        self.compiled = True
        self.stop_training = False
        self.__dict__.pop("_step_functions", None)

    @property
    def metrics(self) -> list[Any]:
        """The loss tracker, compiled metrics, the means of single losses, metrics of the model and its layers."""
        out = [self.loss_tracker] if self.loss_tracker is not None else []
        if self._compile_metrics is not None:
            out.append(self._compile_metrics)
        if self._compile_loss is not None:
            out += self._compile_loss.metrics
        return out + super().metrics

    @property
    def metrics_names(self) -> list[str]:
        return [m.name for m in self.metrics]

    def reset_metrics(self) -> None:
        """Set all metrics back."""
        for m in self.metrics:
            m.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """The metrics by name; a metric with several results gives them all."""
        out: dict[str, Any] = {}
        for m in self.metrics:
            result = m.result()
            out.update(result if isinstance(result, dict) else {m.name: result})
        return out

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The total loss: the compiled one and what layers added."""
        parts = []
        if self._compile_loss is not None:
            loss = self._compile_loss(y, y_pred, sample_weight)
            if loss is not None:
                parts.append(loss)
        parts += [ops.sum(ops.cast(extra, "float32")) for extra in self.losses]
        if not parts:
            return ops.zeros(())
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def update_metrics(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Show a batch to the compiled metrics."""
        if self._compile_metrics is not None:
            self._compile_metrics.update_state(y, y_pred, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Update the compiled metrics and give all results."""
        self.update_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        return loops.fit(self, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        return loops.evaluate(self, *args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        return loops.predict(self, *args, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        return loops.train_on_batch(self, *args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        return loops.test_on_batch(self, *args, **kwargs)

    def predict_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        return loops.predict_on_batch(self, *args, **kwargs)

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Print the layers with their output shapes and weights."""
        print_summary(self, *args, **kwargs)

    def dump_ir(self, *args: Any, **kwargs: Any) -> str:
        """The model's step as text, JSON or dot at a stage of the compiler. See `kcompile.dump.dump_ir`."""
        return dump.dump_ir(self, *args, **kwargs)

    # files and configs

    def save(self, *args: Any, **kwargs: Any) -> None:
        archive.save_model(self, *args, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Write the model to an ONNX file. See `kcompile.export.export`."""
        onnx_export.export(self, *args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        archive.save_weights(self, *args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> Any:
        return archive.load_weights(self, *args, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Write the model's prediction as ONNX."""
        exporting.export(self, *args, **kwargs)

    def dump_ir(self, *args: Any, **kwargs: Any) -> str:
        """A step of the model at a stage of its compilation."""
        return dumping.dump_ir(self, *args, **kwargs)

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
            if all(k in config for k in ("layers", "input_layers", "output_layers")) and issubclass(cls, Model):
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

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of compile() as plain data."""
        if self._compile_arguments is None:
            return None
        given = dict(self._compile_arguments)
        given["optimizer"] = self.optimizer
        return {k: serialization.serialize_keras_object(v) for k, v in given.items()}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """compile() with the arguments of `get_compile_config`."""
        found = {k: (optimizers.deserialize(v) if k == "optimizer" and isinstance(v, dict) else serialization.deserialize_keras_object(v)) for k, v in config.items()}
        found["jit_compile"] = found.get("jit_compile") or "auto"
        self.compile(**found)
        if self.optimizer is not None and self.built and self.trainable_variables:
            self.optimizer.build(self.trainable_variables)


class _AttributeError(AttributeError):
    def __init__(self, *parts: str):
        super().__init__(f"[{parts[0]}] {parts[1]}\n  rule: {parts[2]}\n  what to do: {parts[3]}")


class Functional(Model):
    """A model made of a graph of layers: what `Model(inputs, outputs)` gives."""

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any):
        super().__init__(inputs=inputs, outputs=outputs, name=name or unique_name("functional"), **kwargs)

    def call(self, inputs: Any, training: Any = None, mask: Any = None, **kwargs: Any) -> Any:
        return self._run(inputs, training, mask)


def _functional_arguments(inputs: Any, outputs: Any, name: Any = None, trainable: bool = True, **more: Any) -> None: ...


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """The model that `to_json` wrote, with new weights."""
    return serialization.deserialize_keras_object(json.loads(json_string), custom_objects=custom_objects)


def clone_model(model: Any, **kwargs: Any) -> Any:
    """A model of the same config with new weights."""
    if kwargs:
        raise KCTypeError("KC107", f"clone_model({', '.join(kwargs)}=...)", "a clone has the config of its model", "drop the argument")
    return type(model).from_config(model.get_config())


__all__ = ["Functional", "InputLayer", "Model", "clone_model", "model_from_json"]
