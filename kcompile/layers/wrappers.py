"""Bidirectional and TimeDistributed: layers that apply another over time.

Refuses to hold the layers they wrap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile.ops as ops
from kcompile.arguments import choice, owner, refuse
from kcompile.layer import Layer
from kcompile.layers.batch_normalization import BatchNormalization
from kcompile.layers.core import Wrapper
from kcompile.layers.settings import build_child
from kcompile.serialization import deserialize_keras_object, serialize_keras_object

_MERGES = ("sum", "mul", "ave", "concat", None)


class Bidirectional(Layer):
    """A recurrent layer over time and a copy that goes backwards, their outputs merged."""

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ):
        of = type(self)
        merge_mode = choice(of, "merge_mode", merge_mode, _MERGES)
        for given in (layer, backward_layer):
            if given is not None and not (
                isinstance(given, Layer) and hasattr(given, "return_sequences")
            ):
                refuse(
                    f"{owner(of)} was given {given!r}",
                    "It wraps a recurrent layer",
                    "Pass a layer such as LSTM(32)",
                )
        super().__init__(**kwargs)
        self.forward_layer = _copy(layer, "forward_")
        if backward_layer is None:
            backward_layer = _copy(layer, "backward_", go_backwards=not layer.go_backwards)
        self.backward_layer = backward_layer
        self._check_pair()
        for one in (self.forward_layer, self.backward_layer):
            if hasattr(one, "zero_output_for_mask"):
                one.zero_output_for_mask = one.return_sequences
        self.merge_mode = merge_mode
        self.stateful, self.return_sequences = layer.stateful, layer.return_sequences
        self.return_state = layer.return_state
        self.supports_masking = True
        self.input_spec = layer.input_spec
        self._initial_weights = weights

    def _check_pair(self) -> None:
        a, b = self.forward_layer, self.backward_layer
        same = all(
            getattr(a, n) == getattr(b, n) for n in ("stateful", "return_sequences", "return_state")
        )
        if a.go_backwards == b.go_backwards or not same:
            refuse(
                f"{owner(self)} was given {type(a).__name__} (go_backwards={a.go_backwards}) and "
                f"{type(b).__name__} (go_backwards={b.go_backwards})",
                "The two differ in go_backwards and agree in stateful, return_sequences and return_state",
                "Leave backward_layer out, or give it the same flags and go_backwards=True",
            )

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        build_child(self.forward_layer, sequences_shape)
        build_child(self.backward_layer, sequences_shape)
        self.built = True
        if self._initial_weights:
            self.set_weights([np.asarray(w) for w in self._initial_weights])

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        half = None if initial_state is None else len(initial_state) // 2
        before = None if half is None else list(initial_state[:half])
        after = None if half is None else list(initial_state[half:])
        y = self.forward_layer(sequences, initial_state=before, mask=mask, training=training)
        z = self.backward_layer(sequences, initial_state=after, mask=mask, training=training)
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*y[1:], *z[1:])
            y, z = y[0], z[0]
        if self.return_sequences:
            z = ops.flip(z, axis=1)
        out = self._merged(y, z)
        if self.merge_mode is None:
            return (*out, *states)
        return (out, *states) if self.return_state else out

    def _merged(self, y: Any, z: Any) -> Any:
        if self.merge_mode == "concat":
            return ops.concatenate([y, z], axis=-1)
        if self.merge_mode == "sum":
            return ops.add(y, z)
        if self.merge_mode == "ave":
            return ops.add(y, z) / 2
        return ops.multiply(y, z) if self.merge_mode == "mul" else (y, z)

    @property
    def states(self) -> Any:
        pair = (self.forward_layer.states, self.backward_layer.states)
        return None if None in pair else tuple(s for states in pair for s in states)

    def reset_state(self) -> None:
        """Set the states of both layers to 0."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def compute_mask(self, sequences: Any, previous_mask: Any = None) -> Any:
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        kept = mask if self.return_sequences else None
        outputs = [kept, kept] if self.merge_mode is None else [kept]
        if self.return_state:
            outputs += [None] * (2 * len(self.forward_layer.state_size))
        return outputs if len(outputs) > 1 else kept

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        found = self.forward_layer.compute_output_shape(sequences_shape)
        output, states = (found[0], tuple(found[1:])) if self.return_state else (found, ())
        if self.merge_mode is None:
            return (output, output, *states, *states)
        if self.merge_mode == "concat":
            output = (*output[:-1], output[-1] * 2)
        return (output, *states, *states) if self.return_state else output

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "merge_mode": self.merge_mode,
            "layer": serialize_keras_object(self.forward_layer),
            "backward_layer": serialize_keras_object(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        for key in ("layer", "backward_layer"):
            if config.get(key) is not None:
                config[key] = deserialize_keras_object(config[key], custom_objects=custom_objects)
        return cls(**config)


def _copy(layer: Any, prefix: str, **changed: Any) -> Any:
    """A layer like `layer`, unbuilt, with `prefix` before its name."""
    config = layer.get_config() | changed
    config["name"] = prefix + layer.name.removeprefix(prefix)
    return type(layer).from_config(config)


class TimeDistributed(Wrapper):
    """Another layer on every step of (N, T, ...), all steps at once."""

    def __init__(self, layer: Any, **kwargs: Any):
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def _step_shape(self, input_shape: Any) -> tuple[Any, ...]:
        if not isinstance(input_shape, (list, tuple)) or len(input_shape) < 3:
            refuse(
                f"{owner(self)} was built for an input of shape {input_shape}",
                "It takes at least 3 axes: batch, time, features",
                "Add an axis, for example with Reshape",
                code="KC201",
            )
        return (input_shape[0], *input_shape[2:])

    def build(self, input_shape: Any) -> None:
        super().build(self._step_shape(input_shape))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if training and _learns_by_step(self.layer) and inputs.shape[1] is not None:
            steps = [
                self._step(inputs[:, t], None if mask is None else mask[:, t], training)
                for t in range(inputs.shape[1])
            ]
            return ops.stack(steps, axis=1)
        shape = ops.shape(inputs)
        batch, time = shape[0], shape[1]
        flat = ops.reshape(inputs, (batch * time, *shape[2:]))
        if mask is not None:
            mask = ops.reshape(mask, (batch * time, *ops.shape(mask)[2:]))
        y = self._step(flat, mask, training)
        return ops.reshape(y, (batch, time, *ops.shape(y)[1:]))

    def _step(self, x: Any, mask: Any, training: Any) -> Any:
        takes = "mask" in type(self.layer).call.__code__.co_varnames
        return self.layer(x, **({"mask": mask} if takes and mask is not None else {}))

    def compute_output_shape(self, input_shape: Any) -> Any:
        out = self.layer.compute_output_shape(self._step_shape(input_shape))
        return (out[0], input_shape[1], *out[1:])


def _learns_by_step(layer: Any) -> bool:
    """Whether the layer takes statistics of its batch, so that steps cannot be joined."""
    return any(isinstance(x, BatchNormalization) and x.trainable for x in layer._flatten_layers())
