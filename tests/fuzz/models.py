"""Random Keras models as plain data, replayed in real Keras and here.

A model is a list of steps on numbered tensors; drawing it applies each step in real Keras, which says
what is legal and of which shape. Refuses to compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.fuzz.draw import Choice
from tests.fuzz.layer_table import Spec, unary
from tests.fuzz.training_table import HEADS, optimizer

Array = np.ndarray[Any, Any]
LARGEST = 600  # elements of a tensor per sample


@dataclass
class Step:
    """One call: of a new layer, a model of layers in a row, or the layer of an earlier step."""

    layer: Spec | list[Spec] | int
    inputs: list[int]
    many: bool = False  # the inputs are given as a list
    call: dict[str, Any] = field(default_factory=dict)


@dataclass
class Input:
    shape: tuple[int, ...]
    dtype: str = "float32"
    high: int = 0  # tokens are below


@dataclass
class Head:
    """An output: which tensor, the loss it has, its metrics."""

    tensor: int
    loss: Any
    labels: str  # kind of labels
    metrics: list[Any]


@dataclass
class Model:
    """A model with how it is trained."""

    inputs: list[Input] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    optimizer: tuple[str, dict[str, Any]] = ("SGD", {})
    loss_weights: list[float] | None = None
    weighted: bool = False
    class_weight: bool = False
    rows: int = 7
    batch: int = 3
    sequential: bool = False

    def build(self, k: Any) -> Any:
        """The model in `k`, compiled."""
        if self.sequential:
            i = self.inputs[0]
            model = k.Sequential(
                [k.Input(i.shape, dtype=i.dtype), *(s.layer.build(k) for s in self.steps)]
            )
        else:
            tensors = [k.Input(i.shape, dtype=i.dtype) for i in self.inputs]
            starts, layers = list(tensors), {}
            needed = self.needed()
            for n, s in enumerate(self.steps):
                if (
                    n not in needed
                ):  # Keras's symbols are kinder than its arithmetic: nobody computes it
                    tensors.append(None)
                    continue
                first = self.first(n)
                if first not in layers:
                    layers[first] = made(self.steps[first].layer, k, layers, tensors, s.inputs)
                tensors.append(applied(layers[first], s, tensors))
            outputs = [tensors[h.tensor] for h in self.heads]
            model = k.Model(
                starts if len(starts) > 1 else starts[0],
                outputs if len(outputs) > 1 else outputs[0],
            )
        self.compile(k, model)
        return model

    def needed(self) -> set[int]:
        """The steps that an output depends on."""
        found: set[int] = set()
        todo = [h.tensor for h in self.heads]
        while todo:
            n = todo.pop() - len(self.inputs)
            if n >= 0 and n not in found:
                found.add(n)
                todo += self.steps[n].inputs
        return found

    def first(self, n: int) -> int:
        """The step that made the layer of step `n`."""
        layer = self.steps[n].layer
        return self.first(layer) if isinstance(layer, int) else n

    def compile(self, k: Any, model: Any) -> None:
        name, kw = self.optimizer
        losses = [
            getattr(k.losses, n)(**a) if isinstance(n, str) else n
            for n, a in (h.loss for h in self.heads)
        ]
        metrics = [[m if isinstance(m, str) else getattr(k.metrics, m[0])(**m[1]) for m in h.metrics] for h in self.heads]  # fmt: skip
        one = len(self.heads) == 1
        more = {"loss_weights": self.loss_weights} if self.loss_weights else {}
        model.compile(
            optimizer=getattr(k.optimizers, name)(**kw),
            loss=losses[0] if one else losses,
            metrics=metrics[0] if one else metrics,
            **more,
        )


def made(layer: Any, k: Any, layers: Any, tensors: list[Any], inputs: list[int]) -> Any:
    if isinstance(layer, int):
        return layers[layer]
    if isinstance(layer, list):
        shape = tensors[inputs[0]].shape[1:]
        return k.Sequential([k.Input(tuple(shape)), *(s.build(k) for s in layer)])
    return layer.build(k)


def applied(layer: Any, s: Step, tensors: list[Any]) -> Any:
    given = [tensors[i] for i in s.inputs]
    out = layer(given, **s.call) if s.many else layer(*given, **s.call)
    return out[0] if isinstance(out, (list, tuple)) else out


class Drawer:
    """Draws a model, applying each step in `keras` to learn the shapes."""

    def __init__(self, c: Choice, keras: Any):
        self.c, self.keras = c, keras
        self.model = Model()
        self.tensors: list[Any] = []
        self.layers: list[Any] = []

    def shape(self, i: int) -> tuple[int, ...]:
        return tuple(self.tensors[i].shape)

    def add_input(self) -> None:
        c = self.c
        kind = c.below(5)
        if kind == 0:
            made_ = Input((c.pick((3, 1, 2, 5, 7, 17)),))
        elif kind == 1:
            made_ = Input((c.between(2, 7), c.between(1, 5)))
        elif kind == 2:
            made_ = Input((c.between(3, 9), c.between(3, 9), c.between(1, 4)))
        elif kind == 3:
            made_ = Input((c.between(2, 6),), "int32", c.between(2, 9))
        else:
            made_ = Input((c.between(2, 4), c.between(2, 5), c.between(2, 4), c.between(1, 3)))
        self.model.inputs.append(made_)
        self.tensors.append(self.keras.Input(made_.shape, dtype=made_.dtype))

    def apply(self, step: Step) -> bool:
        """Whether Keras takes the step."""
        try:
            layer = made(step.layer, self.keras, self.layers, self.tensors, step.inputs)
            out = applied(layer, step, self.tensors)
        except Exception:
            return False
        shape = tuple(out.shape[1:])
        if None in shape or not 0 < int(np.prod(shape)) <= LARGEST or len(shape) > 4:
            return False
        if any(self.tensors[i].dtype == "int32" for i in step.inputs) and not isinstance(
            layer, self.keras.layers.Embedding
        ):
            return False
        self.layers.append(layer)
        self.model.steps.append(step)
        self.tensors.append(out)
        return True

    def step(self) -> None:
        c = self.c
        # the newest tensors are the likelier
        n = len(self.tensors)
        i = n - 1 - min(c.below(n), c.below(n))
        shape = self.shape(i)
        offset = len(self.model.inputs)
        kind = c.below(10)
        if kind == 9:  # a layer there is, once more
            old = [k for k, s in enumerate(self.model.steps)
                   if len(s.inputs) == 1 and not s.many and self.shape(s.inputs[0]) == shape]  # fmt: skip
            if old:
                k = c.pick(old)
                first = self.model.steps[k].layer
                self.apply(Step(first if isinstance(first, int) else k, [i]))
            return
        same = [
            j for j in range(n) if self.shape(j) == shape and self.tensors[j].dtype == "float32"
        ]
        if kind == 8 and c.chance(2):
            self.nested(i)
        elif kind in (7, 8) and same:
            name = c.pick(
                (
                    "Add",
                    "Multiply",
                    "Subtract",
                    "Average",
                    "Maximum",
                    "Minimum",
                    "Concatenate",
                    "Dot",
                )
            )
            pair = [i, c.pick(same)]
            kw: dict[str, Any] = {}
            if name == "Concatenate":
                kw["axis"] = c.pick((-1, *range(1, len(shape))))
            if name == "Dot":
                kw = {"axes": c.between(1, len(shape) - 1), "normalize": c.chance(3)}
            elif name not in ("Subtract",) and c.chance(3):
                pair.append(c.pick(same))
            self.apply(Step(Spec(name, kw), pair, many=True))
        elif kind == 6 and len(shape) == 3:
            self.attention(i)
        elif kind == 5 and len(shape) == 3 and offset:
            self.apply(Step(Spec("Masking", {"mask_value": 0.0}), [i]))
        else:
            self.apply(Step(unary(c, shape), [i]))

    def nested(self, i: int) -> None:
        specs: list[Spec] = []
        tensor = self.tensors[i]
        for _ in range(self.c.between(1, 3)):
            if None in tensor.shape[1:]:
                break  # a symbol whose extent Keras does not know
            spec = unary(self.c, tuple(tensor.shape))
            try:
                tensor = spec.build(self.keras)(tensor)
            except Exception:
                continue
            specs.append(spec)
        if specs and len(tensor.shape) <= 5:
            self.apply(Step(specs, [i]))

    def attention(self, i: int) -> None:
        c = self.c
        shape = self.shape(i)
        others = [j for j in range(len(self.tensors))
                  if len(self.shape(j)) == 3 and self.tensors[j].dtype == "float32"]  # fmt: skip
        kind = c.below(4)
        call = {"use_causal_mask": True} if c.chance(3) else {}
        if kind == 0:
            kw = {
                "num_heads": c.between(1, 3),
                "key_dim": c.between(1, 3),
                "use_bias": not c.chance(3),
            }
            self.apply(Step(Spec("MultiHeadAttention", kw), [i, c.pick(others)], call=call))
        elif kind == 1:
            kw = {
                "head_dim": c.between(1, 3),
                "num_query_heads": 4,
                "num_key_value_heads": c.pick((4, 2, 1)),
            }
            self.apply(Step(Spec("GroupQueryAttention", kw), [i, c.pick(others)], call=call))
        else:
            fit = [j for j in others if self.shape(j)[2] == shape[2]]
            name = c.pick(("Attention", "AdditiveAttention"))
            kw = {"use_scale": True} if c.chance(2) else {}
            self.apply(Step(Spec(name, kw), [i, c.pick(fit)], many=True, call=call))

    def head(self) -> None:
        c = self.c
        n = len(self.tensors)
        floats = [
            j
            for j in range(n)
            if self.tensors[j].dtype == "float32" and j >= len(self.model.inputs)
        ]
        i = floats[-1] if not c.chance(3) else c.pick(floats)
        kind, loss, act, labels, metrics = c.pick(HEADS)
        if len(self.shape(i)) > 2 and not c.chance(4):
            self.apply(Step(Spec("Flatten", {}), [i]))
            i = len(self.tensors) - 1
        units = c.between(1, 4) if kind == "any" else c.between(2, 5) if kind == "classes" else 1
        # a name of its own: Keras sorts results by name, and automatic ones count differently
        top = {"units": units, "activation": act, "name": f"out{len(self.model.heads)}"}
        if not self.apply(Step(Spec("Dense", top), [i])):
            self.apply(Step(Spec("Flatten", {}), [i]))
            self.apply(Step(Spec("Dense", top), [len(self.tensors) - 1]))
        rank = len(self.tensors[-1].shape)
        kw = dict(loss[1])
        if c.chance(5) and loss[0] not in ("Dice", "Tversky"):
            kw["reduction"] = c.pick(("sum", "sum_over_batch_size", "mean_with_sample_weight"))
        found = c.some(metrics) if rank == 2 else []
        self.model.heads.append(Head(len(self.tensors) - 1, (loss[0], kw), labels, found))

    def train(self) -> None:
        c, m = self.c, self.model
        m.rows, m.batch = c.pick(((7, 3), (5, 2), (4, 4), (9, 4), (3, 5), (8, 4)))
        m.optimizer = optimizer(c)
        if len(m.heads) > 1 and c.chance(2):
            m.loss_weights = [c.pick((1.0, 0.3, 2.0)) for _ in m.heads]
        h = m.heads[0]
        # beyond rank 2 Keras multiplies weights of samples along the last axis, whatever it is
        m.weighted = len(m.heads) == 1 and len(self.shape(h.tensor)) == 2 and c.chance(3)
        m.class_weight = (
            len(m.heads) == 1 and not m.weighted and h.labels == "class"
            and len(self.tensors[h.tensor].shape) == 2 and c.chance(3)
        )  # fmt: skip


def draw(c: Choice, keras: Any) -> Model:
    """A random model."""
    d = Drawer(c, keras)
    d.add_input()
    if c.chance(4):
        d.add_input()
    for i, made_ in enumerate(d.model.inputs):
        if made_.dtype == "int32":
            kw = {"input_dim": made_.high, "output_dim": c.between(1, 4)}
            if c.chance(2):
                kw["mask_zero"] = True
            d.apply(Step(Spec("Embedding", kw), [i]))
        else:
            d.apply(Step(Spec("Rescaling", {"scale": 1.0}), [i]))
    for _ in range(c.between(1, 7)):
        d.step()
    d.head()
    if c.chance(4):
        d.head()
    d.train()
    m = d.model
    chain = all(
        s.inputs == [k] and isinstance(s.layer, Spec) and not s.many and not s.call
        for k, s in enumerate(m.steps)
    )
    m.sequential = chain and len(m.inputs) == 1 and len(m.heads) == 1 and not c.chance(4)
    return m


def inputs_of(model: Model, rng: np.random.Generator, rows: int) -> list[Array]:
    """Data for the inputs: float32 from a normal, with some rows of zeros for masks; tokens."""
    out: list[Array] = []
    for i in model.inputs:
        if i.dtype == "int32":
            out.append(rng.integers(0, i.high, (rows, *i.shape)).astype("int32"))
            continue
        a = rng.standard_normal((rows, *i.shape)).astype("float32")
        if len(i.shape) == 2:
            a *= rng.random((rows, i.shape[0], 1)) < 0.7
        out.append(a)
    return out


def labels_of(kind: str, shape: tuple[int, ...], rng: np.random.Generator, rows: int) -> Array:
    """Labels of a kind for outputs of `shape` (without the batch's axis)."""
    full = (rows, *shape)
    classes = shape[-1]
    if kind == "class":
        return rng.integers(0, classes, full[:-1]).astype("int32")
    if kind == "onehot":
        return np.eye(classes, dtype="float32")[rng.integers(0, classes, full[:-1])]
    if kind == "bit":
        return rng.integers(0, 2, full).astype("float32")
    if kind == "sign":
        return (rng.integers(0, 2, full) * 2 - 1).astype("float32")
    if kind == "positive":
        return (rng.random(full) + 0.2).astype("float32")
    if kind == "distribution":
        a = rng.random(full) + 0.1
        return (a / a.sum(-1, keepdims=True)).astype("float32")
    return rng.standard_normal(full).astype("float32")
