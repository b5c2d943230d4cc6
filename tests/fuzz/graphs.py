"""The larger ops of random graphs: contractions, windows, loops, layers, losses, random numbers.

Refuses to hold the plain ones (`graph_parts`) and states (`steps`).
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np

import ir.ops as ops
from ir.graph import Value, graph_of
from ir.op import IRError
from ir.types import Type
from tests.fuzz.graph_parts import Plain


class Drawer(Plain):
    """Draws nodes of every kind on the values so far."""

    def draw_contract(self) -> None:
        """A product of two values over some axes of equal extent."""
        x, y = self.float_(), self.float_()
        if len(x.shape) > 4 or len(y.shape) > 4:
            return
        names = iter(string.ascii_lowercase)
        lx = [next(names) for _ in x.shape]
        free = list(range(len(lx)))
        ly = []
        for d in y.shape:
            fit = [i for i in free if x.shape[i] == d]
            if fit and not self.c.chance(3):
                i = self.c.pick(fit)
                free.remove(i)
                ly.append(lx[i])
            else:
                ly.append(next(names))
        both = [a for a in lx if a in ly]
        lr = [a for a in dict.fromkeys(lx + ly) if (a in both and self.c.chance(3)) or (a not in both and not self.c.chance(8))]  # fmt: skip
        spec = f"{''.join(lx)},{''.join(ly)}->{''.join(self.shuffled(lr))}"
        size = dict(zip(lx + ly, x.shape + y.shape, strict=True))
        if int(np.prod([size[a] for a in lr] or [1])) > self.largest:
            return
        n = int(np.prod([d for a, d in size.items() if a not in lr] or [1]))
        out = ops.contract(x, y, spec=spec)
        self.keep(ops.mul(out, self.full(out.shape, 1.0 / n)) if n > 1 else out)

    def draw_window(self) -> None:
        v = self.float_()
        if not v.shape:
            return
        axis = self.c.below(len(v.shape))
        windows, pairs = [], self.c.between(1, 2)
        for a in range(axis, min(axis + pairs, len(v.shape))):
            d = int(v.shape[a])
            t, s, l = self.c.between(1, min(3, d)), self.c.between(1, 3), self.c.between(1, 2)
            low = self.c.between(0, 2)
            high = self.c.between(0, 2)
            out = (d + low + high - l * (t - 1) - 1) // s + 1
            if out < 1:
                return
            windows.append((a, t, s, l, low, out))
        kind = self.c.below(6)
        if kind < 2:
            self.conv(v, windows)
        elif kind == 2:
            name = self.c.pick(("max_pool", "avg_pool"))
            for a, t, s, l, low, out in windows:
                if any(
                    not any(0 <= s * o + l * i - low < v.shape[a] for i in range(t))
                    for o in range(out)
                ):
                    return  # a window of padding alone
            if name == "max_pool":
                self.keep(ops.max_pool(v, windows=tuple(windows)))
            else:
                self.keep(ops.avg_pool(v, windows=tuple(windows), count_padding=self.c.chance(2)))
        elif kind < 5:
            taken = ops.unfold(v, windows=tuple(windows), fill=self.c.pick((0.0, 1.0, -2.0)))
            self.keep(taken, v in self.clean)
            if self.c.chance(2):
                back = tuple((a, t, s, l, low, v.shape[a]) for a, t, s, l, low, _ in windows)
                self.keep(ops.tanh(ops.fold(ops.sin(taken), windows=back)))
        else:
            self.conv(v, windows)

    def conv(self, v: Value, windows: list[Any]) -> None:
        """A convolution, or one of its gradients, with random labels of other axes."""
        names = iter("ijklmnpq")
        lx = [next(names) for _ in v.shape]
        taps = iter("ABCD")
        outs = iter("HWDE")
        spec_windows, kernel, result, extents_ = [], [], list(lx), []
        for a, t, s, l, low, out in windows:
            tap, o = next(taps), next(outs)
            spec_windows.append((lx[a], o, tap, s, l, low))
            kernel.append((tap, t))
            result[a] = o
            extents_.append((o, out))
        others = [i for i in range(len(lx)) if i not in {w[0] for w in windows}]
        for i in others:
            way = self.c.below(3)
            if way:  # in the kernel: summed, or each its own
                kernel.append((lx[i], int(v.shape[i])))
                if way == 1:
                    result.remove(lx[i])
        if self.c.chance(2):
            kernel.append(("f", self.c.between(1, 5)))
            result.append("f")
        kernel = self.shuffled(kernel)
        result = self.shuffled(result)
        w = self.of(tuple(d for _, d in kernel))
        lw, lr = "".join(a for a, _ in kernel), "".join(result)
        given = [o for o in result if o in dict(extents_)]
        out = ops.contract(
            v, w, spec=f"{''.join(lx)},{lw}->{lr}", windows=tuple(spec_windows),
            out=tuple(dict(extents_)[o] for o in given),
        )  # fmt: skip
        out = ops.tanh(out)
        self.keep(out)
        if int(out.type.size) > self.largest:
            return
        if self.c.chance(3):
            inner = [a for a in lx if a in {w[0] for w in spec_windows}]
            sizes = dict(zip(lx, v.shape, strict=True))
            if all(a in lw or a in lr or a in inner for a in lx):
                back = ops.contract(
                    out, w, spec=f"{lr},{lw}->{''.join(lx)}", windows=tuple(spec_windows),
                    out=tuple(sizes[a] for a in lx if a in inner),
                )  # fmt: skip
                self.keep(ops.tanh(back))
        if self.c.chance(3):
            taps_ = dict(kernel)
            order = [a for a, _ in kernel if a in "ABCD"]
            grad = ops.contract(
                v, out, spec=f"{''.join(lx)},{lr}->{lw}", windows=tuple(spec_windows),
                out=tuple(taps_[a] for a in order),
            )  # fmt: skip
            self.keep(ops.tanh(grad))

    def draw_noise(self) -> None:
        key = [v for v in self.inputs if v.dtype == "u32"]
        if len(key) < 2:
            return
        shape = tuple(self.c.pick(self.extents) for _ in range(self.c.between(0, 3)))
        if int(np.prod(shape)) > self.largest:
            return
        self.streams += 1
        name = self.c.pick(("random_uniform", "random_normal"))
        out = getattr(ops, name)(*key[:2], stream=self.streams, shape=shape)
        v = ops.cast(out, dtype=self.dtype) if self.dtype != "f32" else out
        self.keep(v, name == "random_uniform" and self.dtype == "f32")

    def draw_scan(self) -> None:
        v = self.float_()
        if len(v.shape) < 2:
            return
        length, *rest = v.shape
        row = tuple(rest)
        two = self.c.chance(2)
        carries = [self.of(row) for _ in range(2 if two else 1)]
        xs = [v, self.of(v.shape)] if self.c.chance(2) else [v]
        consts = [self.of(row)] + ([self.of((row[-1], row[-1]))] if self.c.chance(2) else [])
        names = iter("abcdefgh")
        inner = [Value(t, name=next(names)) for t in
                 [*(u.type for u in carries), *(Type(self.dtype, row) for _ in xs), *(u.type for u in consts)]]  # fmt: skip
        d = Drawer(self.c, self.dtype, self.wide)
        d.values = [v for v in inner if v.shape == row] or list(inner)
        d.values += [v for v in inner if v not in d.values]
        for _ in range(self.c.between(1, 5)):
            kind = self.c.pick(
                ("unary", "binary", "binary", "contract", "transpose", "normal", "reduce", "select")
            )
            try:
                getattr(d, f"draw_{kind}")()
            except IRError:
                continue
        of_row = [u for u in d.values if u.shape == row and u.dtype == self.dtype]
        nexts = [
            ops.tanh(self.c.pick(of_row)) if self.c.chance(2) else self.c.pick(of_row)
            for _ in carries
        ]
        ys = [
            self.c.pick([u for u in d.values if u.dtype == self.dtype])
            for _ in range(self.c.between(0, 2))
        ]
        body = graph_of("body", inner, [*nexts, *ys])
        outs = ops.scan(
            *carries, *xs, *consts, body=body, carries=len(carries), xs=len(xs), length=length, reverse=self.c.chance(2)
        )  # fmt: skip
        for out in outs if isinstance(outs, (list, tuple)) else [outs]:
            self.keep(ops.tanh(out))

    def draw_recurrent(self) -> None:
        v = self.float_()
        if len(v.shape) != 3:
            return
        n, _, f = v.shape
        u = self.c.between(1, 4)
        back = self.c.chance(2)
        if self.c.chance(2):
            outs = ops.lstm(v, self.of((f, 4 * u)), self.of((u, 4 * u)), self.of((4 * u,)), self.of((n, u)), self.of((n, u)), reverse=back)  # fmt: skip
        else:
            after = self.c.chance(2)
            bias = self.of((2, 3 * u) if after else (3 * u,))
            outs = ops.gru(v, self.of((f, 3 * u)), self.of((u, 3 * u)), bias, self.of((n, u)), reset_after=after, reverse=back)  # fmt: skip
        for out in outs:
            self.keep(out)

    def draw_loss(self) -> None:
        v = self.float_()
        if len(v.shape) < 1:
            return
        if len(v.shape) == 4 and self.c.chance(2):
            n, h, t, e = v.shape
            s = self.c.between(1, 4)
            k, w = self.of((n, h, s, e)), self.of((n, h, s, self.c.between(1, 3)))
            u = self.of((n, h, t, s))
            if u in self.clean:
                self.keep(ops.attention(v, k, w, ops.gt(u, self.full(u.shape, -0.2)), scale=0.5))
            else:
                self.keep(ops.attention_nomask(v, k, w, scale=0.5))
            return
        classes = int(v.shape[-1])
        kind = self.c.below(3)
        if kind == 0:
            self.keep(ops.sparse_cross_entropy(v, self.indices(tuple(v.shape[:-1]), classes)))
        elif kind == 1:
            self.keep(ops.cross_entropy(v, ops.softmax(self.like(v), axis=len(v.shape) - 1)))
        else:
            self.keep(ops.binary_cross_entropy(v, ops.sigmoid(self.like(v))))

    def draw_outer(self) -> None:
        """An affine layer, as models have them."""
        v = self.float_()
        if len(v.shape) < 1:
            return
        k = int(v.shape[-1])
        n = self.c.pick(self.extents)
        weights = [u for u in self.inputs if u.shape == (k, n) and u.dtype == self.dtype]
        w = self.c.pick(weights) if weights else self.of((k, n))
        lx = "abcde"[: len(v.shape)]
        y = ops.contract(v, w, spec=f"{lx},{lx[-1]}z->{lx[:-1]}z")
        b = self.of((n,))
        y = ops.add(y, ops.broadcast(b, shape=y.shape, axes=(len(y.shape) - 1,)))
        self.keep(getattr(ops, self.c.pick(("relu", "tanh", "sigmoid", "gelu")))(y))


class Chains(Drawer):
    """Draws nodes on each other's results, two to four in a row, as layers follow layers: what is repeated and then convolved,
    reduced and then gathered, cut and then pooled."""

    FIRST = ("broadcast", "broadcast", "reduce", "slice", "pad", "window", "concat", "transpose", "flip", "index", "outer",
             "reshape")  # fmt: skip
    NEXT = ("window", "window", "window", "contract", "reduce", "normal", "index", "cumulate", "scan", "recurrent", "loss",
            "broadcast", "concat", "pad", "unary", "outer")  # fmt: skip

    newest = False

    def float_(self) -> Value:
        return self.floats()[-1] if self.newest else super().float_()

    def step(self) -> None:
        super().step()
        for k in range(self.c.between(2, 4)):
            try:
                getattr(self, f"draw_{self.c.pick(self.NEXT if k else self.FIRST)}")()
            except IRError:
                break
            self.newest = True
        self.newest = False
