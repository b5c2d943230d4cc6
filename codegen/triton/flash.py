"""Kernels of attention that never write the scores: a block of rows walks the columns with a running maximum and sum.

Three of them: forward; the gradient of the queries (by rows, with each row's sum of gradient times result); the gradients of keys and
values (by columns). The way back takes the probabilities anew from the rows' maxima and sums. A mask of counters alone
(causal) is never read, and what it forbids altogether never computed. Refuses to find attention in a graph (`attention`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from codegen.loops import Axis, Buf, Group, Schedule
from codegen.triton.attention import Attention
from codegen.triton.positions import is_large
from codegen.triton.schedule import power_of_two
from codegen.triton.spelling import DTYPES

Way = tuple[int, int, int, int]  # rows and columns of a block, warps, stages


class Flash:
    """One kernel. ins: a buffer for each input of the body, outs for each output. way: where it differs from the rule."""

    def __init__(
        self, body: Attention, ins: Sequence[Buf], outs: Sequence[Buf], way: Way | None = None
    ):
        self.body = body
        self.bufs = {name: ins[k] for name, k in body.operands.items()}
        names = {"forward": ("o", "m", "l"), "queries": ("dq", "delta"), "keys": ("dk", "dv")}
        self.outs = dict(zip(names[body.kind], outs, strict=False))
        self.ins, self.written = list(ins), list(outs)
        self.t, self.s = body.score[body.t], body.score[body.s]
        self.batch = [i for i in range(len(body.score)) if i not in (body.t, body.s)]
        self.size = dict(enumerate(body.score))
        self.width = {"d": self._extent("q", "d"), "v": self._extent("v", "v")}
        self.dtype = self.bufs["q"].dtype
        self.exact = self.dtype == "f32" and body.precision == "ieee"
        widest = max(self.width["d"], self.width["v"])
        most = (
            16 if widest > (64 if self.exact else 128) else 32 if self.exact or widest > 64 else 64
        )
        rows = 64 if not self.exact and body.kind != "keys" and widest <= 128 else most
        self.bt = min(rows, max(16, power_of_two(self.t)))
        self.bs = min(most, max(16, power_of_two(self.s)))
        crowded = {  # tiles of more than four warps' registers
            "forward": self.exact and widest > 64,
            "queries": self.exact,
            "keys": body.dropout is not None or (self.exact and widest > 32),
        }
        full = widest > 128 or crowded.get(body.kind, False)
        self.warps, self.stages = 8 if full else 4, 2
        self.scale = "" if body.scale == 1.0 else f" * {body.scale!r}"
        if way is not None:
            self.bt, self.bs, self.warps, self.stages = way
        self.causal = len(body.masks) == 1 and body.masks[0].value is None
        self.causal = self.causal and body.masks[0].axes == (body.t, body.s)

    def _extent(self, name: str, axis: str) -> int:
        return self.bufs[name].shape[self.body.axes[name].index(axis)]

    def laid(self) -> Schedule:
        """What the launch needs to know."""
        rows, columns = Axis("t", self.t), Axis("s", self.s)
        roles = ("loop", "grid") if self.body.kind == "keys" else ("grid", "loop")
        groups = Group((rows,), roles[0], self.bt), Group((columns,), roles[1], self.bs)
        grid = math.prod(self.size[i] for i in self.batch)
        notes = {"kind": "attention", "grid": grid, "warps": self.warps, "stages": self.stages}
        return Schedule(groups, notes)

    def others(self) -> Iterator[Flash]:
        """The same kernel in other ways: another number of stages or warps, half and twice the rows or columns of a block."""
        most = [max(16, power_of_two(n)) for n in (self.t, self.s)]
        warps = 4 if self.warps == 8 else 8
        for bt, bs, w, stages in (
            (self.bt, self.bs, self.warps, 3),
            (self.bt, self.bs, warps, 2),
            (self.bt * 2, self.bs, 8, 2),
            (self.bt, self.bs * 2, 8, 2),
            (self.bt, self.bs // 2, self.warps, 2),
            (self.bt // 2, self.bs, 4, 2),
            (self.bt // 2, self.bs * 2, self.warps, 2),
        ):
            if 16 <= bt <= most[0] and 16 <= bs <= most[1]:
                yield Flash(self.body, self.ins, self.written, (bt, bs, w, stages))

    # -- text -------------------------------------------------------------------------------------

    def source(self, name: str, names: Mapping[Buf, str], barrier: bool = False) -> str:
        """The text of the kernel; `names`: the parameter of each buffer."""
        self.names = names
        self.lines: list[str] = []
        own = {"forward": self._forward, "queries": self._queries, "keys": self._keys}
        by = "s" if self.body.kind == "keys" else "t"
        block, n = (self.bs, self.s) if by == "s" else (self.bt, self.t)
        count = -(-n // block)
        self.line(1, "pid = tl.program_id(0)")
        self.line(1, f"first = pid % {count} * {block}")
        self.line(1, f"{by} = first + tl.arange(0, {block})")
        rest = f"pid // {count}"
        for i in reversed(self.batch):
            self.line(1, f"n{i} = ({rest} % {self.size[i]}).to(tl.int64)")
            rest = f"{rest} // {self.size[i]}"
        for axis, n in (("d", self.width["d"]), ("v", self.width["v"])):
            self.line(1, f"{axis} = tl.arange(0, {max(16, power_of_two(n))})")
        if self.body.dropout is not None:
            seed, step = (f"tl.load({self.names[self.bufs[x]]})" for x in ("seed", "step"))
            self.line(1, f"key = {self.body.dropout.key(seed, step)}")
        own[self.body.kind]()
        params = ", ".join(dict.fromkeys(names.values()))
        return "\n".join(["@triton.jit", f"def {name}({params}):", *self.lines])

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def shown(self, where: str, dims: str, wide: bool = False) -> str:
        """The positions along one of the dimensions of a tile, in its shape."""
        text = f"{where}.to(tl.int64)" if wide else where
        return (
            text
            if len(dims) == 1
            else f"{text}[:, None]"
            if dims[0] == where
            else f"{text}[None, :]"
        )

    def at(self, name: str, buf: Buf, dims: str) -> tuple[str, str]:
        """Offset and mask of an operand along two of t, s, d, v (rows and columns of a tile), or one."""
        offset, tests = "", []
        step = 1
        for axis, n in zip(reversed(self.body.axes[name]), reversed(buf.shape), strict=True):
            where = {self.body.t: "t", self.body.s: "s"}.get(axis, str(axis))
            if axis is not None and n > 1:
                if where in dims:
                    shown = self.shown(where, dims, is_large(buf))
                    offset += f" + {shown} * {step}" if step > 1 else f" + {shown}"
                else:
                    offset += f" + n{axis} * {step}"
            step *= n
        for where in dims:
            n = {"t": self.t, "s": self.s}.get(where) or self.width[where]
            block = {"t": self.bt, "s": self.bs}.get(where) or max(16, power_of_two(n))
            if n % block:
                tests.append(f"({self.shown(where, dims)} < {n})")
            if offset.count(where) == 0:  # one position: the tile still has the dimension
                offset += f" + {self.shown(where, dims)} * 0"
        return offset, " & ".join(tests)

    def load(self, name: str, dims: str) -> str:
        offset, mask = self.at(name, self.bufs[name], dims)
        more = f", mask={mask}, other=0" if mask else ""
        return f"tl.load({self.names[self.bufs[name]]}{offset}{more})"

    def store(self, name: str, dims: str, value: str) -> None:
        buf = self.outs[name]
        offset, mask = self.at(name, buf, dims)
        more = f", mask={mask}" if mask else ""
        self.line(1, f"tl.store({self.names[buf]}{offset}, {value}{more})")

    def dot(self, x: str, y: str, acc: str = "") -> str:
        how = self.body.precision if self.dtype == "f32" else "ieee"
        if how == "bf16":
            x, y, how = f"({x}).to(tl.bfloat16)", f"({y}).to(tl.bfloat16)", "ieee"
        more = f", {acc}" if acc else ""
        return f'tl.dot({x}, {y}{more}, input_precision="{how}", out_dtype=tl.float32)'

    def narrow(self, x: str) -> str:
        """A tile of f32 as an operand of a product."""
        return x if self.dtype == "f32" else f"({x}).to({DTYPES[self.dtype]})"

    def _allow(self, dims: str) -> None:
        """Write `allowed`, where the mask lets a score be, along `dims`."""
        tests = []
        for i, m in enumerate(self.body.masks):
            if m.value is None:
                a, b = ({self.body.t: "t", self.body.s: "s"}.get(x, f"n{x}") for x in m.axes)
                shown = [
                    x if len(x) > 1 else f"{x}[:, None]" if dims[0] == x else f"{x}[None, :]"
                    for x in (a, b)
                ]
                tests.append(f"({shown[0]} >= {shown[1]})")
            else:
                tests.append(f"({self._mask_at(i, dims)} != 0)")
        self.line(2, f"allowed = {' & '.join(tests)}")

    def _mask_at(self, i: int, dims: str) -> str:
        m = self.body.masks[i]
        k = sum(1 for x in self.body.masks[:i] if x.value is not None)
        buf = self.bufs[f"mask{k}"]
        offset, tests, step = "", [], 1
        for axis, n in zip(reversed(m.axes), reversed(buf.shape), strict=True):
            where = {self.body.t: "t", self.body.s: "s"}.get(axis)
            if axis is not None and n > 1:
                if where is None:
                    offset += f" + n{axis} * {step}"
                else:
                    shown = self.shown(where, dims, is_large(buf))
                    offset += f" + {shown} * {step}" if step > 1 else f" + {shown}"
                    block = self.bt if where == "t" else self.bs
                    if n % block:
                        tests.append(f"({self.shown(where, dims)} < {n})")
            step *= n
        more = f", mask={' & '.join(tests)}, other=0" if tests else ""
        return f"tl.load({self.names[buf]}{offset}{more}).to(tl.int32)"

    def _loop(self, over: str) -> None:
        """Open the loop over blocks of columns (s) or rows (t), without those that a causal mask forbids."""
        if over == "s":
            stop = str(self.s)
            if self.causal:
                self.line(
                    1,
                    f"stop = tl.minimum((pid % {-(-self.t // self.bt)} + 1) * {self.bt}, {self.s})",
                )
                stop = "stop"
            self.line(1, f"for k in range(0, {stop}, {self.bs}):")
            self.line(2, f"s = k + tl.arange(0, {self.bs})")
            return
        start = "0"
        if self.causal:
            self.line(
                1, f"start = pid % {-(-self.s // self.bs)} * {self.bs} // {self.bt} * {self.bt}"
            )
            start = "start"
        self.line(1, f"for k in range({start}, {self.t}, {self.bt}):")
        self.line(2, f"t = k + tl.arange(0, {self.bt})")

    def _scores(self, dims: str, rows: str, columns: str) -> None:
        """Write `p`, the scores of rows and columns along `dims`, with what a mask leaves out at its fill."""
        self.line(2, f"p = {self.dot(rows, f'tl.trans({columns})')}{self.scale}")
        if self.body.masks:
            self._allow(dims)
            self.line(2, f"p = tl.where(allowed, p, {self.body.fill!r})")

    def _dropped(self, dims: str) -> None:
        """Write `kept`, the probabilities that dropout keeps, where there is dropout."""
        body = self.body
        if body.dropout is not None:
            first = "k" if dims == "ts" else "first"
            tile = dims, self.bt, self.bs, first
            for line in body.dropout.lines(body.score, body.t, body.s, *tile):
                self.line(2, line)

    def kept(self, x: str) -> str:
        """`x` after dropout, and 0 where the mask says so."""
        dropout = self.body.dropout
        if dropout is not None:
            x = f"tl.where(kept, {x} * {dropout.scale}, 0.0)"
        return f"tl.where(allowed, {x}, 0.0)" if self.body.zeroed else x

    def _forward(self) -> None:
        inf = "float('-inf')"
        self.line(1, f"q = {self.load('q', 'td')}")
        self.line(1, f"top = tl.full(({self.bt},), {inf}, tl.float32)")
        self.line(1, f"total = tl.zeros(({self.bt},), tl.float32)")
        self.line(
            1, f"acc = tl.zeros(({self.bt}, {max(16, power_of_two(self.width['v']))}), tl.float32)"
        )
        self._loop("s")
        self.line(2, f"keys = {self.load('k', 'sd')}")
        self.line(2, f"values = {self.load('v', 'sv')}")
        self._scores("ts", "q", "keys")
        if self.s % self.bs:
            self.line(2, f"p = tl.where(s[None, :] < {self.s}, p, {inf})")
        self.line(2, "higher = tl.maximum(top, tl.max(p, 1))")
        self.line(2, "p = tl.exp(p - higher[:, None])")
        self.line(2, "less = tl.exp(top - higher)")
        self.line(2, "total = total * less + tl.sum(p, 1)")
        self._dropped("ts")
        given = self.narrow(self.kept("p"))
        self.line(2, f"acc = {self.dot(given, 'values', 'acc * less[:, None]')}")
        self.line(2, "top = higher")
        self.store("o", "tv", "acc / total[:, None]")
        if "m" in self.outs:
            self.store("m", "t", "top")
            self.store("l", "t", "total")

    def _queries(self) -> None:
        self.line(1, f"q = {self.load('q', 'td')}")
        self.line(1, f"g = {self.load('g', 'tv')}")
        self.line(1, f"o = {self.load('o', 'tv')}")
        self.line(1, "delta = tl.sum(g.to(tl.float32) * o.to(tl.float32), 1)")
        self.line(1, f"top = {self.load('m', 't')}")
        self.line(1, f"total = {self.load('l', 't')}")
        self.line(
            1, f"acc = tl.zeros(({self.bt}, {max(16, power_of_two(self.width['d']))}), tl.float32)"
        )
        self._loop("s")
        self.line(2, f"keys = {self.load('k', 'sd')}")
        self.line(2, f"values = {self.load('v', 'sv')}")
        self._scores("ts", "q", "keys")
        self.line(2, "p = tl.exp(p - top[:, None]) / total[:, None]")
        self._dropped("ts")
        back = self.kept(self.dot("g", "tl.trans(values)"))
        self.line(2, f"ds = p * ({back} - delta[:, None])")
        self._inside("ts")
        self.line(2, f"acc = {self.dot(self.narrow('ds'), 'keys', 'acc')}")
        self.store("dq", "td", "acc")
        self.store("delta", "t", "delta")

    def _keys(self) -> None:
        self.line(1, f"keys = {self.load('k', 'sd')}")
        self.line(1, f"values = {self.load('v', 'sv')}")
        for name, axis in (("dk", "d"), ("dv", "v")):
            width = max(16, power_of_two(self.width[axis]))
            self.line(1, f"{name} = tl.zeros(({self.bs}, {width}), tl.float32)")
        self._loop("t")
        self.line(2, f"q = {self.load('q', 'td')}")
        self.line(2, f"g = {self.load('g', 'tv')}")
        for name, value in (("top", "m"), ("total", "l"), ("delta", "delta")):
            self.line(2, f"{name} = {self.load(value, 't')}")
        self._scores("st", "keys", "q")
        self.line(2, "p = tl.exp(p - top[None, :]) / total[None, :]")
        self._outside("st", "p")
        self._dropped("st")
        self.line(2, f"dv = {self.dot(self.narrow(self.kept('p')), 'g', 'dv')}")
        self.line(2, f"ds = p * ({self.kept(self.dot('values', 'tl.trans(g)'))} - delta[None, :])")
        self._inside("st")
        self.line(2, f"dk = {self.dot(self.narrow('ds'), 'q', 'dk')}")
        self.store("dk", "sd", "dk")
        self.store("dv", "sv", "dv")

    def _inside(self, dims: str) -> None:
        """What flows back through the scores: nothing where the mask or the end of the axes says so."""
        if self.scale:
            self.line(2, f"ds = ds{self.scale}")
        if self.body.masks:
            self.line(2, "ds = tl.where(allowed, ds, 0.0)")
        self._outside(dims, "ds")

    def _outside(self, dims: str, name: str) -> None:
        """Zero beyond the ends, where rows have no sum."""
        for k, where in enumerate(dims):
            n, block = (self.t, self.bt) if where == "t" else (self.s, self.bs)
            if n % block:
                shown = f"{where}[:, None]" if k == 0 else f"{where}[None, :]"
                self.line(2, f"{name} = tl.where({shown} < {n}, {name}, 0.0)")
