"""`Operation` and `Node`: what a functional model is made of; and `defines`, which makes the public
function of an operation from its traced body.

A public operation acts in one of three ways: inside a trace it runs its body, on a KerasTensor it
becomes a node of a functional model, on arrays it is traced and interpreted. Refuses to hold any
operation's meaning (`kcompile.ops`) and the walk over nodes (`kcompile.network`).
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from ir import dims
from ir.dims import Dim
from ir.op import IRError
from ir.types import Type
from kcompile.errors import KCError, KCTypeError
from kcompile.tensor import KerasTensor, Tensor, named
from kcompile.trace import Trace, leaves, map_structure, run_eagerly
from kcompile.variable import current_trace, unique_name

F = TypeVar("F", bound=Callable[..., Any])
SPECS: dict[str, OpSpec] = {}  # by Keras class name
# what tracing raises where a shape cannot be said with names; a mistake of another kind is never taken for that
UNTRACED = (KCError, IRError, TypeError, ValueError)


class OpSpec(NamedTuple):
    """A public operation: its body, its Keras class and module, and which parameters are operands."""

    fn: Callable[..., Any]
    class_name: str
    module: str
    operands: tuple[str, ...]


def snake(name: str) -> str:
    """`Conv2DTranspose` as `conv2d_transpose`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


class History(NamedTuple):
    """Where a KerasTensor comes from: the operation, which of its calls, which of its results."""

    operation: Any
    node_index: int
    tensor_index: int


class Node:
    """One call of an operation on KerasTensors. `outputs` is None for an input's own node."""

    def __init__(
        self, operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Any
    ):
        self.operation, self.args, self.kwargs = operation, args, dict(kwargs)
        for t in leaves(outputs) or [None]:
            if not isinstance(t, KerasTensor):
                raise KCTypeError(
                    "KC208", f"the layer {operation.name!r} returned {t!r}", "a layer returns tensors",
                    "return the result from the function or from call()",
                )  # fmt: skip
        self.outputs = outputs
        self.inputs: list[KerasTensor] = [
            t for t in leaves([args, self.kwargs]) if isinstance(t, KerasTensor)
        ]
        index = len(operation._inbound_nodes)
        operation._inbound_nodes.append(self)
        for i, t in enumerate(leaves(outputs)):
            t._keras_history = History(operation, index, i)

    @property
    def output_tensors(self) -> list[KerasTensor]:
        return leaves(self.outputs)

    @property
    def is_input(self) -> bool:
        return not self.inputs


def node_of(t: KerasTensor) -> Node:
    """The node that made `t`. Raises KCTypeError KC205 when it has no history."""
    if t._keras_history is None:
        raise KCTypeError(
            "KC205", f"{t!r} has no history", "a functional model goes from Input tensors to outputs through layers",
            "start from kcompile.Input",
        )  # fmt: skip
    operation, index, _ = t._keras_history
    found: Node = operation._inbound_nodes[index]
    return found


class Operation:
    """Something that can be a node of a functional model: a name and the nodes it made."""

    def __init__(self, name: str | None = None):
        self._operation_init(name)

    def _operation_init(self, name: str | None) -> None:
        self.name = name or unique_name(snake(type(self).__name__))
        self._inbound_nodes: list[Node] = []

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        """Record a node and return its KerasTensors."""
        outputs = infer(self.call, args, kwargs)
        Node(self, args, kwargs, outputs)
        return outputs

    def _io(self, which: str) -> Any:
        nodes = self._inbound_nodes
        if not nodes:
            raise KCTypeError(
                "KC205",
                f"{self.name!r} was never called on a KerasTensor",
                f"it has no {which}",
                "call it on an Input first",
            )
        if len(nodes) > 1:
            raise KCTypeError(
                "KC205", f"{self.name!r} was called {len(nodes)} times", f"its {which} is not unique",
                f"keep the tensor you passed or got, instead of asking for .{which}",
            )  # fmt: skip
        return nodes[0]

    @property
    def input(self) -> Any:
        """The KerasTensor(s) of the only call. Raises KCTypeError KC205 unless there was exactly one."""
        node = self._io("input")
        inputs = node.args[0] if len(node.args) == 1 and not node.kwargs else node.inputs
        inputs = node.outputs if node.is_input else inputs
        return inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs

    @property
    def output(self) -> Any:
        """The KerasTensor(s) of the only call. Raises KCTypeError KC205 unless there was exactly one."""
        return self._io("output").outputs


class OpCall(Operation):
    """An operation such as `multiply` as a node of a functional model, with its fixed arguments."""

    def __init__(self, spec: OpSpec, config: Mapping[str, Any], name: str | None = None):
        self.spec, self.config = spec, dict(config)
        self._operation_init(name or unique_name(snake(spec.class_name)))
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if "*" in self.spec.operands:
            leading = positional(self.spec.fn)
            fixed = {k: v for k, v in self.config.items() if k not in leading}
            return self.spec.fn(*(self.config[k] for k in leading), *args, **kwargs, **fixed)
        bound = dict(zip(self.spec.operands, args, strict=False))
        return self.spec.fn(**bound, **kwargs, **self.config)

    __call__ = call

    def get_config(self) -> dict[str, Any]:
        """The fixed arguments and the name, as Keras spells them."""
        return {"name": self.name, **self.config}


def positional(fn: Callable[..., Any]) -> list[str]:
    """The names of a function's parameters before its `*args`."""
    return [
        p.name
        for p in inspect.signature(fn).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]


def symbolic(args: Any) -> bool:
    """Whether a KerasTensor is among (nested) arguments."""
    for a in args:
        if isinstance(a, KerasTensor):
            return True
        if isinstance(a, (list, tuple)):
            if symbolic(a):
                return True
        elif isinstance(a, dict) and symbolic(a.values()):
            return True
    return False


def defines(module: str) -> Callable[..., Callable[[F], F]]:
    """A decorator factory for the operations of one Keras module.

    `@op("x1", "x2", cls="Add")` names the parameters that are operands (the others are fixed
    arguments in a config) and the Keras class where it is not the CamelCase of the function's name.
    """

    def op(*operands: str, cls: str | None = None) -> Callable[[F], F]:
        def wrap(fn: F) -> F:
            class_name = cls or "".join(p.capitalize() for p in fn.__name__.strip("_").split("_"))
            spec = OpSpec(fn, class_name, module, operands)
            SPECS[class_name] = spec

            @functools.wraps(fn)
            def public(*args: Any, **kwargs: Any) -> Any:
                if current_trace() is not None:
                    return fn(*args, **kwargs)
                if symbolic(args) or (kwargs and symbolic(kwargs.values())):
                    return _node(spec, args, kwargs)
                return run_eagerly(fn, args, kwargs)

            return public  # type: ignore[return-value]

        return wrap

    return op


def run(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`fn` here: in the active trace if there is one, else on arrays. Raises KCTypeError KC105."""
    if current_trace() is not None:
        return fn(*args, **kwargs)
    if symbolic(args):
        raise KCTypeError(
            "KC105", f"{getattr(fn, '__name__', fn)} on a KerasTensor", "this is no layer of a functional model",
            "call it inside a layer's call()",
        )  # fmt: skip
    return run_eagerly(fn, args, kwargs)


def _node(spec: OpSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if "*" in spec.operands:  # variadic: keyword arguments and leading non-tensors are fixed
        parameters = positional(spec.fn)
        config = dict(zip(parameters, args, strict=False)) | dict(kwargs)
        return OpCall(spec, config).symbolic_call(*args[len(parameters) :])
    bound = inspect.signature(spec.fn).bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    config = {k: v for k, v in given.items() if k not in spec.operands}
    operands = [given[k] for k in spec.operands]
    while operands and operands[-1] is None:
        operands.pop()
    return OpCall(spec, config).symbolic_call(*operands)


def infer(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What `fn` gives for arguments of these types: KerasTensors in the structure it returns.

    Traced with named dimensions; where that fails, traced twice with numbers in place of the
    names: an extent that differs between the two is unknown.
    """
    try:
        return map_structure(_as_keras_tensor, _abstract(fn, args, kwargs, None))
    except UNTRACED as error:
        names = list(_names(args)) + list(_names(kwargs.values()))
        if not names:
            raise
        try:
            first = _abstract(fn, args, kwargs, dict.fromkeys(names, 48))
            second = _abstract(fn, args, kwargs, dict.fromkeys(names, 96))
        except UNTRACED:
            raise error from None
        pairs = zip(leaves(first), leaves(second), strict=True)
        types = {
            id(a): _join(a.value.type, b.value.type) for a, b in pairs if isinstance(a, Tensor)
        }
        masks = {id(a): _as_mask(a) for a in leaves(first) if isinstance(a, Tensor)}

        def answer(a: Any) -> Any:
            if not isinstance(a, Tensor):
                return a
            out = KerasTensor.of_type(types[id(a)])
            out._keras_mask = masks[id(a)]
            return out

        return map_structure(answer, first)


def _join(a: Type, b: Type) -> Type:
    return Type(
        a.dtype, named(d if d == e else None for d, e in zip(a.shape, b.shape, strict=True))
    )


def _as_mask(t: Tensor) -> Any:
    return (
        KerasTensor.of_type(t._keras_mask.value.type)
        if isinstance(t._keras_mask, Tensor)
        else t._keras_mask
    )


def _as_keras_tensor(t: Any) -> Any:
    if not isinstance(t, Tensor):
        return t
    out = KerasTensor.of_type(t.value.type)
    out._keras_mask = _as_mask(t)
    return out


def _abstract(
    fn: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], env: Mapping[str, int] | None
) -> Any:
    with Trace("abstract") as trace:
        trace.notes["abstract"] = True
        made: dict[int, Tensor] = {}

        def stand_in(x: Any) -> Any:
            if not isinstance(x, KerasTensor):
                return x
            found = made.get(id(x))
            if found is None:
                found = made[id(x)] = trace.data(x.name, x._type.bind(env) if env else x._type)
                mask = x._keras_mask
                found._keras_mask = stand_in(mask) if isinstance(mask, KerasTensor) else mask
            return found

        return fn(*map_structure(stand_in, args), **map_structure(stand_in, dict(kwargs)))


def _names(args: Any) -> Iterator[str]:
    for t in leaves(list(args)):
        if isinstance(t, KerasTensor):
            for d in t._type.shape:
                if isinstance(d, Dim):
                    yield from dims.names(d)
