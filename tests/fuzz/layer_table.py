"""Random layers: names and arguments as plain data, by the rank of what they are applied to.

Holds the arguments that Keras accepts. Refuses to build anything.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tests.fuzz.draw import Choice


class Spec(NamedTuple):
    """A layer as data: its class's name and arguments, of which some may be layers themselves."""

    name: str
    kwargs: dict[str, Any]

    def build(self, k: Any) -> Any:
        """The layer in `k`, real Keras or kcompile."""
        return getattr(k.layers, self.name)(**{n: built(v, k) for n, v in self.kwargs.items()})


def built(v: Any, k: Any) -> Any:
    """An argument with the layers in it built."""
    if isinstance(v, Spec):
        return v.build(k)
    if isinstance(v, list) and v and isinstance(v[0], Spec):
        return [x.build(k) for x in v]
    return v


# without sparsemax: that of Keras 3.15 does not sum to 1
ACTIVATIONS = (
    None, "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "softsign", "softmax",
    "leaky_relu", "hard_sigmoid", "hard_silu", "relu6", "mish", "exponential", "log_sigmoid", "tanh_shrink",
    "soft_shrink", "hard_shrink", "squareplus", "glu", "hard_tanh", "celu", "log_softmax", "sparse_plus",
    "sparse_sigmoid", "linear", "swish",
)  # fmt: skip
COMMON = (None, "relu", "tanh", "sigmoid", "elu", "gelu", "softmax", "silu")
REGULARIZERS = (None, None, None, "l1", "l2", "l1_l2")


def options(c: Choice, *extra: str) -> dict[str, Any]:
    """Activation, bias and regularizers of a layer with a kernel."""
    out: dict[str, Any] = {}
    if c.chance(2):
        out["activation"] = c.pick(COMMON)
    if c.chance(4):
        out["use_bias"] = False
    for name in extra:
        if c.chance(6):
            out[name] = c.pick(REGULARIZERS)
    return out


def several(c: Choice, rank: int, high: int) -> int | tuple[int, ...]:
    """One number for all axes, or one each."""
    if rank == 1 or c.chance(2):
        return c.between(1, high)
    return tuple(c.between(1, high) for _ in range(rank))


def conv(c: Choice, shape: tuple[int, ...]) -> Spec:
    rank = len(shape) - 2
    kw: dict[str, Any] = {"filters": c.pick((3, 2, 1, 4, 5)), "kernel_size": several(c, rank, 3)}
    first = rank == 2 and c.chance(6)
    kinds = ["Conv", "Conv", "Conv"] + (
        ["Separable", "Depthwise", "Transpose", "Transpose"] if rank < 3 else []
    )
    kind = c.pick(kinds)
    if first:
        kw["data_format"] = "channels_first"
    channels = shape[1] if first else shape[-1]
    kw["padding"] = c.pick(
        ("valid", "same") + (("causal",) if kind == "Conv" and rank == 1 else ())
    )
    if c.chance(2):
        kw["strides"] = several(c, rank, 3) if kind in ("Conv", "Transpose") else c.between(1, 3)
    elif c.chance(2):
        kw["dilation_rate"] = several(c, rank, 2) if kind == "Conv" else c.between(1, 2)
    kw |= options(c, "kernel_regularizer", "bias_regularizer", "activity_regularizer")
    if kind == "Conv":
        groups = [g for g in (2, 3, 4) if channels % g == 0]
        if groups and c.chance(3):
            kw["groups"] = g = c.pick(groups)
            kw["filters"] = g * c.between(1, 2)
        return Spec(f"Conv{rank}D", kw)
    kw.pop("kernel_regularizer", None)
    if kind == "Transpose":
        if c.chance(3) and kw["padding"] == "same" and "dilation_rate" not in kw:
            s = kw.get("strides", 1)
            if isinstance(s, int) and s > 1:
                kw["output_padding"] = c.between(0, s - 1)
        return Spec(f"Conv{rank}DTranspose", kw)
    if c.chance(2):
        kw["depth_multiplier"] = c.between(1, 3)
    if kind == "Depthwise":
        del kw["filters"]
    return Spec(f"{kind}Conv{rank}D", kw)


def pool(c: Choice, shape: tuple[int, ...]) -> Spec:
    rank = len(shape) - 2
    kind = c.pick(("Max", "Average"))
    if c.chance(3):
        kw: dict[str, Any] = {"keepdims": True} if c.chance(3) else {}
        return Spec(f"Global{kind}Pooling{rank}D", kw)
    # Keras on torch counts repeated edges in the mean of an uneven "same": other backends do not
    paddings = ("valid", "same") if kind == "Max" else ("valid",)
    kw = {"pool_size": several(c, rank, 3), "padding": c.pick(paddings)}
    if c.chance(2):
        kw["strides"] = several(c, rank, 3)
    if rank == 2 and c.chance(6):
        kw["data_format"] = "channels_first"
    return Spec(f"{kind}Pooling{rank}D", kw)


def norm(c: Choice, shape: tuple[int, ...]) -> Spec:
    kw: dict[str, Any] = {}
    name = c.pick(("BatchNormalization", "BatchNormalization", "LayerNormalization", "GroupNormalization",
                   "RMSNormalization", "UnitNormalization"))  # fmt: skip
    axis = c.pick((-1, *range(1, len(shape))))
    if name == "GroupNormalization":
        kw["groups"] = c.pick([g for g in (1, 2, 3, 4) if shape[axis] % g == 0] + [-1])
        kw["axis"] = axis
    elif name == "BatchNormalization":
        kw["axis"] = axis
        if c.chance(2):
            kw["momentum"] = c.pick((0.9, 0.5))
    elif len(shape) > 2 and c.chance(3):
        kw["axis"] = [len(shape) - 2, len(shape) - 1]
    if name in ("BatchNormalization", "LayerNormalization", "GroupNormalization"):
        for n in ("scale", "center"):
            if c.chance(4):
                kw[n] = False
        kw["epsilon"] = c.pick((1e-3, 1e-2, 1e-1))
    elif name == "RMSNormalization":
        kw["epsilon"] = 1e-2
    return Spec(name, kw)


def pointwise(c: Choice, shape: tuple[int, ...]) -> Spec:
    kind = c.below(9)
    if kind == 0:
        return Spec("Activation", {"activation": c.pick(ACTIVATIONS[1:])})
    if kind == 1:
        return Spec("LeakyReLU", {"negative_slope": c.pick((0.3, 0.01))})
    if kind == 2:
        axes = c.some(range(1, len(shape)))
        return Spec("PReLU", {"shared_axes": axes} if axes else {})
    if kind == 3:
        return Spec("ReLU", {"max_value": c.pick((None, 1.0, 6.0)), "negative_slope": c.pick((0.0, 0.1)),
                             "threshold": c.pick((0.0, 0.2))})  # fmt: skip
    if kind == 4:
        return Spec("ELU", {"alpha": c.pick((1.0, 0.5))})
    if kind == 5:
        axis: Any = c.pick((-1, *range(1, len(shape))))
        if len(shape) > 3 and c.chance(2):
            axis = [1, 2]
        return Spec("Softmax", {"axis": axis})
    if kind == 6:
        return Spec("Rescaling", {"scale": c.pick((0.5, 2.0, -1.0)), "offset": c.pick((0.0, 0.3))})
    if kind == 7:
        return Spec(
            "ActivityRegularization", {"l1": c.pick((0.0, 0.01)), "l2": c.pick((0.0, 0.02))}
        )
    return Spec("Dropout", {"rate": 0.0})


def cell(c: Choice, return_sequences: bool | None = None) -> Spec:
    name = c.pick(("LSTM", "GRU", "SimpleRNN"))
    kw: dict[str, Any] = {"units": c.pick((3, 1, 2, 4))}
    if c.chance(2) if return_sequences is None else return_sequences:
        kw["return_sequences"] = True
    if c.chance(3):
        kw["go_backwards"] = True
    if c.chance(4):
        kw["activation"] = c.pick(("tanh", "relu", "sigmoid", "elu"))
    if c.chance(5):
        kw["use_bias"] = False
    if name != "SimpleRNN" and c.chance(5):
        kw["recurrent_activation"] = c.pick(("hard_sigmoid", "tanh"))
    if name == "GRU" and c.chance(3):
        kw["reset_after"] = False
    if name == "LSTM" and c.chance(4):
        kw["unit_forget_bias"] = False
    if c.chance(5):
        kw[c.pick(("kernel_regularizer", "recurrent_regularizer", "bias_regularizer"))] = "l2"
    if c.chance(8):
        kw["unroll"] = True
    if c.chance(6):
        kw["zero_output_for_mask"] = True
    return Spec(name, kw)


def recurrent(c: Choice, shape: tuple[int, ...]) -> Spec:
    kind = c.below(6)
    if kind < 3:
        return cell(c)
    if kind == 3:
        inner = cell(c)
        inner.kwargs.pop("go_backwards", None)
        return Spec(
            "Bidirectional", {"layer": inner, "merge_mode": c.pick(("concat", "sum", "mul", "ave"))}
        )
    if kind == 4:
        cells = []
        for _ in range(c.between(1, 2)):
            s = c.pick(("LSTMCell", "GRUCell", "SimpleRNNCell"))
            cells.append(Spec(s, {"units": c.between(1, 3)}))
        return Spec(
            "RNN", {"cell": cells, "return_sequences": c.chance(2), "go_backwards": c.chance(3)}
        )
    return Spec("TimeDistributed", {"layer": Spec("Dense", {"units": 3} | options(c))})


def reshape(c: Choice, shape: tuple[int, ...]) -> Spec:
    rank = len(shape)
    kind = c.below(5)
    size = math.prod(shape[1:])
    if kind == 0:
        return Spec("Flatten", {})
    if kind == 1:
        targets: list[tuple[int, ...]] = [(-1,), (1, -1), (-1, 1)]
        targets += [(size // k, k) for k in (2, 3, 4) if size % k == 0]
        targets += [(2, size // 4, 2)] if size % 4 == 0 else []
        return Spec("Reshape", {"target_shape": c.pick(targets)})
    if kind == 2 and rank > 2:
        dims = list(range(1, rank))
        perm = []
        while dims:
            perm.append(dims.pop(c.below(len(dims))))
        return Spec("Permute", {"dims": tuple(perm)})
    if rank == 2:
        return Spec("RepeatVector", {"n": c.between(1, 3)})
    n = rank - 2
    name = c.pick(("ZeroPadding", "Cropping", "UpSampling"))
    if name == "UpSampling":
        size_: Any = several(c, n, 3)
        return Spec(f"UpSampling{n}D", {"size": size_})
    sides = [tuple(c.between(0, 2) for _ in range(2)) for _ in range(n)]
    key = "padding" if name == "ZeroPadding" else "cropping"
    return Spec(f"{name}{n}D", {key: sides[0] if n == 1 else tuple(sides)})


def dense(c: Choice, shape: tuple[int, ...]) -> Spec:
    kw = {"units": c.pick((3, 1, 2, 5, 7, 17))} | options(
        c, "kernel_regularizer", "bias_regularizer", "activity_regularizer"
    )
    if len(shape) > 2 and c.chance(5):
        letters = "bcde"[: len(shape) - 1]
        spec = f"a{letters},{letters[-1]}z->a{letters[:-1]}z"
        out = (*([None] * (len(shape) - 2)), 3)
        return Spec("EinsumDense", {"equation": spec, "output_shape": out, "bias_axes": "z"})
    return Spec("Dense", kw)


def unary(c: Choice, shape: tuple[int, ...]) -> Spec:
    """A layer of one argument for tensors of this shape (with the batch's axis first)."""
    rank = len(shape)
    kinds: list[Any] = [dense, pointwise, norm, reshape, dense]
    if rank in (3, 4, 5):
        kinds += [conv, pool, conv, pool]
    if rank == 3:
        kinds += [recurrent, recurrent, recurrent]
    return c.pick(kinds)(c, shape)
