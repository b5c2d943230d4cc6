"""SimpleRNN, LSTM and GRU: recurrent layers that bring their own cell.

LSTM and GRU with their usual activations and no mask become one composite. Refuses to hold the loop
(`recurrence.py`) and the cells.
"""

from __future__ import annotations

from typing import Any

import kcompile.layers.recurrence as recurrence
import kcompile.ops as ops
from kcompile.arguments import choice
from kcompile.layer import InputSpec
from kcompile.layers.cells import SETTINGS, Cell, SimpleRNNCell
from kcompile.layers.gated_cells import GRUCell, LSTMCell, usual
from kcompile.layers.rnn import FLAGS, RNN
from kcompile.layers.settings import configured
from kcompile.operation import snake


class _WithCell(RNN):
    """An RNN made of one of our cells, whose settings it shows as its own."""

    _cell_class: type[Cell]

    def _start(self, cell: dict[str, Any], flags: dict[str, Any], kwargs: dict[str, Any]) -> None:
        own = {
            k: kwargs[k]
            for k in ("implementation", "input_length", "init", "inner_init")
            if k in kwargs
        }
        kwargs = {k: v for k, v in kwargs.items() if k not in own}
        inside = {k: kwargs[k] for k in ("dtype", "trainable") if k in kwargs}
        made = self._cell_class(**cell, **own, **inside, name=snake(self._cell_class.__name__))
        RNN.__init__(self, made, **flags, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["cell"]
        return config | configured(
            self, *SETTINGS, *self._cell_class.more_settings, "activity_regularizer"
        )

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        return cls(**config)


def _shows(*names: str) -> Any:
    """A class decorator: attributes `names` are read off the cell."""

    def wrap(cls: Any) -> Any:
        for name in names:
            setattr(cls, name, property(lambda self, name=name: getattr(self.cell, name)))
        return cls

    return wrap


def _split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The arguments of a layer's __init__ as those of its cell, the flags of RNN, and the others."""
    kwargs = dict(given.pop("kwargs"))
    for key in ("self", "__class__"):
        given.pop(key, None)
    flags = {k: given.pop(k) for k in list(given) if k in FLAGS}
    flags["activity_regularizer"] = given.pop("activity_regularizer")
    return given, flags, kwargs


@_shows(*SETTINGS)
class SimpleRNN(_WithCell):
    """h' = activation(x @ kernel + bias + h @ recurrent_kernel) over time."""

    _cell_class = SimpleRNNCell

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ):
        self._start(*_split(dict(locals())))


class _Composite(_WithCell):
    """What LSTM and GRU share: the composite, and the argument `use_cudnn` of Keras."""

    def _take_use_cudnn(self, value: Any) -> None:
        self.use_cudnn = choice(type(self), "use_cudnn", value, ("auto", True, False))

    def _run(
        self, x: Any, states: Any, mask: Any, training: Any, given: bool
    ) -> tuple[Any, Any, Any]:
        cell = self.cell
        if mask is not None or not usual(cell) or (cell._masks and cell._masks[1] is not None):
            return super()._run(x, states, mask, training, given)
        if cell._masks and cell._masks[0] is not None:
            if len(cell._masks[0]) > 1:
                return super()._run(x, states, mask, training, given)
            x = x * ops.expand_dims(cell._masks[0][0], 1)
        return self._composite(x, states)

    def _composite(self, x: Any, states: list[Any]) -> tuple[Any, Any, Any]:
        raise NotImplementedError


@_shows(*SETTINGS, *LSTMCell.more_settings)
class LSTM(_Composite):
    """Long short-term memory over time (gates i, f, c, o; states h and c)."""

    _cell_class = LSTMCell

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ):
        cell, flags, kwargs = _split(dict(locals()))
        self._start({k: v for k, v in cell.items() if k != "use_cudnn"}, flags, kwargs)
        self._take_use_cudnn(use_cudnn)

    def _composite(self, x: Any, states: list[Any]) -> tuple[Any, Any, Any]:
        c = self.cell
        bias = ops.zeros((4 * c.units,), dtype=x.dtype) if c.bias is None else c.bias
        return recurrence.lstm(x, states, c.kernel, c.recurrent_kernel, bias, self.go_backwards)


@_shows(*SETTINGS, *GRUCell.more_settings)
class GRU(_Composite):
    """Gated recurrent unit over time (gates z, r, h)."""

    _cell_class = GRUCell

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ):
        cell, flags, kwargs = _split(dict(locals()))
        self._start({k: v for k, v in cell.items() if k != "use_cudnn"}, flags, kwargs)
        self._take_use_cudnn(use_cudnn)

    def _composite(self, x: Any, states: list[Any]) -> tuple[Any, Any, Any]:
        c = self.cell
        shape = (2, 3 * c.units) if c.reset_after else (3 * c.units,)
        bias = ops.zeros(shape, dtype=x.dtype) if c.bias is None else c.bias
        return recurrence.gru(
            x, states, c.kernel, c.recurrent_kernel, bias, c.reset_after, self.go_backwards
        )
