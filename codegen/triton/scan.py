"""A loop over time as one kernel: the loop is inside, a program has a block of rows of the batch for all steps.

Carries stay in registers, each segment of columns a tile; matrices that fit stay there too, larger ones are read again at each
step (from the cache next to the cores). What a step reads of its sequences is asked for one step ahead. With few rows in f32 a product
is a sum of products, which has no least number of rows; else it is `tl.dot`. Refuses what `codegen.triton.columns` refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from codegen.loops import Axis, Buf, E, Group, Schedule
from codegen.triton.columns import REDUCTIONS, Columns, Segment
from codegen.triton.positions import Val
from codegen.triton.reductions import joined, neutral
from codegen.triton.schedule import MANY
from codegen.triton.spelling import DTYPES, Unsupported, literal
from codegen.triton.tiles import Constant
from codegen.triton.weights import Weights
from ir.graph import Graph, Node, Value
from ir.ops.fused import fused

CAPS = (64, 128)  # columns of a tile at most; the wider where there would be too many tiles
STREAMS = 48  # programs of single rows that may read their matrices anew at each step
RESIDENT = 24576  # elements of matrices that one program holds
AHEAD = {True: 8192, False: 4096}  # elements read a step ahead, by whether matrices are held
BLOCKS = {False: 80, True: 16}  # products of tiles in one step, without and with matrix units

Way = tuple[int, int, int]  # columns of a tile at most, rows of a program, warps


def flat(body: Graph) -> Graph:
    """A body without `fused` nodes."""
    if not any(n.op is fused for n in body.nodes):
        return body
    env: dict[Value, Value] = {v: v for v in body.inputs}
    nodes: list[Node] = []

    def copy(n: Node, at: dict[Value, Value]) -> None:
        made = Node(n.op, tuple(at[v] for v in n.inputs), n.attrs, [v.type for v in n.outs], n.at)
        at.update(zip(n.outs, made.outs, strict=True))
        nodes.append(made)

    for n in body.nodes:
        if n.op is not fused:
            copy(n, env)
            continue
        inner: Graph = n.attrs[0]
        own = dict(zip(inner.inputs, (env[v] for v in n.inputs), strict=True))
        for m in inner.nodes:
            copy(m, own)
        env.update(zip(n.outs, (own[v] for v in inner.outputs), strict=True))
    return Graph(body.name, body.inputs, nodes, [env[v] for v in body.outputs])


def tiles(plan: Columns) -> list[tuple[Value, Segment, Segment]]:
    """The tiles of matrices that a step multiplies by, one after another."""
    out = []
    for n in plan.body.nodes:
        if n.op.name == "contract":
            _, w, over, to = plan.weight(n)
            out += [(w, k, m) for k in plan.parts(over.axis) for m in plan.parts(to.axis)]
    return out


class Scan(Weights):
    """The kernel of one `scan` node.

    ins: a buffer for each operand, or the number that it is everywhere. outs: a buffer for each result, None for one
    that nobody reads. way: where it differs from the rule. Raises Unsupported.
    """

    def __init__(
        self,
        node: Node,
        ins: Sequence[Buf | Constant],
        outs: Sequence[Buf | None],
        way: Way | None = None,
    ):
        body = flat(node.attr("body"))
        n = node.attr("carries"), node.attr("xs")
        self.products = [n for n in body.nodes if n.op.name == "contract"]
        dot = any(
            n.attr("precision") != "ieee" or n.outs[0].dtype not in ("f32", "f64")
            for n in self.products
        )
        self.given, self.cap = (node, ins, outs), way[0] if way else CAPS[0]
        plan = Columns(body, *n, self.cap)
        if way is None and not dot and len(tiles(plan)) > BLOCKS[dot]:
            self.cap = CAPS[1]
            plan = Columns(body, *n, self.cap)
        super().__init__(plan)
        self.body, self.dot = body, dot
        self.n_carries, self.n_xs = node.attr("carries"), node.attr("xs")
        self.length, self.reverse = int(node.attr("length")), node.attr("reverse")
        self.ins.update(zip(self.body.inputs, ins, strict=True))
        self.outs = list(zip(self.body.outputs, outs, strict=True))
        self.carries = self.body.inputs[: self.n_carries]
        self.xs = self.body.inputs[self.n_carries : self.n_carries + self.n_xs]
        row = self.plan.row
        self.n_rows = 1 if row is None else int(row.size)
        blocks = tiles(self.plan)
        if len(blocks) > BLOCKS[dot]:
            raise Unsupported(f"a step of {len(blocks)} products of tiles inside a loop")
        held = sum(self.padded(k) * self.padded(m) for _, k, m in set(blocks))
        self.resident = held <= RESIDENT
        if not (dot or self.resident) and self.n_rows > STREAMS:
            raise Unsupported(
                "matrices that the programs of many rows would read anew at each step"
            )
        self.rows = self._rows()
        self.fixed = self._fixed()
        self.warps = 8 if held > 4096 or self.rows * self._widest() > 2048 else 4
        if way is not None:
            _, self.rows, self.warps = way

    def _rows(self) -> int:
        """Rows of a program: few enough that all cores have some."""
        if self.dot:
            block = 16
            while block < 64 and self.n_rows > block * MANY:
                block *= 2
            return block if self.n_rows > 1 else 1
        block = 1
        while block < 4 and self.resident and self.n_rows > block * MANY:
            block *= 2
        return block

    def _widest(self) -> int:
        return max((int(e.size) for e in self.plan.cuts), default=1)

    def _fixed(self) -> set[Value]:
        """Values that are the same at each step."""
        found = set(self.body.inputs[self.n_carries + self.n_xs :])
        for n in self.body.nodes:
            if all(v in found for v in n.inputs):
                found.update(n.outs)
        return found

    # -- memory -----------------------------------------------------------------------------------

    def laid(self) -> Schedule:
        """What the launch needs to know."""
        rows, steps = Axis("rows", self.n_rows), Axis("steps", self.length)
        columns = Axis("columns", self._widest())
        groups = (
            Group((rows,), "grid", self.rows),
            Group((steps,), "loop", 1),
            Group((columns,), "tile", self.cap),
        )
        notes = {"kind": "scan", "warps": self.warps, "stages": 1, "rows": self.rows,
                 "resident": self.resident}  # fmt: skip
        return Schedule(groups, notes)

    def others(self) -> Iterator[Scan]:
        """The same loop in other ways: half and twice the warps or the rows of a program, or the columns of a tile."""
        least = 16 if self.dot else 1
        caps = [c for c in (self.cap // 2, self.cap * 2) if c >= 32 and c < 2 * self._widest()]
        for cap, rows, warps in (
            (self.cap, self.rows, self.warps // 2),
            (self.cap, self.rows, self.warps * 2),
            (self.cap, self.rows * 2, self.warps),
            (self.cap, self.rows // 2, self.warps),
            *((c, self.rows, self.warps) for c in caps),
        ):
            if rows >= min(least, self.rows) and rows < 2 * self.n_rows:
                try:
                    yield Scan(*self.given, (cap, rows, warps))
                except Unsupported:
                    continue

    def reads(self) -> list[Buf]:
        """Buffers it reads."""
        return list(dict.fromkeys(b for b in self.ins.values() if isinstance(b, Buf)))

    def writes(self) -> list[Buf]:
        """Buffers it writes."""
        return [b for _, b in self.outs if b is not None]

    # -- values -----------------------------------------------------------------------------------

    def tile(self, v: Value, s: Segment) -> Val:
        """A segment of a value: written where it belongs unless it is already."""
        if (v, s) not in self.done:
            if v in self.fixed and self.lines is self.step:
                self.lines, depth, self.depth = self.head, self.depth, 1
                self.done[v, s] = self.written(v, s)
                self.lines, self.depth = self.step, depth
            else:
                self.done[v, s] = self.written(v, s)
        return self.done[v, s]

    def part(self, v: Value, s: Segment) -> Val:
        """A segment of an operand that is mapped position by position."""
        return self.tile(v, s if self.plan.column(v) is not None else (0, 1))

    def written(self, v: Value, s: Segment) -> Val:
        n = v.node
        if n is None or v in self.ins:
            for part in self.plan.segments(v) if v in self.xs else ():  # asked for at once
                self.done[v, part] = self.loaded(v, part, "t")
            return self.done[v, s] if v in self.xs else self.loaded(v, s)
        name = n.op.name
        if name in ("full", "size"):
            return Val(literal(n.attrs[0], v.dtype), (), v.dtype, True)
        if name == "iota":
            e = self.plan.spaces.find(self.plan.spaces.dims(v)[n.attrs[1]])
            if e is not self.plan.column(v):
                return Val("0", (), v.dtype, True)
            if s[1] - s[0] == 1:
                return Val(literal(s[0], v.dtype), (), v.dtype, True)
            text = f"(cols_{self.padded(s)} + {s[0]}).to({DTYPES[v.dtype]})"
            self.columns_of(self.padded(s))
            return Val(self.name(text), (1,), v.dtype)
        if name in ("broadcast", "reshape", "transpose", "stop_gradient"):
            return self.part(n.inputs[0], s)
        if name in ("slice", "concat", "pad"):
            return self.moved(n, s)
        if name == "contract":
            return self.contracted(n, s)
        if name in REDUCTIONS:
            return self.reduced(n)
        self.width = self.padded(s)
        e_ = E(name, (), n.attrs, v.dtype, ())
        return self.pointwise(e_, [self.part(x, s) for x in n.inputs])

    def moved(self, n: Node, s: Segment) -> Val:
        for v, at, first in self.plan.moves(n):
            width = 1 if (e := self.plan.column(v)) is None else int(e.size)
            start = s[0] - at + first
            if 0 <= start < width and (s[1] - s[0] <= width - start):
                return self.part(v, (start, start + s[1] - s[0]))
        return Val(literal(n.attrs[3], n.outs[0].dtype), (), n.outs[0].dtype, True)

    def reduced(self, n: Node) -> Val:
        (v,) = n.inputs
        fn = REDUCTIONS[n.op.name]
        total: Val | None = None
        for s in self.plan.segments(v):
            x = self.tile(v, s)
            x = self.cast(x, "f32") if x.dtype in ("f16", "bf16") else x
            if s[1] - s[0] > 1:
                dims = tuple(sorted({*x.dims, 1}))
                x = self.across(x, dims, s)
                test = self.inside(s)
                if test is not None:
                    x = self.filled(x, [test], neutral(fn, x.dtype))
                x = self.reduce(x, fn, 1)
            total = x if total is None else self.into_one(fn, total, x)
        assert total is not None
        return self.cast(total, n.outs[0].dtype)

    def into_one(self, fn: str, a: Val, b: Val) -> Val:
        return Val(self.name(joined(fn, a.text, b.text, a.dtype)), a.dims, a.dtype)

    # -- the kernel -------------------------------------------------------------------------------

    def source(self, name: str, names: Mapping[Buf, str], barrier: bool = False) -> str:
        """The text of the kernel; `names`: the parameter of each buffer."""
        self.names, self.count = names, 0
        self.head, self.step, self.last, self.done = [], [], [], {}
        for e in self.plan.cuts:
            for s in self.plan.parts(e):
                if s[1] - s[0] > 1:
                    self.columns_of(self.padded(s))
        n = self.length
        t = f"{n - 1} - i" if self.reverse else "i"
        self.lines, self.depth = self.head, 1
        states, ahead = [], []
        for v in self.carries:
            for s in self.plan.segments(v):
                x = self.across(self.loaded(v, s), self.dims_of(v, s), s)
                states.append((v, s, x))
                self.done[v, s] = x
        wanted = self._wanted()
        if n and sum(self.rows * self.padded(s) for _, s in wanted) <= AHEAD[self.resident]:
            for v, s in wanted:
                x = self.loaded(v, s, str(n - 1) if self.reverse else "0")
                ahead.append((v, s, x))
                self.done[v, s] = x
        self.lines, self.depth = self.step, 2
        self.line(f"t = {t}")
        if not self.resident:
            # 0, unknown to compilers: they would keep an address for each tile all the time
            self.here = " + here"
            self.line("here = tl.program_id(1) * i * 16")
        following = []
        if ahead and n > 1:
            self.line(
                "ahead = tl.maximum(t - 1, 0)"
                if self.reverse
                else f"ahead = tl.minimum(t + 1, {n - 1})"
            )
            following = [(x, self.loaded(v, s, "ahead")) for v, s, x in ahead]
        for (
            product
        ) in self.products:  # first what waits for no sequence, so that less is held beside it
            if self.plan.weight(product)[0] in self.carries:
                self.tile(product.outs[0], self.plan.segments(product.outs[0])[0])
        for v, buf in self.outs[self.n_carries :]:
            if buf is not None:
                for s in self.plan.segments(v):
                    self.stored(v, s, self.tile(v, s), buf, "t")
        moves = []
        for (_, s, x), new in zip(states, self._next(), strict=True):
            made = self.across(self.part(new, s), x.dims, s)
            if any(made.text == y.text for _, _, y in states):
                made = Val(self.name(made.text), made.dims, made.dtype)
            moves.append((x, made))
        for x, made in (*moves, *following):
            self.line(f"{x.text} = {made.text}")
        self.lines, self.depth = self.last, 1
        for (v, s, x), buf in zip(states, self._finals(), strict=True):
            if buf is not None:
                self.stored(v, s, x, buf, "")
        start = ["    rows = tl.program_id(0)"]
        if self.rows > 1:
            start = [f"    rows = tl.program_id(0) * {self.rows} + tl.arange(0, {self.rows})"]
            if self.n_rows % self.rows:
                start.append(f"    rm = rows < {self.n_rows}")
        params = ", ".join(dict.fromkeys(names.values()))
        loop = [f"    for i in range(0, {n}):", *self.step] if n else []
        return "\n".join(
            ["@triton.jit", f"def {name}({params}):", *start, *self.head, *loop, *self.last]
        )

    def _next(self) -> list[Value]:
        """The next value of each segment of the carries."""
        pairs = zip(self.carries, self.body.outputs, strict=False)
        return [new for v, new in pairs for _ in self.plan.segments(v)]

    def _finals(self) -> list[Buf | None]:
        pairs = zip(self.carries, self.outs, strict=False)
        return [buf for v, (_, buf) in pairs for _ in self.plan.segments(v)]

    def _wanted(self) -> list[tuple[Value, Segment]]:
        """The segments of sequences that a step reads, found by writing it once for nothing."""
        kept = dict(self.done), list(self.head), self.count
        self.lines, self.depth = self.step, 2
        for v, buf in self.outs[self.n_carries :]:
            if buf is not None:
                for s in self.plan.segments(v):
                    self.tile(v, s)
        for v, new in zip(self.carries, self.body.outputs, strict=False):
            for s in self.plan.segments(v):
                self.part(new, s)
        found = [k for k in self.done if isinstance(k[0], Value) and k[0] in self.xs]
        self.done, self.head, self.count = kept
        self.step = []
        self.lines, self.depth = self.head, 1
        return found
