"""`Network`: the nodes between inputs and outputs of a functional model, in order; running them, and
writing them to a config and back.

Refuses to hold the model around them (`kcompile.model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import kcompile.ops as ops
import kcompile.serialization as serialization
import kcompile.tree as tree
from kcompile.errors import KCValueError
from kcompile.operation import Node, OpCall, node_of
from kcompile.tensor import KerasTensor, Tensor
from kcompile.trace import leaves, map_structure


class Network:
    """What lies between KerasTensors.

    Attributes:
        inputs, outputs: nested KerasTensors, as given.
        nodes: calls, operands first.
        operations: layers and operations by depth, as Keras orders them (weights follow this order).

    Raises KCValueError KC205 when an output does not depend on the inputs alone.
    """

    def __init__(self, inputs: Any, outputs: Any):
        self.inputs, self.outputs = inputs, outputs
        self.flat_inputs, self.flat_outputs = leaves(inputs), leaves(outputs)
        if not self.flat_outputs:
            raise KCValueError(
                "KC205", f"outputs={outputs!r}", "a functional model has an output",
                "pass what the layers returned",
            )  # fmt: skip
        for t in self.flat_inputs + self.flat_outputs:
            if not isinstance(t, KerasTensor):
                raise KCValueError(
                    "KC205", f"a {type(t).__name__} as input or output of a functional model", "a functional model goes from Input to what layers return",
                    "start from kcompile.Input and pass what the layers returned",
                )  # fmt: skip
        if len({id(t) for t in self.flat_inputs}) != len(self.flat_inputs):
            raise KCValueError(
                "KC205", "an input given twice", "all inputs are different", "remove one"
            )
        self.nodes, self.operations = self._order()
        names = [op.name for op in self.operations]
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise KCValueError(
                "KC207",
                f"the layer name {sorted(twice)[0]!r} twice in one model",
                "layers of a model have different names",
                "pass name=",
            )

    def _order(self) -> tuple[list[Node], list[Any]]:
        """Nodes with operands first, and operations by descending depth, then first visit."""
        order: list[Node] = []
        visited: dict[Any, int] = {}
        state: dict[Node, bool] = {}  # False while its operands are followed
        sources = {id(t) for t in self.flat_inputs}
        for t in tree.flatten(self.outputs):  # a dict in the order of its sorted keys, as in Keras
            todo: list[tuple[Node, bool]] = [(self._node(t, sources), False)]
            while todo:
                node, done = todo.pop()
                if done:
                    state[node] = True
                    order.append(node)
                    continue
                if node in state:
                    continue
                state[node] = False
                visited.setdefault(node.operation, len(visited))
                todo.append((node, True))
                if not self._is_source(node, sources):
                    todo.extend((self._node(i, sources), False) for i in reversed(node.inputs))
        depths: dict[Node, int] = {}
        by_operation: dict[Any, int] = {}
        for node in reversed(order):
            depth = max(depths.get(node, 0), by_operation.get(node.operation, 0))
            depths[node] = by_operation[node.operation] = depth
            if not self._is_source(node, sources):
                for t in node.inputs:
                    parent = self._node(t, sources)
                    depths[parent] = max(depths.get(parent, 0), depth + 1)
        for t in self.flat_inputs:
            node = node_of(t)
            by_operation.setdefault(node.operation, 0)
            visited.setdefault(node.operation, -1)
            if node not in depths:
                order.insert(0, node)
        operations = sorted(by_operation, key=lambda op: (-by_operation[op], visited[op]))
        return order, operations

    @staticmethod
    def _is_source(node: Node, sources: set[int]) -> bool:
        return any(id(t) in sources for t in node.output_tensors)

    def _node(self, t: KerasTensor, sources: set[int]) -> Node:
        node = node_of(t)
        if node.is_input and not self._is_source(node, sources):
            raise KCValueError(
                "KC205", f"an output depends on the input {node.operation.name!r}", "all inputs an output depends on are given to the Model",
                f"add it: Model(inputs=[..., {node.operation.name}], outputs=...)",
            )  # fmt: skip
        return node

    @property
    def layers(self) -> list[Any]:
        """The layers among the operations."""
        return [op for op in self.operations if not isinstance(op, OpCall)]

    # running

    def run(self, inputs: Any, training: Any = None) -> Any:
        """The outputs for these Tensors, in the structure of `outputs`.

        `training`, unless None, goes before what a layer was given when the model was made, as in Keras
        (whose files note a default `training=False` for a layer like an explicit one).
        """
        found: dict[int, Any] = {}
        for t, x in zip(self.flat_inputs, self.arrange(inputs), strict=True):
            found[id(t)] = x
        for node in self.nodes:
            if all(id(t) in found for t in node.output_tensors):
                continue
            args = map_structure(
                lambda a: found[id(a)] if isinstance(a, KerasTensor) else a, node.args
            )
            kwargs = map_structure(
                lambda a: found[id(a)] if isinstance(a, KerasTensor) else a, node.kwargs
            )
            if training is not None and "training" in kwargs:
                kwargs["training"] = training
            results = node.operation(*args, **kwargs)
            for t, r in zip(node.output_tensors, leaves(results), strict=True):
                found[id(t)] = r
        return map_structure(lambda t: found[id(t)], self.outputs)

    def arrange(self, inputs: Any) -> list[Any]:
        """Given inputs in the order of `flat_inputs`, each fitted to its rank and dtype. Raises KCValueError KC201."""
        if isinstance(inputs, Mapping):
            keys = (
                list(self.inputs)
                if isinstance(self.inputs, Mapping)
                else [self._name(t) for t in self.flat_inputs]
            )
            missing = [k for k in keys if k not in inputs]
            if missing:
                raise KCValueError(
                    "KC201",
                    f"inputs {sorted(inputs)}",
                    f"the model's inputs are {keys}",
                    f"add {missing[0]!r}",
                )
            flat = leaves([inputs[k] for k in keys])
        else:
            flat = leaves(inputs)
        if len(flat) != len(self.flat_inputs):
            raise KCValueError(
                "KC201",
                f"{len(flat)} inputs",
                f"the model takes {len(self.flat_inputs)}",
                "pass one array per Input",
            )
        return [self._fit(x, t) for x, t in zip(flat, self.flat_inputs, strict=True)]

    @staticmethod
    def _name(t: KerasTensor) -> str:
        return str(t._keras_history.operation.name)

    def _fit(self, x: Any, t: KerasTensor) -> Any:
        shape, want = tuple(x.shape), t.shape
        mask = getattr(x, "_keras_mask", None)
        if len(shape) == len(want) + 1 and shape[-1] == 1:
            x = ops.squeeze(x, -1)
        elif len(shape) == len(want) - 1 and want and want[-1] == 1:
            x = ops.expand_dims(x, -1)
        shape = tuple(x.shape)
        if len(shape) != len(want) or any(
            a is not None and b is not None and a != b
            for a, b in zip(shape[1:], want[1:], strict=False)
        ):
            raise KCValueError(
                "KC201",
                f"an input of shape {shape} for {self._name(t)!r}",
                f"its shape is {want}",
                "reshape the data, or change Input(shape=...)",
            )
        if x.dtype != t.dtype and isinstance(x, (Tensor, KerasTensor)):
            x = ops.cast(x, t.dtype)
        if mask is not None:
            x._keras_mask = mask
        return x

    # configs

    def config(self) -> dict[str, Any]:
        """{layers, input_layers, output_layers}, as Keras 3 writes them."""
        numbers: dict[tuple[int, int], int] = {}
        for op in self.operations:
            kept = [i for i, n in enumerate(op._inbound_nodes) if n in set(self.nodes)]
            numbers.update({(id(op), i): k for k, i in enumerate(kept)})

        def place(t: KerasTensor) -> list[Any]:
            op, node, tensor = t._keras_history
            return [op.name, numbers[(id(op), node)], tensor]

        def write(x: Any) -> Any:
            if isinstance(x, KerasTensor):
                inner = {"shape": list(x.shape), "dtype": x.dtype, "keras_history": place(x)}
                return {"class_name": "__keras_tensor__", "config": inner}
            if isinstance(x, (list, tuple)):
                return [write(v) for v in x]
            if isinstance(x, dict):
                return {k: write(v) for k, v in x.items()}
            return serialization.serialize_keras_object(x)

        layers = []
        kept_nodes = set(self.nodes)
        for op in self.operations:
            entry = serialization.serialize_keras_object(op)
            entry["name"] = op.name
            calls = [n for n in op._inbound_nodes if n in kept_nodes and not n.is_input]
            entry["inbound_nodes"] = [
                {"args": write(n.args), "kwargs": write(n.kwargs)} for n in calls
            ]
            layers.append(entry)
        return {
            "layers": layers,
            "input_layers": map_structure(place, self.inputs),
            "output_layers": map_structure(place, self.outputs),
        }


def rebuild(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """(inputs, outputs) of a functional config. Raises KCValueError KC402 for one that is not connected."""
    made: dict[str, Any] = {}
    nodes: dict[str, list[Any]] = {}
    waiting: list[tuple[Any, Any, Any]] = []
    numbered: dict[str, dict[int, Node]] = {}
    for entry in config["layers"]:
        layer = serialization.make_operation(entry) or serialization.deserialize_keras_object(entry)
        name = entry.get("name", getattr(layer, "name", None))
        if not isinstance(name, str) or name in made:
            raise KCValueError(
                "KC402",
                f"a layer named {name!r}",
                "layers in a config have different names",
                "the file is damaged",
            )
        made[name] = layer
        nodes[name] = _calls(entry["inbound_nodes"])
        numbered[name] = (
            {0: layer._inbound_nodes[0]} if not nodes[name] and layer._inbound_nodes else {}
        )
        waiting += [(name, i, call) for i, call in enumerate(nodes[name])]

    def find(place: Any) -> KerasTensor:
        name, node, tensor = place[0], int(place[1]), int(place[2])
        if name not in numbered or node not in numbered[name]:
            raise LookupError(name)
        return numbered[name][node].output_tensors[tensor]

    def read(x: Any) -> Any:
        if isinstance(x, Mapping):
            if x.get("class_name") == "__keras_tensor__":
                return find(x["config"]["keras_history"])
            if "class_name" in x and "config" in x:
                return serialization.deserialize_keras_object(x)
            return {k: read(v) for k, v in x.items()}
        return [read(v) for v in x] if isinstance(x, (list, tuple)) else x

    while waiting:
        later: list[tuple[Any, Any, Any]] = []
        blocked: set[str] = set()  # layers with a call that waits: their later calls wait too
        for name, i, call in waiting:
            layer = made[name]
            try:
                if name in blocked:
                    raise LookupError(name)
                args, kwargs = read(call["args"]), read(call.get("kwargs", {}))
            except LookupError:
                later.append((name, i, call))
                blocked.add(name)
                continue
            if isinstance(layer, OpCall):
                if (
                    layer.spec.class_name == "GetItem"
                    and len(args) > 1
                    and isinstance(args[1], list)
                ):
                    args[1] = tuple(args[1])
                layer.symbolic_call(*args, **kwargs)
            else:
                layer(*args, **kwargs)
            numbered[name][i] = layer._inbound_nodes[-1]
        if len(later) == len(waiting):
            raise KCValueError(
                "KC402", f"a config in which {sorted({n for n, _, _ in later})} cannot be reached from the inputs", "each layer's inputs come from other layers",
                "the file is damaged: use another copy",
            )  # fmt: skip
        waiting = later

    def whole(x: Any) -> Any:
        if isinstance(x, Mapping):
            return {k: whole(v) for k, v in x.items()}
        if (
            len(x) == 3
            and isinstance(x[0], str)
            and all(isinstance(v, (int, np.integer)) for v in x[1:])
        ):
            return find(x)
        return [whole(v) for v in x]

    try:
        inputs, outputs = whole(config["input_layers"]), whole(config["output_layers"])
    except (LookupError, TypeError) as e:
        raise KCValueError(
            "KC402",
            f"a config whose inputs or outputs are missing: {e}",
            "they are layers of the model",
            "the file is damaged",
        ) from e
    return inputs, outputs


def _calls(inbound: Any) -> list[Any]:
    """The calls of a layer: those of Keras 3, and the list form of older files."""
    out = []
    for call in inbound:
        if isinstance(call, Mapping):
            out.append(call)
            continue
        tensors = [
            {"class_name": "__keras_tensor__", "config": {"keras_history": t[:3]}} for t in call
        ]
        kwargs = call[0][3] if call and len(call[0]) > 3 else {}
        out.append({"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": kwargs})
    return out
