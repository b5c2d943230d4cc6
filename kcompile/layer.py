"""`Layer`: the call with its build, `training`, masks and losses.

Refuses to hold the tracking of weights (`layer_weights`), configs (`layer_config`), concrete layers, and models
(`kcompile.model`).
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import kcompile.absent as absent
import kcompile.ops as ops
import kcompile.policy as policy
import kcompile.regularizers as regularizers
from ir.graph import at, here
from kcompile.dtypes import is_float
from kcompile.errors import KCNotImplementedError, KCValueError
from kcompile.input_spec import InputSpec, check_input
from kcompile.layer_call import (
    build_arguments,
    enclosing_training,
    fill_masks,
    in_own_scope,
    is_array_like,
    map_shapes,
    masks_of,
    name_failure,
    named_arguments,
    signature_of,
    tensor_arguments,
    training_scope,
)  # fmt: skip
from kcompile.layer_config import Configured
from kcompile.operation import UNTRACED, Node, infer, snake, symbolic
from kcompile.tensor import KerasTensor, Tensor
from kcompile.trace import leaves, map_structure, run_eagerly
from kcompile.variable import Variable, active, autocast, current_trace, name_scope, unique_name

__all__ = ["InputSpec", "Layer", "map_shapes"]


class Layer(Configured):
    """A function with weights. Subclasses define `__init__`, `build` (optional) and `call`.

    Args:
        activity_regularizer: penalty of outputs, divided by the batch size.
        trainable: whether the trainable weights are updated.
        dtype: a dtype's or policy's name; the global policy by default.
        autocast: whether float inputs are cast to the compute dtype.
        name: unique in the model; made up when None.

    Raises KCTypeError KC107 for unknown arguments.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = in_own_scope(cls.__dict__["build"])  # type: ignore[method-assign]

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        input_dim = kwargs.pop("input_dim", None)
        input_shape = kwargs.pop("input_shape", (input_dim,) if input_dim is not None else None)
        if input_shape is not None:
            warnings.warn(
                "Do not pass input_shape/input_dim to a layer: start a Sequential with an Input(shape) instead.",
                stacklevel=2,
            )
            shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
            self.__dict__["_input_shape_arg"] = shape
        if kwargs:
            raise absent.unexpected(type(self).__name__, kwargs, absent.parameters(type(self)))
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise KCValueError(
                "KC207",
                f"the layer name {name!r}",
                "a name is a string without '/'",
                "pass another name",
            )
        self._operation_init(name or unique_name(snake(type(self).__name__)))
        self.__dict__["_own"] = []
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.dtype_policy = policy.get(dtype)
        self.autocast = autocast
        self._trainable = bool(trainable)
        self.built = False
        self.input_spec: Any = None
        self.supports_masking = type(self).compute_mask is not Layer.compute_mask
        self._parent_path: str | None = None
        self._layer_losses: list[Any] = []
        self._build_shapes: Any = None

    # dtype

    @property
    def dtype(self) -> str:
        return self.dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        return self.dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        return self.dtype_policy.compute_dtype

    input_dtype = compute_dtype

    # calling

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape. The default has none of its own to make."""
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes: defined by subclasses."""
        raise KCNotImplementedError(
            "KC203",
            f"{type(self).__name__} has no call()",
            "a layer defines call(inputs)",
            "define it",
        )

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the outputs: the inputs' own by default."""
        return previous_mask

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """KerasTensors like what the layer returns for such KerasTensors."""
        try:
            return infer(self._traced_call, args, kwargs)
        except UNTRACED:
            if type(self).compute_output_shape.__module__.startswith("kcompile."):
                raise
            shape = self.compute_output_shape(map_structure(lambda t: tuple(t.shape), args[0]))
            return map_shapes(lambda s: KerasTensor(s, self.compute_dtype), shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape(s) of the outputs for inputs of this shape, by tracing."""
        x = map_shapes(lambda s: KerasTensor(s, self.compute_dtype), input_shape)
        if not self.built:
            self._build_for((x,), {})
        return map_structure(lambda t: tuple(t.shape), infer(self._traced_call, (x,), {}))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_own" not in self.__dict__:
            raise self._no_super()
        if current_trace() is not None:
            return self._traced_call(*args, **kwargs)
        if symbolic(args) or (kwargs and symbolic(kwargs.values())):
            return self._symbolic_call(args, kwargs)
        outputs, losses = run_eagerly(self._eager_call, args, kwargs)
        for layer in self._flatten_layers():
            layer._layer_losses = losses.get(id(layer), [])
        return outputs

    def _eager_call(self, *args: Any, **kwargs: Any) -> Any:
        outputs = self._traced_call(*args, **kwargs)
        return outputs, current_trace().notes.get("losses", {})

    def _symbolic_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.built:
            try:
                self._build_for(args, kwargs)
            except Exception as error:
                arguments = named_arguments(signature_of(type(self).call), args, kwargs)
                raise name_failure(error, self, arguments) from error.__cause__
        outputs = self.compute_output_spec(*args, **kwargs)
        Node(self, args, kwargs, outputs)
        return outputs

    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        signature = signature_of(type(self).call)
        tensors = tensor_arguments(named_arguments(signature, args, kwargs))
        if args and signature.names and signature.names[0] in tensors:
            check_input(self.input_spec, args[0], self.name)
        if self._parent_path is None:
            self._parent_path = here()
        shapes = build_arguments(self.build, tensors)
        with active(None), name_scope(self.name, self), autocast(None):
            self.build(*shapes)
        self._build_shapes = shapes
        self.built = True
        if not self._trainable:
            for v in self._own_variables():
                v.freeze(True)

    def _convert(self, x: Any) -> Any:
        if not is_array_like(x):
            return x
        if isinstance(x, Variable):
            x = x.value
        out: Tensor = x if isinstance(x, Tensor) else ops.convert_to_tensor(x)
        if (
            self.autocast
            and is_float(self.compute_dtype)
            and is_float(out.dtype)
            and out.dtype != self.compute_dtype
        ):
            out = ops.cast(out, self.compute_dtype)
        mask = getattr(x, "_keras_mask", None)
        if mask is not None and out is not x:
            out._keras_mask = mask if isinstance(mask, Tensor) else ops.convert_to_tensor(mask)
        return out

    def _traced_call(self, *args: Any, **kwargs: Any) -> Any:
        args = map_structure(self._convert, args)
        kwargs = map_structure(self._convert, kwargs)
        signature = signature_of(type(self).call)
        arguments = named_arguments(signature, args, kwargs)
        path = here()
        try:
            training = self._resolve_training(signature, arguments, kwargs)
            fill_masks(signature, arguments, kwargs)
            first = next(iter(arguments.values()), None)
            if not self.built:
                self._build_for(args, kwargs)
            elif self.input_spec is not None:
                check_input(self.input_spec, first, self.name)
            previous = kwargs.get("mask")
            previous = masks_of(first) if previous is None else previous
            cast = (
                self.compute_dtype
                if self.autocast and self.compute_dtype != self.variable_dtype
                else None
            )
            with (
                at(self._path_in(path)),
                name_scope(self.name, self),
                training_scope(training),
                autocast(cast),
            ):
                outputs = self.call(*args, **kwargs)
                self._finish_call(first, outputs, previous)
        except Exception as error:
            raised = name_failure(error, self, arguments)
            if raised is error:
                raise
            raise raised from error
        return outputs

    def _path_in(self, path: str) -> str:
        return f"{path}/{self.name}" if path else self.name

    def _resolve_training(
        self, signature: Any, arguments: dict[str, Any], kwargs: dict[str, Any]
    ) -> Any:
        training = arguments.get("training")
        if training is None:
            training = enclosing_training()
            if training is None and signature.training:
                default = signature.parameters["training"].default
                training = None if default is inspect.Parameter.empty else default
            if training is not None and signature.training:
                kwargs["training"] = training
                arguments["training"] = training
        if not signature.training and not signature.variadic:
            kwargs.pop("training", None)
        return training

    def _finish_call(self, first: Any, outputs: Any, previous: Any) -> None:
        tensors = [t for t in leaves(outputs) if isinstance(t, Tensor)]
        if self.activity_regularizer is not None:
            for t in tensors:
                loss = self.activity_regularizer(t)
                if t.ndim > 0:
                    loss = ops.divide_no_nan(loss, ops.cast(ops.shape(t)[0], loss.dtype))
                self.add_loss(loss)
        if previous is None and not self._makes_masks():
            return
        if all(t._keras_mask is not None for t in tensors) and tensors:
            return
        if not self.supports_masking:
            if previous is not None:
                warnings.warn(
                    f"Layer {self.name!r} (of type {type(self).__name__}) was passed an input with a mask and does not support "
                    "masking: layers after it will not see the mask.", stacklevel=4,
                )  # fmt: skip
            return
        masks = self.compute_mask(first, previous)
        if masks is not None:
            for t, m in zip(
                tensors, masks if isinstance(masks, (list, tuple)) else [masks], strict=False
            ):
                if (
                    m is not None
                    and t._keras_mask is None
                    and not any(t is x for x in leaves(first))
                ):
                    t._keras_mask = m

    def _makes_masks(self) -> bool:
        return type(self).compute_mask is not Layer.compute_mask and self.supports_masking

    # losses

    def add_loss(self, loss: Any) -> None:
        """Add a scalar (or several) to the training loss, in `call`."""
        trace = current_trace()
        for one in leaves(loss):
            if trace is None:
                self._layer_losses.append(one)
            elif not trace.notes.get("abstract"):
                trace.notes.setdefault("losses", {}).setdefault(id(self), []).append(one)

    @property
    def losses(self) -> list[Any]:
        """Losses added in this step's calls, and the weights' regularization penalties."""
        trace = current_trace()
        out: list[Any] = []
        for layer in self._flatten_layers():
            out += (
                trace.notes.get("losses", {}).get(id(layer), [])
                if trace is not None
                else layer._layer_losses
            )
        return out + [v.regularizer(v) for v in self.trainable_weights if v.regularizer is not None]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
