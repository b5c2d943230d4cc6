"""A region under a schedule as one readable `@triton.jit` function.

Values are pulled: `_Printer.value` writes an expression where the index of each axis is known, so that shifts,
windows, concatenation and strided gradients are nothing but other indices. Reductions over a looped group are
written as loops first, those of one depth sharing one. Masks follow from the groups' extents and from
the intervals of indices. Refuses to choose schedules and to know a program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

from codegen.loops import Aff, Axis, Buf, E, Group, Region, Schedule, Store
from codegen.triton.schedule import power_of_two, reduced_over, size
from codegen.triton.spelling import DTYPES, Unsupported, literal, spell

LARGE = 2**31 - 1
IDENTITY = {"sum": 0, "prod": 1, "max": -float("inf"), "min": float("inf")}
_LIMITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}


class Val(NamedTuple):
    """A written value: its text, the groups that are its dimensions, its dtype; `const` if it is a literal."""

    text: str
    dims: tuple[int, ...]
    dtype: str
    const: bool = False


class Index(NamedTuple):
    """The position along an axis: text, dimensions, least and greatest value, conditions for it to be one."""

    text: str
    dims: tuple[int, ...]
    low: int
    high: int
    guards: tuple[Val, ...] = ()


Env = Mapping[Axis, Index]


class _Printer:
    def __init__(self, region: Region, schedule: Schedule, names: Mapping[Buf, str], barrier: bool):
        self.region, self.schedule, self.names = region, schedule, names
        self.groups = schedule.groups
        self.lines: list[str] = []
        self.depth = 1
        self.memo: list[dict[Any, Any]] = [{}]
        self.count = 0
        self.env: dict[Axis, Index] = {}
        self.masks: dict[int, Val | None] = {}
        self.pids: dict[int, str] = {}
        self.barrier = barrier

    # -- writing ----------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def name(self, text: str, stem: str = "v") -> str:
        made = f"{stem}{self.count}"
        self.count += 1
        self.line(f"{made} = {text}")
        return made

    def recall(self, key: Any) -> Any:
        for scope in reversed(self.memo):
            if key in scope:
                return scope[key]
        return None

    def keep(self, key: Any, value: Any) -> Any:
        self.memo[-1][key] = value
        return value

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.memo.append({})
        self.depth += 1
        env, masks = dict(self.env), dict(self.masks)
        yield
        self.env, self.masks = env, masks
        self.depth -= 1
        self.memo.pop()

    def shown(self, text: str, dims: Sequence[int], over: Sequence[int]) -> str:
        """A value over `dims` so that it broadcasts over `over`."""
        if not dims or tuple(dims) == tuple(over):
            return text
        return f"{text}[{', '.join(':' if d in dims else 'None' for d in over)}]"

    def block(self, dims: Iterable[int]) -> str:
        sizes = [str(self.groups[d].tile) for d in dims]
        return f"({', '.join(sizes)},)" if len(sizes) == 1 else f"({', '.join(sizes)})"

    def joined(self, parts: Sequence[Val], op: str = "&") -> Val | None:
        """Conditions taken together."""
        unique = list(dict.fromkeys(parts))
        if not unique:
            return None
        dims = tuple(sorted({d for p in unique for d in p.dims}))
        return Val(f" {op} ".join(self.shown(p.text, p.dims, dims) for p in unique), dims, "bool")

    # -- positions --------------------------------------------------------------------------------

    def header(self) -> None:
        grid = [k for k, g in enumerate(self.groups) if g.role in ("grid", "split")]
        counts = [self.programs(k) for k in grid]
        active = [k for k, n in zip(grid, counts, strict=True) if n > 1]
        for k in grid:
            if k not in active:
                self.pids[k] = "0"
        if active:
            self.line("pid = tl.program_id(0)")
            step = 1
            for k in reversed(active):
                n = self.programs(k)
                text = "pid" if step == 1 else f"pid // {step}"
                if k != active[0]:
                    text = f"{text} % {n}"
                self.pids[k] = text if text == "pid" else self.name(f"{text}", "p")
                step *= n
        for k, g in enumerate(self.groups):
            if g.role == "grid":
                p = self.pids[k]
                first = "" if p == "0" else f"{p} * {g.tile} + " if g.tile > 1 else p
                self.place(k, first)
            elif g.role == "tile":
                self.place(k, "")

    def programs(self, k: int) -> int:
        g = self.groups[k]
        if g.role == "split":
            return int(self.schedule.notes["parts"])
        return -(-size(g.axes) // g.tile)

    def place(self, k: int, first: str, stop: str = "") -> None:
        """Write where group k is, and make that known to its axes."""
        g = self.groups[k]
        n = size(g.axes)
        if g.tile == n == 1:
            return
        if g.tile == 1:
            text, dims = self.name(first or "0", "i"), ()
        else:
            text, dims = self.name(f"{first}tl.arange(0, {g.tile})", "i"), (k,)
        tail = n % g.tile != 0 or bool(stop)
        self.masks[k] = Val(self.name(f"{text} < {stop or n}", "m"), dims, "bool") if tail else None
        step = n
        for a in g.axes:
            step //= a.size
            at = text if step == 1 else f"{text} // {step}"
            if a is not g.axes[0]:
                at = f"{at} % {a.size}"
            self.env[a] = Index(text if at == text else self.name(at, "a"), dims, 0, a.size - 1)

    def form(self, form: Aff, env: Env) -> Index:
        """The value of an affine form."""
        if not form.terms:
            return Index(str(form.const), (), form.const, form.const)
        parts, low, high = [], form.const, form.const
        guards: list[Val] = []
        found = [(self.index(a, env), c) for a, c in form.terms]
        dims = tuple(sorted({d for i, _ in found for d in i.dims}))
        for i, c in found:
            text = self.shown(i.text, i.dims, dims)
            parts.append(text if c == 1 else f"{text} * {c}")
            low, high = low + min(c * i.low, c * i.high), high + max(c * i.low, c * i.high)
            guards += i.guards
        if form.const:
            parts.append(str(form.const))
        if len(parts) == 1 and parts[0] == found[0][0].text:
            return found[0][0]
        if low == high and not dims:
            return Index(str(low), (), low, high, tuple(dict.fromkeys(guards)))
        text = " + ".join(parts).replace("+ -", "- ")
        key = ("form", text)
        name = self.recall(key) or self.keep(key, self.name(text, "a"))
        return Index(name, dims, low, high, tuple(dict.fromkeys(guards)))

    def index(self, a: Axis, env: Env) -> Index:
        if a in env:
            return env[a]
        if a.size == 1:
            return Index("0", (), 0, 0)
        raise Unsupported(f"axis {a!r} has no position in this kernel")

    def within(self, i: Index, extent: int) -> list[Val]:
        """Conditions for an index to be inside an extent, as far as they are not sure."""
        out = []
        for sure, test in (
            (i.low >= 0, f"{i.text} >= 0"),
            (i.high < extent, f"{i.text} < {extent}"),
        ):
            if not sure:
                key = ("test", test)
                text = self.recall(key) or self.keep(key, self.name(test, "m"))
                out.append(Val(text, i.dims, "bool"))
        return out

    def tails(self, dims: Iterable[int]) -> list[Val]:
        return [m for d in dims if (m := self.masks.get(d)) is not None]

    # -- values -----------------------------------------------------------------------------------

    def value(self, e: E, env: Env) -> Val:
        """Write `e` where its axes are at `env`, unless that is written already."""
        if e.op == "const":
            return Val(literal(e.attr[0], e.dtype), (), e.dtype, True)
        if e.op in ("red", "dot") and self.pending(e):
            raise Unsupported("a reduction in parts inside a shifted index")
        own = e.axes if e.op != "first" else (*e.axes, *e.attr[1])
        key = (e, tuple((env[a].text, env[a].guards) for a in own if a in env))
        found = self.recall(key)
        if found is None:
            found = self.keep(key, self.write(e, env))
        return found  # type: ignore[no-any-return]

    def pending(self, e: E) -> bool:
        looped = {a for g in self.groups if g.role in ("loop", "split") for a in g.axes}
        return (
            bool(looped & set(self.over(e)))
            and self.recall(("done", e)) is None
            and (not any(a in self.env for a in looped & set(self.over(e))))
        )

    def over(self, e: E) -> tuple[Axis, ...]:
        return tuple(a for a in reduced_over(e) if a.size > 1)

    def write(self, e: E, env: Env) -> Val:
        if e.op in ("red", "dot"):
            done = self.recall(("done", e))
            if done is not None:
                return done  # type: ignore[no-any-return]
        if e.op == "iota":
            i = self.form(e.attr[0], env)
            return Val(self.name(f"{self.tensor(i)}.to({DTYPES[e.dtype]})"), i.dims, e.dtype)
        handler = getattr(self, f"_{e.op}", None)
        if handler is not None:
            return handler(e, env)  # type: ignore[no-any-return]
        return self.pointwise(e, [self.value(a, env) for a in e.args])

    def tensor(self, i: Index) -> str:
        return i.text if not i.text.lstrip("-").isdigit() else f"tl.full((), {i.text}, tl.int32)"

    def pointwise(self, e: E, args: Sequence[Val]) -> Val:
        if e.op == "cast":
            return self.cast(args[0], e.dtype)
        dims = tuple(sorted({d for a in args for d in a.dims}))
        half = e.dtype in ("f16", "bf16") or any(a.dtype in ("f16", "bf16") for a in args)
        args = [self.cast(a, "f32") if half and a.dtype in ("f16", "bf16") else a for a in args]
        plain = all(a.const for a in args)
        if e.op == "power" and not dims and e.dtype == "f32" and args[0].const:
            base = f"tl.full((), {args[0].text}, tl.float64)"  # what f32 rounds here is all of 1 - beta ** t
            text = f"tl.exp(tl.log({base}) * {args[1].text}.to(tl.float64)).to(tl.float32)"
            return Val(self.name(text), (), e.dtype)
        texts = []
        for a in args:
            typed = a.const and (
                plain
                or e.op in ("select", "maximum", "minimum")
                or a.dtype in ("f64", "u32", "u64", "i64")
            )
            text = (
                f"tl.full((), {a.text}, {DTYPES[a.dtype]})"
                if typed
                else self.shown(a.text, a.dims, dims)
            )
            texts.append(text if not a.const or typed or not text.startswith("-") else f"({text})")
        computed = "f32" if half and e.dtype in ("f16", "bf16") else e.dtype
        made = Val(self.name(spell(e.op, texts, computed, e.attr)), dims, computed)
        return self.cast(made, e.dtype) if computed != e.dtype else made

    def cast(self, v: Val, dtype: str) -> Val:
        if v.dtype == dtype:
            return v
        if v.const:
            if dtype[0] in "iu" and v.text not in ("True", "False"):
                return Val(str(int(float(v.text))), (), dtype, True)
            if dtype[0] in "fb" and dtype != "bool":
                return Val(
                    repr(float(v.text == "True" or (v.text != "False" and float(v.text)))),
                    (),
                    dtype,
                    True,
                )
            return Val(f"tl.full((), {v.text}, {DTYPES[v.dtype]}).to({DTYPES[dtype]})", (), dtype)
        text = f"({v.text} != 0)" if dtype == "bool" else f"{v.text}.to({DTYPES[dtype]})"
        return Val(self.name(text), v.dims, dtype)

    def _load(self, e: E, env: Env) -> Val:
        buf, idx, fill = e.attr
        conditions: list[Val] = []
        found: list[tuple[Index, int]] = []
        for i, n, step in zip(idx, buf.shape, buf.strides, strict=True):
            if isinstance(i, Aff):
                at = self.form(i, env)
                conditions += self.within(at, n)
                conditions += at.guards
                if n > 1:
                    found.append((at, step))
            else:
                v = self.value(e.args[i], env)
                clipped = (
                    f"tl.minimum(tl.maximum({v.text}, 0), {n - 1})"
                    if not v.dtype.startswith("u")
                    else f"tl.minimum({v.text}, {n - 1})"
                )
                found.append((Index(self.name(clipped, "a"), v.dims, 0, n - 1), step))
        dims = tuple(
            sorted({d for i, _ in found for d in i.dims} | {d for c in conditions for d in c.dims})
        )
        offset = self.offset(found, dims, buf)
        mask = self.joined([*self.tails(dims), *conditions])
        if mask is None:
            text = f"tl.load({self.names[buf]}{offset})"
        else:
            other = literal(fill if fill is not None else 0, e.dtype)
            full = self.shown(
                mask.text if mask.text.isidentifier() else f"({mask.text})", mask.dims, dims
            )
            text = f"tl.load({self.names[buf]}{offset}, mask={full}, other={other})"
        found_name = self.recall(("load", text)) or self.keep(("load", text), self.name(text))
        return Val(found_name, dims, e.dtype)

    def offset(self, found: Sequence[tuple[Index, int]], dims: Sequence[int], buf: Buf) -> str:
        wide = ".to(tl.int64)" if _elements(buf) > LARGE else ""
        out = ""
        for i, step in found:
            if i.text == "0":
                continue
            text = self.shown(i.text, i.dims, dims)
            if wide:
                text = f"{self.shown(f'{self.tensor(i)}{wide}', i.dims, dims)}"
            out += f" + {text}" if step == 1 else f" + {text} * {step}"
        if dims and not any(set(i.dims) == set(dims) for i, _ in found):
            # the address must have the shape of the mask
            covered = {d for i, _ in found for d in i.dims}
            if covered != set(dims):
                out += f" + tl.zeros({self.block(dims)}, tl.int32)"
        return out

    def _at(self, e: E, env: Env) -> Val:
        moved, fill = e.attr
        inner = dict(env)
        conditions: list[Val] = []
        for a, f in moved:
            i = self.form(f, env)
            tests = self.within(i, a.size)
            conditions += [*tests, *i.guards]
            inner[a] = Index(
                i.text,
                i.dims,
                max(i.low, 0),
                min(i.high, a.size - 1),
                tuple(dict.fromkeys([*i.guards, *tests])),
            )
        return self.filled(self.value(e.args[0], inner), conditions, fill)

    def filled(self, v: Val, conditions: Sequence[Val], fill: Any) -> Val:
        """v where the conditions hold, the fill elsewhere."""
        test = self.joined(conditions)
        if test is None or fill is None:
            return v
        dims = tuple(sorted({*v.dims, *test.dims}))
        shown = self.shown(
            test.text if test.text.isidentifier() else f"({test.text})", test.dims, dims
        )
        text = v.text if not v.const else f"tl.full((), {v.text}, {DTYPES[v.dtype]})"
        other = f"tl.full((), {literal(fill, v.dtype)}, {DTYPES[v.dtype]})"
        return Val(
            self.name(f"tl.where({shown}, {self.shown(text, v.dims, dims)}, {other})"),
            dims,
            v.dtype,
        )

    def divided(self, i: Index, step: int, extent: int) -> Index:
        """i / step as a position of an axis, where it is one."""
        if step == 1:
            tests = self.within(i, extent)
            return Index(
                i.text,
                i.dims,
                max(i.low, 0),
                min(i.high, extent - 1),
                tuple(dict.fromkeys([*i.guards, *tests])),
            )
        tests = []
        if i.low < 0:
            tests.append(Val(self.name(f"{i.text} >= 0", "m"), i.dims, "bool"))
        tests.append(Val(self.name(f"{i.text} % {step} == 0", "m"), i.dims, "bool"))
        q = Index(
            self.name(f"{i.text} // {step}", "a"),
            i.dims,
            max(i.low, 0) // step,
            max(i.high, 0) // step,
        )
        if q.high >= extent:
            tests.append(Val(self.name(f"{q.text} < {extent}", "m"), q.dims, "bool"))
        return Index(q.text, q.dims, 0, extent - 1, tuple(dict.fromkeys([*i.guards, *tests])))

    def _spread(self, e: E, env: Env) -> Val:
        cut, fill = e.attr
        inner = dict(env)
        conditions: list[Val] = []
        for new, old, low, step in cut:
            at = (
                self.form(Aff(((new, 1),), -low), env)
                if new.size > 1
                else Index(str(-low), (), -low, -low)
            )
            if not at.dims and at.text.lstrip("-").isdigit() and new.size == 1:
                at = Index(self.name(self.tensor(at), "a"), (), -low, -low)
            i = self.divided(at, step, old.size)
            conditions += i.guards
            inner[old] = i
        return self.filled(self.value(e.args[0], inner), conditions, fill)

    def _concat(self, e: E, env: Env) -> Val:
        new, parts = e.attr
        out: Val | None = None
        for x, (old, start) in zip(e.args, parts, strict=True):
            if not old.size:
                continue
            i = self.form(Aff(((new, 1),), -start), env)
            tests = self.within(i, old.size)
            inner = {
                **env,
                old: Index(
                    i.text, i.dims, 0, old.size - 1, tuple(dict.fromkeys([*i.guards, *tests]))
                ),
            }
            v = self.value(x, inner)
            if out is None:
                out = v
                continue
            test = self.joined([self.within(i, 1 << 40)[0]]) if self.within(i, 1 << 40) else None
            if test is None:
                return v
            dims = tuple(sorted({*v.dims, *out.dims, *test.dims}))
            a, b = (
                x.text if not x.const else f"tl.full((), {x.text}, {DTYPES[x.dtype]})"
                for x in (v, out)
            )
            text = f"tl.where({self.shown(test.text, test.dims, dims)}, {self.shown(a, v.dims, dims)}, {self.shown(b, out.dims, dims)})"
            out = Val(self.name(text), dims, e.dtype)
        if out is None:
            raise Unsupported("a concatenation of nothing")
        return out

    def _fold(self, e: E, env: Env) -> Val:
        if e.args[0].op == "dot":
            done = self.recall(("done", e.args[0]))
            return self._dot(e.args[0], self.folded(e)) if done is None else done  # type: ignore[no-any-return]
        out: Val | None = None
        for taps in product(*(range(w[2].size) for w in e.attr)):
            inner = dict(env)
            conditions: list[Val] = []
            for (new, o, t, stride, dilation, low), tap in zip(e.attr, taps, strict=True):
                i = self.divided(
                    self.form(Aff(((new, 1),), low - dilation * tap), env), stride, o.size
                )
                inner[o] = i
                inner[t] = Index(str(tap), (), tap, tap)
                conditions += i.guards
            v = self.filled(self.value(e.args[0], inner), conditions, 0)
            if out is None:
                out = v
            else:
                dims = tuple(sorted({*v.dims, *out.dims}))
                text = (
                    f"{self.shown(out.text, out.dims, dims)} + {self.shown(v.text, v.dims, dims)}"
                )
                out = Val(self.name(text), dims, e.dtype)
        assert out is not None
        return out

    def _random(self, e: E, env: Env) -> Val:
        stream, flat = e.attr
        seed, step = (self.value(a, env) for a in e.args)
        i = self.form(flat, env)
        key = ("philox", seed.text, step.text, stream)
        joint = self.recall(key)
        if joint is None:
            lo = f"({seed.text}.to(tl.uint32) + tl.full((), {stream * 0x9E3779B9 & 0xFFFFFFFF}, tl.uint32))"
            if seed.const or step.const:
                raise Unsupported("random numbers with a constant key")
            joint = self.keep(
                key, self.name(f"({step.text}.to(tl.uint64) << 32) | {lo}.to(tl.uint64)", "key")
            )
        at = self.tensor(i)
        words = ", ".join(f"w{self.count}_{k}" for k in range(4))
        w = words.split(", ")
        self.line(f"{words} = tl.randint4x({joint}, {at} // 4)")
        q = self.name(f"{at} % 4")
        text = f"tl.where({q} < 2, tl.where({q} == 0, {w[0]}, {w[1]}), tl.where({q} == 2, {w[2]}, {w[3]})).to(tl.uint32, bitcast=True)"
        return Val(self.name(text), i.dims, "u32")

    # -- reductions -------------------------------------------------------------------------------

    def group_dims(self, over: Iterable[Axis]) -> list[int]:
        """The groups made of `over`, all of each."""
        want = set(over)
        out = [k for k, g in enumerate(self.groups) if set(g.axes) & want]
        if any(not set(self.groups[k].axes) <= want for k in out):
            raise Unsupported("a reduction over a part of a dimension")
        return out

    def masked(self, v: Val, dims: Iterable[int], fill: Any) -> Val:
        """v with `fill` behind the ends of some groups."""
        tails = [m for m in self.tails(dims) if m.dims]
        if not tails:
            return v
        return self.filled(v, tails, fill)

    def spread_over(self, v: Val, dims: Sequence[int]) -> Val:
        """v with all of `dims` among its dimensions."""
        want = tuple(sorted({*v.dims, *dims}))
        if want == v.dims:
            return v
        text = v.text if not v.const else f"tl.full((), {v.text}, {DTYPES[v.dtype]})"
        return Val(
            self.name(f"tl.broadcast_to({self.shown(text, v.dims, want)}, {self.block(want)})"),
            want,
            v.dtype,
        )

    def home(self, env: Env, over: Iterable[Axis]) -> dict[Axis, Index]:
        return {**env, **{a: self.env[a] for a in over if a in self.env}}

    def _red(self, e: E, env: Env) -> Val:
        over = self.over(e)
        dims = self.group_dims(over)
        v = self.operand(e, env, over, dims)
        for d in reversed([d for d in dims if self.groups[d].tile > 1]):
            v = self.reduce(v, e.attr[0], d)
        return self.cast(v, e.dtype)

    def operand(self, e: E, env: Env, over: Sequence[Axis], dims: Sequence[int]) -> Val:
        """What is reduced, ready: wide enough, all of `dims` there, neutral behind the ends."""
        v = self.value(e.args[0], self.home(env, over))
        if v.dtype in ("f16", "bf16"):
            v = self.cast(v, "f32")
        if v.dtype == "bool":
            v = self.cast(v, "i32")
        v = self.spread_over(v, [d for d in dims if self.groups[d].tile > 1])
        return self.masked(v, dims, neutral(e.attr[0], v.dtype))

    def reduce(self, v: Val, fn: str, d: int) -> Val:
        axis = v.dims.index(d)
        call = (
            f"tl.reduce({v.text}, {axis}, _mul)" if fn == "prod" else f"tl.{fn}({v.text}, {axis})"
        )
        return Val(self.name(call), tuple(x for x in v.dims if x != d), v.dtype)

    def _extreme(self, e: E, env: Env) -> Val:
        fn, over = e.attr
        own = tuple(a for a in over if a.size > 1)
        if not own:
            return Val("0", (), "i32", True)
        (d,) = self.group_dims(own)
        v = self.value(e.args[0], self.home(env, own))
        if v.dtype in ("f16", "bf16"):
            v = self.cast(v, "f32")
        if v.dtype == "bool":
            v = self.cast(v, "i32")
        v = self.masked(self.spread_over(v, [d]), [d], neutral(fn, v.dtype))
        text = f"tl.arg{fn}({v.text}, {v.dims.index(d)})"
        return Val(self.name(text), tuple(x for x in v.dims if x != d), "i32")

    def _argred(self, e: E, env: Env) -> Val:
        return self._extreme(e, env)

    def _first(self, e: E, env: Env) -> Val:
        where = self._first_of(e, env)
        step, form = 1, Aff()
        for a in reversed(e.attr[1]):
            form = form + Aff(((a, step),))
            step *= a.size
        i = self.form(form, env)
        dims = tuple(sorted({*i.dims, *where.dims}))
        if where.const:
            return Val(self.name(f"{self.tensor(i)} == 0"), i.dims, "bool")
        text = f"{self.shown(where.text, where.dims, dims)} == {self.shown(i.text, i.dims, dims)}"
        return Val(self.name(text), dims, "bool")

    def _first_of(self, e: E, env: Env) -> Val:
        own = set(e.attr[1])
        key = (
            "argmax",
            e,
            tuple((env[a].text, env[a].guards) for a in e.axes if a in env and a not in own),
        )
        found = self.recall(key)
        if found is None:
            found = self.keep(key, self._extreme(e, env))
        return found  # type: ignore[no-any-return]

    def _cum(self, e: E, env: Env) -> Val:
        fn, a, reverse, exclusive = e.attr
        if a.size == 1 or a not in e.args[0].axes:
            raise Unsupported("a cumulative sum along an axis that its operand does not have")
        (d,) = self.group_dims([a])
        if env.get(a) != self.env.get(a):
            raise Unsupported("a cumulative sum at a shifted index")
        x = self.value(e.args[0], env)
        v = self.masked(self.spread_over(x, [d]), [d], neutral(fn, x.dtype))
        call = "tl.cumsum" if fn == "sum" else "tl.cumprod"
        total = Val(
            self.name(f"{call}({v.text}, {v.dims.index(d)}, reverse={reverse})"), v.dims, e.dtype
        )
        if not exclusive:
            return total
        if fn != "sum":
            raise Unsupported("an exclusive cumulative product")
        return Val(self.name(f"{total.text} - {v.text}"), v.dims, e.dtype)

    def _scatter(self, e: E, env: Env) -> Val:
        new, over = e.attr
        own = tuple(a for a in over if a.size > 1)
        dims = self.group_dims(own)
        v = self.hits(e, env, own)
        v = self.masked(self.spread_over(v, [d for d in dims if self.groups[d].tile > 1]), dims, 0)
        for d in reversed([d for d in dims if self.groups[d].tile > 1]):
            v = self.reduce(v, "sum", d)
        return self.cast(v, e.dtype)

    def hits(self, e: E, env: Env, own: Sequence[Axis]) -> Val:
        """The updates of a scatter where their index is this position, else 0."""
        new = e.attr[0]
        inner = self.home(env, own)
        idx, x = self.value(e.args[0], inner), self.value(e.args[1], inner)
        i = self.index(new, env)
        clipped = self.name(f"tl.minimum(tl.maximum({idx.text}, 0), {new.size - 1})", "a")
        dims = tuple(sorted({*idx.dims, *i.dims}))
        test = self.name(
            f"{self.shown(clipped, idx.dims, dims)} == {self.shown(i.text, i.dims, dims)}", "m"
        )
        return self.filled(x, [Val(test, dims, "bool")], 0)

    def _dot(self, e: E, env: Env) -> Val:
        x, y = self.factors(e, env)
        return self.cast(
            Val(self.name(self.product(e, x, y)), (x.dims[0], y.dims[1]), _wide(e.dtype)), e.dtype
        )

    def factors(self, e: E, env: Env) -> tuple[Val, Val]:
        m, k, n = range(len(self.groups) - 3, len(self.groups))
        inner = self.home(env, self.groups[k].axes)
        out = []
        for a, dims in zip(e.args, ((m, k), (k, n)), strict=True):
            own = self.value(a, inner)
            v = self.spread_over(own, dims)
            if v.dims != dims:
                raise Unsupported("a product whose operand has other dimensions")
            out.append(v if a.op == "load" and k in own.dims else self.masked(v, [k], 0))
        return out[0], out[1]

    def product(self, e: E, x: Val, y: Val, acc: str = "") -> str:
        more = f", {acc}" if acc else ""
        precision = e.attr[0] if x.dtype == "f32" else "ieee"
        if precision == "bf16" and x.dtype == "f32":
            x, y = self.cast(x, "bf16"), self.cast(y, "bf16")
            precision = "ieee"
        kind = DTYPES[_wide(e.dtype)]
        if x.dtype[0] in "iu":
            raise Unsupported("op 'contract' of integers on the Triton target")
        return f'tl.dot({x.text}, {y.text}{more}, input_precision="{precision}", out_dtype={kind})'

    # -- loops and stores -------------------------------------------------------------------------

    def loops(self) -> None:
        """Write the loops over groups of role loop or split, one for each depth of reductions."""
        walked = [k for k, g in enumerate(self.groups) if g.role in ("loop", "split")]
        if not walked:
            return
        (k,) = walked
        axes = set(self.groups[k].axes)
        level: dict[E, int] = {}
        nodes = self.region.nodes()
        phases: dict[int, list[E]] = {}
        for e in nodes:
            below = max((level[a] for a in e.args), default=0)
            if axes & set(self.over(e)) and e.op in ("red", "dot", "scatter"):
                phases.setdefault(below, []).append(e)
                below += 1
            level[e] = below
        inside = [s for s in self.region.stores if axes & {a for i in s.idx for a, _ in i.terms}]
        last = max([*phases, *(level[s.value] for s in inside)], default=-1)
        for phase in range(last + 1):
            reductions = phases.get(phase, [])
            stores = [s for s in inside if level[s.value] == phase]
            if reductions or stores:
                self.loop(k, reductions, stores)

    def loop(self, k: int, reductions: Sequence[E], stores: Sequence[Store]) -> None:
        g = self.groups[k]
        n = size(g.axes)
        start, stop = "0", str(n)
        if g.role == "split":
            stretch = self.schedule.notes["stretch"]
            start = self.name(f"{self.pids[k]} * {stretch}", "s")
            stop = self.name(f"tl.minimum({start} + {stretch}, {n})", "s")
        at = len(self.lines)
        accs: dict[E, tuple[str, Val]] = {}
        self.line("")
        with self.scope():
            self.depth -= 1
            self.line(f"for k in range({start}, {stop}, {g.tile}):")
            self.depth += 1
            self.place(k, "k + " if g.tile > 1 else "k", stop if g.role == "split" else "")
            for e in reductions:
                acc = f"acc{self.count}"
                self.count += 1
                if e.op == "dot":
                    outer = next(
                        (f for f in self.region.nodes() if f.op == "fold" and f.args[0] is e), None
                    )
                    env = self.env if outer is None else self.folded(outer)
                    x, y = self.factors(e, env)
                    self.line(f"{acc} = {self.product(e, x, y, acc)}")
                    made = Val(acc, (x.dims[0], y.dims[1]), _wide(e.dtype))
                elif e.op == "scatter":
                    own = self.over(e)
                    v = self.hits(e, self.env, own)
                    v = self.masked(self.spread_over(v, self.group_dims(own)), [k], 0)
                    made = self.into(acc, "sum", v)
                else:
                    own = self.over(e)
                    v = self.operand(e, self.env, own, self.group_dims(own))
                    made = self.into(acc, e.attr[0], v)
                accs[e] = (acc, made)
            for s in stores:
                self.store(s)
        fresh = []
        for e, (acc, made) in accs.items():
            fn = e.attr[0] if e.op == "red" else "sum"
            unit = literal(neutral(fn, made.dtype), made.dtype)
            fresh.append(
                "    " * self.depth
                + f"{acc} = tl.full({self.block(made.dims)}, {unit}, {DTYPES[made.dtype]})"
            )
        self.lines[at : at + 1] = fresh
        for e, (_, made) in accs.items():
            v = made
            if e.op != "dot":
                for d in reversed(
                    [d for d in self.group_dims(self.over(e)) if self.groups[d].tile > 1]
                ):
                    v = self.reduce(v, e.attr[0] if e.op == "red" else "sum", d)
            self.keep(("done", e), self.cast(v, e.dtype))

    def folded(self, e: E) -> dict[Axis, Index]:
        """Positions for a product under a `fold`: o where (new + low - dilation * t) / stride is one."""
        inner = dict(self.env)
        for new, o, t, stride, dilation, low in e.attr:
            i = self.form(Aff(((new, 1), (t, -dilation)), low), inner)
            inner[o] = self.divided(i, stride, o.size)
        return inner

    def into(self, acc: str, fn: str, v: Val) -> Val:
        step = {"sum": f"{acc} + {v.text}", "prod": f"{acc} * {v.text}", "max": f"tl.maximum({acc}, {v.text})",
                "min": f"tl.minimum({acc}, {v.text})"}[fn]  # fmt: skip
        self.line(f"{acc} = {step}")
        return Val(acc, v.dims, v.dtype)

    def store(self, s: Store) -> None:
        v = self.value(s.value, self.env)
        found = [
            (self.form(i, self.env), step) for i, step in zip(s.idx, s.buf.strides, strict=True)
        ]
        dims = tuple(sorted({*v.dims, *(d for i, _ in found for d in i.dims)}))
        conditions = self.tails(dims)
        own = {a for i in s.idx for a, _ in i.terms}
        for k, g in enumerate(self.groups):
            if k in dims or (g.role == "grid" and own & set(g.axes)):
                for a in g.axes:
                    if a not in own and a in self.env and a.size > 1:
                        test = self.name(f"{self.env[a].text} == 0", "m")
                        conditions.append(Val(test, self.env[a].dims, "bool"))
            elif g.role == "grid" and self.programs(k) > 1:
                conditions.append(Val(f"({self.pids[k]} == 0)", (), "bool"))
            elif g.role == "split" and self.programs(k) > 1 and s.buf.name != "partial":
                raise Unsupported("a store beside a split reduction")
        if s.buf.name == "partial":
            split = next(k for k, g in enumerate(self.groups) if g.role == "split")
            found[0] = (Index(self.pids[split], (), 0, 0), found[0][1])
        dims = tuple(sorted({*dims, *(d for c in conditions for d in c.dims)}))
        offset = self.offset(found, dims, s.buf)
        mask = self.joined(conditions)
        text = v.text if not v.const else f"tl.full((), {v.text}, {DTYPES[v.dtype]})"
        value = self.shown(text, v.dims, dims)
        if dims and v.dims != dims:
            value = f"tl.broadcast_to({value}, {self.block(dims)})"
        end = (
            f", mask={self.shown(f'({mask.text})', mask.dims, dims)})" if mask is not None else ")"
        )
        self.line(f"tl.store({self.names[s.buf]}{offset}, {value}{end}")

    def run(self) -> list[str]:
        self.header()
        self.loops()
        late = []
        walked = {a for g in self.groups if g.role in ("loop", "split") for a in g.axes}
        for s in self.region.stores:
            if not walked & {a for i in s.idx for a, _ in i.terms}:
                self.value(s.value, self.env)
                late.append(s)
        if self.barrier:
            self.line("tl.debug_barrier()")
        for s in late:
            self.store(s)
        return self.lines


def neutral(fn: str, dtype: str) -> Any:
    """The value that changes nothing in a reduction."""
    unit = IDENTITY[fn]
    if dtype[0] == "f" or dtype == "bf16":
        return float(unit)
    if fn in ("sum", "prod"):
        return int(unit)
    if dtype[0] == "u":
        return 0 if fn == "max" else (1 << int(dtype[1:])) - 1
    bits = _LIMITS[dtype]
    return -(1 << (bits - 1)) if fn == "max" else (1 << (bits - 1)) - 1


def _wide(dtype: str) -> str:
    return "f32" if dtype in ("f16", "bf16") else dtype


def _elements(buf: Buf) -> int:
    n = 1
    for d in buf.shape:
        n *= d
    return n


def render(
    name: str,
    region: Region,
    schedule: Schedule,
    names: Mapping[Buf, str],
    *,
    barrier: bool = False,
) -> str:
    """The source of a kernel. `names`: the parameter of each buffer. barrier: wait for all reads before writing.

    Raises Unsupported, naming what has no expression.
    """
    lines = _Printer(region, schedule, names, barrier).run()
    params = ", ".join(dict.fromkeys(names.values()))
    return "\n".join(["@triton.jit", f"def {name}({params}):", *lines])


__all__ = ["render", "Group", "power_of_two"]
