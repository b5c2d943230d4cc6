"""Random models of whole blocks as architectures have them: gates, residuals, towers, heads, one after the other.

What wants each other's company is drawn together: a mean over positions behind a convolution that is not the first,
what is repeated and then convolved, a gate over channels, rows attended to and pooled. Holds the drawing.
Refuses to compare, and to know Keras: a layer that does not take a tensor is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile
from kcompile import layers as L
from tests.fuzz.draw import Choice
from tests.fuzz.layer_table import unary

Array = np.ndarray[Any, Any]
LARGEST = 700  # elements of a tensor, per sample
SMOOTH = ("tanh", "sigmoid", "silu", "gelu", "softplus", "elu", "swish", None, "softsign", "mish")


class Blocks:
    """A model while it is drawn: the newest tensor of each rank is what blocks go on from."""

    def __init__(self, c: Choice):
        self.c = c
        self.inputs: list[Any] = []
        self.data: list[Any] = []  # of each input: shape, and how many tokens there are or 0
        self.tensors: list[Any] = []
        self.shared: list[tuple[Any, tuple[int, ...]]] = []

    def start(self) -> Any:
        c = self.c
        shape, tokens = c.pick((
            ((c.between(3, 8), c.between(3, 8), c.between(1, 4)), 0),
            ((c.between(3, 9), c.between(1, 5)), 0),
            ((c.between(3, 7),), c.between(3, 9)),
            ((c.between(3, 8), c.between(3, 8), c.between(1, 4)), 0),
            ((c.between(2, 4), c.between(2, 5), c.between(2, 4), c.between(1, 3)), 0),
            ((c.pick((3, 1, 5, 7, 17)),), 0),
        ))  # fmt: skip
        i = kcompile.Input(shape, dtype="int32" if tokens else kcompile.config.floatx())
        self.inputs.append(i)
        self.data.append((shape, tokens))
        if tokens:
            return L.Embedding(tokens, c.between(1, 6), mask_zero=c.chance(2))(i)
        # what comes next is not the first layer, so that it has a gradient
        return L.Dense(c.between(1, 5), activation=self.smooth())(i) if not c.chance(5) else i

    def smooth(self) -> str | None:
        return self.c.pick(SMOOTH)

    def act(self, x: Any) -> Any:
        name = self.smooth()
        return x if name is None else L.Activation(name)(x)

    def conv(self, x: Any, filters: int | None = None, same: bool = False) -> Any:
        c, rank = self.c, len(x.shape) - 2
        kw: dict[str, Any] = {"padding": "same" if same or c.chance(2) else "valid"}
        if rank == 1 and not same and c.chance(4):
            kw["padding"] = "causal"
        size: Any = c.between(1, 3) if rank == 1 or c.chance(2) else tuple(c.between(1, 3) for _ in range(rank))  # fmt: skip
        if not same and c.chance(3):
            kw["strides"] = c.between(2, 3)
        elif c.chance(4):
            kw["dilation_rate"] = 2
        kw["use_bias"] = not c.chance(3)
        f = filters or c.between(1, 6)
        channels = x.shape[-1]
        kind = c.below(6)
        if kind == 5 and filters is None and not same and kw["padding"] != "causal":
            kw.pop("dilation_rate", None)
            return getattr(L, f"Conv{rank}DTranspose")(f, size, **kw)(x)
        if rank < 3 and kw["padding"] != "causal" and kind in (3, 4):
            if kind == 3:
                m = 1 if filters else c.between(1, 2)
                y = getattr(L, f"DepthwiseConv{rank}D")(size, depth_multiplier=m, **kw)(x)
                return L.Dense(f)(y) if filters and channels != f else y
            return getattr(L, f"SeparableConv{rank}D")(f, size, **kw)(x)
        groups = [g for g in (2, 3) if channels % g == 0 and f % g == 0]
        if groups and c.chance(2):
            kw["groups"] = c.pick(groups)
        return getattr(L, f"Conv{rank}D")(f, size, **kw)(x)

    def norm(self, x: Any) -> Any:
        c = self.c
        kind = c.below(6)
        if kind < 2:
            return L.BatchNormalization(epsilon=c.pick((1e-3, 0.1)), scale=not c.chance(4))(x)
        if kind == 2:
            axis = -1 if len(x.shape) == 2 or c.chance(2) else [len(x.shape) - 2, len(x.shape) - 1]
            return L.LayerNormalization(epsilon=0.01, axis=axis)(x)
        if kind == 3:
            groups = c.pick([g for g in (1, 2, 3) if x.shape[-1] % g == 0])
            return L.GroupNormalization(groups, epsilon=0.01)(x)
        return L.RMSNormalization(epsilon=0.01)(x) if kind == 4 else x

    def pool(self, x: Any) -> Any:
        c, rank = self.c, len(x.shape) - 2
        kind = c.pick(("Average", "Max"))
        kw = {"padding": c.pick(("valid", "same"))}
        if c.chance(2):
            kw["strides"] = c.between(1, 3)  # type: ignore[assignment]
        return getattr(L, f"{kind}Pooling{rank}D")(c.between(1, 3), **kw)(x)

    def mean(self, x: Any, keep: bool = False) -> Any:
        rank, kind = len(x.shape) - 2, self.c.pick(("Average", "Max"))
        return getattr(L, f"Global{kind}Pooling{rank}D")(keepdims=keep)(x)

    # -- blocks ------------------------------------------------------------------------------------

    def block_unit(self, x: Any) -> Any:
        """Convolution, normalisation and activation, in one of their orders."""
        parts = [self.conv, self.norm, self.act]
        if self.c.chance(2):
            parts = [self.norm, self.act, self.conv]
        for part in parts:
            x = part(x)
        return x

    def block_residual(self, x: Any) -> Any:
        y = self.act(self.norm(self.conv(x, same=True)))
        y = self.norm(self.conv(y, x.shape[-1], same=True))
        return self.act(self.c.pick((L.Add, L.Maximum, L.Subtract, L.Average))()([x, y]))

    def block_gate(self, x: Any) -> Any:
        """Squeeze and excitation, over channels or over positions."""
        c = self.c
        f = x.shape[-1]
        if c.chance(3):
            gate = self.conv(x, 1, same=True)
            return L.Multiply()([x, L.Activation("sigmoid")(gate)])
        if c.chance(2):
            y = self.mean(x, keep=True)
            y = getattr(L, f"Conv{len(x.shape) - 2}D")(c.between(1, 3), 1, activation="silu")(y)
            y = getattr(L, f"Conv{len(x.shape) - 2}D")(f, 1, activation="sigmoid")(y)
        else:
            y = L.Dense(c.between(1, 3), activation="tanh")(self.mean(x))
            y = L.Dense(f, activation="sigmoid")(y)
            y = L.Reshape((*([1] * (len(x.shape) - 2)), f))(y)
        return c.pick((L.Multiply, L.Add))()([x, y])

    def block_tower(self, x: Any) -> Any:
        """Branches side by side, of one extent."""
        c = self.c
        ways = [self.conv(x, same=True), x]
        if c.chance(2):
            rank = len(x.shape) - 2
            kind = c.pick(("Average", "Max"))
            pooled = getattr(L, f"{kind}Pooling{rank}D")(c.between(2, 3), strides=1, padding="same")(x)  # fmt: skip
            ways.append(self.conv(pooled, same=True))
        if c.chance(2):
            ways.append(self.act(self.conv(self.act(self.conv(x, same=True)), same=True)))
        return self.norm(L.Concatenate()(ways))

    def block_net(self, x: Any) -> Any:
        """Down and up again, the way across joined in, as a U-Net has it."""
        c, rank = self.c, len(x.shape) - 2
        y = self.pool(x) if c.chance(2) else self.block_unit(x)
        y = self.act(self.conv(y, same=True))
        y = getattr(L, f"UpSampling{rank}D")(2)(y)
        if c.chance(2):
            y = self.act(self.conv(y, same=True))
        over = [(0, max(0, int(b) - int(a))) for a, b in zip(y.shape[1:-1], x.shape[1:-1], strict=True)]  # fmt: skip
        y = getattr(L, f"ZeroPadding{rank}D")(over if rank > 1 else over[0])(y)
        less = [(0, int(a) - int(b)) for a, b in zip(y.shape[1:-1], x.shape[1:-1], strict=True)]
        y = getattr(L, f"Cropping{rank}D")(less if rank > 1 else less[0])(y)
        return L.Concatenate()([x, y])

    def block_repeat(self, x: Any) -> Any:
        """One row for all positions, and then something over positions."""
        c = self.c
        y = L.Dense(c.between(1, 4), activation=self.smooth())(self.mean(x))
        y = L.RepeatVector(c.between(2, 6))(y)
        return c.pick((self.conv, self.pool, self.recurrent, self.attend, self.norm))(y)

    def block_spread(self, x: Any) -> Any:
        """A mean over positions beside each position."""
        y = self.mean(x, keep=True)
        rank = len(x.shape) - 2
        size = tuple(int(d) for d in x.shape[1:-1])
        y = getattr(L, f"UpSampling{rank}D")(size if rank > 1 else size[0])(y)
        y = self.conv(y, same=True) if self.c.chance(2) else y
        return L.Concatenate()([x, y])

    def block_rows(self, x: Any) -> Any:
        """Positions as one axis, as a vision transformer has them, and back."""
        shape = tuple(int(d) for d in x.shape[1:])
        y = L.Reshape((-1, shape[-1]))(x) if len(shape) != 2 else x
        if self.c.chance(3):
            y = L.Permute((2, 1))(y)
            y = L.Dense(y.shape[-1], activation=self.smooth())(y)
            y = L.Permute((2, 1))(y)
        else:
            y = L.Add()([y, self.attend(y)])
        return L.Reshape(shape)(y) if y.shape[1:] != shape and self.c.chance(2) else y

    def block_pooled(self, x: Any) -> Any:
        y = self.pool(x)
        return self.conv(y) if self.c.chance(2) else self.act(y)

    def block_filler(self, x: Any) -> Any:
        return unary(self.c, tuple(x.shape)).build(kcompile)(x)

    def block_again(self, x: Any) -> Any:
        """A layer once more, on what has gone through it."""
        c = self.c
        layer = L.Dense(x.shape[-1], activation="tanh") if c.chance(2) or len(x.shape) < 3 or len(x.shape) > 5 else getattr(L, f"Conv{len(x.shape) - 2}D")(x.shape[-1], c.between(1, 3), padding="same", activation="tanh")  # fmt: skip
        y = layer(layer(x))
        return L.Add()([y, layer(y)]) if c.chance(2) else y

    def block_drop(self, x: Any) -> Any:
        return L.Dropout(self.c.pick((0.3, 0.5)))(x)

    def block_ops(self, x: Any) -> Any:
        """What users write with operations: products of rows, rolls, cuts, means over an axis that stay."""
        c, k = self.c, kcompile.ops
        kind = c.below(6)
        axis = c.between(1, len(x.shape) - 1)
        if kind == 0:
            return x - k.mean(x, axis=axis, keepdims=True)
        if kind == 1:
            return x * k.softmax(k.sum(x, axis=-1, keepdims=True), axis=1)
        if kind == 2:
            return k.roll(x, 1, axis=axis) + x
        if kind == 3:
            return k.flip(x, axis=axis) * x
        if kind == 4:
            return x / k.sqrt(k.mean(k.square(x), axis=axis, keepdims=True) + 0.1)
        return k.concatenate([x[:, ::2], x[:, 1::2]], axis=1)

    def recurrent(self, x: Any) -> Any:
        c = self.c
        rows = c.chance(2)
        units = c.between(1, 5)
        layer = c.pick((L.LSTM, L.GRU, L.SimpleRNN))(units, return_sequences=rows, go_backwards=c.chance(4))  # fmt: skip
        if c.chance(3):
            layer = L.Bidirectional(c.pick((L.LSTM, L.GRU))(units, return_sequences=rows), merge_mode=c.pick(("concat", "sum", "mul")))  # fmt: skip
        return layer(x)

    def attend(self, x: Any) -> Any:
        c = self.c
        d = x.shape[-1]
        causal = {"use_causal_mask": True} if c.chance(3) else {}
        kind = c.below(4)
        if kind == 0:
            return L.Attention(use_scale=c.chance(2))([x, x], **causal)
        if kind == 1:
            return L.GroupQueryAttention(c.between(1, 3), 4, 2)(x, x, **causal)
        return L.MultiHeadAttention(c.between(1, 3), c.between(1, 4), output_shape=d)(x, x, **causal)  # fmt: skip

    def block_time(self, x: Any) -> Any:
        c = self.c
        if c.chance(3):
            return L.TimeDistributed(L.Dense(c.between(1, 4), activation=self.smooth()))(x)
        return self.recurrent(x)

    def block_encoder(self, x: Any) -> Any:
        """A layer of a transformer, norm before or after."""
        c, d = self.c, x.shape[-1]
        before = c.chance(2)
        y = L.LayerNormalization(epsilon=0.01)(x) if before else x
        x = L.Add()([x, self.attend(y)])
        x = x if before else L.LayerNormalization(epsilon=0.01)(x)
        y = L.Dense(2 * d, activation="gelu")(L.LayerNormalization(epsilon=0.01)(x) if before else x)  # fmt: skip
        y = L.Dropout(0.2)(y) if c.chance(2) else y
        return L.Add()([x, L.Dense(d)(y)])

    def block_einsum(self, x: Any) -> Any:
        c = self.c
        letters = "bcde"[: len(x.shape) - 1]
        n = c.between(1, 4)
        spec = f"a{letters},{letters[-1]}yz->a{letters[:-1]}yz"
        y = L.EinsumDense(spec, output_shape=(*x.shape[1:-1], 2, n), bias_axes="yz")(x)
        return L.Reshape((*x.shape[1:-1], 2 * n))(y)

    def block_dense(self, x: Any) -> Any:
        return self.norm(L.Dense(self.c.between(1, 7), activation=self.smooth())(x))

    def apply(self, name: str, x: Any) -> None:
        try:
            y = getattr(self, f"block_{name}")(x)
        except (ValueError, TypeError, NotImplementedError, IndexError, ZeroDivisionError):
            return
        shape = tuple(y.shape[1:])
        if None not in shape and len(shape) <= 4 and 0 < int(np.prod(shape)) <= LARGEST:
            self.tensors.append(y)

    def step(self) -> None:
        c = self.c
        x = self.tensors[-1] if not c.chance(4) else c.pick(self.tensors)
        rank = len(x.shape)
        positions = ("unit", "residual", "gate", "tower", "net", "repeat", "spread", "rows", "pooled", "unit")  # fmt: skip
        names = ["dense", "filler", "again", "drop", "ops", "einsum"]
        if rank >= 3:
            names = [*positions, *positions, *names]
        if rank == 3:
            names += ["time", "time", "encoder", "encoder"]
        self.apply(c.pick(names), x)

    def head(self) -> Any:
        c = self.c
        x = self.tensors[-1] if not c.chance(4) else c.pick(self.tensors)
        if len(x.shape) > 2:
            kind = c.below(5)
            if kind < 3:
                if kind == 0:
                    x = self.conv(x, same=True)
                x = self.mean(x)
            elif kind == 3:
                x = L.Flatten()(x)
        return L.Dense(c.between(1, 4), activation=c.pick((None, "sigmoid", "softmax")))(x)


def draw(c: Choice) -> tuple[Any, list[Any]]:
    """A random model, and of each of its inputs the shape and the number of tokens (0: floats)."""
    b = Blocks(c)
    b.tensors.append(b.start())
    if c.chance(5):
        b.tensors.append(b.start())
    for _ in range(c.between(1, 4)):
        b.step()
    outputs = [b.head()]
    if c.chance(4):
        outputs.append(b.head())
    if c.chance(6):
        outputs.append(b.tensors[-1])
    return kcompile.Model(b.inputs, outputs), b.data
