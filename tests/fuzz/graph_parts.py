"""The plain ops of random graphs: elementwise, movement, reduction, order, indices.

What jumps (comparisons, order, rounding) is only asked of values that no pass can round differently.
Refuses to hold contractions, loops and losses (`graphs`) and states (`steps`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ir.ops as ops
from ir.graph import Value
from ir.op import IRError
from tests.fuzz.draw import Choice

EXTENTS = (2, 3, 1, 5, 7, 17)
LARGEST = 1500
WIDE = (
    16,
    3,
    33,
    1,
    5,
    65,
)  # extents at which kernels have blocks, whole vectors and more than a tile
UNARY = (
    "neg", "tanh", "sigmoid", "absolute", "sin", "cos", "erf", "relu", "gelu", "silu", "softplus", "elu", "selu",
    "atan", "asinh", "softsign", "stop_gradient",
)  # fmt: skip
JUMPS = ("sign", "floor", "ceil", "round_even")
SMOOTH = ("tanh", "sigmoid", "sin", "cos", "erf", "gelu", "silu", "softplus", "atan", "neg")
COMPARE = ("lt", "le", "gt", "ge", "eq", "ne")


class Plain:
    """Draws nodes on the values so far: elementwise, movement, reduction, order and indices."""

    def __init__(self, c: Choice, dtype: str, wide: bool = False):
        self.c, self.dtype, self.wide = c, dtype, wide
        self.extents, self.largest = (WIDE, 40 * LARGEST) if wide else (EXTENTS, LARGEST)
        self.values: list[Value] = []
        self.clean: set[Value] = set()  # computed alike by every pass
        self.inputs: list[Value] = []
        self.streams = 0

    def keep(self, v: Value | None, clean: bool = False) -> Value | None:
        if v is not None and len(v.shape) <= 5 and 0 < int(v.type.size) <= self.largest:
            self.values.append(v)
            if clean:
                self.clean.add(v)
        return v

    def floats(self) -> list[Value]:
        return [v for v in self.values if v.dtype == self.dtype]

    def float_(self) -> Value:
        found = self.floats()
        n = len(found)
        return found[n - 1 - min(self.c.below(n), self.c.below(n))]

    def exact(self) -> Value | None:
        """A float that every pass computes alike."""
        found = [v for v in self.floats() if v in self.clean]
        return self.c.pick(found) if found else None

    def full(self, shape: Any, value: float | None = None) -> Value:
        c = self.c.pick((0.5, 0.0, 1.0, -1.0, 2.0, 0.3)) if value is None else value
        return ops.full(value=c, shape=shape, dtype=self.dtype)  # type: ignore[no-any-return]

    def like(self, v: Value) -> Value:
        """A value of this type: one there is, a broadcast of one, or a constant."""
        same = [u for u in self.values if u.type is v.type]
        if same and not self.c.chance(3):
            return self.c.pick(same)
        return self.of(v.shape)

    def of(self, shape: Any) -> Value:
        """A value of this shape, made from what there is."""
        shape = tuple(shape)
        same = [u for u in self.floats() if u.shape == shape]
        if same and not self.c.chance(4):
            return self.c.pick(same)
        for u in reversed(self.floats()):
            axes, k = [], 0
            for i, d in enumerate(shape):
                if k < len(u.shape) and u.shape[k] == d:
                    axes.append(i)
                    k += 1
            if k == len(u.shape) and (k or self.c.chance(4)):
                return (
                    u
                    if axes == list(range(len(shape)))
                    else ops.broadcast(u, shape=shape, axes=tuple(axes))
                )  # type: ignore[no-any-return]
        for u in self.floats():  # enough elements to cut it from
            n = int(np.prod(shape))
            if int(u.type.size) >= n > 0:
                flat = ops.reshape(u, shape=(int(u.type.size),))
                return ops.reshape(ops.slice_(flat, start=(0,), stop=(n,), step=(1,)), shape=shape)  # type: ignore[no-any-return]
        return self.full(shape)

    def step(self) -> None:
        kinds = ("unary", "binary", "binary", "reshape", "transpose", "broadcast", "reduce", "contract", "contract",
                 "window", "window", "slice", "pad", "concat", "flip", "normal", "select", "scan", "power", "index",
                 "order", "cumulate", "noise", "cast", "recurrent", "loss", "outer")  # fmt: skip
        kind = self.c.pick(kinds)
        try:
            getattr(self, f"draw_{kind}")()
        except IRError:
            return

    def draw_unary(self) -> None:
        if self.c.chance(6):
            v = self.exact()
            if v is not None:
                self.keep(getattr(ops, self.c.pick(JUMPS))(v), clean=True)
            return
        self.keep(getattr(ops, self.c.pick(UNARY))(self.float_()))

    def draw_binary(self) -> None:
        v = self.float_()
        pair = [v, self.like(v)]
        if self.c.chance(2):
            pair.reverse()
        name = self.c.pick(("add", "sub", "mul", "maximum", "minimum", "div"))
        if name == "div":
            pair[1] = ops.add(ops.mul(pair[1], pair[1]), self.full(v.shape, 1.0))
        self.keep(getattr(ops, name)(*pair))

    def draw_power(self) -> None:
        v = self.float_()
        self.keep(ops.tanh(ops.power(v, self.full(v.shape, self.c.pick((2.0, 1.0, 3.0, 0.0))))))

    def draw_reshape(self) -> None:
        v = self.float_()
        n = int(v.type.size)
        shapes: list[Any] = [(n,), (1, n), (n, 1)] + [(n // k, k) for k in (2, 3, 5) if n % k == 0]
        shapes += [(2, n // 6, 3)] if n % 6 == 0 else []
        if self.c.chance(2) and len(v.shape) > 1:
            k = self.c.below(len(v.shape) - 1)
            shapes.append((*v.shape[:k], v.shape[k] * v.shape[k + 1], *v.shape[k + 2 :]))
        self.keep(ops.reshape(v, shape=self.c.pick(shapes)), v in self.clean)

    def shuffled(self, items: list[Any]) -> list[Any]:
        rest, out = list(items), []
        while rest:
            out.append(rest.pop(self.c.below(len(rest))))
        return out

    def draw_transpose(self) -> None:
        v = self.float_()
        self.keep(
            ops.transpose(v, perm=tuple(self.shuffled(list(range(len(v.shape)))))), v in self.clean
        )

    def draw_broadcast(self) -> None:
        v = self.float_()
        shape, axes = list(v.shape), list(range(len(v.shape)))
        for _ in range(self.c.between(1, 2)):
            k = self.c.below(len(shape) + 1)
            shape.insert(k, self.c.pick(self.extents))
            axes = [a + (a >= k) for a in axes]
        self.keep(ops.broadcast(v, shape=tuple(shape), axes=tuple(axes)), v in self.clean)

    def axes(self, v: Value) -> tuple[int, ...]:
        return tuple(self.c.some(range(len(v.shape))))

    def draw_reduce(self) -> None:
        v = self.float_()
        name = self.c.pick(("reduce_sum", "reduce_max", "reduce_min", "reduce_mean", "logsumexp", "reduce_sum", "moments", "reduce_prod"))  # fmt: skip
        out = getattr(ops, name)(v, axes=self.axes(v))
        if name == "moments":
            self.keep(out[0])
            self.keep(ops.tanh(out[1]))
        else:
            self.keep(ops.tanh(out) if name in ("reduce_prod", "reduce_sum") else out)

    def draw_slice(self) -> None:
        v = self.float_()
        start = [self.c.below(int(d)) for d in v.shape]
        stop = [self.c.between(a + 1, int(d)) for a, d in zip(start, v.shape, strict=True)]
        step = [self.c.pick((1, 1, 2, 3)) for _ in v.shape]
        self.keep(ops.slice_(v, start=start, stop=stop, step=step), v in self.clean)

    def draw_pad(self) -> None:
        v = self.float_()
        low, high, interior = ([self.c.pick((0, 0, 1, 2)) for _ in v.shape] for _ in range(3))
        value = self.c.pick((0.0, 1.0))
        self.keep(ops.pad(v, low=low, high=high, interior=interior, value=value), v in self.clean)

    def draw_concat(self) -> None:
        v = self.float_()
        if not v.shape:
            return
        axis = self.c.below(len(v.shape))
        if self.c.chance(3) and v.shape[axis] > 1:
            k = self.c.between(1, int(v.shape[axis]) - 1)
            for part in ops.split(v, axis=axis, sizes=(k, int(v.shape[axis]) - k)):
                self.keep(part, v in self.clean)
            return
        others = [self.like(v) for _ in range(self.c.between(1, 2))]
        self.keep(ops.concat(v, *others, axis=axis))

    def draw_flip(self) -> None:
        v = self.float_()
        self.keep(ops.flip(v, axes=self.axes(v)), v in self.clean)

    def draw_normal(self) -> None:
        v = self.float_()
        if not v.shape:
            return
        axis = self.c.below(len(v.shape))
        d = v.shape[axis]
        kind = self.c.pick(
            ("softmax", "log_softmax", "layer_norm", "batch_norm_train", "batch_norm")
        )
        if kind.endswith("softmax"):
            self.keep(getattr(ops, kind)(v, axis=axis))
        elif kind == "layer_norm":
            axes = (axis,) if self.c.chance(2) else tuple(range(axis, len(v.shape)))
            shape = tuple(v.shape[a] for a in axes)
            self.keep(ops.layer_norm(v, self.of(shape), self.of(shape), axes=axes, epsilon=0.1))
        elif kind == "batch_norm_train":
            for out in ops.batch_norm_train(
                v, self.of((d,)), self.of((d,)), axis=axis, epsilon=0.1
            ):
                self.keep(out)
        else:
            var = ops.softplus(self.of((d,)))
            self.keep(
                ops.batch_norm(
                    v, self.of((d,)), var, self.of((d,)), self.of((d,)), axis=axis, epsilon=0.1
                )
            )

    def draw_select(self) -> None:
        u = self.exact()
        if u is None:
            return
        if self.c.chance(2):
            pred = getattr(ops, self.c.pick(COMPARE))(u, self.full(u.shape))
        else:
            pred = ops.logical_not(ops.gt(u, self.full(u.shape, 0.1)))
        if self.c.chance(4):
            pred = ops.logical_or(pred, ops.lt(u, self.full(u.shape, -0.5)))
        x = self.of(u.shape)
        self.keep(ops.select(pred, x, self.like(x)))
        if self.c.chance(3):
            name = self.c.pick(("reduce_max", "reduce_min"))
            any_ = getattr(ops, name)(pred, axes=self.axes(u))
            self.keep(ops.cast(any_, dtype=self.dtype), True)

    def draw_cast(self) -> None:
        u = self.exact()
        if u is not None:
            whole = ops.cast(ops.mul(u, self.full(u.shape, 4.0)), dtype=self.c.pick(("i32", "i64")))
            a = ops.add(whole, ops.full(value=3, shape=u.shape, dtype=whole.dtype))
            name = self.c.pick(("mul", "sub", "maximum", "floordiv", "mod"))
            b = getattr(ops, name)(
                a, ops.full(value=self.c.pick((2, 3, -2)), shape=u.shape, dtype=a.dtype)
            )
            self.keep(ops.cast(b, dtype=self.dtype), True)
            return
        v = self.float_()
        other = self.c.pick([d for d in ("f64", "f32") if d != self.dtype])
        self.keep(ops.cast(ops.cast(v, dtype=other), dtype=self.dtype))

    def indices(self, shape: tuple[int, ...], high: int) -> Value:
        """Integers, some of them out of range below."""
        base = ops.iota(shape=shape, axis=self.c.below(len(shape)), dtype="i32") if shape else ops.full(value=1, shape=(), dtype="i32")  # fmt: skip
        u = self.exact()
        if u is not None and shape and int(u.type.size) >= int(np.prod(shape)):
            n = int(np.prod(shape))
            flat = ops.slice_(
                ops.reshape(u, shape=(int(u.type.size),)), start=(0,), stop=(n,), step=(1,)
            )
            noise = ops.cast(
                ops.mul(ops.reshape(flat, shape=shape), self.full(shape, 5.0)), dtype="i32"
            )
            base = ops.add(base, noise)
        k = ops.full(value=max(high, 1), shape=shape, dtype="i32")
        return ops.mod(base, k)  # type: ignore[no-any-return]

    def draw_index(self) -> None:
        v = self.float_()
        if not v.shape:
            return
        axis = self.c.below(len(v.shape))
        d = int(v.shape[axis])
        kind = self.c.below(4)
        if kind == 0:
            shape = tuple(self.c.pick(self.extents) for _ in range(self.c.between(0, 2)))
            self.keep(ops.gather(v, self.indices(shape, d), axis=axis), v in self.clean)
        elif kind == 1:
            extent = self.c.pick(self.extents)
            idx = self.indices((d,), extent)
            self.keep(ops.tanh(ops.scatter_add(idx, v, axis=axis, extent=extent)))
        elif kind == 2:
            shape = tuple(
                self.c.pick(self.extents) if i == axis else d_ for i, d_ in enumerate(v.shape)
            )
            self.keep(ops.take_along(v, self.indices(shape, d), axis=axis), v in self.clean)
        else:
            extent = self.c.pick(self.extents)
            idx = self.indices(tuple(v.shape), extent)
            self.keep(ops.tanh(ops.scatter_along(idx, v, axis=axis, extent=extent)))

    def draw_order(self) -> None:
        u = self.exact()
        if u is None or not u.shape:
            return
        axis = self.c.below(len(u.shape))
        name = self.c.pick(("sort", "argsort", "argmax", "argmin"))
        out = getattr(ops, name)(u, axis=axis)
        self.keep(out if name == "sort" else ops.cast(out, dtype=self.dtype), True)

    def draw_cumulate(self) -> None:
        v = self.float_()
        if not v.shape:
            return
        name = self.c.pick(("cumsum", "cumprod"))
        out = getattr(ops, name)(
            v, axis=self.c.below(len(v.shape)), reverse=self.c.chance(2), exclusive=self.c.chance(2)
        )
        self.keep(ops.tanh(out))
