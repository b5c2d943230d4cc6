"""Values without reductions: loads, pointwise ops, and what is nothing but another index.

Shifts, windows, concatenation and padding are written as their operand at other positions. Refuses to hold loops.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from codegen.loops import Aff, Axis, Buf, E, compared
from codegen.triton.positions import Env, Index, Positions, Val, is_large
from codegen.triton.schedule import reduced_over
from codegen.triton.spelling import DTYPES, Unsupported, literal, spell


class Values(Positions):
    """Writes expressions where the positions of their axes are known."""

    # -- values -----------------------------------------------------------------------------------

    def value(self, e: E, env: Env) -> Val:
        """Write `e` where its axes are at `env`, unless that is written already."""
        if e.op == "const":
            return Val(literal(e.attr[0], e.dtype), (), e.dtype, True)
        if e.op in ("red", "dot", "scatter") and self.pending(e):
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
        if e.op in ("red", "dot", "scatter"):
            done = self.recall(("done", e))
            if done is not None:
                return done  # type: ignore[no-any-return]
        if e.op == "iota":
            i = self.form(e.attr[0], env)
            return Val(self.name(f"{self.tensor(i)}.to({DTYPES[e.dtype]})"), i.dims, e.dtype)
        handler = getattr(self, f"_{e.op}", None)
        if handler is not None:
            return handler(e, env)  # type: ignore[no-any-return]
        if e in self.compared and any(a.op == "mul" for a in e.args):
            return self.fused(e, env)
        return self.pointwise(e, [self.value(a, env) for a in e.args])

    @functools.cached_property
    def compared(self) -> frozenset[E]:
        """See `codegen.loops.compared`."""
        return compared(self.region.nodes())

    def fused(self, e: E, env: Env) -> Val:
        """A sum with a product in it rounded once. Left to the compiler, it depends on what else a kernel does with the product."""
        k = 0 if e.args[0].op == "mul" else 1
        given = [self.value(a, env) for a in (*e.args[k].args, e.args[1 - k])]
        dims = tuple(sorted({d for v in given for d in v.dims}))
        x, y, z = (
            f"tl.full((), {v.text}, {DTYPES[v.dtype]})"
            if v.const
            else self.shown(v.text, v.dims, dims)
            for v in given
        )
        if e.op == "sub":
            x, z = (x, f"-{z}") if k == 0 else (f"-{x}", z)
        return Val(self.name(f"tl.fma({x}, {y}, {z})"), dims, e.dtype)

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
                number = v.text.removeprefix("float('").removesuffix("')")  # as `literal` writes it
                value = number == "True" or (number != "False" and float(number))
                return Val(literal(value, dtype), (), dtype, True)
            return Val(f"tl.full((), {v.text}, {DTYPES[v.dtype]}).to({DTYPES[dtype]})", (), dtype)
        if dtype == "bool" and v.dtype == "bf16":
            v = self.cast(v, "f32")
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
                found.append((self.clipped(self.value(e.args[i], env), n), step))
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

    def clipped(self, v: Val, extent: int) -> Index:
        """A computed index, inside an extent."""
        least = v.text if v.dtype.startswith("u") else f"tl.maximum({v.text}, 0)"
        text = self.name(f"tl.minimum({least}, {extent - 1})", "a")
        return Index(text, v.dims, 0, extent - 1)

    def offset(self, found: Sequence[tuple[Index, int]], dims: Sequence[int], buf: Buf) -> str:
        wide = ".to(tl.int64)" if is_large(buf) else ""
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

    def _random(self, e: E, env: Env) -> Val:
        stream, flat = e.attr
        seed, step = (self.value(a, env) for a in e.args)
        key = ("philox", seed.text, step.text, stream)
        joint = self.recall(key)
        if joint is None:
            lo = f"({seed.text}.to(tl.uint32) + tl.full((), {stream * 0x9E3779B9 & 0xFFFFFFFF}, tl.uint32))"
            if seed.const or step.const:
                raise Unsupported("random numbers with a constant key")
            joint = self.keep(
                key, self.name(f"({step.text}.to(tl.uint64) << 32) | {lo}.to(tl.uint64)", "key")
            )
        four = self.counters(flat, env)
        if four is not None:  # each counter once, its four words side by side
            w = [f"w{self.count}_{k}" for k in range(4)]
            self.line(f"{', '.join(w)} = tl.randint4x({joint}, {four.text})")
            pairs = f"tl.join(tl.join({w[0]}, {w[2]}), tl.join({w[1]}, {w[3]}))"
            text = f"tl.reshape({pairs}, {self.block(four.dims)}).to(tl.uint32, bitcast=True)"
            return Val(self.name(text), four.dims, "u32")
        i = self.form(flat, env)
        at = self.tensor(i)
        words = ", ".join(f"w{self.count}_{k}" for k in range(4))
        w = words.split(", ")
        self.line(f"{words} = tl.randint4x({joint}, {at} // 4)")
        q = self.name(f"{at} % 4")
        text = f"tl.where({q} < 2, tl.where({q} == 0, {w[0]}, {w[1]}), tl.where({q} == 2, {w[2]}, {w[3]})).to(tl.uint32, bitcast=True)"
        return Val(self.name(text), i.dims, "u32")

    def counters(self, flat: Aff, env: Env) -> Val | None:
        """The counters of a tile of random words, a fourth of it along its last dimension; None where words do not
        lie in fours there."""
        if not flat.terms or any(
            env.get(a) != self.env.get(a) or a not in env for a, _ in flat.terms
        ):
            return None
        factor = dict(flat.terms)
        dims = tuple(sorted({d for a in factor for d in env[a].dims}))
        if not dims or flat.const % 4:
            return None
        last = self.groups[dims[-1]]
        step = 1
        for a in reversed(last.axes):
            if a.size > 1 and factor.pop(a, 0) != step:
                return None
            step *= a.size
        first = self.starts.get(dims[-1])
        if last.tile % 4 or first is None or any(c % 4 for c in factor.values()):
            return None
        own = self.name(f"{first}tl.arange(0, {last.tile // 4})", "q")
        parts = [self.shown(own, dims[-1:], dims)]
        for a, c in factor.items():
            text = self.shown(env[a].text, env[a].dims, dims)
            parts.append(text if c == 4 else f"{text} * {c // 4}")
        if flat.const:
            parts.append(str(flat.const // 4))
        return Val(self.name(" + ".join(parts), "q"), dims, "i32")
