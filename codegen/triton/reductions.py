"""Reductions over whole dimensions of tiles, products, and the gradients of windows.

Refuses to hold the loops that take a reduction in parts (`render`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from codegen.loops import Aff, Axis, E
from codegen.triton.positions import Env, Index, Val
from codegen.triton.schedule import Residue
from codegen.triton.spelling import DTYPES, Unsupported, literal, spell
from codegen.triton.values import Values

IDENTITY = {"sum": 0, "prod": 1, "max": -float("inf"), "min": float("inf")}
_LIMITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}


class Reductions(Values):
    """Writes what needs all positions of some axes."""

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
        v = self.widened(self.value(e.args[0], self.home(env, over)))
        if v.dtype == "bool":
            v = self.cast(v, "i32")
        v = self.spread_over(v, [d for d in dims if self.groups[d].tile > 1])
        return self.masked(v, dims, neutral(e.attr[0], v.dtype))

    def reduce(self, v: Val, fn: str, d: int) -> Val:
        """One dimension less. Compiled, `tl.max` and `tl.min` leave out NaN; those of small integers are wider."""
        axis = v.dims.index(d)
        own = {"prod": "_mul"}
        if v.dtype in ("f32", "f64"):
            own |= {"max": "_higher", "min": "_lower"}
        call = (
            f"tl.reduce({v.text}, {axis}, {own[fn]})" if fn in own else f"tl.{fn}({v.text}, {axis})"
        )
        made = Val(self.name(call), tuple(x for x in v.dims if x != d), v.dtype)
        return self.narrowed(made)

    def narrowed(self, v: Val) -> Val:
        """A sum or an extreme that Triton made i32 or u32 of smaller integers, as what it is."""
        if v.dtype not in ("i8", "i16", "u8", "u16"):
            return v
        return Val(self.name(f"{v.text}.to({DTYPES[v.dtype]})"), v.dims, v.dtype)

    def widened(self, v: Val) -> Val:
        """A value as it is summed."""
        return self.cast(v, wide(v.dtype))

    def into(self, acc: str, fn: str, v: Val) -> Val:
        self.line(f"{acc} = {joined(fn, acc, v.text, v.dtype)}")
        return Val(acc, v.dims, v.dtype)

    def _extreme(self, e: E, env: Env) -> Val:
        fn, over = e.attr
        own = tuple(a for a in over if a.size > 1)
        if not own:
            return Val("0", (), "i32", True)
        (d,) = self.group_dims(own)
        v = self.widened(self.value(e.args[0], self.home(env, own)))
        if v.dtype == "bool":
            v = self.cast(v, "i32")
        if v.dtype in ("f32", "f64") and not v.const:  # NaN is the extreme: compared, it is none
            text = f"tl.where({v.text} == {v.text}, {v.text}, {literal(-neutral(fn, v.dtype), v.dtype)})"
            v = Val(self.name(text), v.dims, v.dtype)
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
        if a.size == 1:
            unit = Val(literal(neutral(fn, e.dtype), e.dtype), (), e.dtype, True)
            return unit if exclusive else self.value(e.args[0], env)
        (d,) = self.group_dims([a])
        if env.get(a) != self.env.get(a):
            raise Unsupported("a cumulative sum at a shifted index")
        x = self.widened(self.value(e.args[0], env))
        v = self.masked(self.spread_over(x, [d]), [d], neutral(fn, x.dtype))
        call = "tl.cumsum" if fn == "sum" else "tl.cumprod"
        text = f"{call}({v.text}, {v.dims.index(d)}, reverse={reverse})"
        total = self.narrowed(Val(self.name(text), v.dims, x.dtype))
        if exclusive and fn != "sum":
            raise Unsupported("an exclusive cumulative product")
        if exclusive:
            total = Val(self.name(f"{total.text} - {v.text}"), v.dims, x.dtype)
        return self.cast(total, e.dtype)

    def _scatter(self, e: E, env: Env) -> Val:
        own = self.over(e)
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
        idx, x = self.value(e.args[0], inner), self.widened(self.value(e.args[1], inner))
        i = self.index(new, env)
        at = self.clipped(idx, new.size)
        dims = tuple(sorted({*at.dims, *i.dims}))
        test = self.name(
            f"{self.shown(at.text, at.dims, dims)} == {self.shown(i.text, i.dims, dims)}", "m"
        )
        return self.filled(x, [Val(test, dims, "bool")], 0)

    def _dot(self, e: E, env: Env) -> Val:
        return self.multiplied(e, *self.factors(e, env))

    def multiplied(self, e: E, x: Val, y: Val) -> Val:
        return self.cast(
            Val(self.name(self.product(e, x, y)), (x.dims[0], y.dims[1]), wide(e.dtype)), e.dtype
        )

    def factors(self, e: E, env: Env) -> tuple[Val, Val]:
        m, k, n = range(len(self.groups) - 3, len(self.groups))
        inner = self.home(env, self.groups[k].axes)
        out = []
        tiles = ((m, k), (k, n)) if self.groups[k].tile > 1 else ((m,), (n,))
        for a, dims in zip(e.args, tiles, strict=True):
            own = self.value(a, inner)
            v = self.spread_over(own, dims)
            if v.dims != dims:
                raise Unsupported("a product whose operand has other dimensions")
            out.append(v if a.op == "load" and k in own.dims else self.masked(v, [k], 0))
        return out[0], out[1]

    def product(self, e: E, x: Val, y: Val, acc: str = "") -> str:
        if len(x.dims) == 1:
            x, y = self.cast(x, wide(e.dtype)), self.cast(y, wide(e.dtype))
            return f"{acc} + {x.text}[:, None] * {y.text}[None, :]"
        more = f", {acc}" if acc else ""
        precision = e.attr[0] if x.dtype == "f32" else "ieee"
        if precision == "bf16" and x.dtype == "f32":
            x, y = self.cast(x, "bf16"), self.cast(y, "bf16")
            precision = "ieee"
        kind = DTYPES[wide(e.dtype)]
        if x.dtype[0] in "iu":
            raise Unsupported("op 'contract' of integers on the Triton target")
        return f'tl.dot({x.text}, {y.text}{more}, input_precision="{precision}", out_dtype={kind})'

    def _fold(self, e: E, env: Env) -> Val:
        if e.args[0].op == "dot":
            done = self.recall(("done", e.args[0]))
            return self.multiplied(e.args[0], *self.fold_factors(e)) if done is None else done
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
            v = self.filled(self.widened(self.value(e.args[0], inner)), conditions, 0)
            if out is None:
                out = v
            else:
                dims = tuple(sorted({*v.dims, *out.dims}))
                text = (
                    f"{self.shown(out.text, out.dims, dims)} + {self.shown(v.text, v.dims, dims)}"
                )
                out = Val(self.name(text), dims, v.dtype)
        assert out is not None
        return self.cast(out, e.dtype)

    def fold_factors(self, e: E) -> tuple[Val, Val]:
        """The factors of a product under a `fold`.

        What is made of loads is not 0 where they are, and of an axis of one position no load has a condition: it is set here."""
        env = self.folded(e)
        x, y = self.factors(e.args[0], env)
        made = {a for f in e.args[0].args if f.op != "load" for a in f.axes}
        bare = (a for w in e.attr for a in w[1:3] if a.size == 1 or a in made)
        for test in dict.fromkeys(g for a in bare if a in env for g in env[a].guards):
            if {*test.dims} <= {*x.dims}:
                x = self.filled(x, [test], 0)
            else:
                y = self.filled(y, [test], 0)
        return x, y

    def folded(self, e: E) -> dict[Axis, Index]:
        """Positions for a product under a `fold`: o where (new + low - dilation * t) / stride is one."""
        inner = dict(self.env)
        residues = self.schedule.notes.get("residues", {})
        for new, o, t, stride, dilation, low in e.attr:
            if new in residues:
                self.apart(residues[new], o, t, low, inner)
                continue
            i = self.form(Aff(((new, 1), (t, -dilation)), low), inner)
            inner[o] = self.divided(i, stride, o.size)
        return inner

    def apart(self, x: Residue, o: Axis, t: Axis, low: int, env: dict[Axis, Index]) -> None:
        """Positions for the taps of one residue of a stride: t = step * u + (r + low) % step, o = q + (r + low) // step - u."""
        q, r, u = (self.index(a, env) for a in (x.q, x.r, x.u))
        first = self.name(f"({r.text} + {low}) % {x.step}", "a")
        high = (x.u.size - 1) * x.step + x.step - 1
        tap = Index(self.name(f"{u.text} * {x.step} + {first}", "a"), u.dims, 0, high)
        env[t] = Index(tap.text, u.dims, 0, t.size - 1, tuple(self.within(tap, t.size)))
        dims = tuple(sorted({*q.dims, *u.dims}))
        skip = self.name(f"({r.text} + {low}) // {x.step}", "a")
        text = f"{self.shown(q.text, q.dims, dims)} - {self.shown(u.text, u.dims, dims)} + {skip}"
        most = x.q.size - 1 + (x.step - 1 + low) // x.step
        at = Index(self.name(text, "a"), dims, 1 - x.u.size, most)
        env[o] = Index(at.text, dims, 0, o.size - 1, tuple(self.within(at, o.size)))


def joined(fn: str, a: str, b: str, dtype: str) -> str:
    """Two parts of a reduction as one."""
    if fn in ("max", "min"):
        return spell(f"{fn}imum", (a, b), dtype, ())
    return f"{a} {'+' if fn == 'sum' else '*'} {b}"


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


def wide(dtype: str) -> str:
    """The dtype that sums of a dtype are taken in."""
    return "f32" if dtype in ("f16", "bf16") else dtype
